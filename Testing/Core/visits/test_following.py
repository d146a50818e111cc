"""Lesions followed over visits, on small images that show what has to come out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import SimpleITK as sitk

from MISSUCore.visits.following import follow


@pytest.fixture
def at(make_image: Callable[..., sitk.Image]) -> Callable[..., sitk.Image]:
    """Function to an image of 1 mm with lesions at some columns of a row: "0011020"."""

    def make(columns: str, **geometry: object) -> sitk.Image:
        numbers = np.zeros((5, 5, len(columns)), np.int32)
        numbers[2, 2] = [int(each) for each in columns]
        return make_image(numbers, **geometry)

    return make


@pytest.mark.parametrize(
    ("visits", "members", "events"),
    [
        (("0110", "0110"), [[(1,), (1,)]], [["", ""]]),
        # A fragment is not new where the lesion once was, even if it lies on none of the last.
        (
            ("0111111110", "0110000000", "0000000110"),
            [[(1,), (1,), (1,)]],
            [["", "", "a part vanished, a new part"]],
        ),
        (("01111110", "01100220"), [[(1,), (1, 2)]], [["", "split into 2"]]),
        (("01100220", "01111110"), [[(1, 2), (1,)]], [["", "2 merged"]]),
        (("01100220", "01100000"), [[(1,), (1,)], [(2,), ()]], [["", ""], ["", "vanished"]]),
        (
            ("00000000", "01100000", "00000000", "01100000"),
            [[(), (1,), (), (1,)]],
            [["", "new", "vanished", "back"]],
        ),
        (("00000000", "00000000"), [], []),
    ],
)
def test_what_becomes_of_lesions(
    at: Callable[..., sitk.Image],
    visits: tuple[str, ...],
    members: list,
    events: list,
) -> None:
    found = follow([at(columns) for columns in visits], join_mm=0)
    assert [list(lesion.lesions) for lesion in found] == members
    assert [list(lesion.events) for lesion in found] == events


def test_lesions_beside_each_other_are_one_within_the_distance(
    at: Callable[..., sitk.Image],
) -> None:
    visits = [at("0110000"), at("0000110")]
    assert len(follow(visits, join_mm=1.5)) == 2
    (lesion,) = follow(visits, join_mm=3.0)
    assert list(lesion.lesions) == [(1,), (1,)] and list(lesion.events) == ["", ""]


def test_a_part_that_came_off_is_a_split(at: Callable[..., sitk.Image]) -> None:
    (lesion,) = follow([at("01110000"), at("01000020")], join_mm=3.0)
    assert list(lesion.events) == ["", "split into 2"]


def test_grids_may_differ_and_what_is_small_is_not_lost(
    make_image: Callable[..., sitk.Image], at: Callable[..., sitk.Image]
) -> None:
    fine = np.zeros((5, 5, 40), np.int32)
    fine[2, 2, 23] = 1  # a voxel of 0.2 mm
    visits = [at("0000020"), make_image(fine, (0.2, 1.0, 1.0))]
    found = follow(visits, join_mm=3.0)
    assert [list(lesion.lesions) for lesion in found] == [[(2,), (1,)]]


def test_those_of_the_first_visit_come_first_the_largest_before_others(
    at: Callable[..., sitk.Image],
) -> None:
    visits = [at("0100002200000000"), at("0000000000111110")]
    found = follow(visits, join_mm=0)
    assert [lesion.lesions[0] for lesion in found] == [(2,), (1,), ()]
    assert [lesion.number for lesion in found] == [1, 2, 3]
