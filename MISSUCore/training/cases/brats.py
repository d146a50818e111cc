"""The cases in a folder of BraTS training data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from ...contract.modalities import BRATS_MODALITIES
from ...contract.naming.rules import modality_of_file_name
from ...core.errors import InputError
from ...core.files import files_below
from .labeled import LabeledCase, sorted_cases


def find_brats_cases(
    folder: Path, modalities: Sequence[str] = BRATS_MODALITIES
) -> list[LabeledCase]:
    """The cases in a BraTS training folder, sorted by name.

    A case is a folder, at any depth, that holds images whose names end in a modality or in "seg",
    as in BraTS 2018 to 2023: ``HGG/Brats18_2013_2_1/Brats18_2013_2_1_t1ce.nii.gz``,
    ``BraTS2021_00000/BraTS2021_00000_t1.nii.gz``, ``BraTS-GLI-00012-000/...-t1c.nii.gz``; also
    .nii, .mha and .nrrd. Not the layout of 2012 to 2015, whose labels mean something else.

    A case without segmentation, as in BraTS validation data, is refused and not passed over:
    otherwise a training would silently go without cases whose segmentation has an unexpected name
    (``W39_1998.09.19_Segm.nii`` in BraTS 2020).

    Args:
        folder: searched with all its subfolders.
        modalities: those that every case must have; other images are ignored.

    Raises:
        InputError: if there is no case, a case lacks an image or has two of one kind, or two cases
            have the same name.
    """
    files: dict[Path, list[Path]] = {}
    for path in files_below(folder):
        if path.is_file() and modality_of_file_name(path.name):
            files.setdefault(path.parent, []).append(path)
    if not files:
        raise InputError(
            f"{folder}: holds no BraTS case; expected are folders such as BraTS2021_00000 with "
            "BraTS2021_00000_t1.nii.gz, ..._t1ce, ..._t2, ..._flair and ..._seg"
        )
    return sorted_cases(_brats_case(place, found, modalities) for place, found in files.items())


def _brats_case(folder: Path, files: Iterable[Path], modalities: Sequence[str]) -> LabeledCase:
    found: dict[str, Path] = {}
    wanted = (*modalities, "segmentation")
    for path in files:
        kind = modality_of_file_name(path.name)
        if kind not in wanted:
            continue
        if kind in found:
            raise InputError(
                f"{folder}: has two files of {kind}, {found[kind].name} and {path.name}; keep one "
                "of them, and one folder a case"
            )
        found[kind] = path
    missing = [kind for kind in wanted if kind not in found]
    if missing:
        raise InputError(
            f"{folder}: has no file of {', '.join(missing)}; add it, or take the folder out of the "
            "training data"
        )
    images = {modality: found[modality] for modality in modalities}
    return LabeledCase(folder.resolve().name, images, found["segmentation"])
