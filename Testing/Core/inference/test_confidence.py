"""The confidence of a result: a Dice, if probabilities are frequencies."""

from __future__ import annotations

import numpy as np
import pytest

from MISSUCore.inference.confidence import LEAST_PROBABILITY, NEGLIGIBLE_MM3, doubts, expected_dice

SPACING = (2.0, 1.0, 1.5)
NEGLIGIBLE = NEGLIGIBLE_MM3 / 3.0


def test_by_hand() -> None:
    probabilities = np.zeros((1, 20, 20, 20), dtype=np.float32)
    probabilities[0, :10] = 0.75
    probabilities[0, 10:15] = 0.25
    probabilities[0, 15:] = 0.1  # so unlikely that it is left out
    masks = probabilities >= 0.5
    # 4000 voxels of 0.75 are in the mask, 2000 of 0.25 beside it.
    expected = (2 * 3000 + NEGLIGIBLE) / (4000 + 3500 + NEGLIGIBLE)
    assert expected_dice(probabilities, masks, SPACING) == [pytest.approx(expected, rel=1e-6)]


def test_it_is_the_dice_to_expect_when_truth_is_drawn_from_the_probabilities() -> None:
    rng = np.random.default_rng(0)
    distance = np.linalg.norm(np.indices((40, 40, 40)) - 20, axis=0)
    probabilities = (1 / (1 + np.exp(2 * (distance - 12))))[None].astype(np.float32)
    probabilities[probabilities < LEAST_PROBABILITY] = 0
    masks = probabilities >= 0.5
    found = []
    for _ in range(50):
        truth = rng.random(probabilities.shape) < probabilities
        found.append(2 * (truth & masks).sum() / (truth.sum() + masks.sum()))
    (expected,) = expected_dice(probabilities, masks, (1, 1, 1))
    assert expected == pytest.approx(np.mean(found), abs=0.005)


def test_an_empty_mask_is_sure_where_nothing_is_expected() -> None:
    probabilities = np.zeros((3, 20, 20, 20), dtype=np.float32)
    probabilities[1, :2, :2, :2] = 0.25  # 2 voxels, 6 mm3, in all
    probabilities[2] = 0.4  # 3200 voxels, 9.6 ml
    nothing, hardly, much = expected_dice(probabilities, probabilities >= 0.5, SPACING)
    assert nothing == 1
    assert hardly == pytest.approx(100 / 106, rel=1e-5)
    assert much == pytest.approx(100 / 9700, rel=1e-5)


def test_doubts_name_the_regions_under_their_limits() -> None:
    confidence = {"WT": 0.9, "TC": 0.6, "ET": 0.599}
    (doubt,) = doubts(confidence, (0.85, 0.6, 0.6))
    assert doubt.startswith("ET: low confidence (expected Dice 0.60)")
    assert len(doubts(confidence, (0.95, 0.7, 0.7))) == 3
    assert doubts(confidence, ()) == []
