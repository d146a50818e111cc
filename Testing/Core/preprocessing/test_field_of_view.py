"""A tumor that goes on where a scan ends: told for that scan and side, and for no other."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from MISSUCore.preprocessing.field_of_view import end_warnings

MakeImage = Callable[..., sitk.Image]
SPACING = (4.0, 4.0, 4.0)
Z, Y, X = np.meshgrid(*[4.0 * np.arange(40)] * 3, indexing="ij")


def ball(radius_mm: float, *center: float) -> NDArray[np.float32]:
    """Voxels (z, y, x) of a ball, 160 mm along each axis."""
    distance = [(axis - place) ** 2 for axis, place in zip((Z, Y, X), center)]
    return (sum(distance) < radius_mm**2).astype(np.float32)


BRAIN = ball(70, 80, 80, 80)
TUMOR = ball(15, 120, 80, 80).astype(np.uint8)  # from 106 to 134 mm
TURNED = sitk.Euler3DTransform((0, 0, 0), 0.3, -0.2, 0.4).GetMatrix()


@pytest.mark.parametrize(
    ("first", "last", "told"),
    [
        (0, 40, ""),  # whole
        (0, 35, ""),  # above the tumor
        (0, 33, "ends at its upper side"),
        (0, 20, "ends at its upper side"),  # below all of the tumor
        (10, 40, ""),  # below the tumor
        (28, 40, "ends at its lower side"),
        (28, 33, "ends at its lower and its upper side"),
    ],
)
@pytest.mark.parametrize("turned", [False, True])
def test_a_scan_that_ends_in_the_tumor(
    make_image: MakeImage, first: int, last: int, told: str, turned: bool
) -> None:
    direction = TURNED if turned else np.eye(3).ravel()
    whole = make_image(BRAIN, SPACING, (5.0, -7.0, 11.0), direction)
    part = whole[:, :, first:last]
    tumor = make_image(TUMOR, SPACING, (5.0, -7.0, 11.0), direction)
    warnings = end_warnings({"t1": whole, "flair": part}, tumor)
    assert [text.startswith(f"flair: {told}") for text in warnings] == [True] * bool(told)


def test_sides_are_those_of_the_patient(make_image: MakeImage) -> None:
    """In a scan that is stored from left to right and from back to front."""
    brain = make_image(BRAIN, SPACING, (160.0, 160.0, 0.0), np.diag([-1.0, -1, 1]).ravel())
    tumor = make_image(ball(15, 80, 80, 30).astype(np.uint8), SPACING)  # x = 30 mm: right
    tumor.SetOrigin((0, 0, 0))
    (warning,) = end_warnings({"t2": brain[:33]}, tumor)
    assert warning.startswith("t2: ends at its right side within the brain")


def test_a_scan_that_is_cropped_to_the_brain_ends_nowhere(make_image: MakeImage) -> None:
    top = make_image(ball(15, 145, 80, 80).astype(np.uint8), SPACING)
    whole = make_image(BRAIN, SPACING)
    assert whole[3:37, 3:37, 3:38].GetSize() == (34, 34, 35)  # 12 to 148 mm
    assert end_warnings({"t1": whole[3:38, 3:38, 3:38]}, top) == []


def test_nothing_found_reaches_nowhere(make_image: MakeImage) -> None:
    empty = make_image(np.zeros((40, 40, 40), np.uint8), SPACING)
    assert end_warnings({"t1": make_image(BRAIN, SPACING)[:, :, :20]}, empty) == []
