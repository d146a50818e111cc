"""Which cases to train on: found in a folder of BraTS, or listed in a file; and which to hold out.

Only names and paths are looked at here; :mod:`.labels` reads the label maps.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..contract.modalities import BRATS_MODALITIES
from ..contract.naming.rules import modality_of_file_name
from ..core.errors import InputError
from ..core.files import files_below
from ..io.case_lists import CasePaths, read_json_cases


@dataclass(frozen=True)
class LabeledCase:
    """Where the scans and the reference segmentation of one case lie.

    Attributes:
        name: unlike that of any other case of its list.
        images: by modality, an image file or the folder of a DICOM series.
        labels: a label map file, or a CHAOS folder of PNG masks.
        group: of cases held out, whose scores are reported apart.
    """

    name: str
    images: dict[str, Path]
    labels: Path
    group: str = ""


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
    return _sorted(_brats_case(place, found, modalities) for place, found in files.items())


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


def read_case_list(path: Path) -> list[LabeledCase]:
    """The cases listed in a JSON file, sorted by name.

    The file holds ``[{"name": "p1", "images": {"t1": "p1/t1.nii.gz"}, "labels": "p1/seg.nii.gz"},
    ...]``, with paths relative to the file itself.

    Raises:
        InputError: if the file is no such list, an entry is incomplete or names a path that does
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
    return _sorted(cases)


def _labeled_case(path: Path, case: CasePaths) -> LabeledCase:
    if not case.images:
        raise InputError(f'{path}: case {case.name} has no "images", a file for each modality')
    if case.labels is None:
        raise InputError(f'{path}: case {case.name} has no "labels"')
    for what, place in {**case.images, "labels": case.labels}.items():
        if not place.exists():
            raise InputError(f"{path}: case {case.name}: {what} does not exist: {place}")
    return LabeledCase(case.name, case.images, case.labels)


def _sorted(cases: Iterable[LabeledCase]) -> list[LabeledCase]:
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
    """The names in a text file, one a line; empty lines and what follows a # are passed over.

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
    """Group by case name, of text files as :func:`read_names` takes them, each a group of its name.

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
