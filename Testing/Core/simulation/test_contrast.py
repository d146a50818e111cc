"""Contrasts of simulated cases: their numbers are what the scans show."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk

from MISSUCore.simulation.case import simulate_case
from MISSUCore.simulation.contrast import BRATS_CONTRAST, random_contrast
from MISSUCore.simulation.lesion import ET

pytestmark = pytest.mark.slow

pytest.importorskip("nilearn", reason="simulated cases need nilearn")


def test_a_contrast_changes_the_scans_and_not_the_anatomy() -> None:
    t1 = BRATS_CONTRAST.sequences["t1"]
    bright = replace(t1, lesion={**t1.lesion, ET: (t1.lesion[ET][0] + 2.0, t1.lesion[ET][1])})
    contrast = replace(BRATS_CONTRAST, sequences={**BRATS_CONTRAST.sequences, "t1": bright})
    before, after = (
        simulate_case(1, spacing_mm=4.0),
        simulate_case(1, spacing_mm=4.0, contrast=contrast),
    )
    labels = sitk.GetArrayFromImage(before.labels)
    np.testing.assert_array_equal(labels, sitk.GetArrayFromImage(after.labels))
    difference = {
        name: sitk.GetArrayFromImage(after.images[name])
        - sitk.GetArrayFromImage(before.images[name])
        for name in before.images
    }
    # Two standard deviations of 100 each, less what the soft border of the rim takes.
    assert 100 < np.median(difference["t1"][labels == ET]) < 210
    assert np.median(difference["t1"][labels == 0]) == 0
    assert all(not difference[name].any() for name in ("t1ce", "t2", "flair"))


def test_random_contrasts_differ_and_repeat() -> None:
    first, again, other = (random_contrast(np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first == again != other
    drawn = [random_contrast(np.random.default_rng(seed)) for seed in range(200)]
    rims = [contrast.sequences["t1ce"].lesion[ET][0] for contrast in drawn]
    assert np.mean(rims) == pytest.approx(BRATS_CONTRAST.sequences["t1ce"].lesion[ET][0], abs=0.15)
    assert np.std(rims) == pytest.approx(0.5, abs=0.1)
    assert all(0.1 <= contrast.noise <= 0.4 for contrast in drawn)
