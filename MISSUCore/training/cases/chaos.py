"""CHAOS: finding its MR cases, and putting its PNG masks back onto the DICOM series.

Layout (Kavur et al. 2021, doi:10.1016/j.media.2020.101950; doi:10.5281/zenodo.3431873)::

    Train_Sets/MR/<patient>/T1DUAL/DICOM_anon/InPhase/IMG-0004-00002.dcm  ...
                            T1DUAL/DICOM_anon/OutPhase/IMG-0004-00001.dcm ...
                            T1DUAL/Ground/IMG-0004-00002.png              ...
                            T2SPIR/DICOM_anon/IMG-0002-00001.dcm          ...
                            T2SPIR/Ground/IMG-0002-00001.png              ...

A case's masks are those of T1DUAL, drawn on the in-phase series; its T2 has another grid and is
brought onto the T1's later.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from ...core.errors import InputError
from ...core.files import itk_name
from ...io.geometry import image_like
from ...io.reading import read_image
from .labeled import LabeledCase

# The masks hold four organs in gray: liver 63, right kidney 126, left kidney 189, spleen 252. The
# organizers ask to take a range around each.
LIVER_GRAY = (55, 70)
SEQUENCES = ("T1DUAL", "T2SPIR")


def find_chaos_cases(folder: Path) -> list[LabeledCase]:
    """The MR cases of CHAOS with t1 (in phase) and t2 (SPIR), sorted by name.

    Args:
        folder: that of the patients (``MR``), ``Train_Sets``, or the one that holds it.

    Raises:
        InputError: if there is no case, or a case lacks a series or masks.
    """
    places = (folder / "Train_Sets" / "MR", folder / "MR")
    patients = next((place for place in places if place.is_dir()), folder)
    names = sorted({path.parent.name for path in patients.glob("*/T*") if path.name in SEQUENCES})
    if not names:
        raise InputError(
            f"{folder}: holds no CHAOS MR case; expected is Train_Sets/MR/<patient> with T1DUAL "
            "and T2SPIR"
        )
    cases = []
    for name in names:
        t1_dual = patients / name / "T1DUAL"
        t1 = t1_dual / "DICOM_anon" / "InPhase"
        t2 = patients / name / "T2SPIR" / "DICOM_anon"
        _slices_and_masks(t1, t1_dual / "Ground")
        if not _files(t2, ".dcm"):
            raise InputError(f"{t2}: holds no DICOM slices")
        cases.append(LabeledCase(name, {"t1": t1, "t2": t2}, t1_dual / "Ground"))
    return cases


def read_chaos_masks(masks: Path, series: Path) -> sitk.Image:
    """The liver, 1 on 0, as 3-D 8-bit image on the grid that :func:`read_image` gives the series.

    Slices may be numbered up or down the body, and are read in the order of their positions. So
    each mask is put where its own slice lies in space.

    Args:
        masks: folder with a PNG mask for each slice, in the order of names.
        series: folder of the DICOM series on which they were drawn.

    Raises:
        InputError: if masks and slices do not correspond or cannot be read, or none has a liver.
    """
    image = read_image(series)
    labels = np.zeros(image.GetSize()[::-1], dtype=np.uint8)
    for slice_path, mask_path in _slices_and_masks(series, masks):
        gray = _read_gray(mask_path)
        # read_image has made sure that each slice lies at a place of its own.
        _, _, depth = image.TransformPhysicalPointToIndex(_position(slice_path))
        if gray.shape != labels[depth].shape:
            raise InputError(f"{mask_path}: is not of the same size as {slice_path}")
        labels[depth] = (gray >= LIVER_GRAY[0]) & (gray <= LIVER_GRAY[1])
    if not labels.any():
        raise InputError(f"{masks}: no mask has the gray values of a liver, {LIVER_GRAY}")
    return image_like(labels, image)


def _slices_and_masks(series: Path, masks: Path) -> list[tuple[Path, Path]]:
    """Each slice with its mask: both are numbered alike, so that the order of names pairs them."""
    slices, drawn = _files(series, ".dcm"), _files(masks, ".png")
    if not slices:
        raise InputError(f"{series}: holds no DICOM slices")
    if len(slices) != len(drawn):
        raise InputError(
            f"{masks}: holds {len(drawn)} PNG masks for the {len(slices)} slices in {series}; give "
            "one for each slice (CHAOS has masks for its Train_Sets only)"
        )
    return list(zip(slices, drawn))


def _files(folder: Path, ending: str) -> list[Path]:
    """Files sorted by name; without macOS's hidden twins ("._name") of each."""
    return sorted(
        path
        for path in folder.glob("*")
        if path.suffix.lower() == ending and not path.name.startswith(".")
    )


def _position(slice_path: Path) -> tuple[float, float, float]:
    """Where the center of a slice's first pixel lies in the patient (LPS), in mm."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(itk_name(slice_path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise InputError(f"{slice_path}: cannot be read as a DICOM slice") from error
    x, y, z = reader.GetOrigin()
    return x, y, z


def _read_gray(path: Path) -> NDArray[Any]:
    try:
        gray: NDArray[Any] = sitk.GetArrayFromImage(sitk.ReadImage(itk_name(path)))
    except RuntimeError as error:
        raise InputError(f"{path}: cannot be read as a PNG mask") from error
    return gray
