"""Where the head is in a scan."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from MISSUCore.core.errors import InputError
from MISSUCore.preprocessing.registration.head import find_head

MakeImage = Callable[..., sitk.Image]


@pytest.fixture
def box() -> NDArray[np.float32]:
    """A bright box in noise; (D, H, W) voxels 4..16, 10..34, 8..40."""
    voxels = np.random.default_rng(0).uniform(1, 4, (20, 44, 48)).astype(np.float32)
    voxels[4:16, 10:34, 8:40] += 100
    return voxels


def test_center_and_extent_in_patient_coordinates(
    make_image: MakeImage, box: NDArray[np.float32], direction: NDArray[np.float64]
) -> None:
    spacing = np.array([1.0, 2.0, 4.0])
    image = make_image(box, tuple(spacing), (5.0, -7.0, 11.0), direction)
    head = find_head("t1", image)
    expected = image.TransformContinuousIndexToPhysicalPoint((23.5, 21.5, 9.5))
    np.testing.assert_allclose(head.center_mm, expected, atol=1e-6)
    # Between voxels of 4 mm at both ends; the box has 32 x 48 x 48 mm along its own axes.
    along = np.sort((head.points_mm @ direction).T, axis=1)
    np.testing.assert_allclose(along[:, -1] - along[:, 0], (28, 44, 44), atol=1e-6)


def test_only_the_largest_bright_part_without_holes(
    make_image: MakeImage, box: NDArray[np.float32]
) -> None:
    alone = find_head("t1", make_image(box, (4.0, 4.0, 4.0)))
    box[0:2, 0:3, 0:3] += 100
    box[9:11, 20:24, 20:24] = 0
    head = find_head("t1", make_image(box, (4.0, 4.0, 4.0)))
    np.testing.assert_array_equal(head.points_mm, alone.points_mm)


def test_a_given_mask_on_another_grid(make_image: MakeImage, box: NDArray[np.float32]) -> None:
    image = make_image(box, (4.0, 4.0, 4.0))
    mask = make_image(np.ones((10, 10, 10), np.uint8), (4.0, 4.0, 4.0), (40.0, 48.0, 20.0))
    head = find_head("t1", image, mask)
    assert len(head.points_mm) == 1000
    np.testing.assert_allclose(head.center_mm, (58, 66, 38))


def test_background_goes_on_where_a_face_is_empty(make_image: MakeImage) -> None:
    voxels = np.zeros((20, 20, 20), np.float32)
    voxels[:15, 5:15, 5:15] = 9  # It reaches the lowest slice, where the head goes on.
    voxels[0] = 9
    head = find_head("t1", make_image(voxels, (4.0, 4.0, 4.0)))
    shown = head.shrunk(4.0)
    assert shown.GetSize() == (36, 36, 28)
    assert shown.GetOrigin() == (-32, -32, 0)
    assert sitk.GetArrayFromImage(shown).sum() == voxels.sum()
    seen = head.shows(np.array([[-30.0, 40.0, 40.0], [40.0, 40.0, -9.0], [40.0, 40.0, 100.0]]))
    assert seen.tolist() == [True, False, True]


def test_nothing_to_be_found(make_image: MakeImage, box: NDArray[np.float32]) -> None:
    with pytest.raises(InputError, match=r"t2\.nii: is empty, every voxel has the value 3"):
        find_head("t2.nii", make_image(np.full((8, 8, 8), 3, np.float32)))
    image = make_image(box)
    for mask in (image < 0, make_image(np.ones((9, 9, 9), np.uint8), origin=(900.0, 0.0, 0.0))):
        with pytest.raises(InputError, match="t2: its mask is empty or lies outside of it"):
            find_head("t2", image, mask)
