"""The DICOM series of a result's scan, as needed by DICOM objects that refer to it.

pydicom is loaded only when there is DICOM, highdicom only when an object is to be written.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from ..core.errors import InputError, MISSUError
from ..core.messages import a_file
from ..io.dicom import DicomSeries, ScanSource, SeriesHeader, series_header
from ..io.dicom_checks import check_series
from ..io.dicom_file import is_dicom

if TYPE_CHECKING:
    from pydicom import Dataset

# Required to identify the scan and its position.
NEEDED = (
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "StudyInstanceUID",
    "FrameOfReferenceUID",
)
# Must be present, though they may be empty (type 2 of PS3.3); anonymizers remove them.
MAY_BE_EMPTY = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
)
UTF8 = "ISO_IR 192"
SEXES = ("M", "F", "O")


@dataclass(frozen=True)
class DicomScan:
    """A DICOM series that objects refer to.

    Attributes:
        source: of its files.
        headers: data sets without pixels in the order of the image's slices; a single one if the
            series is a multi-frame file.
    """

    source: ScanSource
    headers: list[Dataset]

    @property
    def frames(self) -> int:
        """Number of slices of the image."""
        return sum(int(header.get("NumberOfFrames") or 1) for header in self.headers)


def is_dicom_source(source: ScanSource) -> bool:
    """Whether a scan is a DICOM series, a folder with one, or a DICOM file."""
    return isinstance(source, DicomSeries) or source.is_dir() or is_dicom(source)


def read_dicom_scan(source: ScanSource) -> DicomScan:
    """The headers of a DICOM series.

    Raises:
        InputError: if it is not DICOM, or its headers lack identifiers or positions.
    """
    import pydicom

    if not is_dicom_source(source):
        raise InputError(
            a_file(source),
            ": is not DICOM, so that a DICOM object cannot refer to it; give this scan as DICOM, "
            "or another one that is by --reference",
        )
    header = series_header(source)
    check_series(source, header)
    distance_mm = _slice_distance_mm(header)
    headers: list[Dataset] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about values that break rules but can be read
        for file in header.files:
            data = pydicom.dcmread(file.path, stop_before_pixels=True, force=True)
            _complete(file.path, data, distance_mm)
            headers.append(data)
    _check_identifiers(source, header, headers)
    return DicomScan(source, headers)


def _check_identifiers(source: ScanSource, header: SeriesHeader, headers: list[Dataset]) -> None:
    """Refuse slices with one UID or position, since references to them would be ambiguous."""
    named: dict[str, str] = {}
    for file, data in zip(header.files, headers):
        other = named.setdefault(str(data.SOPInstanceUID), file.path.name)
        if other != file.path.name:
            raise InputError(
                a_file(source),
                f": {other} and {file.path.name} have one SOP Instance UID, so that a DICOM object "
                "cannot tell them apart; export the series again from the scanner or the archive",
            )
    if len(set(header.places)) < len(header.places):
        raise InputError(
            a_file(source),
            ": has several images of a slice; give a folder with one of each",
        )


def highdicom() -> ModuleType:
    """The imported package highdicom, which writes DICOM objects.

    Raises:
        MISSUError: if it is not installed.
    """
    try:
        import highdicom
    except ImportError as error:
        raise MISSUError(
            'DICOM objects need highdicom: install with pip install "MISSUCore[dicom]"'
        ) from error
    return highdicom


@contextmanager
def referring(scan: DicomScan, kind: str) -> Iterator[None]:
    """Context for making an object that refers to a scan; reports bad headers as an InputError.

    Args:
        scan: that the object refers to.
        kind: of object, for the message.

    Raises:
        InputError: if the headers of the scan break DICOM's rules.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about values in the scan's headers
            yield
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            a_file(scan.source),
            f": its DICOM headers break rules, so that no {kind} can refer to it: {error}",
        ) from error


def _complete(path: Path, data: Dataset, distance_mm: float) -> None:
    """Refuse a header without identifiers, and correct the attributes that objects copy from it.

    Its text becomes UTF-8: objects copy the character set, too, which must cover our own text and
    the user's, and highdicom supports neither several sets (as for Japanese names) nor wrong ones.
    """
    data.decode()
    data.SpecificCharacterSet = UTF8
    missing = [keyword for keyword in NEEDED if not data.get(keyword)]
    if missing:
        raise InputError(
            a_file(path),
            f": has no {', '.join(missing)}, so that a DICOM object cannot refer to it; export the "
            "series again from the scanner or the archive",
        )
    for keyword in MAY_BE_EMPTY:
        if keyword not in data:
            setattr(data, keyword, None)
    if data.PatientSex not in SEXES:
        data.PatientSex = ""
    if "PixelSpacing" in data:  # of one slice; many scanners and converters state another distance
        data.SpacingBetweenSlices = f"{distance_mm:.6g}"
        data.SliceThickness = data.get("SliceThickness") or f"{distance_mm:.6g}"


def _slice_distance_mm(header: SeriesHeader) -> float:
    places = np.array(header.places)
    if len(places) < 2:
        return float(header.tags.get("SliceThickness") or 1.0)
    return float(np.linalg.norm(places[-1] - places[0])) / (len(places) - 1)
