"""Detection of duplicate scans by their voxels, regardless of file names and headers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import SimpleITK as sitk

from ...contract.model_card import Tuning
from ...core.errors import InputError
from ...core.messages import a_modality
from ...io.reading import read_image
from ...training.cases.labeled import LabeledCase


def voxels_sha256(image: sitk.Image) -> str:
    """Checksum of the voxels of a scan, ignoring its geometry."""
    voxels = sitk.GetArrayViewFromImage(image).astype(np.float32)
    return hashlib.sha256(str(voxels.shape).encode() + voxels.tobytes()).hexdigest()


def scan_checksums(cases: Sequence[LabeledCase], modality: str) -> dict[str, str]:
    """Checksum of a scan of each case, by the case's name.

    A duplicate case is refused: it could be held out and trained on at the same time.

    Args:
        cases: all that a run knows.
        modality: whose scans are compared.

    Raises:
        InputError: if a case has no such scan, or naming two cases with the same.
    """
    names: dict[str, str] = {}
    for case in cases:
        if modality not in case.images:
            raise InputError(f"case {case.name}: has no ", a_modality(modality))
        checksum = voxels_sha256(read_image(case.images[modality]))
        if checksum in names:
            raise InputError(
                f"cases {names[checksum]} and {case.name} have the same ",
                a_modality(modality),
                " scan; leave one out, for a case that is trained on cannot show whether the model "
                "got better",
            )
        names[checksum] = case.name
    return {name: checksum for checksum, name in names.items()}


def tuned_on(history: Sequence[Tuning], scans: Mapping[str, str]) -> list[str]:
    """Names of the cases that a model was already tuned on.

    Args:
        history: of the model's card.
        scans: checksum of a scan of each case, by the case's name. Cases are also recognized by
            name, since a case that was stored again may lie on another grid.
    """
    known = {value for tuning in history for value in (*tuning.cases, *tuning.scans_sha256)}
    return [name for name, checksum in scans.items() if {name, checksum} & known]
