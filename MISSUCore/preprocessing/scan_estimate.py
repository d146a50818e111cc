"""Estimate of a missing scan from the others, for a network rarely trained without that scan.

A network that saw few cases without FLAIR takes a channel of zeros for a brain without edema. FLAIR
can partly be predicted from T1, T1ce and T2: a quadratic polynomial of their z-scores, in the voxel
and around it, fitted by least squares on training cases, explains half of its variance. The
estimate adds no information, but has the form that the network was trained on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..contract.model_card import ScanEstimate

# A polynomial must not be extrapolated far: a vessel in T1ce has a z-score of 10.
LARGEST_SCORE = 6.0
# Standard deviation of the Gaussian for the mean around a voxel, and its cutoff in deviations.
AROUND_MM = 2.0
TRUNCATE = 2.0


def predictors(
    scans: NDArray[np.float32], spacing_mm: Sequence[float]
) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Mask of the brain, and the predictors of a missing scan in each of its N voxels.

    Args:
        scans: (scans, D, H, W), z-scored over the brain, 0 outside.
        spacing_mm: of the voxels (depth, height, width).

    Returns:
        The mask (D, H, W), and (2 scans, N): the z-scores of all scans in the voxel, then their
        Gaussian-weighted means around it, over the brain only; all clipped at +- 6.
    """
    brain: NDArray[np.bool_] = np.logical_or.reduce(scans != 0)
    sigmas = [AROUND_MM / step for step in spacing_mm]

    def blurred(volume: NDArray[np.float32]) -> NDArray[np.float32]:
        smooth = ndimage.gaussian_filter(volume, sigmas, truncate=TRUNCATE, mode="constant")
        inside: NDArray[np.float32] = smooth[brain]
        return inside

    weight = blurred(brain.astype(np.float32))
    around = [blurred(scan) / weight for scan in scans]
    values: NDArray[np.float32] = np.stack([*scans[:, brain], *around])
    return brain, values.clip(-LARGEST_SCORE, LARGEST_SCORE)


def quadratic_terms(values: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """The terms (N,) of a quadratic polynomial: 1, each value, and the products of any two.

    Args:
        values: (count, N).

    Returns:
        1 + count + count (count + 1) / 2 terms; for a and b they are 1, a, b, aa, ab, bb.
    """
    yield np.ones(values.shape[1], dtype=np.float32)
    yield from values
    for first, second in combinations_with_replacement(range(len(values)), 2):
        yield values[first] * values[second]


def estimated_scan(
    scans: NDArray[np.float32], spacing_mm: Sequence[float], estimate: ScanEstimate
) -> NDArray[np.float32]:
    """Estimated z-scores (D, H, W) of a missing scan, 0 outside the brain.

    Args:
        scans: (scans, D, H, W), the scans of the estimate in its order, z-scored over the brain
            and 0 outside.
        spacing_mm: of the voxels (depth, height, width).
        estimate: coefficients of the polynomial.
    """
    brain, values = predictors(scans, spacing_mm)
    scores = np.zeros(values.shape[1], dtype=np.float32)
    for coefficient, term in zip(estimate.coefficients, quadratic_terms(values), strict=True):
        scores += np.float32(coefficient) * term
    found = np.zeros(brain.shape, dtype=np.float32)
    found[brain] = scores
    return found
