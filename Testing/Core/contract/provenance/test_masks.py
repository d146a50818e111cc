"""Regions are known again by the checksum of their voxels, wherever the file's box begins."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from MISSUCore.contract.provenance.masks import Mask, start_on_grid, voxel_ml

# Oblique, voxels of 0.5 x 2 x 3 mm: columns are the steps of i, j, k, then the origin.
GRID = (0.4, -1.2, 0.0, 10.0, 0.3, 1.6, 0.0, -20.0, 0.0, 0.0, 3.0, 30.0)


def test_the_checksum_is_what_the_docs_say() -> None:
    voxels = np.zeros((4, 5, 6), bool)
    voxels[1, 2, 3] = voxels[1, 2, 5] = voxels[2, 2, 4] = True
    fact = Mask.of(voxels).fact(0.003)
    # The box is 2 x 1 x 3 voxels: 101 and 010, and two bits to fill the byte.
    assert fact.sha256 == hashlib.sha256(b"1 2 3 2 1 3" + bytes([0b10101000])).hexdigest()
    assert (fact.voxels, fact.volume_ml) == (3, 0.009)


def test_nothing_is_nothing_wherever_it_lies() -> None:
    nothing = hashlib.sha256(b"0 0 0 0 0 0").hexdigest()
    assert Mask.of(np.zeros((4, 5, 6), bool)).fact(1.0).sha256 == nothing
    assert Mask.of(np.zeros((2, 2, 2), bool), (3, 3, 3)).fact(1.0).sha256 == nothing


def test_an_empty_margin_does_not_count_and_the_place_does() -> None:
    voxels = np.random.default_rng(0).random((4, 5, 6)) > 0.5
    fact = Mask.of(voxels, (10, 20, 30)).fact(1.0)
    padded = np.pad(voxels, ((1, 2), (3, 0), (0, 1)))
    assert Mask.of(padded, (9, 17, 30)).fact(1.0) == fact
    assert Mask.of(voxels, (10, 20, 31)).fact(1.0).sha256 != fact.sha256
    assert Mask.of(voxels).shifted((10, 20, 30)).fact(1.0) == fact


def test_what_one_region_has_beyond_another_is_counted() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        ours, theirs = rng.random((2, 5, 6, 7)) > 0.8
        ours[:, :, : rng.integers(7)] = False
        expected = int((ours & ~theirs).sum())
        assert Mask.of(ours).beyond(Mask.of(theirs)) == expected
    far = Mask.of(np.ones((2, 2, 2), bool), (50, 0, 0))
    assert far.beyond(Mask.of(ours)) == 8
    assert Mask.of(np.zeros((2, 2, 2), bool)).beyond(far) == 0


def place(first: tuple[int, int, int]) -> np.ndarray:
    """The grid's part that begins with a voxel (i, j, k)."""
    matrix = np.reshape(GRID, (3, 4)).copy()
    matrix[:, 3] = matrix @ [*first, 1]
    return matrix


def test_a_part_of_a_grid_is_found_on_it() -> None:
    assert start_on_grid(GRID, place((5, -7, 100)).ravel()) == (100, -7, 5)
    assert start_on_grid(GRID, np.float32(place((5, 7, 100)).ravel()).tolist()) == (100, 7, 5)


@pytest.mark.parametrize("change", ["shifted", "turned", "finer", "flat"])
def test_another_grid_is_none(change: str) -> None:
    other = place((5, 7, 100))
    if change == "shifted":
        other[:, 3] += 0.3 * other[:, 0]
    elif change == "turned":
        other[:, 0] *= -1
    elif change == "finer":
        other[:, 2] /= 2
    else:
        other[:, 2] = 0
    assert start_on_grid(GRID, other.ravel()) is None
    assert start_on_grid((0.0,) * 12, other.ravel()) is None


def test_a_voxel_of_an_oblique_grid_has_its_volume() -> None:
    assert voxel_ml(GRID) == pytest.approx(0.5 * 2 * 3 / 1000)
