"""Expected quality of a segmentation, from the network's own probabilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

# Tumor volume that is negligible; it stabilizes the expected Dice of nearly empty regions.
NEGLIGIBLE_MM3 = 100.0
# Lower probabilities are ignored: summed over a whole brain they exceed a small tumor.
LEAST_PROBABILITY = 0.2


def expected_dice(
    probabilities: NDArray[np.float32], masks: NDArray[np.bool_], spacing_mm: Sequence[float]
) -> list[float]:
    """Expected Dice of each mask, provided that the probabilities are calibrated.

    It is twice the expected tumor volume inside the mask, divided by the sum of the mask's volume
    and all expected tumor. A small volume is added to numerator and denominator, so that an empty
    mask has 1 if no tumor is expected, and near 0 if much is.

    Args:
        probabilities: (regions, D, H, W), calibrated.
        masks: (regions, D, H, W).
        spacing_mm: (depth, height, width).
    """
    negligible = NEGLIGIBLE_MM3 / float(np.prod(spacing_mm))
    likely = np.where(probabilities < LEAST_PROBABILITY, 0, probabilities)
    return [
        float(
            (2 * region[mask].sum(dtype=np.float64) + negligible)
            / (mask.sum() + region.sum(dtype=np.float64) + negligible)
        )
        for region, mask in zip(likely, masks)
    ]


def doubts(confidence: Mapping[str, float], doubtful_below: Sequence[float]) -> list[str]:
    """Warnings about regions whose expected Dice is below the model's limit."""
    return [
        f"{name}: low confidence (expected Dice {value:.2f}), review it with care"
        for (name, value), limit in zip(confidence.items(), doubtful_below)
        if value < limit
    ]
