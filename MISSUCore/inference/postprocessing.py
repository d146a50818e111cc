"""Cleanup of a segmentation: nested regions, no small islands, no holes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..contract.labels import LabelScheme
from ..contract.options import Cleanup


def nest(probabilities: NDArray[np.float32], scheme: LabelScheme) -> NDArray[np.float32]:
    """Probabilities (regions, D, H, W), those of inner regions limited to their outer regions'."""
    nested = probabilities.copy()
    for index in range(len(nested)):
        for outer in _outer_regions(index, scheme):
            np.minimum(nested[index], nested[outer], out=nested[index])
    return nested


def clean(
    masks: NDArray[np.bool_],
    scheme: LabelScheme,
    spacing_mm: Sequence[float],
    cleanup: Cleanup,
) -> NDArray[np.bool_]:
    """Masks (regions, D, H, W) after cleanup, still nested.

    Args:
        masks: nested masks (regions, D, H, W).
        scheme: of the regions.
        spacing_mm: (depth, height, width).
        cleanup: which corrections are made.
    """
    voxel_mm3 = float(np.prod(spacing_mm))
    outer_regions = [_outer_regions(index, scheme) for index in range(len(masks))]
    kept = masks.copy()
    for index, outers in enumerate(outer_regions):
        if not outers:
            kept[index] = _without_islands(kept[index], cleanup.minimum_island_mm3 / voxel_mm3)
        if cleanup.fill_holes and any(index in others for others in outer_regions):
            kept[index] = ndimage.binary_fill_holes(kept[index])
        for outer in outers:  # keep inner regions within outer ones
            kept[index] &= kept[outer]
    if kept[-1].sum() * voxel_mm3 < cleanup.minimum_innermost_mm3:
        kept[-1] = False
    return kept


def _outer_regions(index: int, scheme: LabelScheme) -> list[int]:
    """Indices of the regions that contain a region."""
    inner = set(scheme.regions[index].labels)
    return [outer for outer in range(index) if inner < set(scheme.regions[outer].labels)]


def outermost_regions(scheme: LabelScheme) -> list[int]:
    """Indices of the regions that lie in no other."""
    return [index for index in range(len(scheme.regions)) if not _outer_regions(index, scheme)]


def _without_islands(mask: NDArray[np.bool_], minimum_voxels: float) -> NDArray[np.bool_]:
    """The mask without connected components (26 neighbors) of fewer voxels."""
    if minimum_voxels <= 1:
        return mask
    parts, _ = ndimage.label(mask, structure=np.ones((3, 3, 3)))
    large = np.bincount(parts.ravel()) >= minimum_voxels
    large[0] = False
    return large[parts]
