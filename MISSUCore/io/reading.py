"""Reading the scans of a case, with checks that refuse what is not a scan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from ..core.errors import InputError
from ..core.files import itk_name, sha256
from ..core.messages import a_file, a_modality
from .dicom import DicomSeries, ScanSource, SeriesHeader, series_header
from .dicom_checks import check_series, check_slices, rescaled
from .dicom_file import is_dicom
from .geometry import image_like
from .nifti import check_header, place_warnings
from .nifti_voxels import stored_floats
from .text_headers import check_text_header, data_files, side_warnings

# A brain at 0.25 mm still fits; larger images are wrong files or have wrong headers.
MAXIMUM_VOXELS = 2**29
MINIMUM_VOXELS_PER_AXIS = 4
EXTENTS_MM = (1.0, 1000.0)
_SLANTED = "its axes are not at right angles; resample it to a plain grid"


@dataclass(frozen=True)
class Case:
    """The scans of one patient at one time.

    Attributes:
        images: 3-D float32 images by modality, in the order they were given; grids may differ.
        paths: source of each image, by modality.
        checksums: SHA-256 of each file, folder or series.
        warnings: doubts about the positions of the scans, one sentence each.
    """

    images: dict[str, sitk.Image]
    paths: dict[str, ScanSource]
    checksums: dict[str, str]
    warnings: list[str] = field(default_factory=list)


def read_case(paths: Mapping[str, ScanSource]) -> Case:
    """Read the scans of a case, files or DICOM series, by modality.

    Raises:
        InputError: if a scan cannot be used, or two are the same.

    Examples:
        >>> from MISSUCore import read_case
        >>> names = ("t1", "t1ce", "t2", "flair")
        >>> case = read_case({name: folder / f"{name}.nii.gz" for name in names})
        >>> case.images["t1ce"].GetSize()
        (28, 24, 20)
    """
    if not paths:
        raise InputError("no scan given")
    images: dict[str, sitk.Image] = {}
    checksums: dict[str, str] = {}
    warnings: list[str] = []
    for modality, path in paths.items():
        image, told = _read_scan(path)
        for other, seen in images.items():
            if _same_voxels(image, seen):
                raise InputError(
                    a_file(path),
                    ": given as ",
                    a_modality(modality),
                    " is the same scan as ",
                    a_file(paths[other]),
                    ", given as ",
                    a_modality(other),
                    "; give each sequence its own file",
                )
        images[modality] = image
        checksums[modality] = checksum(path)
        warnings += told
    return Case(images, dict(paths), checksums, warnings)


def checksum(source: ScanSource) -> str:
    """SHA-256 of a scan's file and those with its voxels, or of all files of a folder or series.

    Raises:
        InputError: if they cannot be read.
    """
    if isinstance(source, Path):
        return sha256(source, *data_files(source))
    return sha256(*source.files())


def read_image(path: ScanSource) -> sitk.Image:
    """A scan as a 3-D float32 image, read from NIfTI, NRRD, MetaImage, or a DICOM series.

    Raises:
        InputError: if it is missing, unreadable, not a 3-D scan, absurdly large, not finite,
            or constant, or its header is implausible.
    """
    image, _ = _read_scan(path)
    return image


def _read_scan(path: ScanSource) -> tuple[sitk.Image, list[str]]:
    """The image of :func:`read_image`, and warnings about its position."""
    image, told = _read(path)
    voxels = sitk.GetArrayViewFromImage(image)
    _check_finite(path, voxels)
    if voxels.min() == voxels.max():
        raise InputError(a_file(path), f": is empty, every voxel has the value {voxels.flat[0]:g}")
    return image, told


def read_map(path: ScanSource) -> tuple[sitk.Image, list[str]]:
    """A map of measured values, such as ADC or CBV, as a 3-D float32 image, NaN without a number.

    Fits leave NaN or infinity where they fail, so a map may hold them, unlike a scan. ITK would
    read them from NIfTI as 0, which may be a measured value.

    Returns:
        The image, and warnings about its position, one sentence each.

    Raises:
        InputError: as in :func:`read_image`, except that single voxels may have no number.
    """
    image, told = _read(path, only_numbers=False)
    voxels = sitk.GetArrayViewFromImage(image)
    known = voxels[np.isfinite(voxels)]
    if not known.size:
        raise InputError(a_file(path), ": is empty, no voxel holds a number (all NaN or infinite)")
    if known.min() == known.max():
        raise InputError(a_file(path), f": is empty, every voxel has the value {known[0]:g}")
    return image, told


def read_label_map(path: Path) -> sitk.Image:
    """A label map as a 3-D 8-bit image.

    Raises:
        InputError: if it cannot be read, or holds anything but whole numbers from 0 to 255.
    """
    image, _ = _read(path)
    voxels = sitk.GetArrayViewFromImage(image)
    if not np.array_equal(voxels, np.clip(np.rint(voxels), 0, 255)):
        raise InputError(
            a_file(path), ": is not a label map, it has values other than whole numbers 0..255"
        )
    return sitk.Cast(image, sitk.sitkUInt8)


def check_complete(path: Path) -> None:
    """Check that a NIfTI file has all its voxels, and only numbers; other files are skipped.

    ITK reads a truncated NIfTI file without an error, with arbitrary values in the missing voxels,
    leaves one behind on a full disk, and turns what is not a number into 0.

    Raises:
        InputError: if it is cut off, its compression is damaged, or it holds NaN or infinity.
    """
    stored = stored_floats(path, _information(path))
    if stored is not None:
        _check_finite(path, stored)


def _check_finite(path: ScanSource, voxels: np.ndarray) -> None:
    broken = voxels.size - np.count_nonzero(np.isfinite(voxels))
    if broken:
        raise InputError(
            a_file(path), f": has {broken} voxels that are not numbers (NaN or infinite)"
        )


def _read(path: ScanSource, only_numbers: bool = True) -> tuple[sitk.Image, list[str]]:
    """A 3-D float32 image with a checked header, and warnings about its position.

    Args:
        path: file or series.
        only_numbers: whether to refuse a NIfTI file with NaN or infinity; else these become NaN.
    """
    reader: sitk.ImageSeriesReader | sitk.ImageFileReader
    if isinstance(path, Path):
        _check_there(path)
    series, header, numbers = None, None, None
    if isinstance(path, DicomSeries) or path.is_dir() or is_dicom(path):
        series = series_header(path)
        reader = _series_reader(path, series)
    else:
        header = check_header(path)
        reader, numbers = _file_reader(path, only_numbers)
    reader.SetOutputPixelType(sitk.sitkFloat32)
    try:
        image = reader.Execute()
    except RuntimeError as error:
        raise InputError(
            a_file(path),
            ": cannot be read; it is damaged or cut off, its header makes no sense, or its "
            "compression is not supported",
        ) from error
    if image.GetDimension() == 4:
        image = image[:, :, :, 0]  # a single volume, as some converters write it
    _check_shape(path, image.GetSize(), image.GetNumberOfComponentsPerPixel())
    _check_geometry(path, image)
    if series:
        check_slices(path, series, image)
        image = rescaled(path, series, image)
    if not only_numbers:
        image = _with_nan(image, numbers)
    if series or not isinstance(path, Path):
        return image, []
    return image, place_warnings(path, header, image) if header else side_warnings(path)


def _with_nan(image: sitk.Image, numbers: NDArray[np.bool_] | None) -> sitk.Image:
    """The image with NaN where it has no number, or its file has none (flat mask, if known)."""
    voxels = sitk.GetArrayFromImage(image)
    known = np.isfinite(voxels)
    if numbers is not None:
        known &= numbers.reshape(voxels.shape)
    return image_like(np.where(known, voxels, np.float32(np.nan)), image)


def _check_there(path: Path) -> None:
    """Refuse files that cannot be opened, or that never end, such as a pipe."""
    try:
        if path.is_symlink() and not path.exists():
            raise InputError(a_file(path), f": is a link to {path.readlink()}, which is not there")
        if not path.exists():
            raise InputError(a_file(path), ": no such file")
        if path.is_dir():
            return
        if not path.is_file():
            raise InputError(a_file(path), ": is a pipe or device, not a file; give a file")
        with path.open("rb"):
            pass
    except OSError as error:
        raise InputError(a_file(path), f": cannot be read: {error.strerror or error}") from error


def _information(path: Path) -> sitk.ImageFileReader:
    """A reader that has read the header."""
    check_text_header(path)
    reader = sitk.ImageFileReader()
    reader.SetFileName(itk_name(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        if "orthonormal" in str(error):
            raise InputError(a_file(path), f": {_SLANTED}") from error
        raise InputError(
            a_file(path),
            ": cannot be read as an image; give NIfTI, NRRD, MetaImage or a DICOM folder",
        ) from error
    return reader


def read_information(path: Path) -> sitk.ImageFileReader:
    """A reader that has read the header of an image file and found it plausible.

    Raises:
        InputError: if the file is missing, cannot be read, or would be read wrongly.
    """
    _check_there(path)
    check_header(path)
    return _information(path)


def _file_reader(
    path: Path, only_numbers: bool
) -> tuple[sitk.ImageFileReader, NDArray[np.bool_] | None]:
    """A reader that has read the header, and a mask of numeric voxels if not all need to be."""
    reader = _information(path)
    # Checked before the voxels are read: a wrong size must not fill the memory.
    size = reader.GetSize()
    size = size[:3] if len(size) == 4 and size[3] == 1 else size
    _check_shape(path, size, reader.GetNumberOfComponents())
    stored = stored_floats(path, reader)
    if stored is None:
        return reader, None
    if not only_numbers:
        return reader, np.isfinite(stored)
    _check_finite(path, stored)
    return reader, None


def _series_reader(source: ScanSource, header: SeriesHeader) -> sitk.ImageSeriesReader:
    check_series(source, header)
    slices = [file.path for file in header.files]
    first = _information(slices[0])
    width, height, *depth = first.GetSize()
    shape = (width, height, max(len(slices), *depth))
    _check_shape(source, shape, first.GetNumberOfComponents())
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames([itk_name(file) for file in slices])
    return reader


def _check_geometry(path: ScanSource, image: sitk.Image) -> None:
    spacing = image.GetSpacing()
    low, high = EXTENTS_MM
    if not all(low <= n * step <= high for n, step in zip(image.GetSize(), spacing)):
        raise InputError(
            a_file(path),
            f": its header says a voxel spacing of {spacing} mm, which makes no head; "
            "correct the header",
        )
    direction = np.array(image.GetDirection()).reshape(3, 3)
    if not np.allclose(direction @ direction.T, np.eye(3), atol=1e-3):
        raise InputError(a_file(path), f": {_SLANTED}")
    if not np.isfinite(image.GetOrigin()).all():
        raise InputError(a_file(path), ": its header says no place in space; correct the header")


def _check_shape(path: ScanSource, size: tuple[int, ...], components: int) -> None:
    shape = "x".join(map(str, size))
    if components != 1:
        raise InputError(
            a_file(path), ": is a color or vector image; give a scan with one value a voxel"
        )
    if len(size) != 3:
        raise InputError(a_file(path), f": is {len(size)}-D ({shape}); give one 3-D volume")
    if np.prod(size, dtype=float) > MAXIMUM_VOXELS:
        raise InputError(a_file(path), f": is absurdly large ({shape} voxels)")
    if min(size) < MINIMUM_VOXELS_PER_AXIS:
        raise InputError(a_file(path), f": is too small to be a scan ({shape} voxels)")


def _same_voxels(first: sitk.Image, second: sitk.Image) -> bool:
    return np.array_equal(sitk.GetArrayViewFromImage(first), sitk.GetArrayViewFromImage(second))
