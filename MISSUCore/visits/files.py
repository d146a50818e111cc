"""The files of a patient's visits: segmentation, scan and date of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

from ..cohorts.bids_layout import LABELS_END, REPORT_END
from ..contract.segmentation_report import read_report
from ..contract.visits.response import GivenVisit, ReaderEntry, iso_date, lies_in_future
from ..core.errors import InputError
from ..core.messages import Text, a_file, an_option
from ..io.dicom import series_header
from ..io.dicom_file import is_dicom
from ..io.tables import read_table
from ..sequences.one_patient import origin_of

SEGMENTATION, REPORT = "segmentation.nii.gz", "report.json"
COLUMNS = ("visit", "segmentation", "t1ce", "date", "steroids", "clinical", "category", "comment")
_NEEDED = ("segmentation", "t1ce")
_DATE_TAGS = ("AcquisitionDate", "SeriesDate", "StudyDate")


@dataclass(frozen=True)
class CheckedVisit(GivenVisit):
    """A visit that can be compared: it has a date."""


def visit_of(text: str) -> GivenVisit:
    """The visit that an argument names: a result folder of a cohort, or ``SEGMENTATION,T1CE``.

    Raises:
        InputError: if it names neither.
    """
    folder = Path(text)
    if folder.is_dir():
        return _visit_in(folder)
    segmentation, scan = _divided(text)
    if folder.exists() or not segmentation.strip() or not scan.strip():
        problem = "is not a visit" if folder.exists() or "," in text else "no such file or folder"
        raise InputError(
            a_file(text),
            f": {problem}; give the folder of a result, or a segmentation and its T1ce as "
            "SEGMENTATION,T1CE",
        )
    return GivenVisit(Path(segmentation).name.partition(".")[0], Path(segmentation), Path(scan))


def _divided(text: str) -> tuple[str, str]:
    """Two paths at the comma between them; also where they hold commas, if both are there."""
    commas = [index for index, letter in enumerate(text) if letter == ","]
    pairs = [(text[:index], text[index + 1 :]) for index in commas]
    there = [pair for pair in pairs if all(part and Path(part).exists() for part in pair)]
    return (there or pairs or [(text, "")])[0]


def _visit_in(folder: Path) -> GivenVisit:
    segmentation, report, name = folder / SEGMENTATION, folder / REPORT, folder.resolve().name
    for path in folder.glob(f"*{LABELS_END}"):  # of a BIDS derivative dataset
        name = path.name.removesuffix(LABELS_END)
        segmentation, report = path, folder / f"{name}{REPORT_END}"
    for path in (segmentation, report):
        if not path.is_file():
            raise InputError(
                a_file(folder),
                f": holds no {path.name}, as the result of a cohort does; give SEGMENTATION,T1CE",
            )
    facts = read_report(report)
    named = facts.inputs["t1ce"].path if "t1ce" in facts.inputs else facts.reference.path
    scan = next((path for path in (Path(named), folder / named) if named and path.exists()), None)
    if scan is None:
        raise InputError(
            a_file(report),
            f": names the scan {named!r}, which is not there; give SEGMENTATION,T1CE",
        )
    return GivenVisit(name, segmentation, scan)


def read_visits(path: Path) -> list[GivenVisit]:
    """The visits in a CSV list with the columns :data:`COLUMNS`, of which only two are needed.

    Relative paths start at the list's folder. See :func:`.read_table`.

    Raises:
        InputError: naming the line that cannot be used.
    """
    rows = read_table(path, "list of visits", COLUMNS, _NEEDED)
    return [_listed(path, line, number, row) for number, (line, row) in enumerate(rows, start=1)]


def _listed(path: Path, line: int, number: int, row: Mapping[str, str]) -> GivenVisit:
    values = {key: row.get(key, "") for key in COLUMNS}
    try:
        if not all(values[name] for name in _NEEDED):
            raise ValueError("a segmentation or its scan is missing")
        reader = ReaderEntry(
            *(values[name] for name in ("steroids", "clinical", "category", "comment"))
        )
        return GivenVisit(
            values["visit"] or f"visit {number}",
            path.parent / values["segmentation"],
            path.parent / values["t1ce"],
            values["date"] and iso_date(values["date"]),
            reader,
        )
    except ValueError as error:
        raise InputError(a_file(path), f": line {line}: {error}") from error


def checked(visits: Sequence[GivenVisit]) -> list[CheckedVisit]:
    """The visits with their dates, checked to be in order and of one patient.

    Raises:
        InputError: naming the visit that cannot be used.
    """
    if len(visits) < 2:
        raise InputError("give two visits or more")
    found: list[CheckedVisit] = []
    for visit in visits:
        for path in (visit.segmentation, visit.t1ce):
            if not path.exists():
                raise InputError(a_file(path), ": no such file")
        tags = _dates_in(visit.t1ce)
        day = visit.date or next(
            (tags[name] for name in _DATE_TAGS if _is_date(tags.get(name, ""))), ""
        )
        if not day:
            raise InputError(
                a_file(visit.t1ce),
                ": does not say from which day it is; give its date (",
                an_option("--dates"),
                ")",
            )
        found.append(
            CheckedVisit(visit.name, visit.segmentation, visit.t1ce, iso_date(day), visit.reader)
        )
    _check_order(found)
    _check_one_patient(found)
    return _named_apart(found)


def future_dates(
    visits: Sequence[GivenVisit], surgery: Sequence[str], radiotherapy: Sequence[str]
) -> list[Text]:
    """A warning for each date, ISO 8601, that lies in the future.

    Not an error, since some data sets shift dates to protect patients' privacy.
    """
    told: list[tuple[object, str]] = [(a_file(visit.t1ce), visit.date) for visit in visits]
    told += [("surgery", day) for day in surgery]
    told += [("radiotherapy", day) for day in radiotherapy]
    return [
        Text(what, f": {day} lies in the future; correct it, unless all dates were shifted")
        for what, day in told
        if lies_in_future(day)
    ]


def _check_order(visits: Sequence[CheckedVisit]) -> None:
    for number, visit in enumerate(visits):
        for earlier in visits[:number]:
            if visit.segmentation.samefile(earlier.segmentation):
                raise InputError(a_file(visit.segmentation), ": is given twice")
            if visit.t1ce.samefile(earlier.t1ce):
                raise InputError(
                    a_file(visit.t1ce), ": is given for two visits; each has its own scan"
                )
            if visit.date <= earlier.date:
                raise InputError(
                    a_file(visit.segmentation),
                    f": is from {visit.date}, not after ",
                    a_file(earlier.segmentation),
                    f" from {earlier.date}; give the visits in the order of their dates, each once",
                )


def _check_one_patient(visits: Sequence[CheckedVisit]) -> None:
    """Raise if DICOM tags or BIDS names of any two files say that they show different patients."""
    files = [path for visit in visits for path in (visit.t1ce, visit.segmentation)]
    origins = {path: origin_of(path) for path in files}
    for second, first in combinations(reversed(files), 2):
        if origins[second].other_patient(origins[first]):
            raise InputError(
                a_file(second),
                " and ",
                a_file(first),
                ": are of two patients, as their Patient IDs or BIDS names say",
            )


def _named_apart(visits: Sequence[CheckedVisit]) -> list[CheckedVisit]:
    """The visits with unique names; visits often share one."""
    names = [visit.name for visit in visits]
    if len(set(names)) == len(names):
        return list(visits)
    return [replace(visit, name=f"visit {n}") for n, visit in enumerate(visits, start=1)]


def _is_date(text: str) -> bool:
    try:
        iso_date(text)
    except ValueError:
        return False
    return True


def _dates_in(scan: Path) -> dict[str, str]:
    """The DICOM attributes of a scan that say from which day it is; none if it is not DICOM."""
    import pydicom

    if not (scan.is_dir() or is_dicom(scan)):
        return {}
    first = series_header(scan).files[0].path
    kept = list(_DATE_TAGS)
    data = pydicom.dcmread(first, stop_before_pixels=True, force=True, specific_tags=kept)
    return {name: str(data.get(name) or "").strip() for name in kept}
