"""Background of a scan, and the content that differs from it."""

from __future__ import annotations

from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from ..io.geometry import image_like
from .working_grid import CLIPPED_PERCENTILES

# Contrast to the background (1 is bright) up to which voxels may be ringing from interpolation.
FAINT = 0.01
# In 54 BraTS cases at most this fraction of the brain is faint. If there is more, smoothing or
# interpolation has left a halo, and the brain is taken to end where the contrast is clear.
_FAINT_PART, _CLEAR = 0.01, 0.05
# Fraction of clear voxels below the background: less after ringing, about half after a z-score.
_BELOW = 0.1


def background(voxels: NDArray[Any]) -> float:
    """The most common value on the faces of an image (D, H, W)."""
    faces = [voxels.take(end, axis).ravel() for axis in range(3) for end in (0, -1)]
    values, counts = np.unique(np.concatenate(faces), return_counts=True)
    return float(values[counts.argmax()])


def contrast_to_background(image: sitk.Image) -> NDArray[np.float32]:
    """Absolute difference of voxels (D, H, W) to the background, about 1 in bright voxels."""
    voxels = sitk.GetArrayViewFromImage(image)
    contrast = np.abs(voxels - background(voxels), dtype=np.float32)
    contrast /= np.percentile(contrast[contrast > 0], 99)
    return contrast


def content_mask(image: sitk.Image, contrast: NDArray[np.float32] | None = None) -> sitk.Image:
    """Mask (8-bit) of the content: neither background nor a halo from interpolation.

    Args:
        image: 3-D image.
        contrast: its :func:`contrast_to_background`, if already computed.
    """
    contrast = contrast_to_background(image) if contrast is None else contrast
    content = contrast > 0
    faint = content & (contrast <= FAINT)
    many = _FAINT_PART * np.count_nonzero(content)
    if np.count_nonzero(faint) > many and not _is_inside_range(image, contrast > _CLEAR):
        clear = sitk.BinaryFillhole(image_like((contrast > _CLEAR).astype(np.uint8), image))
        if np.count_nonzero(faint & (sitk.GetArrayViewFromImage(clear) == 0)) > many:
            return clear
    return image_like(content.astype(np.uint8), image)


def _is_inside_range(image: sitk.Image, clear: NDArray[np.bool_]) -> bool:
    """Whether the background is within the range of the brain's intensities, as after a z-score."""
    voxels = sitk.GetArrayViewFromImage(image)
    return bool(np.mean(voxels[clear] < background(voxels)) > _BELOW)


def shift_to_nonnegative(image: sitk.Image, mask: sitk.Image | None = None) -> sitk.Image:
    """The image without negative values: shifted if more than a few voxels are negative.

    Args:
        image: 3-D float image.
        mask: on the same grid; the shift is determined from its nonzero voxels only.
    """
    voxels = sitk.GetArrayViewFromImage(image)
    inside = voxels if mask is None else voxels[sitk.GetArrayViewFromImage(mask) != 0]
    low = np.percentile(inside, CLIPPED_PERCENTILES[0])
    if low >= 0:
        return image
    return image_like(np.maximum(voxels - low, 0).astype(np.float32), image)
