"""Reading the scans of a case, and refusing what is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from ..files import sha256

# A brain at 0.25 mm still fits; more is a wrong file or a header that lies.
MAXIMUM_VOXELS = 2**29
MINIMUM_VOXELS_PER_AXIS = 4
MAXIMUM_EXTENT_MM = 1000.0


@dataclass(frozen=True)
class Case:
    """The scans of one patient at one time.

    Attributes:
        images: 3-D float32 images by modality, in the order they were given; grids may differ.
        paths: where each came from.
        checksums: SHA-256 of each file or folder.
    """

    images: dict[str, sitk.Image]
    paths: dict[str, Path]
    checksums: dict[str, str]


def read_case(paths: Mapping[str, Path]) -> Case:
    """Read the scans of a case, files or DICOM series folders, by modality.

    Raises:
        InputError: if a scan cannot be used, two are the same, or two lie apart in space.
    """
    if not paths:
        raise InputError("no scan given")
    images: dict[str, sitk.Image] = {}
    checksums: dict[str, str] = {}
    for modality, path in paths.items():
        images[modality] = read_image(path)
        checksum = sha256(path)
        for other, seen in checksums.items():
            if checksum == seen:
                raise InputError(
                    f"{path}: given as {modality} is the same scan as {paths[other]}, given as "
                    f"{other}; give each sequence its own file"
                )
        checksums[modality] = checksum
    first = next(iter(images))
    for modality, image in images.items():
        if not _overlap(images[first], image):
            raise InputError(
                f"{paths[modality]}: lies apart in space from {paths[first]}; they are not of one "
                "examination, or a header is wrong"
            )
    return Case(images, dict(paths), checksums)


def read_image(path: Path) -> sitk.Image:
    """A scan as 3-D float32 image: NIfTI, NRRD, MetaImage, or a folder with one DICOM series.

    Raises:
        InputError: if it is missing, unreadable, not a 3-D scan, absurdly large, not finite,
            or constant.
    """
    image = _read(path)
    voxels = sitk.GetArrayViewFromImage(image)
    broken = voxels.size - np.count_nonzero(np.isfinite(voxels))
    if broken:
        raise InputError(f"{path}: has {broken} voxels that are no number (NaN or infinite)")
    if voxels.min() == voxels.max():
        raise InputError(f"{path}: is empty, every voxel has the value {voxels.flat[0]:g}")
    return image


def read_label_map(path: Path) -> sitk.Image:
    """A label map as 3-D 8-bit image.

    Raises:
        InputError: if it cannot be read, or holds something else than whole numbers 0 to 255.
    """
    image = _read(path)
    voxels = sitk.GetArrayViewFromImage(image)
    if not np.array_equal(voxels, np.clip(np.rint(voxels), 0, 255)):
        raise InputError(f"{path}: is no label map, it has values other than whole numbers 0..255")
    return sitk.Cast(image, sitk.sitkUInt8)


def _read(path: Path) -> sitk.Image:
    reader = _dicom_reader(path) if path.is_dir() else _file_reader(path)
    reader.SetOutputPixelType(sitk.sitkFloat32)
    try:
        image = reader.Execute()
    except RuntimeError as error:
        raise InputError(f"{path}: cannot be read; it is damaged or cut off") from error
    if image.GetDimension() == 4 and image.GetSize()[3] == 1:
        image = image[:, :, :, 0]  # a single volume, as some converters write it
    _check_shape(path, image.GetSize(), image.GetNumberOfComponentsPerPixel())
    extent_mm = [n * spacing for n, spacing in zip(image.GetSize(), image.GetSpacing())]
    if not np.isfinite(extent_mm).all() or max(extent_mm) > MAXIMUM_EXTENT_MM:
        raise InputError(
            f"{path}: its header says a voxel spacing of {image.GetSpacing()} mm, which makes no "
            "head; correct the header"
        )
    return image


def _file_reader(path: Path) -> sitk.ImageFileReader:
    if not path.exists():
        raise InputError(f"{path}: no such file")
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise InputError(
            f"{path}: cannot be read as an image; give NIfTI, NRRD, MetaImage or a DICOM folder"
        ) from error
    # Before reading it: a header that lies must not fill the memory.
    size = reader.GetSize()
    _check_shape(path, size[:3] if len(size) == 4 and size[3] == 1 else size, 1)
    return reader


def _dicom_reader(path: Path) -> sitk.ImageSeriesReader:
    series = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(path))
    if not series:
        raise InputError(f"{path}: the folder holds no DICOM series")
    if len(series) > 1:
        raise InputError(
            f"{path}: the folder holds {len(series)} DICOM series; give one folder a series"
        )
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(path), series[0]))
    return reader


def _check_shape(path: Path, size: tuple[int, ...], components: int) -> None:
    shape = "x".join(map(str, size))
    if components != 1:
        raise InputError(f"{path}: is a color or vector image; give a scan with one value a voxel")
    if len(size) != 3:
        raise InputError(f"{path}: is {len(size)}-D ({shape}); give one 3-D volume")
    if np.prod(size, dtype=float) > MAXIMUM_VOXELS:
        raise InputError(f"{path}: is absurdly large ({shape} voxels)")
    if min(size) < MINIMUM_VOXELS_PER_AXIS:
        raise InputError(f"{path}: is too small to be a scan ({shape} voxels)")


def _overlap(first: sitk.Image, second: sitk.Image) -> bool:
    """Whether the boxes around two images, along the patient's axes, share any space."""
    low_a, high_a = physical_box(first)
    low_b, high_b = physical_box(second)
    return bool(np.all(np.maximum(low_a, low_b) < np.minimum(high_a, high_b)))


def physical_box(
    image: sitk.Image,
    start: tuple[int, ...] = (0, 0, 0),
    stop: tuple[int, ...] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest patient coordinates in mm (x, y, z) of the voxel centers of a block.

    Args:
        image: gives the geometry.
        start: first voxel (x, y, z) of the block.
        stop: one beyond its last voxel; by default the image's end.
    """
    last = [end - 1 for end in (stop or image.GetSize())]
    corners = np.array(
        [
            image.TransformIndexToPhysicalPoint([int(v) for v in corner])
            for corner in np.array(np.meshgrid(*zip(start, last))).reshape(3, -1).T
        ]
    )
    return corners.min(axis=0), corners.max(axis=0)
