"""Checks that an image matches its DICOM headers: slice positions, sizes and gray values."""

from __future__ import annotations

import math

import numpy as np
import SimpleITK as sitk

from ..core.errors import InputError
from ..core.messages import a_file
from .dicom import UNEVEN, ScanSource, SeriesHeader
from .dicom_file import dicom_pixels


def check_slices(source: ScanSource, header: SeriesHeader, image: sitk.Image) -> None:
    """Check that each slice's position in the image is that in its header.

    ITK spaces the slices of a series evenly even if one is missing, and takes the frames of a file
    in their stored order.

    Raises:
        InputError: if a slice is missing, occurs twice, or is out of order.
    """
    told = header.places
    if len(told) != image.GetDepth() or () in told:
        return  # positions are not known
    for index, place_mm in enumerate(told):
        distance_mm = math.dist(place_mm, image.TransformIndexToPhysicalPoint((0, 0, index)))
        if distance_mm > UNEVEN * image.GetSpacing()[2]:
            raise InputError(
                a_file(source),
                ": the slices are not evenly spaced; one is missing, there twice or out of order",
            )


def check_series(source: ScanSource, header: SeriesHeader) -> None:
    """Check that a series is complete and that its headers give position and voxel size.

    Raises:
        InputError: if files are damaged, or their headers lack pixel sizes or positions.
    """
    problem = header.damage()
    if header.frames > 1:
        missing = [index for index, place in enumerate(header.places) if len(place) != 3]
        if missing and not problem:
            problem = f"slice {missing[0]} does not say where it is"
    if all(file.components == 1 for file in header.files):
        problem = problem or header.spread() or header.unmeasured() or header.tilt()
    if problem:
        raise InputError(a_file(source), f": {problem}")


def rescaled(source: ScanSource, header: SeriesHeader, image: sitk.Image) -> sitk.Image:
    """The image with each frame scaled by its own slope, where ITK uses that of the first for all.

    Raises:
        InputError: if the frames are in a compression that is not supported.
    """
    (file, *others) = header.files
    if others or not file.scales:
        return image
    try:
        stored = dicom_pixels(file.path)
    except ValueError as error:
        raise InputError(
            a_file(source),
            ": its frames are scaled differently and compressed; convert it with dcm2niix",
        ) from error
    slopes, shifts = np.array(file.scales, np.float64).T[:, :, None, None]
    result = sitk.GetImageFromArray((stored * slopes + shifts).astype(np.float32))
    result.CopyInformation(image)
    return result
