"""Do the image files of a folder belong to one examination of one patient? Their names tell.

DICOM series say it themselves. NIfTI files carry neither patient nor date, but their names do: BIDS
entities, dates, the subject beside the sequence, and folders that each hold a whole set.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import date
from itertools import combinations
from pathlib import Path

from ..contract.modalities import IMAGE_ENDING
from .words import words_of

_ENTITY = re.compile(r"(?<![a-z0-9])(sub|ses)-([a-z0-9]+)", re.IGNORECASE)
# 2019-03-01, 2019_03_01, 20190301, and the same before a time of day.
_DATE = re.compile(r"(?<!\d)(19\d\d|20\d\d)[-_.]?(0[1-9]|1[0-2])[-_.]?([0-2]\d|3[01])")
# Words that tell of the scan or of what was done to it, not of whom it shows.
_OF_THE_SCAN = frozenset(
    """
    ax axial tra trans transverse sag sagittal cor coronal oblique 2d 3d iso mr mri mrt brain head
    skull stripped strip bet hdbet n4 bias corrected norm normalized reg coreg registered aligned
    warped resampled res rigid affine pre post raw orig original native scan image img vol volume
    series nii std mni atlas w wo with without the to in on space se tse fse ffe gre tfe ir fat sat
    fs cube vista blade propeller tirm stir dark fluid mprage mpr bravo spgr fspgr flash contrast gd
    ce gado map run echo acq final new copy
    """.split()  # noqa: SIM905
)
_NAME = 3  # words make a name, whatever it stands before
_SET = 2  # sequences make a name or a folder a set of scans, rather than a single one


def differences(folder: Path, scans: Mapping[Path, str]) -> str:
    """Why scans are not of one examination, as half a sentence; "" if nothing speaks against it.

    Args:
        folder: that was searched.
        scans: sequence of each scan that was recognized, by its path.
    """
    names = {path: path.relative_to(folder).as_posix() for path in scans}
    for what, told in (
        ("subjects", {path: _entity(name, "sub") for path, name in names.items()}),
        ("sessions", {path: _entity(name, "ses") for path, name in names.items()}),
        ("dates", {path: _date(name) for path, name in names.items()}),
    ):
        if found := _disagreement(told):
            return f"of two {what}, {found}"
    words = {path: _words(path) for path in scans}
    before = {path: parts[0] for path, parts in words.items()}
    after = {path: parts[1] for path, parts in words.items()}
    if found := _two_subjects(before, scans):
        return f"of two subjects, {found}"
    of_folder = {path: _kept(re.split(r"[-_. ]+", path.parent.name)) for path in scans}
    if found := _two_subjects(of_folder, scans, at_least=_SET):
        return f"of two subjects, {found}"
    beside = {path: (*before[path], "/", *after[path]) for path in scans}
    endings = {path: ("".join(path.suffixes[-2:]).lower(),) for path in scans}
    folders = {path: (str(path.parent),) for path in scans}
    for groups in (beside, endings, folders):
        if found := _two_sets(groups, scans):
            return f"in two sets, {found}"
    return ""


def _entity(name: str, what: str) -> str:
    """The last value of a BIDS entity in a path; "" if it has none."""
    values = [value for entity, value in _ENTITY.findall(name) if entity.lower() == what]
    return values[-1].lower() if values else ""


def _date(name: str) -> str:
    """The first date in a path, ISO 8601; "" if there is none."""
    for year, month, day in _DATE.findall(name):
        try:
            return date(int(year), int(month), int(day)).isoformat()
        except ValueError:
            continue
    return ""


def _words(path: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The words before and after the sequence in a file's name, without those of the scan."""
    stem = _DATE.sub("", _ENTITY.sub("", IMAGE_ENDING.sub("", path.name)))
    words = [word for word in re.split(r"[-_. ]+", stem) if word]
    at = next((i for i, word in enumerate(words) if words_of(word).sequence), None)
    if at is None:
        return (), ()  # the sequence is not a word of its own
    return _kept(words[:at]), _kept(words[at + 1 :])


def _kept(words: Iterable[str]) -> tuple[str, ...]:
    """Words in small letters, without those that tell of the scan."""
    lower = (word.lower() for word in words)
    return tuple(
        word for word in lower if word and word not in _OF_THE_SCAN and not words_of(word).sequence
    )


def _disagreement(told: Mapping[Path, str]) -> str:
    """Two different values, with a file each; "" if all that say something agree."""
    by_value = {value: path for path, value in sorted(told.items()) if value}
    if len(by_value) < 2:
        return ""
    (first, a), (second, b), *_ = by_value.items()
    return f"{first} ({a}) and {second} ({b})"


def _two_subjects(
    groups: Mapping[Path, tuple[str, ...]], scans: Mapping[Path, str], at_least: int = 1
) -> str:
    """Two names of which one stands before several sequences; "" if there are none.

    A word before a single scan, as in ``space_flair`` or ``5_t1``, is no name, but three words of
    which only numbers differ are, as in ``BraTS-GLI-00011-001``. Names that hold the same words are
    not different, as ``anna`` and ``anna_5``.

    Args:
        groups: the names, in words.
        scans: sequence of each scan.
        at_least: sequences that each of the two must have.
    """
    sequences = _sequences(groups, scans)
    for first, second in combinations(sorted(sequences), 2):
        alike = set(first) <= set(second) or set(second) <= set(first)
        counts = sorted(len(sequences[one]) for one in (first, second))
        named = counts[1] >= _SET or _numbered(first, second)
        if not alike and named and counts[0] >= at_least:
            return f"{_first_of(first, groups)} and {_first_of(second, groups)}"
    return ""


def _numbered(first: tuple[str, ...], second: tuple[str, ...]) -> bool:
    """Whether two names of three words or more are alike but for numbers."""
    differing = [word for pair in zip(first, second) if pair[0] != pair[1] for word in pair]
    return len(first) == len(second) >= _NAME and all(word.isdigit() for word in differing)


def _two_sets(groups: Mapping[Path, tuple[str, ...]], scans: Mapping[Path, str]) -> str:
    """Two names or folders that hold several sequences each, and one of them both."""
    sequences = _sequences(groups, scans)
    for first, second in combinations(sorted(sequences), 2):
        several = min(len(sequences[one]) for one in (first, second)) >= _SET
        if several and sequences[first] & sequences[second]:
            return f"{_first_of(first, groups)} and {_first_of(second, groups)}"
    return ""


def _sequences(
    groups: Mapping[Path, tuple[str, ...]], scans: Mapping[Path, str]
) -> dict[tuple[str, ...], set[str]]:
    found: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for path, group in groups.items():
        if group:
            found[group].add(scans[path])
    return found


def _first_of(group: tuple[str, ...], groups: Mapping[Path, tuple[str, ...]]) -> str:
    return str(min(path for path, own in groups.items() if own == group))
