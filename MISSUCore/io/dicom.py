"""DICOM series in folders; one folder may hold several series."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..contract.modalities import IMAGE_ENDING
from ..core.errors import InputError
from ..core.messages import a_file
from .dicom_file import DicomFile, dicom_pixels, is_dicom, numbers, read_dicom_file

# Tolerance, since direction cosines of one stack of slices may be rounded differently.
_SAME_DIRECTION = 0.01
# How far a slice may be from its place in an evenly spaced stack, as a fraction of the distance
# between slices.
UNEVEN = 0.1
_START_BYTES = 132  # preamble and prefix
LOCALIZER = "has slices in several directions, as a localizer"
_NAMED = 3  # at most so many damaged files are named in a message


@dataclass(frozen=True)
class DicomSeries:
    """One of the DICOM series in a folder.

    Attributes:
        folder: with the files, and perhaps those of other series.
        uid: Series Instance UID.
        part: distinguishes series that share a UID in one folder; "" for the first.
        description: Series Description, for messages.
        paths: its files in the order of their slices; empty if not yet known.
    """

    folder: Path
    uid: str
    part: str = ""
    description: str = field(default="", compare=False)
    paths: tuple[Path, ...] = field(default=(), compare=False, repr=False)

    def __str__(self) -> str:
        return f"{self.folder} (DICOM series {self.description or self.uid})"

    def files(self) -> list[Path]:
        """The series' files, in the order of their slices.

        Raises:
            InputError: if there are none.
        """
        return list(self.paths) or [file.path for file in series_header(self).files]


@dataclass
class SeriesHeader:
    """The headers of a DICOM series.

    Attributes:
        series: the series.
        files: of its slices, in their order.
        pictures: files that are screen captures or in color, left out of ``files``.
        damaged: files of the series, or of its folder if their series is unknown.
    """

    series: DicomSeries
    files: list[DicomFile]
    pictures: list[Path] = field(default_factory=list)
    damaged: list[Path] = field(default_factory=list)

    @property
    def tags(self) -> dict[str, str]:
        """Attributes of its first file by keyword."""
        return dict(self.files[0].tags)

    @property
    def places(self) -> list[tuple[float, ...]]:
        """Image Position (Patient) of each frame, in mm; empty for those that have none."""
        return [place for file in self.files for place in file.places]

    @property
    def frames(self) -> int:
        """Number of frames in all files."""
        return len(self.places)

    def problem(self) -> str:
        """Why the series is not a single volume; "" if it is one."""
        orientations = {each for file in self.files for each in file.orientations}
        first = next(iter(orientations))
        if any(file.components != 1 for file in self.files):
            return "is in color"
        if self.damaged:
            return self.damage()
        if len({file.size for file in self.files}) > 1:
            return "has slices of several sizes"
        if any(not _parallel(other, first) for other in orientations):
            return LOCALIZER
        if len(self.places) > 1 and () in self.places:
            return "does not say where its slices are"
        if len(set(self.places)) < len(self.places):
            return "has several images of each slice"
        return self.spread() or self.unmeasured() or self.tilt()

    def spread(self) -> str:
        """Error text for several multi-frame files, of which ITK reads only the first; or ""."""
        if len(self.files) == 1 or all(len(file.places) == 1 for file in self.files):
            return ""
        return "is spread over several files of many frames; convert it with dcm2niix"

    def damage(self) -> str:
        """Error text naming damaged files; "" if there are none."""
        if not self.damaged:
            return ""
        names = ", ".join(path.name for path in self.damaged[:_NAMED])
        more = len(self.damaged) - _NAMED
        named = f"{names} and {more} more files are" if more > 0 else f"{names}: is"
        return f"{named} damaged or cut off; copy the series again, or take the files away"

    def unmeasured(self) -> str:
        """Error text if pixel size, direction or scale is missing or ambiguous; else ""."""
        if any(file.partly_scaled for file in self.files):
            return (
                "says of some frames only how their values are scaled (Rescale Slope); export it "
                "again from the scanner or the archive"
            )
        if len({file.pixel_mm for file in self.files}) > 1 and all(f.pixel_mm for f in self.files):
            return "has slices with pixels of several sizes (Pixel Spacing)"
        if any(len(each) != 6 for file in self.files for each in file.orientations):
            return "does not say in which direction its slices lie (Image Orientation)"
        if all(file.pixel_mm for file in self.files):
            return ""
        return (
            "does not say how large its pixels are (Pixel Spacing); export it again from the "
            "scanner or the archive"
        )

    def tilt(self) -> str:
        """Error text if slices are sheared, as by a tilted gantry; "" if not."""
        places, (direction, *_) = np.array(self.places), tuple(self.files[0].orientations)
        if len(places) < 3 or places.shape[1:] != (3,) or len(direction) != 6:
            return ""
        steps = np.diff(places, axis=0)
        step = steps.mean(axis=0)
        normal = np.cross(direction[:3], direction[3:])
        # A shift of the last slice by up to a tenth of a voxel is rounding, more is a tilt.
        shift_mm = np.linalg.norm(step - normal * np.dot(step, normal)) * len(steps)
        allowed_mm = UNEVEN * float(np.linalg.norm(step))
        if np.abs(steps - step).max() > allowed_mm or shift_mm <= allowed_mm:
            return ""
        return (
            "has slices that are shifted against each other (gantry tilt); resample it to a plain "
            "grid, as with dcm2niix"
        )

    def voxel_mm3(self) -> float:
        """Volume of a voxel, including gaps between slices; 0 if the pixel size is missing."""
        (distance_mm, *_) = numbers(self.tags.get("SliceThickness", "")) or (1.0,)
        if len(self.places) > 1 and all(self.places):
            length = np.linalg.norm(np.ptp(np.array(self.places), axis=0))
            distance_mm = float(length) / (len(self.places) - 1)
        return float(np.prod(self.files[0].pixel_mm or (0.0,))) * distance_mm

    def shows_what(self, other: SeriesHeader) -> bool:
        """Whether another series has the same pixels."""
        return len(self.files) == len(other.files) and all(
            _pixels(mine.path) == _pixels(theirs.path)
            for mine, theirs in zip(self.files, other.files)
        )


# An image file, a folder with one DICOM series, or one of several series in a folder.
ScanSource = Path | DicomSeries


def source_files(sources: Iterable[ScanSource]) -> list[Path]:
    """All files of scans, and the paths of their JSON sidecars, whether these exist or not.

    Raises:
        InputError: if a DICOM series has no files.
        OSError: if a folder cannot be read.
    """
    files: list[Path] = []
    for source in sources:
        if isinstance(source, DicomSeries):
            files += source.files()
        elif source.is_dir():
            files += sorted(path for path in source.iterdir() if path.is_file())
        else:
            files += [source, source.with_name(IMAGE_ENDING.sub("", source.name) + ".json")]
    return files


def series_header(source: ScanSource) -> SeriesHeader:
    """The headers of a series, of the only series in a folder, or of a single file.

    Raises:
        InputError: if there is none, or more than one.
    """
    if isinstance(source, DicomSeries):
        paths = source.paths or tuple(dicom_files(source.folder))
        found = [
            header
            for header in read_headers(paths)[0]
            if header.series == source or (source.paths and header.series.uid == source.uid)
        ]
        if not found:
            raise InputError(a_file(source), ": the folder holds no such series")
        return found[0]
    if not source.is_dir():
        headers, _ = read_headers([source])
        if not headers:
            raise InputError(a_file(source), ": is damaged or cut off, or holds no image")
        return headers[0]
    headers, damaged = read_headers(dicom_files(source))
    if not headers:
        more = f"; {damaged[0].name}: is damaged or cut off" if damaged else ""
        raise InputError(a_file(source), f": the folder holds no DICOM series{more}")
    if len(headers) > 1:
        raise InputError(
            a_file(source),
            f": the folder holds {len(headers)} DICOM series; give one folder a series",
        )
    return headers[0]


def dicom_files(folder: Path) -> list[Path]:
    """The files of a folder that are DICOM, or may have been before a failed copy."""
    return [path for path in sorted(folder.iterdir()) if path.is_file() and may_be_dicom(path)]


def may_be_dicom(path: Path) -> bool:
    """Whether a file is DICOM, or starts with zeros only, as after an interrupted copy."""
    try:
        with path.open("rb") as stream:
            blank = not stream.read(_START_BYTES).strip(b"\0")
    except OSError:
        return False
    return not path.name.startswith(".") and (blank or is_dicom(path))


def read_headers(paths: Iterable[Path]) -> tuple[list[SeriesHeader], list[Path]]:
    """The series of DICOM files, and the damaged files of no series; each file is read once.

    Files without an image are skipped. Files of a series in two folders count as two series, and so
    do files in one folder that share the UID, but not the description.
    """
    files: dict[tuple[Path, str, str], list[DicomFile]] = {}
    damaged: list[DicomFile] = []
    for path in paths:
        file = read_dicom_file(path)
        if file is None:
            continue
        if not file.complete:
            damaged.append(file)
            continue
        description = file.tags.get("SeriesDescription", "")
        files.setdefault((path.parent, file.series_uid, description), []).append(file)
    headers: list[SeriesHeader] = []
    seen: set[tuple[Path, str]] = set()
    for (folder, uid, description), own in files.items():
        part = description if (folder, uid) in seen else ""
        seen.add((folder, uid))
        headers.append(_header(DicomSeries(folder, uid, part, description), own))
    return headers, _divided(damaged, headers)


def _header(series: DicomSeries, files: list[DicomFile]) -> SeriesHeader:
    slices = [file for file in files if not _is_picture(file)] or files
    slices = _in_order(slices)
    paths = tuple(file.path for file in slices)
    series = DicomSeries(series.folder, series.uid, series.part, series.description, paths)
    return SeriesHeader(series, slices, [file.path for file in files if file not in slices])


def _is_picture(file: DicomFile) -> bool:
    return file.picture or file.components != 1


def _in_order(files: list[DicomFile]) -> list[DicomFile]:
    """The files sorted along the normal of the slices; unsorted if positions are missing."""
    (direction, *_) = files[0].orientations
    places = [file.places[0] for file in files]
    if len(direction) != 6 or any(len(place) != 3 for place in places):
        return files
    normal = np.cross(direction[:3], direction[3:])
    return sorted(files, key=lambda file: float(np.dot(file.places[0], normal)))


def _divided(damaged: Sequence[DicomFile], headers: list[SeriesHeader]) -> list[Path]:
    """Assign damaged files to the series they may belong to; returns those that fit none."""
    left = []
    for file in damaged:
        same_folder = [header for header in headers if header.series.folder == file.path.parent]
        own = [header for header in same_folder if header.series.uid == file.series_uid]
        alike = [header for header in same_folder if _same_ending(header.files[0].path, file.path)]
        for header in own or alike:
            header.damaged.append(file.path)
        if not own and not alike and is_dicom(file.path):
            left.append(file.path)
    return left


def _same_ending(first: Path, second: Path) -> bool:
    """Whether two files have the same ending; a number after the last dot is no ending."""
    one, other = (
        "" if path.suffix[1:].isdigit() else path.suffix.lower() for path in (first, second)
    )
    return one == other


def _pixels(path: Path) -> bytes:
    try:
        return hashlib.sha256(dicom_pixels(path).tobytes()).digest()
    except ValueError:  # compressed
        return hashlib.sha256(path.read_bytes()).digest()


def _parallel(first: tuple[float, ...], second: tuple[float, ...]) -> bool:
    return len(first) == len(second) and np.allclose(first, second, rtol=0, atol=_SAME_DIRECTION)
