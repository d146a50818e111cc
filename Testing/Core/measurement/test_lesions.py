"""Which parts of a mask are one lesion."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import label

from MISSUCore.measurement.lesions import find_lesions


def test_parts_are_joined_up_to_the_distance_of_their_nearest_voxels() -> None:
    mask = np.zeros((3, 4, 20), dtype=bool)
    mask[1, 1, [0, 1, 5, 12]] = True  # gaps of 4 and 7 voxels from center to center
    for join_mm, expected in ((0, 3), (1.9, 3), (2.0, 2), (3.4, 2), (3.5, 1)):
        numbers = find_lesions(mask, (1.0, 1.0, 0.5), join_mm)
        assert numbers.max() == expected, join_mm
        assert np.array_equal(numbers > 0, mask)


def test_a_corner_connects() -> None:
    mask = np.zeros((2, 2, 2), dtype=bool)
    mask[0, 0, 0] = mask[1, 1, 1] = True
    assert find_lesions(mask, (5.0, 1.0, 1.0), 0.0).max() == 1


def test_distances_are_in_mm_along_each_axis() -> None:
    mask = np.zeros((5, 3, 5), dtype=bool)
    mask[0, 1, 1] = mask[2, 1, 1] = mask[2, 1, 3] = True
    # 12 mm across the slices, 1 mm in the slice.
    numbers = find_lesions(mask, (6.0, 0.5, 0.5), 3.0)
    assert numbers[2, 1, 1] == numbers[2, 1, 3] != numbers[0, 1, 1]


def test_an_empty_mask_has_none() -> None:
    assert not find_lesions(np.zeros((2, 3, 4), dtype=bool), (1.0, 1.0, 1.0), 3.0).any()


@pytest.mark.parametrize("join_mm", [1.5, 2.5, 4.0])
def test_joining_by_brute_force(join_mm: float) -> None:
    rng = np.random.default_rng(4)
    spacing = np.array([2.0, 0.8, 1.1])
    for _ in range(20):
        mask = rng.random((6, 9, 8)) < 0.04
        parts, count = label(mask, np.ones((3, 3, 3)))
        group = list(range(count + 1))
        voxels = [np.argwhere(parts == number) * spacing for number in range(count + 1)]
        for a in range(1, count + 1):
            for b in range(1, a):
                apart = np.linalg.norm(voxels[a][:, None] - voxels[b][None], axis=-1).min()
                if apart <= join_mm:
                    group = [group[a] if g == group[b] else g for g in group]
        expected = np.array(group)[parts]
        numbers = find_lesions(mask, spacing, join_mm)
        assert len(np.unique(numbers)) == len(np.unique(expected))
        pairs = set(zip(numbers.ravel().tolist(), expected.ravel().tolist()))
        assert len(pairs) == len(np.unique(expected)), "another partition"
        assert numbers.max() == len(np.unique(numbers[mask]))
