"""Lesion-wise scores of a region, as defined by the BraTS challenges of 2026.

The definitions are those of the challenges' package ``brats-evaluation`` 0.0.10 with its glioma
settings: a lesion is a connected component (26 neighbors); lesions of the two masks that overlap
are paired one to one, so that the sum of their Dice is the largest; Dice, distance and surface Dice
are means over the pairs. Missed and false-positive lesions do not lower these means, so look at
their numbers too. Nothing was copied from that package; tests compare this code with its results.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects, label
from scipy.optimize import linear_sum_assignment

from .masks import Mask
from .metrics import EMPTY_MM, dice, near, surface_distances_mm

_NEIGHBORS = np.ones((3, 3, 3), dtype=bool)
_LEAST_DICE = 1e-6


@dataclass(frozen=True)
class LesionScores:
    """Numbers of lesions, and mean scores over those that were found.

    Where no lesion was found, though there is one in either mask, Dice and surface Dice are 0 and
    the distance is :data:`.EMPTY_MM`. Where there are no lesions at all, they are NaN.
    """

    lesions_found: int
    lesions_missed: int
    lesions_invented: int
    lesion_dice: float
    lesion_hausdorff95_mm: float
    lesion_surface_dice: float


def score_lesions(prediction: Mask, reference: Mask, spacing_mm: Sequence[float]) -> LesionScores:
    """Pair the lesions of two masks (depth, height, width) and score the pairs.

    The 95 % Hausdorff distance is the 95th percentile of the pooled surface distances of both
    directions, unlike that of :func:`.hausdorff`.
    """
    predicted, expected = _components(prediction), _components(reference)
    pairs = _pairs(predicted, expected)
    found = len(pairs)
    missed, invented = int(expected.max()) - found, int(predicted.max()) - found
    if not pairs:
        scores = (0.0, EMPTY_MM, 0.0) if missed or invented else (math.nan,) * 3
    else:
        scores = np.mean([_score(predicted, expected, pair, spacing_mm) for pair in pairs], axis=0)
    return LesionScores(found, missed, invented, *(float(score) for score in scores))


def _components(mask: Mask) -> NDArray[np.int32]:
    numbered: NDArray[np.int32] = label(mask, _NEIGHBORS)[0]
    return numbered


def _pairs(predicted: NDArray[np.int32], expected: NDArray[np.int32]) -> list[tuple[int, int]]:
    """Pairs of component numbers (prediction, reference) that are matched."""
    sizes = np.bincount(predicted.ravel())[1:], np.bincount(expected.ravel())[1:]
    shared = np.zeros((len(sizes[0]), len(sizes[1])))
    both = (predicted > 0) & (expected > 0)
    np.add.at(shared, (predicted[both] - 1, expected[both] - 1), 1)
    overlap = 2 * shared / (sizes[0][:, None] + sizes[1])
    rows, columns = linear_sum_assignment(overlap, maximize=True)
    return [
        (int(row) + 1, int(column) + 1)
        for row, column in zip(rows, columns)
        if overlap[row, column] > _LEAST_DICE
    ]


def _score(
    predicted: NDArray[np.int32],
    expected: NDArray[np.int32],
    pair: tuple[int, int],
    spacing_mm: Sequence[float],
) -> tuple[float, float, float]:
    """Dice, 95 % Hausdorff distance and surface Dice of a pair."""
    either = (predicted == pair[0]) | (expected == pair[1])
    (box,) = find_objects(either.astype(np.uint8))
    one, other = predicted[box] == pair[0], expected[box] == pair[1]
    distances = surface_distances_mm(one, other, spacing_mm)
    distance = float(np.percentile(np.concatenate(distances), 95))
    return dice(one, other), distance, near(*distances, min(spacing_mm))
