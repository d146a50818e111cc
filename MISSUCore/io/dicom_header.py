"""The header of one DICOM image: where its frames lie, how large its pixels are, what it is of."""

from __future__ import annotations

import math
import warnings
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..contract.modalities import DICOM_TAGS
from ..core.errors import InputError

if TYPE_CHECKING:
    from pydicom import Dataset

KEYWORDS = ("PatientID", "StudyInstanceUID", "SeriesNumber", "SliceThickness", *DICOM_TAGS)
DAMAGED = "is damaged or cut off"
_PREAMBLE_BYTES = 128
# Where a data set begins that has neither preamble nor mark: group 8, one of its first elements.
_FIRST_TAGS = {b"\x08\x00" + bytes((low, 0)) for low in (0x00, 0x01, 0x05, 0x08, 0x12, 0x16, 0x18)}
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"  # and, with more digits, its multi-frame kinds
_DELIMITER = b"\xfe\xff\xdd\xe0"  # ends compressed pixels (PS3.5, A.4)


class Frame(NamedTuple):
    """Where a frame lies, in mm (empty: it does not say), and what its values are multiplied by."""

    place: tuple[float, ...]
    orientation: tuple[float, ...]
    slope: float


class DicomFile(NamedTuple):
    """What the header of an image says.

    Attributes:
        tags: attributes by keyword, those of ``KEYWORDS`` that it has.
        series: Series Instance UID.
        instance: SOP Instance UID.
        is_capture: whether it is a secondary capture, as a picture of a screen.
        pixel_spacing_mm: along rows and columns; empty: it does not say.
        components: values a pixel.
        size: columns and rows.
        frames: one, or more.
    """

    tags: dict[str, str]
    series: str
    instance: str
    is_capture: bool
    pixel_spacing_mm: tuple[float, ...]
    components: int
    size: tuple[int, int]
    frames: tuple[Frame, ...]


def is_dicom(path: Path) -> bool:
    """Whether a file has the mark of DICOM (PS3.10, 7.1) or its ending, or begins as a data set
    without preamble does."""
    if path.suffix.lower() in (".dcm", ".ima"):
        return True
    try:
        with path.open("rb") as stream:
            start = stream.read(_PREAMBLE_BYTES + 4)
    except OSError:
        return False
    return start[_PREAMBLE_BYTES:] == b"DICM" or start[:4] in _FIRST_TAGS


def read_header(path: Path) -> DicomFile | None:
    """The header of an image; None if the file is none.

    Raises:
        InputError: if it is damaged; the message does not name it.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}") from error
    return _read_once(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=4096)
def _read_once(path: Path, size: int, changed: int) -> DicomFile | None:
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    if not size:
        raise InputError("is empty")
    try:
        with path.open("rb") as stream, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = dcmread(stream, stop_before_pixels=True, force=True)
            at = stream.tell()
            return _image(dataset, path, at, size)
    except (InvalidDicomError, EOFError, OSError) as error:
        raise InputError(DAMAGED) from error
    except InputError:
        raise
    except Exception as error:  # pydicom's own errors are of many kinds
        raise InputError(DAMAGED) from error


def _image(dataset: Dataset, path: Path, at: int, size: int) -> DicomFile | None:
    kind = dataset.get("SOPClassUID")
    if "Rows" not in dataset:
        if path.name.upper() == "DICOMDIR" or (kind and "Image Storage" not in kind.name):
            return None
        raise InputError(DAMAGED)
    file = _facts(dataset)
    syntax = getattr(dataset, "file_meta", {}).get("TransferSyntaxUID")
    if syntax and syntax.is_compressed:
        # A deflated data set is inflated as a whole, which fails where it is cut off.
        whole = syntax.is_deflated or _DELIMITER in path.read_bytes()[at:]
    else:
        bits = int(dataset.get("BitsAllocated", 16))
        samples = int(dataset.get("SamplesPerPixel", 1))
        whole = size - at >= math.prod(file.size) * len(file.frames) * samples * bits // 8
    if not whole:
        raise InputError(DAMAGED)
    return file


def _facts(dataset: Dataset) -> DicomFile:
    count = max(int(dataset.get("NumberOfFrames") or 1), 1)
    shared = _first(dataset, "SharedFunctionalGroupsSequence")
    groups = list(dataset.get("PerFrameFunctionalGroupsSequence") or [])
    groups += [None] * (count - len(groups))
    frames = tuple(_frame(dataset, shared, group, count) for group in groups[:count])
    measures = _first(groups[0], "PixelMeasuresSequence") or _first(shared, "PixelMeasuresSequence")
    spacing = numbers(_value(measures or dataset, "PixelSpacing"))
    in_color = dataset.get("PhotometricInterpretation") == "PALETTE COLOR"
    tags = {keyword: _text(_value(dataset, keyword)) for keyword in KEYWORDS}
    return DicomFile(
        {keyword: value for keyword, value in tags.items() if value},
        _text(dataset.get("SeriesInstanceUID")),
        _text(dataset.get("SOPInstanceUID")),
        _text(dataset.get("SOPClassUID")).startswith(_SECONDARY_CAPTURE),
        spacing if len(spacing) == 2 and min(spacing) > 0 else (),
        3 if in_color else int(dataset.get("SamplesPerPixel") or 1),
        (int(dataset.Columns), int(dataset.Rows)),
        frames,
    )


def _frame(dataset: Dataset, shared: Any, group: Any, count: int) -> Frame:
    """Place, orientation and slope of a frame: its own, those of all, or of a classic image."""

    def find(sequence: str, keyword: str) -> tuple[float, ...]:
        for holder in (_first(group, sequence), _first(shared, sequence)):
            if holder is not None and keyword in holder:
                return numbers(_value(holder, keyword))
        return numbers(_value(dataset, keyword))

    place = find("PlanePositionSequence", "ImagePositionPatient")
    if count > 1 and group is None:
        place = ()  # the image's own is that of one frame
    slope = find("PixelValueTransformationSequence", "RescaleSlope") or (1.0,)
    return Frame(place, find("PlaneOrientationSequence", "ImageOrientationPatient"), slope[0])


def _first(dataset: Any, keyword: str) -> Any:
    """The first item of a sequence; None if there is none."""
    items = dataset.get(keyword) if dataset is not None else None
    return items[0] if items else None


def _value(dataset: Any, keyword: str) -> Any:
    """An attribute; None if it is missing, or its value breaks the rules."""
    try:
        return dataset.get(keyword)
    except (ValueError, TypeError, OverflowError):
        return None


def _text(value: Any) -> str:
    """Values as DICOM writes them, separated by backslashes."""
    if value is None:
        return ""
    several = not isinstance(value, str) and hasattr(value, "__iter__")
    return "\\".join(map(str, value)).strip(" \0") if several else str(value).strip(" \0")


def numbers(value: Any) -> tuple[float, ...]:
    """The values of an attribute; none if it is empty or no numbers."""
    try:
        return tuple(float(part) for part in _text(value).split("\\"))
    except ValueError:
        return ()
