"""Scans recognized by their voxels, whatever their files are named and their headers say."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from ..imaging.case import read_image
from .case_lists import LabeledCase


def voxels_sha256(image: sitk.Image) -> str:
    """Checksum of the voxels of a scan; its geometry does not count."""
    voxels = sitk.GetArrayViewFromImage(image).astype(np.float32)
    return hashlib.sha256(str(voxels.shape).encode() + voxels.tobytes()).hexdigest()


def check_different(cases: Sequence[LabeledCase], modality: str) -> None:
    """Make sure that no case is there twice: it could be held out and trained on at once.

    Args:
        cases: all that a run knows.
        modality: that all have, whose scans are compared.

    Raises:
        InputError: naming two cases with the same scan.
    """
    names: dict[str, str] = {}
    for case in cases:
        checksum = voxels_sha256(read_image(case.images[modality]))
        if checksum in names:
            raise InputError(
                f"cases {names[checksum]} and {case.name} have the same {modality} scan; leave one "
                "out, for a case that is trained on cannot show whether the model got better"
            )
        names[checksum] = case.name
