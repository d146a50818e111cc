"""Lesion-wise Dice and 95 % Hausdorff distance, the ranking scores of BraTS 2023.

The definitions are those of the organizers' code (rachitsaluja/BraTS-2023-Metrics) with its glioma
settings; nothing was copied from it. Unlike the scores of BraTS 2026 in :mod:`.lesions`, these
give missed and false-positive lesions the worst possible score.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_dilation, find_objects, generate_binary_structure, label

from .masks import Mask, joint_block
from .metrics import dice
from .surfaces import surface_distances

DILATION = 3  # iterations of one voxel; reference parts that merge are one lesion
LEAST_MM3 = 50.0  # reference lesions up to this volume do not count
WORST_MM = 374.0  # distance for a missed or false-positive lesion

_NEIGHBORS = np.ones((3, 3, 3), dtype=bool)
_FACES_AND_EDGES = generate_binary_structure(3, 2)


@dataclass(frozen=True)
class LesionWiseScores:
    """Means over reference and false-positive lesions; 1 and 0 mm if there are none."""

    lesion_wise_dice: float
    lesion_wise_hausdorff95_mm: float


def score_lesion_wise(
    prediction: Mask, reference: Mask, spacing_mm: Sequence[float]
) -> LesionWiseScores:
    """Score the lesions of two masks (depth, height, width).

    A lesion is a connected component (26 neighbors) of the reference after :data:`DILATION`
    dilations (18 neighbors). It is compared with all components of the prediction that touch it in
    this dilated form. A component that touches none is a false positive, however small. Reference
    lesions of at most :data:`LEAST_MM3` are ignored, as are components that touch only these.
    """
    if not (prediction.any() or reference.any()):
        return LesionWiseScores(1.0, 0.0)
    prediction, reference = joint_block(prediction, reference, DILATION)
    dilated = binary_dilation(reference, _FACES_AND_EDGES, DILATION)
    lesions = label(dilated, _NEIGHBORS)[0] * reference
    parts, count = label(prediction, _NEIGHBORS)
    voxel_mm3 = math.prod(spacing_mm)
    scores: list[tuple[float, float]] = []
    touched: set[int] = set()
    for number, box in enumerate(find_objects(lesions), start=1):
        around = tuple(slice(max(0, s.start - DILATION), s.stop + DILATION) for s in box)
        lesion = lesions[around] == number
        reach = binary_dilation(lesion, _FACES_AND_EDGES, DILATION)
        touching = set(np.unique(parts[around][reach]).tolist()) - {0}
        touched |= touching
        if np.count_nonzero(lesion) * voxel_mm3 > LEAST_MM3:
            found = np.isin(parts, list(touching))
            scores.append(_score(found, lesions == number, spacing_mm))
    scores += [(0.0, WORST_MM)] * (count - len(touched))
    if not scores:
        return LesionWiseScores(1.0, 0.0)
    return LesionWiseScores(*(float(mean) for mean in np.mean(scores, axis=0)))


def _score(found: Mask, lesion: Mask, spacing_mm: Sequence[float]) -> tuple[float, float]:
    distance = surface_distances(found, lesion, spacing_mm).hausdorff95_mm()
    return dice(found, lesion), distance if math.isfinite(distance) else WORST_MM
