"""Edge agreement: whether two registered scans show the same brain.

Contrast differs between sequences, but at the borders of gray matter, white matter and ventricles
every sequence has an edge in the same direction (normalized gradient fields, Haber and Modersitzki,
MICCAI 2006). In the brain of another patient the edges are elsewhere.
"""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from ..io.resampling import on_grid
from .working_grid import working_grid

Values = NDArray[np.float32]

_SPACING_MM = 2.0
_SMOOTHED_VOXELS = 1.0
# The rim of the brain is left out: the shape of the masks is compared elsewhere.
_RIM_MM = 7.0
_ASIDE_VOXELS = 4  # 8 mm, wider than a gyrus
_ENOUGH_VOXELS = 500  # 4 ml
# Percentile above which edges have equal weight, or a single vessel could outweigh the rest.
_STRONG_EDGE = 90


def edge_agreement(
    moving: sitk.Image, fixed: sitk.Image, moving_brain: sitk.Image, fixed_brain: sitk.Image
) -> float | None:
    """How much better the edges inside two brains agree in place than if shifted by 8 mm.

    Agreement is the squared cosine of the angle between the scans' gradients, 0 to 1, averaged
    over voxels with the strength of the edges as weight. The best agreement of six shifts is
    subtracted, so that noise or thick slices do not make brains of two patients look alike.

    Args:
        moving: 3-D scan, float, in the space of the fixed one.
        fixed: 3-D scan, float.
        moving_brain: brain mask (0 and 1) of the moving scan, on any grid.
        fixed_brain: brain mask (0 and 1) of the fixed scan, on any grid.

    Returns:
        The difference; None if the brains share less than 4 ml, or a scan has no edges there.
    """
    grid = working_grid([fixed_brain], (_SPACING_MM,) * 3)
    inside = (on_grid(fixed_brain, grid) >= 0.5) & (on_grid(moving_brain, grid) >= 0.5)
    inside = ndimage.distance_transform_edt(np.pad(inside, 1), sampling=_SPACING_MM) > _RIM_MM
    inside = inside[1:-1, 1:-1, 1:-1]
    if np.count_nonzero(inside) < _ENOUGH_VOXELS:
        return None
    edges = [_edges(on_grid(scan, grid), inside) for scan in (fixed, moving)]
    if not all(edge.any() for edge in edges):
        return None
    aside = [
        _fit(edges[0], np.roll(edges[1], step, axis + 1), inside & np.roll(inside, step, axis))
        for axis in range(3)
        for step in (-_ASIDE_VOXELS, _ASIDE_VOXELS)
    ]
    return _fit(edges[0], edges[1], inside) - max(aside)


def _edges(values: Values, inside: NDArray[np.bool_]) -> Values:
    """Gradients (3, D, H, W), none longer than 1; all 0 if the scan has no edges inside."""
    gradients = np.stack(
        [
            ndimage.gaussian_filter(values, _SMOOTHED_VOXELS, order=np.eye(3, dtype=int)[axis])
            for axis in range(3)
        ]
    )
    lengths = np.linalg.norm(gradients, axis=0)
    strong = float(np.percentile(lengths[inside], _STRONG_EDGE))
    if strong <= 0:
        return np.zeros_like(gradients)
    return gradients / np.maximum(lengths, strong)


def _fit(first: Values, second: Values, inside: NDArray[np.bool_]) -> float:
    """Squared cosine of gradients (3, D, H, W), weighted by their lengths; 0 without edges."""
    first, second = first[:, inside], second[:, inside]
    weights = np.linalg.norm(first, axis=0) * np.linalg.norm(second, axis=0)
    products = (first * second).sum(axis=0) ** 2
    # The dot product is the cosine times both lengths.
    cosines = np.divide(products, weights, out=np.zeros_like(weights), where=weights > 0)
    return float(cosines.sum() / max(weights.sum(), np.finfo(np.float32).tiny))
