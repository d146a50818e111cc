"""Products of matrices give what ITK computes voxel by voxel."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from MISSUCore.io.resampling import interpolate, resample


def along_the_axes(rng: np.random.Generator) -> list[float]:
    """A direction whose axes are the patient's, in any order and sense."""
    matrix = np.zeros((3, 3))
    matrix[range(3), rng.permutation(3)] = rng.choice([-1, 1], 3)
    return matrix.ravel().tolist()


def middle(image: sitk.Image) -> np.ndarray:
    return np.array(
        image.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in image.GetSize()])
    )


def random_pair(seed: int) -> tuple[sitk.Image, sitk.Image]:
    """An image, and a grid that reaches beyond it here and ends within it there."""
    rng = np.random.default_rng(seed)
    image = sitk.GetImageFromArray(rng.normal(size=rng.integers(6, 30, 3)).astype(np.float32))
    grid = sitk.Image(rng.integers(5, 30, 3).tolist(), sitk.sitkUInt8)
    for each in (image, grid):
        each.SetDirection(along_the_axes(rng))
        each.SetSpacing(rng.uniform(0.5, 4, 3).tolist())
    image.SetOrigin(rng.uniform(-50, 50, 3).tolist())
    grid.SetOrigin((middle(image) - middle(grid) + rng.uniform(-5, 5, 3)).tolist())
    return image, grid


def by_itk(image: sitk.Image, grid: sitk.Image, interpolator: int) -> np.ndarray:
    return sitk.GetArrayFromImage(
        sitk.Resample(image, grid, sitk.Transform(), interpolator, 0.0, sitk.sitkFloat32)
    )


@pytest.mark.parametrize("seed", range(12))
def test_interpolation_along_shared_axes(seed: int) -> None:
    image, grid = random_pair(seed)
    expected = by_itk(image, grid, sitk.sitkLinear)
    assert np.count_nonzero(expected) > 0 and expected.shape == grid.GetSize()[::-1]
    np.testing.assert_allclose(interpolate(image, grid), expected, atol=1e-5)


@pytest.mark.parametrize("seed", range(12))
def test_smoothing_and_splines_along_shared_axes(seed: int) -> None:
    image, grid = random_pair(seed)
    order = np.abs(
        np.reshape(image.GetDirection(), (3, 3)).T @ np.reshape(grid.GetDirection(), (3, 3))
    )
    target = order @ grid.GetSpacing()
    source = np.array(image.GetSpacing())
    variance = np.maximum(target**2 - source**2, 0) / (8 * np.log(2))
    smooth = sitk.DiscreteGaussian(image, variance.tolist(), maximumKernelWidth=64)
    thick = (source > 1.25 * target).any()
    expected = by_itk(smooth, grid, sitk.sitkBSpline if thick else sitk.sitkLinear)
    np.testing.assert_allclose(resample(image, grid), expected, atol=1e-4)


def test_a_hair_off_the_axes_is_not_along_them() -> None:
    """At 250 mm from the center a thousandth of a radian is a quarter of a millimeter."""
    voxels = np.zeros((3, 3, 500), dtype=np.float32)
    voxels[1] = 1
    image = sitk.GetImageFromArray(voxels)
    turn = sitk.Euler3DTransform()
    turn.SetRotation(0.0, 1e-3, 0.0)
    grid = sitk.Image(image)
    grid.SetDirection(turn.GetMatrix())
    np.testing.assert_allclose(
        interpolate(image, grid), by_itk(image, grid, sitk.sitkLinear), atol=1e-6
    )
