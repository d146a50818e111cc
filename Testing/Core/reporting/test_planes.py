"""Slices, brightness, outlines and PNG files, against SimpleITK and by hand."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from MISSUCore.core.errors import InputError
from MISSUCore.io.resampling import on_grid
from MISSUCore.reporting.planes import (
    AXIAL,
    CORONAL,
    PLANES,
    SAGITTAL,
    areas,
    checkerboard,
    cut,
    gray_window,
    largest_slice,
    outline_path,
    picture_grid,
    png,
    to_gray,
)

SPACING_MM = (0.8, 1.5, 3.0)


def balls(make_image, direction, places_lps_mm, radius_mm=9.0) -> sitk.Image:
    """Balls at places (left, posterior, superior) on an anisotropic grid around the origin."""
    size = np.array([90, 50, 26])
    corner = -np.array(direction) @ (np.array(SPACING_MM) * (size - 1) / 2)
    image = make_image(np.zeros(size[::-1], np.float32), SPACING_MM, corner.tolist(), direction)
    index = np.indices(size[::-1])[::-1].reshape(3, -1)
    points = corner[:, None] + np.array(direction) @ (np.array(SPACING_MM)[:, None] * index)
    mask = np.zeros(points.shape[1], bool)
    for place in places_lps_mm:
        mask |= np.linalg.norm(points - np.array(place)[:, None], axis=0) <= radius_mm
    result = sitk.GetImageFromArray(mask.reshape(size[::-1]).astype(np.float32))
    result.CopyInformation(image)
    return result


@pytest.mark.parametrize(
    ("plane", "row_axis", "column_axis"),
    [(AXIAL, (1, +1), (0, +1)), (CORONAL, (2, -1), (0, +1)), (SAGITTAL, (2, -1), (1, +1))],
)
def test_slices_are_upright_whatever_the_direction(
    make_image, direction, plane, row_axis, column_axis
):
    """Left is on the right, posterior on the right or below, superior above."""
    place = np.array([8.0, -6.0, 11.0])
    body = balls(make_image, direction, [(0, 0, 0)], 30)
    grid = picture_grid([body], 120, 5.0)
    picture = cut(balls(make_image, direction, [place]), grid, plane, _index(grid, plane, place))
    rows, columns = np.nonzero(picture >= 0.5)
    middle = (np.array(picture.shape) - 1) / 2
    found_mm = (np.array([rows.mean(), columns.mean()]) - middle) * grid.GetSpacing()[0]
    expected_mm = [sign * place[axis] for axis, sign in (row_axis, column_axis)]
    assert found_mm == pytest.approx(expected_mm, abs=1.5)


def _index(grid: sitk.Image, plane, place) -> int:
    return grid.TransformPhysicalPointToIndex(np.array(place).tolist())[2 - plane.axis]


def test_a_ball_is_round_on_the_picture_and_as_large_as_it_is(make_image, direction):
    body = balls(make_image, direction, [(0, 0, 0)], 20)
    grid = picture_grid([body], 100, 4.0)
    assert max(grid.GetSize()) == 100
    assert len(set(grid.GetSpacing())) == 1
    for plane in PLANES:
        picture = cut(body, grid, plane, _index(grid, plane, (0, 0, 0))) >= 0.5
        diameter_mm = 2 * np.sqrt(picture.sum() * grid.GetSpacing()[0] ** 2 / np.pi)
        assert diameter_mm == pytest.approx(40, abs=1.5)


def test_the_grid_covers_all_masks_and_the_margin(make_image):
    masks = [balls(make_image, np.eye(3), [place], 5) for place in ((-20, 0, 0), (20, 0, 10))]
    grid = picture_grid([*masks, masks[0] * 0], 200, 6.0)
    voxel_ml = np.prod(grid.GetSpacing())
    for mask in masks:
        inside = on_grid(mask, grid, sitk.sitkNearestNeighbor) > 0
        assert inside.sum() * voxel_ml == pytest.approx(
            sitk.GetArrayViewFromImage(mask).sum() * np.prod(SPACING_MM), rel=0.1
        )
        for axis in range(3):
            there = np.flatnonzero(np.moveaxis(inside, axis, 0).any(axis=(1, 2)))
            assert min(there[0], inside.shape[axis] - 1 - there[-1]) * grid.GetSpacing()[0] >= 4.5
    with pytest.raises(InputError, match="the scans are empty"):
        picture_grid([masks[0] * 0], 200, 6.0)


def test_a_slice_tells_where_it_is(make_image):
    grid = picture_grid([balls(make_image, np.eye(3), [(0, 0, 0)], 30)], 60, 0.0)
    assert AXIAL.place(grid, _index(grid, AXIAL, (0, 0, 20.4))) == "S 20 mm"
    assert AXIAL.place(grid, _index(grid, AXIAL, (0, 0, -20.4))) in ("I 20 mm", "I 21 mm")
    assert CORONAL.place(grid, _index(grid, CORONAL, (0, 15, 0))).startswith("P 1")
    assert SAGITTAL.place(grid, _index(grid, SAGITTAL, (-15, 0, 0))).startswith("R 1")


def test_areas_are_voxels_by_slice():
    mask = np.zeros((3, 4, 5), bool)
    mask[1, 1:3, 2:5] = True
    assert areas(mask, AXIAL).tolist() == [0, 6, 0]
    assert areas(mask, CORONAL).tolist() == [0, 3, 3, 0]
    assert areas(mask, SAGITTAL).tolist() == [0, 0, 2, 2, 2]
    assert [largest_slice(mask, plane) for plane in PLANES] == [1, 2, 3]


def test_brightness_leaves_out_the_extremes():
    voxels = np.concatenate([np.arange(1000.0), [1e6]])
    low, high = gray_window(voxels)
    assert 4 <= low <= 6
    assert 994 <= high <= 997
    gray = to_gray(np.array([-1e9, low, (low + high) / 2, high, 1e6]), (low, high))
    assert gray.tolist() == [0, 0, 128, 255, 255]
    assert to_gray(np.array([3.0]), gray_window(np.array([3.0, 3.0]))).tolist() == [0]
    assert gray_window(np.array([])) == (0, 1)


def test_a_checkerboard_shows_two_pictures_in_turn():
    board = checkerboard(np.zeros((5, 6)), np.ones((5, 6)), 2)
    assert board.tolist() == [
        [0, 0, 1, 1, 0, 0],
        [0, 0, 1, 1, 0, 0],
        [1, 1, 0, 0, 1, 1],
        [1, 1, 0, 0, 1, 1],
        [0, 0, 1, 1, 0, 0],
    ]


def test_an_outline_by_hand():
    assert outline_path(np.array([[1, 1], [0, 0]], bool)) == "M0 0H2V1H0V0Z"
    assert outline_path(np.zeros((4, 4), bool)) == ""


def edges_of(path: str) -> list[tuple[str, int, int]]:
    """The sides of pixels that an outline runs along; all its loops must be closed."""
    edges = []
    for loop in path.split("Z")[:-1]:
        x, y, steps = re.fullmatch(r"M(\d+) (\d+)((?:H\d+V\d+)+)", loop).groups()
        start = x, y = int(x), int(y)
        for to_x, to_y in re.findall(r"H(\d+)V(\d+)", steps):
            edges += [("H", step, y) for step in range(*sorted((x, int(to_x))))]
            edges += [("V", step, int(to_x)) for step in range(*sorted((y, int(to_y))))]
            x, y = int(to_x), int(to_y)
        assert (x, y) == start
    return edges


def test_outlines_run_once_where_the_mask_ends():
    mask = np.random.default_rng(0).random((20, 30)) > 0.5
    padded = np.pad(mask, 1)
    expected = [
        ("H", column, row)
        for row in range(21)
        for column in range(30)
        if padded[row, column + 1] != padded[row + 1, column + 1]
    ] + [
        ("V", row, column)
        for row in range(20)
        for column in range(31)
        if padded[row + 1, column] != padded[row + 1, column + 1]
    ]
    assert sorted(edges_of(outline_path(mask))) == sorted(expected)


def test_a_hole_has_an_outline_of_its_own():
    mask = np.ones((5, 5), bool)
    mask[2, 2] = False
    assert outline_path(mask).count("Z") == 2


@pytest.mark.parametrize("shape", [(1, 1), (7, 300), (256, 31)])
def test_simpleitk_reads_the_png_back(tmp_path: Path, shape):
    pixels = np.random.default_rng(1).integers(0, 256, shape).astype(np.uint8)
    (tmp_path / "a.png").write_bytes(png(pixels))
    read = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "a.png")))
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, pixels)
