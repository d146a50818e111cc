"""The working grid and the way back, against index arithmetic with the images' affine matrices."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations, product

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from MISSUCore.contract.labels import BRATS, BRATS_2023
from MISSUCore.core.errors import InputError
from MISSUCore.preprocessing.working_grid import prepare, prepare_labels, to_reference, working_grid

ONE_MM = (1.0, 1.0, 1.0)
SPLINE_REACH = 5.0  # voxels; nearer to a scan's border a cubic B-spline is bent
ORIGIN = (-13.0, 21.5, 34.25)
MakeImage = Callable[..., sitk.Image]
Array = NDArray[np.float64]

# The 48 directions of images whose axes are the patient's, in any order and sense.
ALONG_THE_AXES = [
    np.diag(signs) @ np.eye(3)[list(order)]
    for order in permutations(range(3))
    for signs in product((1.0, -1.0), repeat=3)
]


def places(image: sitk.Image) -> Array:
    """Patient coordinates (D, H, W, 3) of all voxel centers, from the affine matrix alone."""
    depth, height, width = image.GetSize()[::-1]
    k, j, i = np.meshgrid(np.arange(depth), np.arange(height), np.arange(width), indexing="ij")
    scaled = np.stack([i, j, k], axis=-1) * np.array(image.GetSpacing())
    return np.array(image.GetOrigin()) + scaled @ np.array(image.GetDirection()).reshape(3, 3).T


def indices_in(image: sitk.Image, points: Array) -> Array:
    """Continuous voxel indices (..., 3) in the order (depth, height, width) of points."""
    direction = np.array(image.GetDirection()).reshape(3, 3)
    index = (points - np.array(image.GetOrigin())) @ np.linalg.inv(direction).T
    return (index / np.array(image.GetSpacing()))[..., ::-1]


def looked_up(image: sitk.Image, points: Array) -> Array:
    """Values of the voxels nearest to points, 0 where there are none."""
    voxels = np.pad(sitk.GetArrayFromImage(image), 1)
    index = np.rint(indices_in(image, points)).astype(int) + 1
    index = np.clip(index, 0, np.array(voxels.shape) - 1)
    return voxels[tuple(np.moveaxis(index, -1, 0))]


def ramp(points: Array) -> Array:
    """A function that interpolation reproduces, different along every axis, never 0."""
    return 1000 + points @ np.array([3.0, -7.0, 11.0])


def interior(image: sitk.Image, points: Array, margin_voxels: float) -> NDArray[np.bool_]:
    index = indices_in(image, points)
    last = np.array(image.GetSize()[::-1]) - 1
    return ((index >= margin_voxels) & (index <= last - margin_voxels)).all(axis=-1)


def misfit(scored: Array, expected: Array) -> float:
    """How far scored values are from the expected ones, but for their scale and offset."""
    scale, offset = np.polyfit(expected, scored, 1)
    assert scale > 0
    return float(np.abs(scored - scale * expected - offset).max())


def scored(values: Array) -> Array:
    return (values - values.mean()) / values.std()


# The way there


@pytest.mark.parametrize("direction", ALONG_THE_AXES, ids=lambda matrix: "")
def test_a_permuted_scan_is_turned_without_interpolation(
    make_image: MakeImage, direction: Array
) -> None:
    voxels = np.random.default_rng(0).permutation(6 * 7 * 9).reshape(6, 7, 9).astype(np.float32)
    image = make_image(voxels + 1, origin=ORIGIN, direction=direction)
    prepared = prepare({"t1": image}, ["t1"], ONE_MM)
    points = places(prepared.grid)
    np.testing.assert_array_equal(np.array(prepared.grid.GetDirection()), np.eye(3).ravel())
    index = indices_in(image, points)
    np.testing.assert_allclose(index, np.rint(index), atol=1e-9)
    assert prepared.volume[0].size == voxels.size
    truth = looked_up(image, points)
    low, high = np.percentile(truth, (0.05, 99.95))
    np.testing.assert_allclose(prepared.volume[0], scored(truth.clip(low, high)), atol=1e-5)


@pytest.mark.parametrize("spacing", [(0.7, 0.9, 5.0), (1.0, 1.0, 1.0), (2.5, 1.25, 1.25)])
def test_every_voxel_lies_where_it_was(
    make_image: MakeImage, direction: Array, spacing: tuple[float, float, float]
) -> None:
    image = make_image(np.empty((16, 20, 24)), spacing, ORIGIN, direction)
    points = places(image)
    image = make_image(ramp(points).astype(np.float32), spacing, ORIGIN, direction)
    prepared = prepare({"t1": image}, ["t1"], (1.5, 1.0, 2.0))
    assert prepared.grid.GetSpacing() == (2.0, 1.0, 1.5)
    grid_points = places(prepared.grid)
    # The grid covers the scan to within a voxel, and none of its sides is empty.
    assert interior(prepared.grid, points, -1.0).all()
    for axis in (1, 2, 3):
        assert prepared.volume.take((0, -1), axis).any(axis=(0, *{1, 2, 3} - {axis})).all()
    inside = interior(image, grid_points, SPLINE_REACH)
    assert inside.sum() > 150
    assert misfit(prepared.volume[0][inside], ramp(grid_points[inside])) < 1e-4
    # And nothing is where no scan is.
    assert not prepared.volume[0][~interior(image, grid_points, -0.5)].any()


def test_a_tilted_scan_brings_no_more_background(make_image: MakeImage) -> None:
    """Networks with instance normalization see how much background there is."""
    spacing = (1.0, 1.0, 1.0)
    plain = make_image(np.empty((40, 40, 40)), spacing, (-20.0, -20.0, -20.0))
    angle = np.radians(30)
    turn = np.array(
        [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    )
    tilted = make_image(np.empty((40, 40, 40)), spacing, turn @ (-20.0, -20.0, -20.0), turn)
    sizes = []
    for grid in (plain, tilted):
        distance = np.linalg.norm(places(grid), axis=-1)
        ball = np.where(distance < 15, 100 + distance, 0).astype(np.float32)
        image = make_image(ball, spacing, grid.GetOrigin(), turn if grid is tilted else None)
        sizes.append(prepare({"t1": image}, ["t1"], ONE_MM).volume.shape[1:])
    np.testing.assert_allclose(sizes[1], sizes[0], atol=2)  # the box around it would be 41


def blob(points: Array, center: Array) -> Array:
    """Brain of 100 with a Gaussian blob that is longer along one axis than along the others."""
    distance = ((points - center) / np.array([3.0, 4.0, 6.0])) ** 2
    return 100 + 50 * np.exp(-distance.sum(axis=-1))


def test_a_blob_lands_at_its_place(make_image: MakeImage, direction: Array) -> None:
    spacing = (0.7, 0.9, 3.0)
    image = make_image(np.empty((20, 56, 64)), spacing, ORIGIN, direction)
    points = places(image)
    center = points[8, 20, 25]  # not in the middle along any axis
    image = make_image(blob(points, center).astype(np.float32), spacing, ORIGIN, direction)
    prepared = prepare({"t1": image}, ["t1"], ONE_MM)
    weight = np.clip(prepared.volume[0] - 1.0, 0, None)[..., None]
    grid_points = places(prepared.grid)
    found = (grid_points * weight).sum(axis=(0, 1, 2)) / weight.sum()
    np.testing.assert_allclose(found, center, atol=0.1)
    spread = np.sqrt(((grid_points - found) ** 2 * weight).sum(axis=(0, 1, 2)) / weight.sum())
    assert spread[0] < spread[1] < spread[2]


def test_thick_slices_are_interpolated_smoothly(make_image: MakeImage) -> None:
    spacing = (1.0, 1.0, 5.0)
    voxel_centers = places(make_image(np.empty((24, 30, 30)), spacing))

    def fold(points: Array) -> Array:
        """A gray value that goes up and down along the slices, three of them from top to bottom."""
        return 100 + 20 * np.cos(2 * np.pi * points[..., 2] / 30)

    image = make_image(fold(voxel_centers).astype(np.float32), spacing)
    prepared = prepare({"t1": image}, ["t1"], ONE_MM)
    points = places(prepared.grid)
    inside = interior(image, points, SPLINE_REACH)
    linear = np.interp(points[..., 2], voxel_centers[:, 0, 0, 2], fold(voxel_centers[:, 0, 0]))
    truth = fold(points)[inside]
    scale, offset = np.polyfit(truth, prepared.volume[0][inside], 1)
    error = np.abs((prepared.volume[0][inside] - offset) / scale - truth).max()
    assert error < 0.2 * np.abs(linear[inside] - truth).max()


def test_scans_on_different_grids_meet(make_image: MakeImage, direction: Array) -> None:
    grids = {
        "t1": ((1.0, 1.0, 1.0), (0.0, 0.0, 0.0), np.eye(3)),
        "t2": ((0.8, 0.8, 4.0), (5.0, -3.0, 2.0), direction),
    }
    images = {}
    for name, geometry in grids.items():
        points = places(make_image(np.empty((12, 24, 26)), *geometry))
        images[name] = make_image(ramp(points).astype(np.float32), *geometry)
    prepared = prepare(images, ["t2", "flair", "t1"], ONE_MM)
    assert prepared.volume.shape[0] == 3
    assert not prepared.volume[1].any()
    points = places(prepared.grid)
    for channel, name in ((0, "t2"), (2, "t1")):
        inside = interior(images[name], points, SPLINE_REACH)
        assert inside.sum() > 50
        assert misfit(prepared.volume[channel][inside], ramp(points[inside])) < 1e-4
        assert not prepared.volume[channel][~interior(images[name], points, -0.5)].any()
        corners = places(images[name])[:: 12 - 1, :: 24 - 1, :: 26 - 1].reshape(-1, 3)
        assert interior(prepared.grid, corners, -1.0).all()


@pytest.mark.parametrize("spacing", [(0.7, 0.9, 1.1), (0.1, 0.3, 0.7), (1 / 3, 2 / 3, 1.0)])
def test_a_scan_at_the_working_spacing_is_cut_out_exactly(
    make_image: MakeImage, spacing: tuple[float, float, float]
) -> None:
    voxels = np.zeros((20, 22, 24), dtype=np.float32)
    brain = (slice(3, 17), slice(2, 19), slice(5, 23))
    voxels[brain] = np.random.default_rng(0).normal(50, 10, (14, 17, 18))
    voxels[9, 9, 9] = 0  # a hole in the brain
    origin = (-17.123, 88.1, 1e3 / 7)
    prepared = prepare({"t1": make_image(voxels, spacing, origin)}, ["t1"], spacing[::-1])
    assert prepared.volume.dtype == np.float32
    assert prepared.volume.shape == (1, 14, 17, 18)
    np.testing.assert_allclose(
        prepared.grid.GetOrigin(), np.array(origin) + np.array([5, 2, 3]) * spacing
    )
    cut = voxels[brain].astype(np.float64)
    low, high = np.percentile(cut[cut != 0], (0.05, 99.95))
    kept = cut.clip(low, high)[cut != 0]
    np.testing.assert_allclose(prepared.volume[0][cut != 0], scored(kept), atol=1e-4)
    assert (prepared.volume[0] == 0).sum() == 1


# Intensities


def test_scores_over_the_brain_and_nothing_outside(make_image: MakeImage, direction: Array) -> None:
    image = make_image(np.empty((20, 22, 24)), (1.2, 1.0, 0.9), ORIGIN, direction)
    points = places(image)
    ball = ((points - points.mean(axis=(0, 1, 2))) ** 2).sum(axis=-1) < 8.5**2
    noise = np.random.default_rng(0).normal(300, 40, ball.shape)
    image = make_image((ball * noise).astype(np.float32), (1.2, 1.0, 0.9), ORIGIN, direction)
    volume = prepare({"t1": image}, ["t1"], ONE_MM).volume[0]
    inside = volume[volume != 0].astype(np.float64)
    assert abs(inside.mean()) < 1e-5
    assert abs(inside.std() - 1) < 1e-5
    assert inside.size == pytest.approx(4 / 3 * np.pi * 8.5**3, rel=0.05)


@pytest.mark.parametrize("outlier", [1e6, -1e6, 3e38])
def test_single_voxels_far_outside_the_range_change_nothing(
    make_image: MakeImage, outlier: float
) -> None:
    voxels = np.random.default_rng(0).normal(100, 10, (24, 24, 24)).astype(np.float32)
    plain = prepare({"t1": make_image(voxels)}, ["t1"], ONE_MM).volume[0]
    struck = voxels.copy()
    struck[12, 3:8, 20] = outlier
    volume = prepare({"t1": make_image(struck)}, ["t1"], ONE_MM).volume[0]
    assert np.isfinite(volume).all()
    same = (voxels == struck) & (np.abs(plain) < 3)  # further out, others are clipped now
    np.testing.assert_allclose(volume[same], plain[same], atol=0.02)
    assert np.abs(volume).max() < 5


def test_the_scale_of_the_scanner_does_not_matter(make_image: MakeImage) -> None:
    voxels = np.random.default_rng(0).normal(5, 1, (16, 16, 16)).astype(np.float32)
    voxels[:3] = 0
    plain = prepare({"t1": make_image(voxels)}, ["t1"], ONE_MM).volume
    for factor in (1e-6, 1000.0, 1e36):
        volume = prepare({"t1": make_image(voxels * np.float32(factor))}, ["t1"], ONE_MM).volume
        np.testing.assert_allclose(volume, plain, atol=1e-4)


def test_negative_intensities_are_brain_too(make_image: MakeImage) -> None:
    voxels = np.random.default_rng(0).normal(0, 10, (16, 16, 16)).astype(np.float32)
    voxels[:, :, :4] = 0
    volume = prepare({"t1": make_image(voxels)}, ["t1"], ONE_MM).volume[0]
    brain = voxels[:, :, 4:]
    low, high = np.percentile(brain, (0.05, 99.95))
    np.testing.assert_allclose(volume, scored(brain.clip(low, high)), atol=1e-5)


def test_the_background_does_not_darken_the_edge(make_image: MakeImage) -> None:
    points = places(make_image(np.empty((30, 30, 30)), (0.8, 0.8, 0.8)))
    center = points.mean(axis=(0, 1, 2))
    ball = np.linalg.norm(points - center, axis=-1) < 9.3
    noise = np.random.default_rng(0).normal(1000, 1, ball.shape)
    image = make_image((ball * noise).astype(np.float32), (0.8, 0.8, 0.8))
    prepared = prepare({"t1": image}, ["t1"], (1.3, 1.3, 1.3))
    volume = prepared.volume[0]
    edge = (np.linalg.norm(places(prepared.grid) - center, axis=-1) > 8.3) & (volume != 0)
    assert edge.sum() > 100
    # Mixed with background, voxels at the edge would hold 500 to 1000.
    assert abs(volume[edge].mean()) < 0.3


def test_integer_images(make_image: MakeImage) -> None:
    voxels = np.random.default_rng(0).integers(1, 500, (12, 12, 12))
    expected = prepare({"t1": make_image(voxels.astype(np.float32))}, ["t1"], ONE_MM).volume
    found = prepare({"t1": make_image(voxels.astype(np.int16))}, ["t1"], ONE_MM).volume
    np.testing.assert_array_equal(found, expected)


# Coarser grids


def test_a_coarser_grid_sees_the_average(make_image: MakeImage) -> None:
    voxels = np.random.default_rng(0).normal(1000, 10, (48, 48, 48)).astype(np.float32)
    prepared = prepare({"t1": make_image(voxels, (0.5, 0.5, 0.5))}, ["t1"], (2.0, 2.0, 2.0))
    # A grid point every 4 voxels; full width at half maximum of 2 mm, less the voxels' 0.5 mm.
    deviation = np.sqrt(2.0**2 - 0.5**2) / 2.3548 / 0.5
    low, high = np.percentile(voxels, (0.05, 99.95))
    inner = (slice(2, 10),) * 3

    def likeness(filtered: Array) -> float:
        expected = filtered[::4, ::4, ::4][inner]
        return float(np.corrcoef(prepared.volume[0][inner].ravel(), expected.ravel())[0, 1])

    less, right, more = (
        likeness(ndimage.gaussian_filter(voxels.clip(low, high), factor * deviation))
        for factor in (0.85, 1.0, 1.15)
    )
    assert right > 0.995 and right > less and right > more
    assert likeness(ndimage.uniform_filter(voxels, 5)) > 0.75
    assert likeness(voxels) < 0.5


def test_only_the_coarser_axes_are_smoothed(make_image: MakeImage, direction: Array) -> None:
    axes = np.rint(direction)  # the nearest along the patient's
    geometry = ((0.5, 1.0, 3.0), ORIGIN, axes)
    voxels = np.random.default_rng(0).normal(1000, 10, (12, 14, 41)).astype(np.float32)
    image = make_image(voxels, *geometry)
    # Along the scan's axes the working grid has 2, 1 and 3 mm.
    across, down, through = np.abs(axes) @ (2.0, 1.0, 3.0)
    prepared = prepare({"t1": image}, ["t1"], (through, down, across))
    low, high = np.percentile(voxels, (0.05, 99.95))
    deviation = np.sqrt(2.0**2 - 0.5**2) / 2.3548 / 0.5
    smooth = ndimage.gaussian_filter1d(voxels.clip(low, high), deviation, mode="nearest")
    expected = looked_up(make_image(smooth, *geometry), places(prepared.grid))
    assert np.corrcoef(prepared.volume[0].ravel(), expected.ravel())[0, 1] > 0.999


# What cannot be prepared


def test_none_of_the_modalities(make_image: MakeImage) -> None:
    with pytest.raises(InputError, match="none of the modalities t1, t2 is given"):
        prepare({"flair": make_image(np.ones((8, 8, 8)))}, ["t1", "t2"], ONE_MM)


def test_an_empty_scan(make_image: MakeImage) -> None:
    images = {
        "t1": make_image(np.arange(512, dtype=np.float32).reshape(8, 8, 8)),
        "t2": make_image(np.zeros((8, 8, 8), dtype=np.float32)),
    }
    with pytest.raises(InputError, match="t2: is empty"):
        prepare(images, ["t1", "t2"], ONE_MM)


@pytest.mark.parametrize("value", [0.1, -1000.1])
def test_a_brain_without_contrast(make_image: MakeImage, direction: Array, value: float) -> None:
    voxels = np.zeros((12, 12, 12), dtype=np.float32)
    voxels[2:10, 3:9, 2:11] = value
    with pytest.raises(InputError, match="t1: the brain has no contrast"):
        prepare({"t1": make_image(voxels, (0.7, 0.9, 2), ORIGIN, direction)}, ["t1"], ONE_MM)


def test_a_brain_smaller_than_a_voxel(make_image: MakeImage) -> None:
    voxels = np.zeros((12, 12, 12), dtype=np.float32)
    voxels[5, 5, 5:7] = 1, 2
    with pytest.raises(InputError, match="t1: the brain is too small"):
        prepare({"t1": make_image(voxels, (0.1, 0.1, 0.1))}, ["t1"], (5.0, 5.0, 5.0))


@pytest.mark.parametrize("far", [3000.0, 1e30])
def test_scans_that_span_more_than_a_head(make_image: MakeImage, far: float) -> None:
    voxels = np.random.default_rng(0).random((8, 8, 8), dtype=np.float32)
    images = [make_image(voxels), make_image(voxels, origin=(far, far, far))]
    with pytest.raises(InputError, match="too large for a head; check their headers"):
        working_grid(images, ONE_MM)


# Labels


@pytest.mark.parametrize("direction", ALONG_THE_AXES[::5], ids=lambda matrix: "")
def test_labels_at_the_working_spacing_are_turned_exactly(
    make_image: MakeImage, direction: Array
) -> None:
    labels = np.random.default_rng(0).choice([0, 1, 2, 4], (6, 7, 9)).astype(np.uint8)
    image = make_image(labels, origin=ORIGIN, direction=direction)
    scan = make_image(labels + np.float32(1), origin=ORIGIN, direction=direction)
    grid = working_grid([scan], ONE_MM)
    classes = prepare_labels(image, BRATS, grid)
    assert classes.dtype == np.uint8
    truth = looked_up(image, places(grid))
    np.testing.assert_array_equal(classes, np.where(truth == 4, 3, truth))


def tumor(points: Array, center: Array) -> NDArray[np.uint8]:
    """Balls of 9, 6 and 4 mm: ED around ET around NCR, in the numbering of BraTS 2023."""
    distance = np.sqrt(((points - center) ** 2).sum(axis=-1))
    return np.select([distance < 4, distance < 6, distance < 9], [1, 3, 2], 0).astype(np.uint8)


@pytest.mark.parametrize("spacing", [(0.7, 0.9, 2.0), (0.5, 0.5, 0.5), (1.5, 1.5, 1.5)])
def test_labels_keep_their_volumes_and_place(
    make_image: MakeImage, direction: Array, spacing: tuple[float, float, float]
) -> None:
    size = [int(np.ceil(26 / step)) for step in spacing[::-1]]
    geometry = (spacing, ORIGIN, direction)
    points = places(make_image(np.empty(size), *geometry))
    center = points.mean(axis=(0, 1, 2)) + np.array([0.7, -0.4, 0.3])
    labels = tumor(points, center)
    image = make_image(labels, *geometry)
    grid = working_grid([make_image(np.ones(size), *geometry)], ONE_MM)
    classes = prepare_labels(image, BRATS_2023, grid)
    grid_points = places(grid)
    for region in ((1, 2, 3), (1, 3), (1,)):
        found, given = np.isin(classes, region), np.isin(labels, region)
        assert found.sum() == pytest.approx(given.sum() * np.prod(spacing), rel=0.15)
        np.testing.assert_allclose(
            grid_points[found].mean(axis=0), points[given].mean(axis=0), atol=0.15
        )


def test_a_label_needs_half_a_voxel(make_image: MakeImage) -> None:
    labels = np.zeros((12, 12, 12), dtype=np.uint8)
    labels[:, :, :6] = 2  # 0 to 6 mm
    image = make_image(labels)
    grid = make_image(np.zeros((12, 12, 2), dtype=np.uint8), (3.0, 1.0, 1.0), (4.0, 0.0, 0.0))
    # Grid voxels reach from 2.5 to 5.5 mm (all of it ED) and from 5.5 to 8.5 mm (none).
    classes = prepare_labels(image, BRATS, grid)
    assert (classes[2:-2, 2:-2, 0] == 2).all()
    assert (classes[2:-2, 2:-2, 1] == 0).all()


def test_no_labels(make_image: MakeImage) -> None:
    image = make_image(np.zeros((8, 8, 8), dtype=np.uint8))
    assert not prepare_labels(image, BRATS, make_image(np.zeros((8, 8, 8), dtype=np.uint8))).any()


# The way back

PROBABILITY = np.array([[0.004, -0.009, 0.011], [-0.002, 0.006, 0.003]])


def probabilities(points: Array) -> Array:
    """Two regions whose probabilities change linearly in space, differently along every axis."""
    return 0.5 + np.moveaxis(points @ PROBABILITY.T, -1, 0)


def check_way_back(grid: sitk.Image, reference: sitk.Image) -> None:
    given = probabilities(places(grid)).astype(np.float32)
    found = to_reference(given, grid, reference)
    assert found.dtype == np.float32
    assert found.shape == (2, *reference.GetSize()[::-1])
    points = places(reference)
    inside = interior(grid, points, 0.0)
    assert inside.sum() > 50
    expected = probabilities(points)
    np.testing.assert_allclose(found[:, inside], expected[:, inside], atol=1e-5)
    assert not found[:, ~interior(grid, points, -0.51)].any()


@pytest.mark.parametrize("direction", ALONG_THE_AXES, ids=lambda matrix: "")
def test_back_onto_permuted_grids(make_image: MakeImage, direction: Array) -> None:
    grid = make_image(np.zeros((14, 16, 18), dtype=np.uint8), (1.0, 1.25, 1.5), (-9, -10, -7))
    corner = direction @ np.array([-8.0, -9.0, -10.0])
    reference = make_image(np.zeros((9, 12, 20)), (0.9, 1.3, 2.2), tuple(corner), direction)
    check_way_back(grid, reference)


@pytest.mark.parametrize("spacing", [(0.7, 0.9, 5.0), (0.5, 0.5, 0.5), (4.0, 4.0, 4.0)])
def test_back_onto_any_grid(
    make_image: MakeImage, direction: Array, spacing: tuple[float, float, float]
) -> None:
    grid = make_image(np.zeros((20, 24, 22), dtype=np.uint8), (1.0, 1.0, 1.0), (-11, -12, -10))
    size = [int(36 / step) for step in spacing[::-1]]
    corner = direction @ np.array([-18.0, -18.0, -18.0])
    check_way_back(grid, make_image(np.zeros(size), spacing, tuple(corner), direction))


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.7, 0.9, 5.0), (0.6, 0.6, 0.6)])
def test_there_and_back(
    make_image: MakeImage, direction: Array, spacing: tuple[float, float, float]
) -> None:
    size = [int(30 / step) for step in spacing[::-1]]
    points = places(make_image(np.empty(size), spacing, ORIGIN, direction))
    center = points[tuple(length // 3 for length in size)]
    truth = (np.abs(points - center) < (7.0, 5.0, 8.0)).all(axis=-1)
    image = make_image(np.where(truth, 200, 100).astype(np.float32), spacing, ORIGIN, direction)
    prepared = prepare({"t1": image}, ["t1"], ONE_MM)
    middle = (prepared.volume[0].max() + prepared.volume[0].min()) / 2
    found = to_reference((prepared.volume > middle).astype(np.float32), prepared.grid, image) >= 0.5
    overlap = 2 * (found[0] & truth).sum() / (found.sum() + truth.sum())
    along = np.isin(np.abs(direction), (0.0, 1.0)).all()
    assert overlap == 1 if along and spacing == (1.0, 1.0, 1.0) else overlap > 0.85
