"""DICOM series in folders, of which one may hold the files of several."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Union

import numpy as np
import SimpleITK as sitk

from ..core.errors import InputError
from ..core.files import itk_name
from .dicom_header import DicomFile, Frame, is_dicom, numbers, read_header

# Direction cosines of one stack of slices may be rounded differently.
_SAME_DIRECTION = 0.01
_TILTED_DEGREES = 1.0
LOCALIZER = "has slices in several directions, as a localizer"


@dataclass(frozen=True)
class DicomSeries:
    """One of the DICOM series in a folder.

    Attributes:
        folder: holds the files, and may hold those of other series.
        uid: Series Instance UID.
        description: Series Description, for messages.
        excluded: files of the series that are no slices, such as a secondary capture.
    """

    folder: Path
    uid: str
    description: str = field(default="", compare=False)
    excluded: tuple[Path, ...] = field(default=(), compare=False)

    def __str__(self) -> str:
        return f"{self.folder} (DICOM series {self.description or self.uid})"

    def files(self) -> list[Path]:
        """The series' files, in the order of their slices.

        Raises:
            InputError: if there are none.
        """
        names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(itk_name(self.folder), self.uid)
        files = [Path(name) for name in names if Path(name) not in self.excluded]
        if not files:
            raise InputError(f"{self}: the folder holds no such series")
        return files


@dataclass
class SeriesHeader:
    """What the headers of a series' files say.

    Attributes:
        series: the series.
        files: its images, by path.
        damaged: files that cannot be read, and may be of this series; why.
    """

    series: DicomSeries
    files: dict[Path, DicomFile]
    damaged: dict[Path, str] = field(default_factory=dict)

    @property
    def tags(self) -> dict[str, str]:
        """Attributes of its first file."""
        return next(iter(self.files.values())).tags

    @property
    def frames(self) -> list[Frame]:
        """Frames of all files."""
        return [frame for file in self.files.values() for frame in file.frames]

    @property
    def instances(self) -> set[str]:
        """SOP Instance UIDs of its files."""
        return {file.instance for file in self.files.values()}

    def problem(self) -> str:
        """Why the series is no single volume; "" if it is one."""
        places = [frame.place for frame in self.frames]
        orientations = [frame.orientation for frame in self.frames]
        if self.damaged:
            return _named(self.damaged)
        if any(file.components != 1 for file in self.files.values()):
            return "is in color"
        if len({file.size for file in self.files.values()}) > 1:
            return "has slices of several sizes"
        if any(not _parallel(other, orientations[0]) for other in orientations):
            return LOCALIZER
        if len(places) > 1 and () in places:
            return "does not say where its slices are"
        if len(set(places)) < len(places):
            return "has several images of each slice"
        return self.unusable()

    def unusable(self) -> str:
        """What would make a wrong volume of it without ITK noticing; "" if nothing."""
        if any(not file.pixel_spacing_mm for file in self.files.values()):
            return "does not say how large its pixels are (Pixel Spacing)"
        if any(len({f.slope for f in file.frames}) > 1 for file in self.files.values()):
            # GDCM applies the first one's to all.
            return "has frames that are scaled differently; convert it to NIfTI with dcm2niix"
        return ""

    def voxel_mm3(self) -> float:
        """Volume of a voxel, gaps between slices included; 0 if it is not known."""
        spacing_mm = next(iter(self.files.values())).pixel_spacing_mm
        places = [frame.place for frame in self.frames]
        (distance_mm, *_) = numbers(self.tags.get("SliceThickness")) or (1.0,)
        if len(places) > 1 and all(places):
            length = np.linalg.norm(np.ptp(np.array(places), axis=0))
            distance_mm = float(length) / (len(places) - 1)
        return math.prod(spacing_mm) * distance_mm if spacing_mm else 0.0


# An image file, a folder with one DICOM series, or one series of several.
ScanSource = Union[Path, DicomSeries]


class Headers(NamedTuple):
    """Series of some files, and the damaged files that lie beside none."""

    series: list[SeriesHeader]
    damaged: dict[Path, str]


def only_series(folder: Path) -> DicomSeries:
    """The one DICOM series in a folder.

    Raises:
        InputError: if there is none, or more than one, or a file of it is damaged.
    """
    files = [path for path in sorted(folder.iterdir()) if path.is_file() and is_dicom(path)]
    found = read_headers(files)
    if not found.series:
        damaged = f": {_named(found.damaged)}" if found.damaged else ""
        raise InputError(f"{folder}: the folder holds no DICOM series{damaged}")
    if len(found.series) > 1:
        raise InputError(
            f"{folder}: the folder holds {len(found.series)} DICOM series; give one folder a series"
        )
    (header,) = found.series
    if header.damaged:
        raise InputError(f"{folder}: {_named(header.damaged)}; copy the series again")
    return header.series


def check_files(source: ScanSource, files: Iterable[Path]) -> None:
    """Make sure that the files of a series are whole, and that ITK reads them rightly.

    Raises:
        InputError: if one is damaged, or they do not say how large pixels are, or frames are scaled
            differently.
    """
    found = read_headers(files)
    for header in found.series:
        if header.damaged:
            raise InputError(f"{source}: {_named(header.damaged)}; copy the series again")
        if header.unusable():
            raise InputError(f"{source}: {header.unusable()}")
    if found.damaged:
        raise InputError(f"{source}: {_named(found.damaged)}; copy the series again")


def check_slices(source: ScanSource, files: Iterable[Path], image: sitk.Image) -> None:
    """Make sure that each slice is where the image has it.

    ITK spaces the slices of a series evenly, whether one is missing or not, and takes the frames
    of a file in their order there.

    Raises:
        InputError: if one is missing, there twice, out of order, or does not say where it is, or if
            they are stacked at a slant.
    """
    headers = [read_header(path) for path in files]
    told = [frame.place for header in headers if header for frame in header.frames]
    if len(told) != image.GetDepth() or (len(headers) == 1 and () in told):
        return  # frames that do not say where they are
    for index, place_mm in enumerate(told):
        if len(place_mm) != 3:
            raise InputError(f"{source}: slice {index} does not say where it is")
    normal = np.array(image.GetDirection()).reshape(3, 3)[:, 2]
    steps = np.diff(np.array(told), axis=0)
    _check_upright(source, steps, normal)
    for index, place_mm in enumerate(told):
        distance_mm = math.dist(place_mm, image.TransformIndexToPhysicalPoint((0, 0, index)))
        if distance_mm > 0.1 * image.GetSpacing()[2]:
            raise InputError(
                f"{source}: the slices are not evenly spaced; one is missing, there twice or out "
                "of order"
            )


def _check_upright(source: ScanSource, steps: np.ndarray, normal: np.ndarray) -> None:
    """Refuse slices that are stacked along another line than the one they face."""
    lengths = np.linalg.norm(steps, axis=1)
    if not len(steps) or not lengths.all():
        return
    cosines = np.clip(np.abs(steps @ normal) / lengths, 0, 1)
    degrees = float(np.degrees(np.arccos(cosines.max())))
    if degrees > _TILTED_DEGREES:
        raise InputError(
            f"{source}: its slices are tilted by {degrees:.0f} degrees against the line on which "
            "they are stacked (gantry tilt); convert it to NIfTI with dcm2niix"
        )


def read_headers(files: Iterable[Path]) -> Headers:
    """The series that DICOM files belong to.

    What is no image is passed over. The files of a series in two folders are two series here. A
    damaged file of which the series is not known counts to all in its folder.
    """
    found: dict[tuple[Path, str], dict[Path, DicomFile]] = {}
    damaged: dict[Path, str] = {}
    for path in files:
        try:
            file = read_header(path)
        except InputError as error:
            damaged[path] = str(error)
            continue
        if file:
            found.setdefault((path.parent, file.series), {})[path] = file
    headers = [_header(folder, uid, images) for (folder, uid), images in found.items()]
    for header in headers:
        header.damaged = {p: why for p, why in damaged.items() if p.parent == header.series.folder}
    folders = {header.series.folder for header in headers}
    return Headers(headers, {p: why for p, why in damaged.items() if p.parent not in folders})


def _header(folder: Path, uid: str, files: dict[Path, DicomFile]) -> SeriesHeader:
    """A series, without the files among its slices that are something else."""
    kinds = Counter((file.is_capture, file.tags.get("Modality")) for file in files.values())
    kind = max(kinds, key=lambda one: (not one[0], kinds[one]))
    slices = {p: f for p, f in files.items() if (f.is_capture, f.tags.get("Modality")) == kind}
    description = next(iter(slices.values())).tags.get("SeriesDescription", "")
    excluded = tuple(path for path in files if path not in slices)
    return SeriesHeader(DicomSeries(folder, uid, description, excluded), slices)


def _named(damaged: dict[Path, str]) -> str:
    """Damaged files by name, as far as a sentence holds them."""
    (path, why), *others = damaged.items()
    more = f", as are {len(others)} more" if others else ""
    return f"{path.name} {why}{more}"


def _parallel(first: tuple[float, ...], second: tuple[float, ...]) -> bool:
    return len(first) == len(second) and np.allclose(first, second, rtol=0, atol=_SAME_DIRECTION)
