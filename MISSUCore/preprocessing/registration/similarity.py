"""Similarity of two scans, and whether it is greatest at their current position."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from numpy.typing import ArrayLike, NDArray

from ...core.errors import InputError
from ...io.resampling import on_grid
from ..working_grid import working_grid
from .head import Head, find_head

Values = NDArray[np.float32]

_SPACING_MM = 3.0
# Not a multiple of usual spacings: where voxels of both scans coincide, nothing is interpolated,
# which would favor these positions.
_GRID_SPACING_MM = 3.1
_SHARP_GRID_SPACING_MM = 4.3  # still about 20 000 points in a brain
_BINS = 32
_ENOUGH = 0.5  # of the head
_PROBE = 3.0  # mm and degrees
_BEST_WITHIN_MM, _BEST_WITHIN_DEGREES = 1.5, 1.0


def mutual_information(
    moving: sitk.Image,
    fixed: sitk.Image,
    transform: sitk.Transform | None = None,
    mask: sitk.Image | None = None,
) -> float:
    """Normalized mutual information of two scans in the part of the head that both show, at 3 mm.

    1 if the scans are independent, 2 if intensities correspond one to one (Studholme et al.,
    Pattern Recognition 32, 1999). Aligned sequences of one brain have 1.04 to 1.28; with slices of
    5 mm, 1.03 or more.

    Args:
        moving: 3-D scan, float.
        fixed: 3-D scan, float.
        transform: from points of the fixed scan's space to the moving scan's own (mm); by default
            the identity.
        mask: nonzero in the head or brain of the fixed scan; by default the head is found.

    Raises:
        InputError: if a scan is constant, the mask is empty, or they share no part of the head.
    """
    overlay = Overlay(find_head("moving scan", moving), find_head("fixed scan", fixed, mask))
    value = overlay.mutual_information(transform or sitk.Transform())
    if value == 0:
        raise InputError("the scans share no part of the head")
    return value


class Overlay:
    """Two scans whose mutual information is measured for many transforms.

    Args:
        moving: the scan that is moved.
        fixed: the other scan; both are compared in its head.
        sharp: use the original voxels instead of 3 mm, at fewer points: agreement is lower, but
            its maximum is sharper. The background is then not continued.
    """

    def __init__(self, moving: Head, fixed: Head, sharp: bool = False) -> None:
        self.fixed = fixed
        spacing_mm = _SHARP_GRID_SPACING_MM if sharp else _GRID_SPACING_MM
        grid = working_grid([fixed.mask], (spacing_mm,) * 3)
        still, self._moving = (
            head.image if sharp else head.shrunk(_SPACING_MM) for head in (fixed, moving)
        )
        values = on_grid(still, grid, outside=np.nan)
        self._inside = (sitk.GetArrayFromImage(fixed.mask_on(grid)) > 0) & np.isfinite(values)
        self._values_there = values[self._inside]
        self._grid = grid

    def mutual_information(self, transform: sitk.Transform) -> float:
        """Normalized mutual information, 1 to 2, where both scans reach; 0 if too little."""
        return self._shared_information(self._values(transform))

    def covered(self, transform: sitk.Transform) -> float:
        """Fraction of the fixed scan's head that the moving scan covers."""
        return float(np.isfinite(self._values(transform)).mean())

    def fit(self, transform: sitk.Transform) -> float:
        """Mutual information minus 1, reduced if little of the head is shared (chance fits)."""
        moving = self._values(transform)
        covered = float(np.isfinite(moving).mean())
        return (self._shared_information(moving) - 1) * min(covered / _ENOUGH, 1)

    def is_best(self, transform: sitk.Euler3DTransform) -> bool:
        """Whether the scans agree best within 1.5 mm and 1 degree of a transform.

        The optimum along and around each axis is estimated from a parabola through the mutual
        information at the transform and 3 mm or degrees to either side.
        """
        here = self.mutual_information(transform)
        away = []
        for parameter, probe in enumerate([np.deg2rad(_PROBE)] * 3 + [_PROBE] * 3):
            before, after = (
                self.mutual_information(_changed(transform, parameter, step))
                for step in (-probe, probe)
            )
            if here <= max(before, after):
                return False
            away.append(_PROBE * 0.5 * (after - before) / (2 * here - before - after))
        return _is_small(away[:3], away[3:])

    def _shared_information(self, moving: Values) -> float:
        shared = np.isfinite(moving)
        if np.count_nonzero(shared) < _BINS**2:
            return 0.0
        return _normalized_mutual_information(self._values_there[shared], moving[shared])

    def _values(self, transform: sitk.Transform) -> Values:
        """Values of the moving scan at the points of the fixed scan's head; NaN outside of it."""
        values = on_grid(self._moving, self._grid, transform=transform, outside=np.nan)
        return values[self._inside]


def is_small(transform: sitk.Euler3DTransform) -> bool:
    """Whether a transform shifts its center by less than 1.5 mm and turns by less than 1 degree."""
    *angles, x, y, z = transform.GetParameters()
    return _is_small(np.rad2deg(angles), (x, y, z))


def _is_small(turn_degrees: ArrayLike, shift_mm: ArrayLike) -> bool:
    shift, turn = np.linalg.norm(shift_mm), np.linalg.norm(turn_degrees)
    return bool(shift < _BEST_WITHIN_MM and turn < _BEST_WITHIN_DEGREES)


def _changed(
    transform: sitk.Euler3DTransform, parameter: int, step: float
) -> sitk.Euler3DTransform:
    values = list(transform.GetParameters())
    values[parameter] += step
    result = sitk.Euler3DTransform(transform)
    result.SetParameters(values)
    return result


def _normalized_mutual_information(first: Values, second: Values) -> float:
    joint = np.bincount(_bins(first) * _BINS + _bins(second), minlength=_BINS**2)
    counts = joint.reshape(_BINS, _BINS)
    both = _entropy(joint)
    # Joint entropy 0 (two constants): define NMI as 1.
    return (_entropy(counts.sum(axis=0)) + _entropy(counts.sum(axis=1))) / both if both else 1.0


def _bins(values: Values) -> NDArray[np.int64]:
    low, high = np.percentile(values, (0.5, 99.5))
    scaled = (values - low) / max(high - low, np.finfo(np.float32).tiny) * _BINS
    return np.clip(scaled, 0, _BINS - 1).astype(np.int64)


def _entropy(counts: NDArray[np.int64]) -> float:
    probabilities = counts[counts > 0] / counts.sum()
    return float(-(probabilities * np.log(probabilities)).sum())
