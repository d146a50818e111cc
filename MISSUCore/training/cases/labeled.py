"""Labeled cases from a case list, and their split into training and validation.

Only names and paths are looked at here; :mod:`.labels` reads the label maps.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ...core.errors import InputError
from ...io.case_lists import CasePaths, read_json_cases


@dataclass(frozen=True)
class LabeledCase:
    """Where the scans and the reference segmentation of one case lie.

    Attributes:
        name: unique within its list.
        images: by modality, an image file or the folder of a DICOM series.
        labels: a label map file, or a CHAOS folder of PNG masks.
        group: of held-out cases; scores are also reported for each group.
    """

    name: str
    images: dict[str, Path]
    labels: Path
    group: str = ""


def read_case_list(path: Path) -> list[LabeledCase]:
    """The cases listed in a JSON file, sorted by name.

    The file holds ``[{"name": "p1", "images": {"t1": "p1/t1.nii.gz"}, "labels": "p1/seg.nii.gz"},
    ...]``, with paths relative to the file itself.

    Raises:
        InputError: if the file is not such a list, an entry is incomplete or names a path that does
            not exist, or the entries do not have the same modalities.
    """
    cases = [_labeled_case(path, case) for case in read_json_cases(path)]
    first = cases[0]
    for case in cases:
        if set(case.images) != set(first.images):
            raise InputError(
                f"{path}: case {case.name} has {', '.join(case.images)} and case {first.name} has "
                f"{', '.join(first.images)}; all cases must have the same modalities"
            )
    return sorted_cases(cases)


def _labeled_case(path: Path, case: CasePaths) -> LabeledCase:
    if not case.images:
        raise InputError(f'{path}: case {case.name} has no "images", a file for each modality')
    if case.labels is None:
        raise InputError(f'{path}: case {case.name} has no "labels"')
    for what, place in {**case.images, "labels": case.labels}.items():
        if not place.exists():
            raise InputError(f"{path}: case {case.name}: {what} does not exist: {place}")
    return LabeledCase(case.name, case.images, case.labels)


def sorted_cases(cases: Iterable[LabeledCase]) -> list[LabeledCase]:
    """The cases by name.

    Raises:
        InputError: if two have the same name.
    """
    by_name: dict[str, LabeledCase] = {}
    for case in cases:
        if case.name in by_name:
            raise InputError(
                f"two cases have the name {case.name}, with the labels "
                f"{by_name[case.name].labels} and {case.labels}; training would mix them up"
            )
        by_name[case.name] = case
    return [by_name[name] for name in sorted(by_name)]


def read_names(path: Path) -> list[str]:
    """The names in a text file, one per line; ignores empty lines and comments after a #.

    Raises:
        InputError: if the file cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as a list of names: {error}") from error
    names = (line.split("#")[0].strip() for line in lines)
    return [name for name in names if name]


def read_groups(paths: Iterable[Path]) -> dict[str, str]:
    """Group by case name, from text files of names; each file is a group with the file's name.

    Raises:
        InputError: if a file cannot be read, two files have the same name, or two name one case.
    """
    groups: dict[str, str] = {}
    files: dict[str, Path] = {}
    for path in paths:
        group = re.sub(r"[^\w.-]", "_", path.stem)  # it becomes part of a column's name
        if group in files:
            raise InputError(
                f"{path} and {files[group]}: are one group, {group}; rename one of them"
            )
        files[group] = path
        for name in dict.fromkeys(read_names(path)):
            if name in groups:
                raise InputError(
                    f"{path}: case {name} is named in {files[groups[name]]}, too; a case is of "
                    "one group, remove it from one of them"
                )
            groups[name] = group
    return groups


def split_cases(
    cases: Iterable[LabeledCase], groups: Mapping[str, str]
) -> tuple[list[LabeledCase], list[LabeledCase]]:
    """The cases to train on, and those to validate on, with their groups; in the given order.

    Args:
        cases: all of them.
        groups: by name of each case to validate on, as :func:`read_groups` gives them.

    Raises:
        InputError: if a name is none of a case, or no case is left to train on.
    """
    cases = list(cases)
    unknown = sorted(groups.keys() - {case.name for case in cases})
    if unknown:
        raise InputError(f"no such case to validate on: {', '.join(unknown)}")
    training = [case for case in cases if case.name not in groups]
    if not training:
        raise InputError("all cases are held out for validation; none is left to train on")
    validation = [case for case in cases if case.name in groups]
    return training, [replace(case, group=groups[case.name]) for case in validation]
