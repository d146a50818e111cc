"""Where a NIfTI file says that its voxels are: it has room for two answers, and may give none."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import SimpleITK as sitk

_SAME_MM = 1.0


def place_warnings(path: Path, image: sitk.Image) -> list[str]:
    """What is doubtful about the place of a scan; nothing where it is not from a NIfTI file.

    Where the two differ, ITK and Slicer mostly go by the qform, others (FSL, FreeSurfer, nibabel)
    by the sform: the scan lies elsewhere there, perhaps with left and right exchanged.

    Args:
        path: of the file.
        image: the 3-D image that was read from it.
    """
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    header = {key: reader.GetMetaData(key) for key in reader.GetMetaDataKeys()}
    sform, qform = (int(header.get(f"{form}form_code", "-1")) for form in "sq")
    if sform == qform == 0:
        return [
            f"{path}: its header does not say where the patient's left is (sform and qform are "
            "not set); check the side of the result"
        ]
    if sform <= 0:
        return []
    rows = np.array([header[f"srow_{axis}"].split() for axis in "xyz"], dtype=float)
    rows[:2] *= -1  # to the left and back, as ITK has it, instead of right and front
    corners = list(product(*((0, length - 1) for length in image.GetSize())))
    here = np.array([image.TransformIndexToPhysicalPoint(corner) for corner in corners])
    there = np.array(corners) @ rows[:, :3].T + rows[:, 3]
    apart_mm = np.linalg.norm(here - there, axis=1).max()
    if apart_mm <= _SAME_MM:
        return []
    return [
        f"{path}: its header tells two places (qform and sform), up to {apart_mm:.0f} mm apart; "
        "the one that Slicer shows was taken, other programs may show the scan and the result "
        "elsewhere or mirrored"
    ]
