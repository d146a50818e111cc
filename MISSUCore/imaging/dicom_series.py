"""DICOM series in folders, of which one may hold the files of several."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Union

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from .modalities import DICOM_TAGS

KEYWORDS = {
    "PatientID": "0010|0020",
    "StudyInstanceUID": "0020|000d",
    "SliceThickness": "0018|0050",
    # As ITK writes them.
    **{keyword: tag.lower().replace(",", "|") for keyword, tag in DICOM_TAGS.items()},
}
_SERIES_UID = "0020|000e"
_PLACE = "0020|0032"  # Image Position (Patient)
_ORIENTATION = "0020|0037"  # Image Orientation (Patient)
_PREAMBLE_BYTES = 128


@dataclass(frozen=True)
class DicomSeries:
    """One of the DICOM series in a folder.

    Attributes:
        folder: holds the files, and may hold those of other series.
        uid: Series Instance UID.
        description: Series Description, for messages.
    """

    folder: Path
    uid: str
    description: str = field(default="", compare=False)

    def __str__(self) -> str:
        return f"{self.folder} (DICOM series {self.description or self.uid})"

    def files(self) -> list[Path]:
        """The series' files, in the order of their slices.

        Raises:
            InputError: if there are none.
        """
        names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(self.folder), self.uid)
        if not names:
            raise InputError(f"{self}: the folder holds no such series")
        return [Path(name) for name in names]


@dataclass
class SeriesHeader:
    """What the headers of a series' files say.

    Attributes:
        series: the series.
        tags: attributes of its first file by keyword, those of ``KEYWORDS`` that it has.
        size: columns, rows and frames of a file.
        pixel_spacing_mm: of its pixels.
        components: values a pixel.
        places: Image Position (Patient) of each file.
        orientations: all that its files have.
    """

    series: DicomSeries
    tags: dict[str, str]
    size: tuple[int, ...]
    pixel_spacing_mm: tuple[float, ...]
    components: int
    places: list[str] = field(default_factory=list)
    orientations: set[str] = field(default_factory=set)

    def slices(self) -> int:
        """How many there are."""
        return len(self.places) * self.size[2]

    def problem(self) -> str:
        """Why the series is no single volume; "" if it is one."""
        if self.components != 1:
            return "is in color"
        if len(self.orientations) > 1:
            return "has slices in several directions, as a localizer"
        if len(set(self.places)) < len(self.places):
            return "has several images of each slice"
        return ""

    def voxel_mm3(self) -> float:
        """Volume of a voxel, gaps between slices included."""
        distance_mm = float(self.tags.get("SliceThickness") or self.pixel_spacing_mm[2])
        if len(self.places) > 1 and all(self.places):
            places = np.array([[float(part) for part in p.split("\\")] for p in self.places])
            length = np.linalg.norm(np.ptp(places, axis=0))
            distance_mm = float(length) / (len(places) - 1)
        return float(np.prod(self.pixel_spacing_mm[:2])) * distance_mm


# An image file, a folder with one DICOM series, or one series of several.
ScanSource = Union[Path, DicomSeries]


def only_series(folder: Path) -> DicomSeries:
    """The one DICOM series in a folder.

    Raises:
        InputError: if there is none, or more than one.
    """
    series = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
    if not series:
        raise InputError(f"{folder}: the folder holds no DICOM series")
    if len(series) > 1:
        raise InputError(
            f"{folder}: the folder holds {len(series)} DICOM series; give one folder a series"
        )
    return DicomSeries(folder, series[0])


def check_slices(source: ScanSource, reader: sitk.ImageSeriesReader, image: sitk.Image) -> None:
    """Make sure that each slice is where the image has it.

    ITK spaces the slices of a series evenly, whether one is missing or not.

    Raises:
        InputError: if one is missing, there twice, or does not say where it is.
    """
    if len(reader.GetFileNames()) != image.GetDepth():
        return  # a file of many frames says itself where they are
    for index in range(image.GetDepth()):
        place = image.TransformIndexToPhysicalPoint((0, 0, index))
        try:
            told = [float(part) for part in reader.GetMetaData(index, _PLACE).split("\\")]
            distance_mm = math.dist(told, place)
        except (RuntimeError, ValueError) as error:
            raise InputError(f"{source}: slice {index} does not say where it is") from error
        if distance_mm > 0.1 * image.GetSpacing()[2]:
            raise InputError(
                f"{source}: the slices are not evenly spaced; one is missing or there twice"
            )


def is_dicom(path: Path) -> bool:
    """Whether a file has the mark of DICOM (PS3.10, 7.1), or at least its ending."""
    if path.suffix.lower() in (".dcm", ".ima"):
        return True
    try:
        with path.open("rb") as stream:
            return stream.read(_PREAMBLE_BYTES + 4)[_PREAMBLE_BYTES:] == b"DICM"
    except OSError:
        return False


def read_headers(files: Iterable[Path]) -> list[SeriesHeader]:
    """The series that DICOM files belong to; each header is read once.

    What is no image is passed over. The files of a series in two folders are two series here.
    """
    found: dict[tuple[Path, str], SeriesHeader] = {}
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    for path in files:
        reader.SetFileName(str(path))
        try:
            reader.ReadImageInformation()
        except RuntimeError:
            continue
        uid = _tag(reader, _SERIES_UID)
        header = found.get((path.parent, uid))
        if header is None:
            tags = {keyword: _tag(reader, tag) for keyword, tag in KEYWORDS.items()}
            series = DicomSeries(path.parent, uid, tags["SeriesDescription"])
            header = found[path.parent, uid] = SeriesHeader(
                series,
                {keyword: value for keyword, value in tags.items() if value},
                reader.GetSize(),
                reader.GetSpacing(),
                reader.GetNumberOfComponents(),
            )
        header.places.append(_tag(reader, _PLACE))
        header.orientations.add(_tag(reader, _ORIENTATION))
    return list(found.values())


def _tag(reader: sitk.ImageFileReader, tag: str) -> str:
    if not reader.HasMetaDataKey(tag):
        return ""
    # What is not in the file's character set must not break a message.
    return reader.GetMetaData(tag).encode("utf-8", "replace").decode().strip(" \0")
