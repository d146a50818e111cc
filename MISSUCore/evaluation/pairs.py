"""Pairing of label maps with their references: two files, or two folders of files."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ..contract.modalities import IMAGE_ENDING
from ..core.errors import InputError
from ..core.messages import a_file

MAXIMUM_FILES_NAMED = 10

# Excludes the hidden files that macOS creates, ._CASE.nii.gz.
_LABEL_MAP = re.compile(r"(?P<case>[^.].*?)([-_]seg)?" + IMAGE_ENDING.pattern, re.IGNORECASE)


@dataclass(frozen=True)
class Pair:
    """The two label maps of a case."""

    case: str
    prediction: Path
    reference: Path


def find_pairs(prediction: Path, reference: Path) -> list[Pair]:
    """Two files as a pair, or the pairs of two folders, sorted by case.

    The label map of a case is ``CASE.nii.gz``, ``CASE_seg.nii.gz`` or ``CASE-seg.nii.gz``, in the
    folder or in its subfolder ``CASE``, as in BraTS; other image formats likewise.

    Raises:
        InputError: if there is nothing to compare, or a label map has no partner: leaving out the
            cases that failed would make the others' mean look better than it is.
    """
    for path in (prediction, reference):
        if not path.exists():
            raise InputError(a_file(path), ": no such file or folder")
    if prediction.is_dir() != reference.is_dir():
        raise InputError(
            a_file(prediction), " and ", a_file(reference), ": give two files or two folders"
        )
    if not prediction.is_dir():
        match = _LABEL_MAP.fullmatch(prediction.name)
        return [Pair(match["case"] if match else prediction.name, prediction, reference)]

    predictions, references = _label_maps(prediction), _label_maps(reference)
    _check_partners(predictions, references, f"no reference in {reference} for")
    _check_partners(references, predictions, f"no prediction in {prediction} for")
    return [Pair(case, predictions[case], references[case]) for case in predictions]


def _label_maps(folder: Path) -> dict[str, Path]:
    """The label map of each case in a folder, sorted by case."""
    found: dict[str, Path] = {}
    for path in sorted((*folder.iterdir(), *folder.glob("*/*"))):
        match = _LABEL_MAP.fullmatch(path.name)
        if not match or path.is_dir():
            continue
        case = match["case"]
        # The subfolder of a case holds its scans too.
        if path.parent != folder and path.parent.name != case:
            continue
        if case in found:
            raise InputError(
                a_file(found[case]), " and ", a_file(path), ": two label maps of one case"
            )
        found[case] = path
    if not found:
        raise InputError(f"{folder}: holds no label maps")
    return dict(sorted(found.items()))


def _check_partners(paths: dict[str, Path], partners: dict[str, Path], problem: str) -> None:
    alone = [path.name for case, path in paths.items() if case not in partners]
    if alone:
        more = len(alone) - MAXIMUM_FILES_NAMED
        names = ", ".join(alone[:MAXIMUM_FILES_NAMED]) + (f" and {more} more" if more > 0 else "")
        raise InputError(f"{problem} {names}")
