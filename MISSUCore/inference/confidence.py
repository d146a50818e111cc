"""How good a segmentation probably is, from the network's own probabilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

# So much tumor beside the truth counts as little, where there is hardly any at all.
NEGLIGIBLE_MM3 = 100.0
# Lower probabilities are left out: over a whole brain they add up to more than a small tumor.
LEAST_PROBABILITY = 0.2


def expected_dice(
    probabilities: NDArray[np.float32], masks: NDArray[np.bool_], spacing_mm: Sequence[float]
) -> list[float]:
    """The Dice that each mask can expect, if the probabilities are frequencies.

    Twice the tumor expected inside the mask, over the mask's volume and all tumor expected, as far
    as it is likely. A small volume is added above and below the line, so that an empty mask where
    nothing is expected is sure, and one where much is expected is not.

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
    """Warnings about the regions whose expected Dice is under the model's limit for them."""
    return [
        f"{name}: low confidence (expected Dice {value:.2f}), review it with care"
        for (name, value), limit in zip(confidence.items(), doubtful_below)
        if value < limit
    ]
