"""Estimates of a missing scan, against sums written out by hand."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from MISSUCore.contract.model_card import ScanEstimate
from MISSUCore.preprocessing.scan_estimate import estimated_scan, predictors, quadratic_terms

SPACING_MM = (1.0, 2.0, 4.0)


def test_the_terms_are_one_the_values_and_their_products() -> None:
    values = np.array([[2.0], [3.0], [5.0]], dtype=np.float32)
    terms = np.concatenate([*quadratic_terms(values)])
    assert terms.tolist() == [1, 2, 3, 5, 4, 6, 10, 9, 15, 25]


def test_what_is_around_a_voxel_is_a_gaussian_of_2_mm_over_the_brain_alone() -> None:
    scan = np.full((1, 9, 7, 5), 1.0, dtype=np.float32)
    scan[0, 4, 3, 2] = 3.0
    scan[0, :2] = 0.0  # no brain
    brain, values = predictors(scan, SPACING_MM)
    assert_array_equal(brain, scan[0] != 0)
    found = np.zeros(brain.shape)
    found[brain] = values[1]
    for place in ((4, 3, 2), (3, 4, 2), (2, 2, 1), (8, 6, 4)):
        total = weights = 0.0
        for voxel in product(*map(range, brain.shape)):
            # Sigmas of 2, 1 and 0.5 voxels, cut at twice of it.
            steps = [abs(a - b) for a, b in zip(voxel, place)]
            if not brain[voxel] or any(step > far for step, far in zip(steps, (4, 2, 1))):
                continue
            weight = math.exp(-sum((s * mm) ** 2 for s, mm in zip(steps, SPACING_MM)) / 8)
            total += weight * float(scan[0][voxel])
            weights += weight
        assert found[place] == pytest.approx(total / weights, rel=1e-5)


def test_the_estimate_is_the_polynomial_in_the_brain_and_nothing_outside() -> None:
    a, b = 0.5, -1.0
    scans = np.zeros((2, 6, 6, 6), dtype=np.float32)
    scans[0, 1:5, 1:5, 1:], scans[1, 1:5, 1:5, 1:] = a, b
    coefficients = tuple(np.arange(1.0, 16.0))
    estimate = ScanEstimate("flair", ("t1", "t2"), coefficients)
    found = estimated_scan(scans, (1.0, 1.0, 1.0), estimate)
    # A scan that is the same everywhere is the same around each voxel.
    given = [a, b, a, b]
    terms = [1.0, *given, *(given[i] * given[j] for i in range(4) for j in range(i, 4))]
    wanted = sum(c * term for c, term in zip(coefficients, terms))
    assert_allclose(found[1:5, 1:5, 1:], wanted, rtol=1e-5)
    assert not found[scans[0] == 0].any()


def test_z_scores_beyond_6_count_as_6() -> None:
    scans = np.full((1, 4, 4, 4), 10.0, dtype=np.float32)
    linear = ScanEstimate("flair", ("t1",), (0.0, 1.0, 0.0, 0.0, 0.0, 0.0))
    assert_array_equal(estimated_scan(scans, SPACING_MM, linear), np.float32(6))
    assert_array_equal(estimated_scan(-scans, SPACING_MM, linear), np.float32(-6))
