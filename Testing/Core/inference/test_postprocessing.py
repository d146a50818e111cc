"""Cleanup of hand-made masks."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from MISSUCore.contract.labels import BRATS, CHAOS_LIVER, LabelScheme
from MISSUCore.inference.postprocessing import Cleanup, clean, nest

ONE_MM = (1.0, 1.0, 1.0)
Masks = NDArray[np.bool_]
# Two liver lobes that lie apart inside the body.
LOBES = LabelScheme.from_dict(
    {
        "name": "lobes",
        "labels": [{"value": value, "name": str(value)} for value in (1, 2, 3)],
        "regions": [
            {"name": "body", "labels": [1, 2, 3]},
            {"name": "left", "labels": [2]},
            {"name": "right", "labels": [3]},
        ],
    }
)


def filled(*boxes: tuple[slice, slice, slice]) -> Masks:
    mask = np.zeros((10, 12, 14), dtype=bool)
    for box in boxes:
        mask[box] = True
    return mask


def box(depth: int, height: int, width: int, size: int) -> tuple[slice, slice, slice]:
    return tuple(slice(start, start + size) for start in (depth, height, width))


EMPTY = filled()
LARGE = box(1, 1, 1, 4)  # 64 voxels
SMALL = box(6, 6, 6, 2)  # 8 voxels
SPECK = box(8, 10, 12, 1)


def test_nothing_is_removed_unless_asked_for() -> None:
    masks = np.stack([filled(LARGE, SMALL, SPECK), filled(SMALL, SPECK), filled(SPECK)])
    np.testing.assert_array_equal(clean(masks, BRATS, ONE_MM, Cleanup()), masks)


@pytest.mark.parametrize(
    ("minimum", "kept"),
    [
        (0.5, (LARGE, SMALL, SPECK)),
        (1.0, (LARGE, SMALL, SPECK)),
        (1.1, (LARGE, SMALL)),
        (8.0, (LARGE, SMALL)),
        (8.1, (LARGE,)),
        (64.0, (LARGE,)),
        (65.0, ()),
    ],
)
def test_islands_below_the_minimum_go(minimum: float, kept: tuple) -> None:
    mask = filled(LARGE, SMALL, SPECK)[None]
    found = clean(mask, CHAOS_LIVER, ONE_MM, Cleanup(minimum_island_mm3=minimum))
    np.testing.assert_array_equal(found[0], filled(*kept))


@pytest.mark.parametrize(("spacing", "kept"), [((0.5, 2.0, 1.5), True), ((0.5, 2.0, 1.4), False)])
def test_sizes_are_in_cubic_millimeters(spacing: tuple[float, ...], kept: bool) -> None:
    mask = filled(SMALL)[None]  # 12 mm3, or 11.2
    found = clean(mask, CHAOS_LIVER, spacing, Cleanup(minimum_island_mm3=12.0))
    assert found.any() == kept
    found = clean(mask, CHAOS_LIVER, spacing, Cleanup(minimum_innermost_mm3=12.0))
    assert found.any() == kept


@pytest.mark.parametrize("step", [(0, 0, 1), (0, 1, 1), (1, 1, 1), (1, -1, 1), (-1, 1, 0)])
def test_voxels_that_touch_at_a_corner_are_one_island(step: tuple[int, int, int]) -> None:
    mask = EMPTY.copy()
    mask[5, 5, 5] = mask[tuple(5 + part for part in step)] = True
    found = clean(mask[None], CHAOS_LIVER, ONE_MM, Cleanup(minimum_island_mm3=2.0))
    np.testing.assert_array_equal(found[0], mask)
    apart = EMPTY.copy()
    apart[5, 5, 5] = apart[tuple(5 + 2 * part for part in step)] = True
    assert not clean(apart[None], CHAOS_LIVER, ONE_MM, Cleanup(minimum_island_mm3=2.0)).any()


def test_what_an_outer_region_loses_its_inner_ones_lose_too() -> None:
    # The speck is all of WT, TC and ET there; the rest of ET is one island with it in none.
    masks = np.stack([filled(LARGE, SMALL), filled(box(1, 1, 1, 3), SMALL), filled(SMALL)])
    found = clean(masks, BRATS, ONE_MM, Cleanup(minimum_island_mm3=20.0))
    np.testing.assert_array_equal(found[0], filled(LARGE))
    np.testing.assert_array_equal(found[1], filled(box(1, 1, 1, 3)))
    assert not found[2].any()


def test_an_inner_region_keeps_its_small_parts() -> None:
    masks = np.stack([filled(LARGE), filled(LARGE), filled(box(1, 1, 1, 1), box(3, 3, 3, 2))])
    found = clean(masks, BRATS, ONE_MM, Cleanup(minimum_island_mm3=4.0))
    np.testing.assert_array_equal(found, masks)


def test_what_whole_tumor_and_core_enclose_belongs_to_them() -> None:
    shell = filled(box(1, 1, 1, 5)) & ~filled(box(3, 3, 3, 1))
    found = clean(np.stack([shell] * 3), BRATS, ONE_MM, Cleanup(fill_holes=True))
    np.testing.assert_array_equal(found[:2], np.stack([filled(box(1, 1, 1, 5))] * 2))
    np.testing.assert_array_equal(found[2], shell)  # what enhancing tumor encloses is necrosis
    assert BRATS.to_labels(found)[3, 3, 3] == 1


def test_what_is_open_to_one_side_is_no_hole() -> None:
    cup = filled(box(1, 1, 1, 5)) & ~filled((slice(3, 9), slice(3, 4), slice(3, 4)))
    masks = np.stack([filled(box(1, 1, 1, 5)), cup, EMPTY])
    found = clean(masks, BRATS, ONE_MM, Cleanup(fill_holes=True))
    np.testing.assert_array_equal(found, masks)


@pytest.mark.parametrize(("minimum", "left"), [(16.0, 16), (16.5, 0)])
def test_enhancing_tumor_that_is_too_small_in_all_is_core(minimum: float, left: int) -> None:
    enhancing = filled(box(1, 1, 1, 2), box(3, 3, 3, 2))
    masks = np.stack([filled(LARGE), filled(LARGE), enhancing])
    found = clean(masks, BRATS, ONE_MM, Cleanup(minimum_innermost_mm3=minimum))
    np.testing.assert_array_equal(found[:2], masks[:2])
    assert found[2].sum() == left
    assert set(np.unique(BRATS.to_labels(found))) == ({0, 1, 4} if left else {0, 1})


def test_islands_go_before_the_innermost_is_measured() -> None:
    enhancing = filled(box(3, 3, 3, 2), SPECK)
    masks = np.stack([filled(LARGE, SPECK), filled(LARGE, SPECK), enhancing])
    both = Cleanup(minimum_island_mm3=4.0, minimum_innermost_mm3=8.5)  # 9 voxels, 8 without specks
    assert not clean(masks, BRATS, ONE_MM, both)[2].any()


def test_the_masks_given_stay_as_they_are() -> None:
    masks = np.stack([filled(LARGE, SPECK), filled(SPECK), filled(SPECK)])
    before = masks.copy()
    clean(masks, BRATS, ONE_MM, Cleanup(2.0, 100.0))
    np.testing.assert_array_equal(masks, before)


def test_empty_masks() -> None:
    found = clean(np.stack([EMPTY] * 3), BRATS, ONE_MM, Cleanup(100.0, 100.0))
    assert found.dtype == bool and found.shape == (3, *EMPTY.shape) and not found.any()


def test_random_masks_come_out_nested() -> None:
    masks = np.random.default_rng(0).random((3, 10, 12, 14)) < 0.25
    found = clean(masks, BRATS, ONE_MM, Cleanup(minimum_island_mm3=3.0))
    assert found[2].any()
    assert not (found[1] & ~found[0]).any()
    assert not (found[2] & ~found[1]).any()
    assert not (found & ~masks).any()


def test_no_inner_region_is_likelier_than_its_outer_one() -> None:
    probabilities = np.array([[0.9, 0.3, 0.5], [0.8, 0.6, 0.7], [0.7, 0.9, 0.6]], dtype=np.float32)
    before = probabilities.copy()
    nested = nest(probabilities[..., None, None], BRATS)[..., 0, 0]
    expected = np.array([[0.9, 0.3, 0.5], [0.8, 0.3, 0.5], [0.7, 0.3, 0.5]], dtype=np.float32)
    np.testing.assert_array_equal(nested, expected)
    np.testing.assert_array_equal(probabilities, before)


def test_regions_that_lie_apart_do_not_limit_each_other() -> None:
    probabilities = np.array([0.6, 0.9, 0.1], dtype=np.float32).reshape(3, 1, 1, 1)
    np.testing.assert_array_equal(
        nest(probabilities, LOBES).ravel(), np.array([0.6, 0.6, 0.1], dtype=np.float32)
    )
    probabilities = np.array([0.6, 0.1, 0.5], dtype=np.float32).reshape(3, 1, 1, 1)
    np.testing.assert_array_equal(nest(probabilities, LOBES), probabilities)
