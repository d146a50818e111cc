"""Diameters, against shapes measured by hand and against a search of another kind."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from MISSUCore.core.errors import InputError
from MISSUCore.measurement import diameters
from MISSUCore.measurement.diameters import maximum_diameter, plane_diameters


def spans(mask: NDArray[np.bool_], start: NDArray, along: NDArray) -> NDArray:
    """Where straight lines run through each pixel: (lines, pixels, 2), in lengths of ``along``.

    Args:
        mask: (height, width); a pixel covers half a step to all sides of its whole numbers.
        start: (lines, 2).
        along: (lines, 2).
    """
    pixels = np.argwhere(mask)
    low = np.full((len(start), len(pixels)), -np.inf)
    high = np.full((len(start), len(pixels)), np.inf)
    for axis in range(2):
        near, far = pixels[:, axis] - 0.5, pixels[:, axis] + 0.5
        at, step = start[:, axis, None], along[:, axis, None]
        still = np.broadcast_to(np.abs(step) < 1e-12, low.shape)
        with np.errstate(divide="ignore", invalid="ignore"):
            ends = np.stack([(near - at) / step, (far - at) / step])
        hits = (at >= near - 1e-9) & (at <= far + 1e-9)
        low = np.where(still, np.where(hits, low, np.inf), np.maximum(low, ends.min(axis=0)))
        high = np.where(still, np.where(hits, high, -np.inf), np.minimum(high, ends.max(axis=0)))
    missed = low > high + 1e-12
    low[missed], high[missed] = np.inf, -np.inf
    return np.stack([low, high], axis=-1)


def reach(intervals: NDArray) -> NDArray:
    """How far from 0 the joined intervals lead without a gap: (lines,)."""
    far = np.zeros(len(intervals))
    while True:
        met = (intervals[..., 0] <= far[:, None] + 1e-9) & (intervals[..., 1] >= far[:, None])
        further = np.maximum(far, np.where(met, intervals[..., 1], -np.inf).max(axis=1))
        if np.all(further <= far + 1e-9):
            return far
        far = further


def edge_middles(mask: NDArray[np.bool_]) -> NDArray:
    """Middles of the edges between a pixel of a mask and one outside, row and column."""
    middles = []
    padded = np.pad(mask, 1)
    for row, column in np.argwhere(padded):
        for down, right in ((1, 0), (-1, 0), (0, 1), (0, -1)):
            if not padded[row + down, column + right]:
                middles.append((row - 1 + down / 2, column - 1 + right / 2))
    return np.array(middles)


def brute_force(mask: NDArray[np.bool_], spacing: NDArray) -> tuple[list[NDArray], float, float]:
    """All longest lines in one slice, their length, and the longest one across any of them, in mm.

    The line across is looked for at 2000 places of the longest.
    """
    middles = edge_middles(mask)
    first, second = np.triu_indices(len(middles), 1)
    lengths = np.linalg.norm((middles[first] - middles[second]) * spacing, axis=1)
    order = np.argsort(-lengths)
    lines: list[NDArray] = []
    length = 0.0
    for some in np.array_split(order, max(1, len(order) // 200)):
        if lengths[some[0]] < length - 1e-6:
            break
        starts, ends = middles[first[some]], middles[second[some]]
        inside = reach(spans(mask, starts, ends - starts)) >= 1 - 1e-9
        for pair in some[inside]:
            if lengths[pair] >= length - 1e-6:
                length = max(length, lengths[pair])
                lines.append(np.stack([middles[first[pair]], middles[second[pair]]]))
    across_mm = max(longest_across(mask, line, spacing) for line in lines)
    return lines, length, across_mm


def longest_across(mask: NDArray[np.bool_], line: NDArray, spacing: NDArray) -> float:
    along = (line[1] - line[0]) * spacing
    across = np.array([-along[1], along[0]]) / np.linalg.norm(along) / spacing
    places = line[0] + np.linspace(0.0003, 0.9998, 2000)[:, None] * (line[1] - line[0])
    directions = np.broadcast_to(across, places.shape)
    ways = [reach(spans(mask, places, sign * directions)) for sign in (1, -1)]
    return float(np.max(ways[0] + ways[1]))


def random_shape(rng: np.random.Generator) -> NDArray[np.bool_]:
    """A blob, a ring with or without a gap, a bent thin line, a noisy or an L-shaped thing."""
    kind = rng.integers(5)
    rows, columns = np.indices((13, 15)) - rng.uniform(5, 8, (2, 1, 1))
    radius = np.hypot(rows, columns * rng.uniform(0.7, 1.4))
    if kind == 0:
        mask = radius + rng.normal(0, 0.6, radius.shape) < rng.uniform(2, 5)
    elif kind == 1:
        mask = np.abs(radius - rng.uniform(3, 4.5)) < rng.uniform(0.6, 1.3)
        mask &= ~((rows > 0) & (np.abs(columns) < rng.integers(0, 3)))
    elif kind == 2:
        mask = np.abs(rows - 2 * np.sin(columns / rng.uniform(1.5, 4))) < rng.uniform(0.5, 1)
    elif kind == 3:
        mask = rng.random(radius.shape) < rng.uniform(0.1, 0.7)
    else:
        mask = (np.abs(rows) < 4) & (np.abs(columns) < 6) & ((rows < -1) | (columns < -3))
    mask[6, 7] = True
    return mask


def lengths(found: NDArray, spacing: NDArray) -> tuple[float, NDArray]:
    vector = (found[1] - found[0]) * spacing
    return float(np.linalg.norm(vector)), vector


def angle(first: NDArray, second: NDArray) -> float:
    cosine = abs(first @ second) / np.linalg.norm(first) / np.linalg.norm(second)
    return math.degrees(math.acos(min(1, cosine)))


@pytest.mark.slow
def test_two_hundred_random_shapes_are_measured_as_by_brute_force() -> None:
    rng = np.random.default_rng(17)
    for number in range(200):
        mask = random_shape(rng)
        spacing = rng.uniform(0.4, 2.0, 2)
        found = plane_diameters(mask[None], spacing)
        assert found is not None
        lines, longest_mm, across_mm = brute_force(mask, spacing)
        longest, vector = lengths(found.longest, spacing)
        across, other = lengths(found.perpendicular, spacing)
        expected = sorted((longest_mm, across_mm))
        assert [across, longest] == pytest.approx(expected, abs=0.1), number
        assert angle(vector, other) == pytest.approx(90, abs=1), number
        # The longest may be either of the two, where they differ by a fraction of a pixel.
        known = [(line[1] - line[0]) * spacing for line in lines]
        assert min(angle(ours, line) for ours in (vector, other) for line in known) < 1, number


def test_every_end_lies_in_a_pixel_of_the_lesion() -> None:
    rng = np.random.default_rng(3)
    for _ in range(50):
        mask = random_shape(rng)
        found = plane_diameters(mask[None], (1.0, 0.7))
        assert found is not None
        for row, column in np.rint([*found.longest, *found.perpendicular]).astype(int):
            assert mask[row, column]


def test_a_rectangle_by_hand() -> None:
    mask = np.zeros((3, 30, 30), dtype=bool)
    mask[1, 5:15, 4:24] = True  # 10 by 20 pixels
    found = plane_diameters(mask, (1.0, 1.0))
    assert found is not None and found.slice_index == 1
    # From the middle of an outer edge of one corner's pixel to that of the opposite corner's.
    assert lengths(found.longest, np.ones(2))[0] == pytest.approx(math.hypot(20, 9), abs=0.01)
    # From the lower to the upper side, at a right angle to that line.
    expected = 10 / math.cos(math.atan2(9, 20))
    assert lengths(found.perpendicular, np.ones(2))[0] == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.5, 2.0), (3.0, 0.8)])
def test_one_pixel_is_as_long_as_its_sides(spacing: tuple[float, float]) -> None:
    found = plane_diameters(np.ones((1, 1, 1), dtype=bool), spacing)
    assert found is not None
    measured = [
        lengths(line, np.array(spacing))[0] for line in (found.longest, found.perpendicular)
    ]
    assert measured == pytest.approx(sorted(spacing, reverse=True), abs=0.01)


def test_a_disk_is_as_wide_as_it_is() -> None:
    rows, columns = np.indices((101, 101)) - 50.2
    found = plane_diameters((np.hypot(rows, columns) < 40)[None], (0.25, 0.25))
    assert found is not None
    for line in (found.longest, found.perpendicular):
        assert lengths(line, np.full(2, 0.25))[0] == pytest.approx(20, abs=0.25)


def test_a_thin_ring_is_as_wide_as_its_rim() -> None:
    rows, columns = np.indices((61, 61)) - 30
    radius = np.hypot(rows, columns)
    found = plane_diameters(((radius < 20) & (radius > 17))[None], (1.0, 1.0))
    assert found is not None
    # The longest line in the rim touches the cavity.
    longest = lengths(found.longest, np.ones(2))[0]
    assert longest == pytest.approx(2 * math.sqrt(20**2 - 17**2), abs=2)
    assert lengths(found.perpendicular, np.ones(2))[0] < 6


def test_the_slice_with_the_longest_diameter_is_taken_and_not_the_largest_area() -> None:
    mask = np.zeros((3, 40, 40), dtype=bool)
    mask[0, 5:25, 5:25] = True
    mask[2, 20, 2:38] = True
    found = plane_diameters(mask, (1.0, 1.0))
    assert found is not None and found.slice_index == 2


def test_of_equally_long_diameters_the_wider_one_is_taken() -> None:
    mask = np.zeros((2, 20, 20), dtype=bool)
    mask[0, 10, 2:18] = True
    mask[1, 10, 2:18] = True
    mask[1, 8:13, 9] = True
    found = plane_diameters(mask, (1.0, 1.0))
    assert found is not None and found.slice_index == 1
    assert lengths(found.perpendicular, np.ones(2))[0] == pytest.approx(5, abs=0.01)


@pytest.mark.parametrize("axes", [(0, 1), (1, 0)])
@pytest.mark.parametrize("flips", [(1, 1), (-1, 1), (1, -1), (-1, -1)])
def test_turned_and_mirrored_shapes_have_the_same_diameters(
    axes: tuple[int, int], flips: tuple[int, int]
) -> None:
    rng = np.random.default_rng(5)
    spacing = np.array([0.6, 1.3])
    for _ in range(10):
        mask = random_shape(rng)
        turned = mask[:: flips[0], :: flips[1]].transpose(axes)
        results = [
            plane_diameters(mask[None], spacing),
            plane_diameters(turned[None], spacing[list(axes)]),
        ]
        measured = [
            (lengths(found.longest, step)[0], lengths(found.perpendicular, step)[0])
            for found, step in zip(results, (spacing, spacing[list(axes)]))
            if found
        ]
        assert measured[0] == pytest.approx(measured[1], abs=0.01)


def test_the_maximum_in_3d_by_brute_force() -> None:
    rng = np.random.default_rng(9)
    for _ in range(30):
        mask = rng.random((5, 6, 7)) < 0.1
        mask[2, 3, 3] = True
        spacing = rng.uniform(0.5, 3, 3)
        faces = [
            (voxel + side) * spacing
            for voxel in np.argwhere(mask)
            for side in np.concatenate([np.eye(3), -np.eye(3)]) / 2
        ]
        expected = max(np.linalg.norm(a - b) for a in faces for b in faces)
        found = maximum_diameter(mask, spacing)
        assert found is not None
        length = np.linalg.norm((found[1] - found[0]) * spacing)
        assert length == pytest.approx(expected, abs=0.02)


def test_nothing_has_no_diameter() -> None:
    empty = np.zeros((2, 3, 4), dtype=bool)
    assert plane_diameters(empty, (1.0, 1.0)) is None
    assert maximum_diameter(empty, (1.0, 1.0, 1.0)) is None


def test_what_no_lesion_looks_like_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diameters, "MAXIMUM_PAIRS", 10_000)
    noise = np.random.default_rng(0).random((9, 20, 20)) < 0.5
    with pytest.raises(
        InputError, match=r"slice \d: the outline of a lesion, with \d+ pixel edges"
    ):
        plane_diameters(noise, (1.0, 1.0))
    assert plane_diameters(np.ones((1, 20, 20), dtype=bool), (1.0, 1.0)) is not None


def test_a_large_ragged_outline_is_searched_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    mask = np.random.default_rng(1).random((1, 12, 12)) < 0.6
    whole = plane_diameters(mask, (1.0, 1.0))
    monkeypatch.setattr(diameters, "_PAIRS_AT_ONCE", 300)
    blocks = plane_diameters(mask, (1.0, 1.0))
    assert whole is not None and blocks is not None
    assert lengths(whole.longest, np.ones(2))[0] == lengths(blocks.longest, np.ones(2))[0]
