"""Geometry of images: grids, boxes, overlap.

Axes of arrays are (D, H, W); points are (x, y, z) in mm, LPS.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray


def overlap(first: sitk.Image, second: sitk.Image) -> bool:
    """Whether the bounding boxes of two images, along the patient's axes, overlap."""
    low_a, high_a = physical_box(first)
    low_b, high_b = physical_box(second)
    return bool(np.all(np.maximum(low_a, low_b) < np.minimum(high_a, high_b)))


def same_grid(first: sitk.Image, second: sitk.Image) -> bool:
    """Whether two images have the same grid, to a hundredth of a voxel."""
    if first.GetSize() != second.GetSize():
        return False
    corners = np.array(np.meshgrid(*((0, length - 1) for length in first.GetSize()))).T
    return all(
        np.allclose(
            second.TransformPhysicalPointToContinuousIndex(
                first.TransformIndexToPhysicalPoint(corner.tolist())
            ),
            corner,
            rtol=0,
            atol=0.01,
        )
        for corner in corners.reshape(-1, 3)
    )


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


def block_in(
    image: sitk.Image, low: Sequence[float], high: Sequence[float], other: sitk.Image
) -> tuple[slice, ...]:
    """The block of voxels (D, H, W) of another image that covers a block of this one; may be empty.

    Args:
        image: in whose indices the block is given.
        low: its corner, a continuous index (x, y, z).
        high: the opposite corner.
        other: image whose block is returned, with all of its voxels next to the given block.
    """
    corners = np.array(np.meshgrid(*zip(low, high))).reshape(3, -1).T
    indices = [
        other.TransformPhysicalPointToContinuousIndex(
            image.TransformContinuousIndexToPhysicalPoint(corner)
        )
        for corner in corners.astype(float).tolist()
    ]
    size = other.GetSize()
    first = np.clip(np.floor(np.min(indices, axis=0)), 0, size).astype(int).tolist()
    stop = np.clip(np.ceil(np.max(indices, axis=0)) + 1, 0, size).astype(int).tolist()
    x, y, z = (slice(start, max(start, end)) for start, end in zip(first, stop))
    return z, y, x


def image_like(voxels: NDArray[Any], image: sitk.Image) -> sitk.Image:
    """The voxels (D, H, W) as an image with the geometry of another."""
    result = sitk.GetImageFromArray(voxels)
    result.CopyInformation(image)
    return result


def voxel_ml(spacing_mm: Sequence[float]) -> float:
    """Volume of a voxel in ml; the order of the axes does not matter."""
    return math.prod(spacing_mm) / 1000


def shrink_factors(image: sitk.Image, spacing_mm: float) -> list[int]:
    """Factors for BinShrink that bring an image close to a spacing, at most its size in voxels."""
    return [
        max(1, min(round(spacing_mm / step), length))
        for step, length in zip(image.GetSpacing(), image.GetSize())
    ]
