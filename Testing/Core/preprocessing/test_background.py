"""What stands out from the background: a ball, of which every voxel is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from MISSUCore.preprocessing.background import content_mask, shift_to_nonnegative

MakeImage = Callable[..., sitk.Image]
BALL: NDArray[np.bool_] = ((np.indices((40, 44, 48)).T - (20, 22, 24)) ** 2).sum(-1).T < 17**2


def ball_voxels(level: float = 100.0) -> NDArray[np.float32]:
    noise = np.random.default_rng(0).normal(0, 0.2 * level, BALL.shape)
    return np.where(BALL, np.maximum(level + noise, 1), 0).astype(np.float32)


def dice(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    return float(2 * (first & second).sum() / (first.sum() + second.sum()))


def content(image: sitk.Image) -> NDArray[np.bool_]:
    return sitk.GetArrayFromImage(content_mask(image)) > 0


@pytest.mark.parametrize("outside", [0.0, -1024.0, 7.5])
def test_every_voxel_that_differs_from_a_constant(make_image: MakeImage, outside: float) -> None:
    voxels = np.where(BALL, ball_voxels(), np.float32(outside))
    voxels[20, 20, 20] = outside + 0.1  # faint, but inside
    np.testing.assert_array_equal(content(make_image(voxels)), BALL)


def test_a_z_scored_brain_is_whole(make_image: MakeImage) -> None:
    """It has many voxels that hardly differ from the 0 around it, also at its edge."""
    voxels = ball_voxels()
    voxels[BALL] = (voxels[BALL] - voxels[BALL].mean()) / voxels[BALL].std()
    edge = BALL & ~ndimage.binary_erosion(BALL, iterations=2)
    voxels[edge] *= 0.1
    np.testing.assert_array_equal(content(make_image(voxels)), BALL)


@pytest.mark.parametrize("how", [sitk.sitkBSpline, sitk.sitkLanczosWindowedSinc, "smoothed"])
def test_a_halo_is_no_brain(make_image: MakeImage, how: int | str) -> None:
    image = make_image(ball_voxels())
    if how == "smoothed":
        found = sitk.DiscreteGaussian(image, 0.5)
    else:
        shift = sitk.TranslationTransform(3, (0.4, 0.3, 0.2))
        found = sitk.Resample(image, shift, how)
    assert dice(sitk.GetArrayFromImage(found) != 0, BALL) < 0.8
    assert dice(content(found), BALL) > 0.88


def test_lifted_by_what_is_below_0(make_image: MakeImage) -> None:
    voxels = ball_voxels() - 1024
    image = make_image(voxels, spacing=(1.0, 2.0, 3.0), origin=(4.0, 5.0, 6.0))
    found = shift_to_nonnegative(image)
    np.testing.assert_allclose(sitk.GetArrayFromImage(found), ball_voxels(), atol=1e-3)
    assert found.GetSpacing() == image.GetSpacing() and found.GetOrigin() == image.GetOrigin()


def test_lifted_by_what_is_below_0_in_the_mask(make_image: MakeImage) -> None:
    mask = make_image(BALL.astype(np.uint8))
    voxels = np.where(BALL, ball_voxels() - 120, -3000).astype(np.float32)
    found = sitk.GetArrayFromImage(shift_to_nonnegative(make_image(voxels), mask))
    low = np.percentile(voxels[BALL], 0.05)
    np.testing.assert_allclose(found[BALL], np.maximum(voxels[BALL] - low, 0), rtol=1e-5)


def test_a_few_voxels_below_0_lift_nothing(make_image: MakeImage) -> None:
    voxels = ball_voxels()
    voxels[20, 20, 20:24] = -30000
    found = shift_to_nonnegative(make_image(voxels), make_image(BALL.astype(np.uint8)))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(found), voxels)
