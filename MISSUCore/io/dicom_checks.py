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
    """Check that each slice's position in the image is that of its header.

    ITK spaces the slices of a series evenly, whether one is missing or not, and takes the frames
    of a file in their order there.

    Raises:
        InputError: if one is missing, there twice, or out of order.
    """
    told = header.places
    if len(told) != image.GetDepth() or () in told:
        return  # no frame says where it is
    for index, place_mm in enumerate(told):
        distance_mm = math.dist(place_mm, image.TransformIndexToPhysicalPoint((0, 0, index)))
        if distance_mm > UNEVEN * image.GetSpacing()[2]:
            raise InputError(
                a_file(source),
                ": the slices are not evenly spaced; one is missing, there twice or out of order",
            )


def check_series(source: ScanSource, header: SeriesHeader) -> None:
    """Refuse a series whose place and size would be guessed.

    Raises:
        InputError: if files are damaged, or do not say how large their pixels are or where they
            lie.
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
    """The image, each frame scaled by its own slope: ITK scales all by that of the first.

    Raises:
        InputError: if the frames are compressed in a way that cannot be undone here.
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
