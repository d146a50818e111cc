"""Restoring a block gives what restoring the whole image does."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from MISSUCore.contract.labels import BRATS
from MISSUCore.inference.confidence import expected_dice
from MISSUCore.inference.postprocessing import Cleanup, clean, nest
from MISSUCore.inference.restoring import ProbabilityMaps, likely_block
from MISSUCore.preprocessing.working_grid import to_reference

CLEANUP = Cleanup(minimum_island_mm3=30.0, fill_holes=True)


def tumor(center: tuple[float, float, float]) -> np.ndarray:
    """Smooth probabilities (regions, D, H, W) of nested balls; the core has a hole."""
    axes = np.meshgrid(*(np.arange(n) for n in (20, 24, 22)), indexing="ij")
    away = np.sqrt(sum((axis - place) ** 2 for axis, place in zip(axes, center)))
    odds = np.stack([6 - away, 2 - np.abs(away - 3), 1 - np.abs(away - 3)])
    return nest((1 / (1 + np.exp(-2 * odds))).astype(np.float32), BRATS)


def reference(tilt: float, spacing_mm: tuple[float, float, float]) -> sitk.Image:
    size = [int(46 / step) for step in spacing_mm]
    image = sitk.Image(size, sitk.sitkFloat32)
    image.SetSpacing(spacing_mm)
    turn = sitk.Euler3DTransform()
    turn.SetRotation(tilt, -tilt, 2 * tilt)
    image.SetDirection(turn.GetMatrix())
    middle = image.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in size])
    image.SetOrigin((np.array([22.5, 24.0, 19.5]) - middle).tolist())
    return image


@pytest.mark.parametrize("center", [(10, 12, 11), (1, 12, 11), (10, 22, 20)])
@pytest.mark.parametrize("tilt", [0.0, 0.2])
@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (0.7, 0.6, 3.0)])
def test_the_block_holds_all_that_the_whole_image_would(
    center: tuple[float, float, float], tilt: float, spacing_mm: tuple[float, float, float]
) -> None:
    probabilities = tumor(center)
    grid = sitk.Image([22, 24, 20], sitk.sitkUInt8)
    grid.SetSpacing((2.0, 2.0, 2.0))
    image = reference(tilt, spacing_mm)
    whole = to_reference(probabilities, grid, image)
    expected = clean(whole >= 0.5, BRATS, spacing_mm[::-1], CLEANUP)

    block = likely_block(probabilities, grid, image)
    masks = block.masks(BRATS, image, CLEANUP)
    labels = block.on_whole(BRATS.to_labels(masks), image)
    assert expected.any() and masks[0].size < expected[0].size
    np.testing.assert_array_equal(sitk.GetArrayFromImage(labels), BRATS.to_labels(expected))
    assert expected_dice(block.probabilities, masks, spacing_mm) == pytest.approx(
        expected_dice(whole, expected, spacing_mm)
    )


def test_nothing_likely_and_a_reference_elsewhere() -> None:
    probabilities = tumor((10, 12, 11))
    grid = sitk.Image([22, 24, 20], sitk.sitkUInt8)
    apart = reference(0.0, (1.0, 1.0, 1.0))
    apart.SetOrigin((500.0, 0.0, 0.0))
    for given, image in (
        (0 * probabilities, reference(0.0, (1.0, 1.0, 1.0))),
        (probabilities, apart),
    ):
        block = likely_block(given, grid, image)
        masks = block.masks(BRATS, image, CLEANUP)
        assert not masks.any()
        labels = block.on_whole(BRATS.to_labels(masks), image)
        assert labels.GetSize() == image.GetSize()
        assert not sitk.GetArrayFromImage(labels).any()


def test_maps_are_made_on_the_whole_grid() -> None:
    probabilities = tumor((10, 12, 11))
    grid = sitk.Image([22, 24, 20], sitk.sitkUInt8)
    grid.SetSpacing((2.0, 2.0, 2.0))
    image = reference(0.1, (1.0, 1.0, 1.0))
    maps = ProbabilityMaps(BRATS.region_names, probabilities, grid, image)
    assert list(maps) == ["WT", "TC", "ET"] and len(maps) == 3
    whole = to_reference(probabilities, grid, image)
    for name, channel in zip(maps, whole):
        np.testing.assert_array_equal(sitk.GetArrayFromImage(maps[name]), channel)
