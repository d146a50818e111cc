"""The header of one DICOM file, and whether the file is complete."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from ..contract.modalities import DICOM_TAGS

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

WHO_AND_WHEN = (
    *("PatientID", "PatientName", "PatientBirthDate", "StudyInstanceUID"),
    *("StudyDate", "SeriesDate", "AcquisitionDate"),
)
KEYWORDS = (*WHO_AND_WHEN, "FrameOfReferenceUID", "SliceThickness", *DICOM_TAGS)
_PREAMBLE_BYTES = 128
_ENDINGS = (".dcm", ".ima")
# Uncompressed pixels (PS3.5, A.1, A.2, A.3), whose length follows from the header.
_NATIVE = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2")
_DEFLATED = "1.2.840.10008.1.2.1.99"
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"  # also .1 to .4: multi-frame (PS3.4, B.5)
_PICTURES = {"SCREEN SAVE", "SECONDARY CAPTURE"}  # values of Image Type


@dataclass(frozen=True)
class DicomFile:
    """The header of a DICOM file.

    Attributes:
        path: the file.
        series_uid: Series Instance UID; "" if the file is too damaged to read it.
        complete: whether header and pixels are complete.
        tags: attributes by keyword, those of ``KEYWORDS`` that it has.
        size: columns and rows.
        components: values per pixel.
        picture: whether it is a screen capture, not a slice.
        pixel_mm: Pixel Spacing; empty if it is missing or invalid, or differs between frames.
        places: Image Position (Patient) of each frame, in mm; empty for those that have none.
        orientations: the different values of Image Orientation (Patient) in its frames.
        scales: Rescale Slope and Intercept of each frame; empty if all frames have the same.
        partly_scaled: whether some frames lack a Rescale Slope or Intercept that others have.
    """

    path: Path
    series_uid: str = ""
    complete: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)
    size: tuple[int, int] = (0, 0)
    components: int = 1
    picture: bool = False
    pixel_mm: tuple[float, ...] = ()
    places: tuple[tuple[float, ...], ...] = ()
    orientations: frozenset[tuple[float, ...]] = frozenset()
    scales: tuple[tuple[float, float], ...] = ()
    partly_scaled: bool = False


def is_dicom(path: Path) -> bool:
    """Whether a file has a DICOM ending or prefix (PS3.10, 7.1), or begins as a data set.

    Old archives and scanners write the data set alone, without preamble and prefix.
    """
    if path.suffix.lower() in _ENDINGS:
        return True
    try:
        with path.open("rb") as stream:
            start = stream.read(_PREAMBLE_BYTES + 4)
    except OSError:
        return False
    return start[_PREAMBLE_BYTES:] == b"DICM" or _starts_as_data_set(start)


def _starts_as_data_set(start: bytes) -> bool:
    """Whether the first bytes are a data element of group 2 or 8 (PS3.5, 7.1)."""
    if start[:2] == b"\0\x08":  # big-endian is always explicit
        return start[4:6].isalpha() and start[4:6].isupper()
    if start[:2] not in (b"\x08\0", b"\x02\0") or len(start) < 16:
        return False
    explicit = start[4:6].isalpha() and start[4:6].isupper()
    return explicit or int.from_bytes(start[4:8], "little") <= 256


def read_dicom_file(path: Path) -> DicomFile | None:
    """The header of a DICOM file; None if it is complete but no image, such as a report."""
    import pydicom  # only where there is DICOM: it takes a while to load

    if path.name.upper() == "DICOMDIR":
        return None
    try:
        with warnings.catch_warnings(), path.open("rb") as stream:
            warnings.simplefilter("ignore")  # about values that break rules but can be read
            dataset = pydicom.dcmread(stream, stop_before_pixels=True, force=True)
            if "Rows" not in dataset:
                return _without_pixels(path, dataset)
            return _described(path, dataset, _complete(dataset, stream))
    except Exception:  # pydicom raises any kind of error on damaged bytes
        return DicomFile(path)


def dicom_pixels(path: Path) -> Any:
    """The stored pixels of a file, not rescaled (frames, rows, columns).

    Raises:
        ValueError: if their compression is not supported.
    """
    import pydicom

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return pydicom.dcmread(path, force=True).pixel_array
    except (RuntimeError, NotImplementedError, AttributeError, ValueError) as error:
        raise ValueError(str(error)) from error


def numbers(value: object) -> tuple[float, ...]:
    """The numbers in an attribute; empty if it is empty or not numeric."""
    try:
        return tuple(float(part) for part in _text(value).split("\\"))
    except ValueError:
        return ()


def _without_pixels(path: Path, dataset: Dataset) -> DicomFile | None:
    from pydicom.uid import UID

    kind = dataset.get("SOPClassUID") or dataset.file_meta.get("MediaStorageSOPClassUID", "")
    if kind and "Image Storage" not in UID(kind).name:
        return None
    return DicomFile(path, str(dataset.get("SeriesInstanceUID", "")))


def _complete(dataset: Dataset, stream: BinaryIO) -> bool:
    """Whether the pixels are complete; the stream must be at their start."""
    import pydicom

    meta = getattr(dataset, "file_meta", {})
    syntax = str(meta.get("TransferSyntaxUID", _NATIVE[0]))
    if syntax == _DEFLATED:
        return True  # its checksum was verified on reading
    if syntax not in _NATIVE:
        stream.seek(0)
        return "PixelData" in pydicom.dcmread(stream, force=True)
    bits = dataset.Rows * dataset.Columns * dataset.BitsAllocated
    bits *= int(dataset.get("SamplesPerPixel", 1)) * int(dataset.get("NumberOfFrames", 1) or 1)
    head = stream.tell() + (8 if _is_implicit(dataset) else 12)
    return stream.seek(0, 2) - head >= bits // 8


def _is_implicit(dataset: Dataset) -> bool:
    """Whether the file is in implicit VR encoding, without types of attributes (PS3.5, 7.1.3)."""
    if hasattr(dataset, "original_encoding"):
        return bool(dataset.original_encoding[0])
    return bool(dataset.read_implicit_vr)  # its name in pydicom 2


def _described(path: Path, dataset: Dataset, complete: bool) -> DicomFile:
    tags = {keyword: _tag(dataset, keyword) for keyword in KEYWORDS}
    shared = _first(dataset, "SharedFunctionalGroupsSequence")
    frames = list(dataset.get("PerFrameFunctionalGroupsSequence") or [])
    if not frames:
        frames = [None] * int(dataset.get("NumberOfFrames", 1) or 1)

    def told(frame: Dataset | None, sequence: str, keyword: str) -> Any:
        """An attribute of a frame, from its functional groups (PS3.3, C.7.6.16) or the file."""
        for group in (frame, shared):
            item = _first(group, sequence)
            if item is not None and keyword in item:
                return item.get(keyword)
        return dataset.get(keyword)

    pixel_mm = {numbers(told(frame, "PixelMeasuresSequence", "PixelSpacing")) for frame in frames}
    spacing = pixel_mm.pop() if len(pixel_mm) == 1 else ()
    rescale = "PixelValueTransformationSequence"
    scales = [
        (told(frame, rescale, "RescaleSlope"), told(frame, rescale, "RescaleIntercept"))
        for frame in frames
    ]
    kind = str(dataset.get("SOPClassUID", ""))
    is_picture = kind == _SECONDARY_CAPTURE or kind.startswith(f"{_SECONDARY_CAPTURE}.")
    return DicomFile(
        path,
        str(dataset.get("SeriesInstanceUID", "")),
        complete,
        {keyword: value for keyword, value in tags.items() if value},
        (int(dataset.Columns), int(dataset.Rows)),
        int(dataset.get("SamplesPerPixel", 1)),
        is_picture or bool(_PICTURES & set(tags["ImageType"].upper().split("\\"))),
        spacing if len(spacing) == 2 and all(0 < mm < math.inf for mm in spacing) else (),
        tuple(
            numbers(told(frame, "PlanePositionSequence", "ImagePositionPatient"))
            for frame in frames
        ),
        frozenset(
            numbers(told(frame, "PlaneOrientationSequence", "ImageOrientationPatient"))
            for frame in frames
        ),
        tuple((float(slope or 1), float(shift or 0)) for slope, shift in scales)
        if len(set(scales)) > 1
        else (),
        any(None in column and set(column) != {None} for column in zip(*scales)),
    )


def _first(group: Dataset | None, sequence: str) -> Dataset | None:
    items = group.get(sequence) if group is not None else None
    return items[0] if items else None


def _tag(dataset: Dataset, keyword: str) -> str:
    text = _text(dataset.get(keyword))
    if dataset.get("SpecificCharacterSet"):
        return text
    try:
        return text.encode("latin_1").decode("utf_8")  # UTF-8 is often not declared
    except UnicodeError:
        return text


def _text(value: object) -> str:
    """A value as text; several values are separated by a backslash, as in the file."""
    if value is None:
        return ""
    several = not isinstance(value, str) and hasattr(value, "__iter__")
    parts = value if several else [value]
    return "\\".join(str(part) for part in parts).strip(" \0")  # type: ignore[attr-defined]
