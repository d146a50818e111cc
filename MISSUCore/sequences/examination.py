"""Do the scans of a folder belong to one examination of one patient?

DICOM series say it themselves, and so does the JSON file that dcm2niix writes. NIfTI files carry
neither patient nor date, but their names do: BIDS entities, dates, the subject beside the sequence,
and folders that each hold a whole set.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from itertools import combinations
from pathlib import Path

from ..contract.modalities import IMAGE_ENDING
from ..contract.naming.words import separated, words_of
from ..core.errors import InputError
from ..io.dicom import ScanSource

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
_AT_END = re.compile(r"(t1(n|c|ce|gd)|t2f|t?\d+)w?$", re.IGNORECASE)
_FLAIR_AT_END = re.compile(r"(?<=[a-z0-9])(?=flair$)", re.IGNORECASE)
_NAME = 3  # words make a name, whatever it stands before
_SET = 2  # sequences make a name or a folder a set of scans, rather than a single one


@dataclass(frozen=True)
class Identity:
    """Whom and which examination a scan shows, as its tags say; "" where they do not.

    Attributes:
        patient: Patient ID.
        name: Patient's Name, without signs and capitals.
        birth: Patient's Birth Date.
        study: Study Instance UID.
        date: of the examination, eight digits.
    """

    patient: str = ""
    name: str = ""
    birth: str = ""
    study: str = ""
    date: str = ""

    def is_tied_to(self, other: Identity) -> bool:
        """Whether both say the same patient or examination."""
        same_patient = self.patient == other.patient != ""
        return same_patient or self.study == other.study != ""

    def other_patient(self, other: Identity) -> bool:
        """Whether the two show different patients.

        Names are written in many ways: they count only where there is no number.
        """
        if self.patient and other.patient:
            return self.patient != other.patient
        pairs = ((self.name, other.name), (self.birth, other.birth))
        return any(first and second and first != second for first, second in pairs)

    def other_examination(self, other: Identity) -> bool:
        """Whether the two are of different examinations."""
        if self.study and other.study:
            return self.study != other.study
        return self.date != other.date and bool(self.date and other.date)


def identity_of(tags: Mapping[str, str]) -> Identity:
    """What DICOM attributes, by keyword, say; also those that dcm2niix writes beside a file."""
    days = (tags.get(f"{what}Date", "") for what in ("Study", "Series", "Acquisition"))
    day = next(filter(None, days), tags.get("AcquisitionDateTime", ""))
    return Identity(
        tags.get("PatientID", "").strip(),
        "".join(filter(str.isalnum, tags.get("PatientName", ""))).casefold(),
        _digits(tags.get("PatientBirthDate", "")),
        tags.get("StudyInstanceUID", "").strip(),
        _digits(day.partition("T")[0])[:8],
    )


def _digits(text: str) -> str:
    return "".join(filter(str.isdigit, text))


def check_one_examination(
    folder: Path,
    scans: Mapping[ScanSource, str],
    identities: Mapping[ScanSource, Collection[Identity]],
    chosen: Collection[ScanSource],
) -> None:
    """Make sure that scans show one patient at one time, as far as anything tells.

    Args:
        folder: that was searched.
        scans: sequence of each scan that was recognized.
        identities: of the files of each.
        chosen: those that are to be used.

    Raises:
        InputError: naming two that do not belong together.
    """
    told = [(source, one) for source in scans for one in identities.get(source, ())]
    for (source, one), (other, another) in combinations(told, 2):
        both = f"{source} and {other}" if source != other else f"both in {source}"
        if one.other_patient(another):
            raise InputError(
                f"{folder}: holds scans of several patients, {both}; give one folder a patient"
            )
        dicom = not isinstance(source, Path) and not isinstance(other, Path)
        vague = (not one.patient, not one.study) != (not another.patient, not another.study)
        if one.other_examination(another) or (dicom and vague):
            days = [identity.date for identity in (one, another)]
            when = f" of {days[0]} and {days[1]}" if all(days) and len(set(days)) > 1 else ""
            raise InputError(
                f"{folder}: holds scans of 2 examinations{when}, {both}; give the folder of one"
            )
    files = {source: name for source, name in scans.items() if isinstance(source, Path)}
    if found := differences(folder, files):
        raise InputError(
            f"{folder}: holds scans {found}; give the folder of one, or the scans by name, as "
            "--t1 FILE"
        )
    _check_one_kind(folder, scans, identities, chosen)


def _check_one_kind(
    folder: Path,
    scans: Mapping[ScanSource, str],
    identities: Mapping[ScanSource, Collection[Identity]],
    chosen: Collection[ScanSource],
) -> None:
    """Refuse image files beside DICOM series where nothing tells that they show one patient."""
    series = [source for source in scans if not isinstance(source, Path)]
    patients = [one for source in series for one in identities.get(source, ())]
    files = [
        source
        for source in scans
        if isinstance(source, Path)
        and not any(one.is_tied_to(two) for one in identities.get(source, ()) for two in patients)
    ]
    used = [next((one for one in kind if one in chosen), None) for kind in (series, files)]
    sequences = [{scans[source] for source in kind} for kind in (series, files)]
    sets = min(map(len, sequences)) >= _SET and sequences[0] & sequences[1]
    if all(used) or sets:
        raise InputError(
            f"{folder}: holds DICOM, {used[0] or series[0]}, and image files, "
            f"{used[1] or files[0]}, and nothing tells that they show one patient at one time; "
            "give the folder of one, or the scans by name, as --t1 FILE"
        )


def differences(folder: Path, scans: Mapping[Path, str]) -> str:
    """Why scans are not of one examination, as half a sentence; "" if nothing speaks against it.

    Args:
        folder: that was searched.
        scans: sequence of each scan that was recognized, by its path.
    """
    names = {path: path.relative_to(folder).as_posix() for path in scans}
    for what, told in (
        ("subjects", {path: bids_entity(name, "sub") for path, name in names.items()}),
        ("sessions", {path: bids_entity(name, "ses") for path, name in names.items()}),
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
    neighbors = {path: (*before[path], "/", *after[path]) for path in scans}
    endings = {path: ("".join(path.suffixes[-2:]).lower(),) for path in scans}
    folders = {path: (str(path.parent),) for path in scans}
    for groups in (neighbors, endings, folders):
        if found := _two_sets(groups, scans):
            return f"in two sets, {found}"
    return ""


def bids_entity(name: str, what: str) -> str:
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
    stem = _FLAIR_AT_END.sub("_", separated(stem))
    words = [word for word in re.split(r"[-_. ]+", stem) if word]
    at = next((i for i, word in enumerate(words) if words_of(word).sequence), None)
    if at is None:  # the name does not tell the sequence, or joins it: scan7, annat1, annat1ce
        return _kept(_AT_END.sub("", word) for word in words), ()
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

    A word before a single scan, as in ``space_flair`` or ``5_t1``, is not a name, but three words
    of which only numbers differ are, as in ``BraTS-GLI-00011-001``. Names that hold the same words
    are not different, as ``anna`` and ``anna_5``.

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
