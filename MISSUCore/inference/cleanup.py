"""Making a segmentation consistent: nested regions, no specks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..regions import LabelScheme


@dataclass(frozen=True)
class Cleanup:
    """What is removed from a segmentation.

    Args:
        minimum_island_mm3: smaller connected parts of a region are removed from it.
        minimum_innermost_mm3: if the innermost region (ET) is smaller in all, it is given to the
            region around it: the BraTS participants' rule against a Dice of 0 for a few false
            voxels. 0 turns it off.
    """

    minimum_island_mm3: float = 0.0
    minimum_innermost_mm3: float = 0.0


def nest(probabilities: NDArray[np.float32], scheme: LabelScheme) -> NDArray[np.float32]:
    """Probabilities (regions, D, H, W) in which no inner region is likelier than its outer one."""
    nested = probabilities.copy()
    for index, region in enumerate(scheme.regions):
        for outer in range(index):
            if set(region.labels) < set(scheme.regions[outer].labels):
                np.minimum(nested[index], nested[outer], out=nested[index])
    return nested


def clean(
    masks: NDArray[np.bool_],
    scheme: LabelScheme,
    spacing_mm: Sequence[float],
    cleanup: Cleanup,
) -> NDArray[np.bool_]:
    """Nested masks (regions, D, H, W) without specks, from outermost to innermost region.

    Args:
        masks: nested already.
        scheme: of the regions.
        spacing_mm: (depth, height, width).
        cleanup: what is removed.
    """
    voxel_mm3 = float(np.prod(spacing_mm))
    kept = np.stack(
        [_without_islands(mask, cleanup.minimum_island_mm3 / voxel_mm3) for mask in masks]
    )
    # What an outer region lost, its inner ones lose too.
    kept = nest(kept.astype(np.float32), scheme) > 0
    if kept[-1].sum() * voxel_mm3 < cleanup.minimum_innermost_mm3:
        kept[-1] = False
    return kept


def _without_islands(mask: NDArray[np.bool_], minimum_voxels: float) -> NDArray[np.bool_]:
    """The mask without parts, connected by faces, edges or corners, of fewer voxels."""
    if minimum_voxels <= 1:
        return mask
    parts, _ = ndimage.label(mask, structure=np.ones((3, 3, 3)))
    large = np.bincount(parts.ravel()) >= minimum_voxels
    large[0] = False
    return large[parts]
