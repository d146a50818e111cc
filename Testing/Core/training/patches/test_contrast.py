"""Intensities of another scanner: a bias field, a T1ce that lies elsewhere, scans left out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from MISSUCore.training.patches import contrast
from MISSUCore.training.patches.contrast import change_contrast
from MISSUCore.training.patches.settings import AugmentationConfig

PLAIN = AugmentationConfig(flip_probability=0, intensity_shift=0, intensity_scale=0)


def changed(volume, seed=0, spacing_mm=(1.0, 1.0, 1.0), **settings):
    generator = torch.Generator().manual_seed(seed)
    return change_contrast(volume, spacing_mm, replace(PLAIN, **settings), generator)


@pytest.fixture
def brain() -> torch.Tensor:
    """Four modalities of a ball of random z-scores in a background of zeros."""
    generator = torch.Generator().manual_seed(3)
    volume = torch.randn((4, 13, 15, 17), generator=generator)
    distance = np.linalg.norm(np.indices((13, 15, 17)).T - (6, 7, 8), axis=-1).T
    return volume * torch.from_numpy(distance < 6)


def test_a_bias_field_multiplies_intensities_by_a_smooth_positive_factor(brain, monkeypatch):
    # Where intensities are 4 deviations under the mean there is no signal, and nothing to multiply.
    monkeypatch.setattr(contrast, "uniform", lambda generator, low=0.0, high=1.0: high and 0.4)
    zero = 0.4  # what the stand-in draws for it
    biased = changed(brain, bias_probability=1.0)
    inside = brain != 0
    assert torch.equal(biased != 0, inside)
    factors = torch.ones_like(brain)
    factors[inside] = ((biased + zero) / (brain + zero))[inside]
    assert (factors[inside] > 0).all()
    # Smooth: the logarithm is linear between knots in the middle and at the ends of an axis.
    line = factors[0, 6, 7].log()
    near_zero = (brain + zero)[0, 6, 7].abs() < 0.1
    steps = line[1:] - line[:-1]
    first, second = steps[3:7], steps[9:13]
    for half, flat in ((first, near_zero[3:8]), (second, near_zero[9:14])):
        if not flat.any():
            torch.testing.assert_close(half, half[:1].expand(len(half)), rtol=0, atol=1e-3)
    assert factors[0][inside[0]].std() > 0.01


def test_the_field_has_the_strength_and_chance_asked_for(brain):
    strengths = []
    flat = torch.where(brain != 0, 1.0, 0.0)
    for seed in range(200):
        biased = changed(flat, seed, bias_probability=0.5, bias=0.2)
        strengths += [float(channel[channel != 0].std()) for channel in biased]
    touched = np.array(strengths) > 1e-4
    assert 0.42 < touched.mean() < 0.58
    # At a knot: (1 + zero) * exp(0.2 * random), zero at most 5; between knots less.
    assert 0.05 < np.max(strengths) < 6 * 0.2 * 2
    assert not torch.equal(changed(flat, bias_probability=1.0), flat)
    assert torch.equal(changed(flat, bias_probability=1.0, bias=0.0).round(decimals=4), flat)


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (3.0, 1.0, 0.5)])
def test_t1ce_alone_is_moved_by_whole_voxels_up_to_2_mm(spacing_mm):
    volume = torch.arange(1.0, 4 * 12 * 13 * 14 + 1).reshape(4, 12, 13, 14)
    most = [int(2 / spacing) for spacing in spacing_mm]
    seen = set()
    for seed in range(400):
        moved = changed(volume, seed, spacing_mm, shift_probability=1.0)
        assert torch.equal(moved[[0, 2, 3]], volume[[0, 2, 3]])
        number = int(moved[1, 6, 6, 6] - volume[1, 0, 0, 0])
        offset = np.subtract(6, np.unravel_index(number, (12, 13, 14))).tolist()
        assert all(abs(n) <= limit for n, limit in zip(offset, most))
        # The rest of the block moved alike; what came from beyond the end is as it was.
        rolled = torch.roll(volume[1], offset, (0, 1, 2))
        middle = (slice(3, -3),) * 3
        if spacing_mm[2] == 1:
            assert torch.equal(moved[1][middle], rolled[middle])
        seen.add(tuple(offset))
    for axis, limit in enumerate(most):
        assert {offset[axis] for offset in seen} == set(range(-limit, limit + 1))


def test_t1ce_moves_at_the_rate_asked_for_and_no_voxel_leaves_the_brain(brain):
    count = 0
    for seed in range(300):
        moved = changed(brain, seed, shift_probability=0.3)
        assert torch.equal(moved != 0, brain != 0)
        count += not torch.equal(moved, brain)
    # One of the 125 offsets moves nothing.
    assert 0.22 < count / 300 < 0.38


def test_which_modality_is_missing_follows_the_weights(brain):
    missing = np.zeros(4)
    for seed in range(600):
        volume = changed(brain, seed, modality_dropout=1.0, dropout_weights=(1.0, 2.0, 0.0, 3.0))
        gone = [not channel.any() for channel in volume]
        assert sum(gone) == 1
        missing += gone
    np.testing.assert_allclose(missing / 600, [1 / 6, 2 / 6, 0, 3 / 6], atol=0.05)
    assert missing[2] == 0


def test_without_weights_all_are_missing_alike(brain):
    alike = [
        changed(brain, seed, modality_dropout=0.7, dropout_weights=(2.0,) * 4) for seed in range(20)
    ]
    plain = [changed(brain, seed, modality_dropout=0.7) for seed in range(20)]
    assert all(torch.equal(one, other) for one, other in zip(alike, plain))


@pytest.mark.parametrize("weights", [(0.0,) * 4, (1.0, -1.0, 1.0, 1.0), (float("nan"),) * 4])
def test_weights_that_draw_nothing_are_refused(weights):
    with pytest.raises(ValueError, match="dropout_weights"):
        AugmentationConfig(dropout_weights=weights)
