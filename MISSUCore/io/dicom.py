"""DICOM series in folders, of which one may hold the files of several."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Union

import numpy as np
import SimpleITK as sitk

from ..contract.modalities import DICOM_TAGS
from ..core.errors import InputError

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
# Image Position (Patient) of each frame, in sequences that ITK does not show (PS3.5, 7.1.2).
_FRAME_PLACE = re.compile(rb"\x20\0\x32\0(?:DS..|....)([-+.\deE ]+(?:\\[-+.\deE ]+){2})", re.DOTALL)
# Direction cosines of one stack of slices may be rounded differently.
_SAME_DIRECTION = 0.01
_CHARACTER_SET = "0008|0005"
# PS3.3, C.12.1.1.2, by the last word of the set's name.
_CODECS = {
    "100": "latin_1",
    "101": "iso8859_2",
    "109": "iso8859_3",
    "110": "iso8859_4",
    "144": "iso8859_5",
    "127": "iso8859_6",
    "126": "iso8859_7",
    "138": "iso8859_8",
    "148": "iso8859_9",
    "203": "iso8859_15",
    "166": "tis_620",
    "13": "shift_jis",
    "87": "iso2022_jp_2",
    "159": "iso2022_jp_2",
    "149": "euc_kr",
    "58": "gb2312",
    "GB18030": "gb18030",
    "GBK": "gbk",
}


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
        pixel_spacing_mm: of its pixels.
        components: values a pixel.
        frames: of all files.
        sizes: columns and rows, all that its files have.
        places: Image Position (Patient) of each frame, in mm; empty for those that have none.
        orientations: Image Orientation (Patient), all that its files have.
    """

    series: DicomSeries
    tags: dict[str, str]
    pixel_spacing_mm: tuple[float, ...]
    components: int
    frames: int = 0
    sizes: set[tuple[int, ...]] = field(default_factory=set)
    places: list[tuple[float, ...]] = field(default_factory=list)
    orientations: set[tuple[float, ...]] = field(default_factory=set)

    def problem(self) -> str:
        """Why the series is no single volume; "" if it is one."""
        if self.components != 1:
            return "is in color"
        if len(self.sizes) > 1:
            return "has slices of several sizes"
        first = next(iter(self.orientations))
        if any(not _parallel(other, first) for other in self.orientations):
            return "has slices in several directions, as a localizer"
        if len(self.places) > 1 and () in self.places:
            return "does not say where its slices are"
        if len(set(self.places)) < len(self.places):
            return "has several images of each slice"
        return ""

    def voxel_mm3(self) -> float:
        """Volume of a voxel, gaps between slices included."""
        (distance_mm, *_) = _numbers(self.tags.get("SliceThickness", "")) or (
            self.pixel_spacing_mm[2],
        )
        if len(self.places) > 1 and all(self.places):
            length = np.linalg.norm(np.ptp(np.array(self.places), axis=0))
            distance_mm = float(length) / (len(self.places) - 1)
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

    ITK spaces the slices of a series evenly, whether one is missing or not, and takes the frames
    of a file in their order there.

    Raises:
        InputError: if one is missing, there twice, out of order, or does not say where it is.
    """
    files = reader.GetFileNames()
    if len(files) == image.GetDepth():
        told = [_numbers(reader.GetMetaData(index, _PLACE)) for index in range(len(files))]
    else:
        told = [place for file in files for place in _frame_places(Path(file))]
        if len(told) != image.GetDepth():
            return  # no frame says where it is
    for index, place_mm in enumerate(told):
        if len(place_mm) != 3:
            raise InputError(f"{source}: slice {index} does not say where it is")
        distance_mm = math.dist(place_mm, image.TransformIndexToPhysicalPoint((0, 0, index)))
        if distance_mm > 0.1 * image.GetSpacing()[2]:
            raise InputError(
                f"{source}: the slices are not evenly spaced; one is missing, there twice or out "
                "of order"
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
                reader.GetSpacing(),
                reader.GetNumberOfComponents(),
            )
        columns, rows, *frames = reader.GetSize()
        several = math.prod(frames) > 1
        header.frames += math.prod(frames)
        header.sizes.add((columns, rows))
        header.places += _frame_places(path) if several else [_numbers(_tag(reader, _PLACE))]
        header.orientations.add(_numbers(_tag(reader, _ORIENTATION)))
    return list(found.values())


def _frame_places(path: Path) -> list[tuple[float, ...]]:
    """Where the frames of a file are, in mm, as far as they say it."""
    return [_numbers(text.decode("ascii")) for text in _FRAME_PLACE.findall(path.read_bytes())]


def _parallel(first: tuple[float, ...], second: tuple[float, ...]) -> bool:
    return len(first) == len(second) and np.allclose(first, second, rtol=0, atol=_SAME_DIRECTION)


def _numbers(text: str) -> tuple[float, ...]:
    """The values of an attribute; none if it is empty or no numbers."""
    try:
        return tuple(float(part) for part in text.split("\\"))
    except ValueError:
        return ()


def _tag(reader: sitk.ImageFileReader, tag: str) -> str:
    if not reader.HasMetaDataKey(tag):
        return ""
    raw = reader.GetMetaData(tag).encode("utf-8", "surrogateescape")
    name = reader.GetMetaData(_CHARACTER_SET) if reader.HasMetaDataKey(_CHARACTER_SET) else ""
    codec = _CODECS.get(re.split(r"[\s_\\]", name.strip())[-1], "utf_8")
    raw = re.sub(rb"\x1b\$\)[AC]", b"", raw)  # announces Korean and Chinese
    # What is not in the file's character set must not break a message.
    return raw.decode(codec, "replace").strip(" \0")
