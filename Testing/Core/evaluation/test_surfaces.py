"""Surfaces by area against areas and distances by hand, and against DeepMind's own package."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from MISSUCore.evaluation.surfaces import element_areas, surface_distances

ISOTROPIC = (1.0, 1.0, 1.0)
ANISOTROPIC = (3.0, 1.2, 0.7)
LAST = 0b00000001  # code of a cube whose corner (0, 0, 0) alone is inside
# Of the corners, the slowest axis first, the first four lie in the lower plane.
LOWER = 0b00001111


def test_areas_by_hand():
    areas = element_areas(ANISOTROPIC)
    # A corner is cut off by the triangle between the middles of its edges of 3, 1.2 and 0.7 mm.
    a, b, c = 1.5, 0.6, 0.35
    triangle = math.sqrt((a * b) ** 2 + (b * c) ** 2 + (a * c) ** 2) / 2
    assert areas[LAST] == pytest.approx(triangle)
    assert areas[255 - LAST] == pytest.approx(triangle)
    # A plane across the cube, half way up: 1.2 mm by 0.7 mm.
    assert areas[LOWER] == pytest.approx(1.2 * 0.7)
    # An edge along the width: 0.7 mm by the diagonal of half the other sides.
    assert areas[0b00000011] == pytest.approx(0.7 * math.hypot(a, b))
    # Two opposite corners are two triangles, and so is the cube without them.
    assert areas[0b10000001] == areas[0b01111110] == pytest.approx(2 * triangle)
    assert (areas[0], areas[255]) == (0, 0)


def test_a_block_that_is_moved_by_hand():
    # Blocks of 4 x 4 x 4 voxels of 1 mm, moved by 2 mm along the last axis. Of the 5 x 5 x 5 grid
    # of elements around each, the surface is all but the inner 3 x 3 x 3.
    one, other = np.zeros((2, 10, 10, 12), bool)
    one[3:7, 3:7, 3:7] = other[3:7, 3:7, 5:9] = True
    distances = surface_distances(one, other, ISOTROPIC)
    assert distances.forth_mm.size == distances.back_mm.size == 125 - 27
    # Faces of 3 x 3 elements of 1, 12 edges of 3 of sqrt(1/2), 8 corners of sqrt(3)/8.
    flat, edge, corner = 1.0, math.sqrt(0.5), math.sqrt(3) / 8
    area = 6 * 9 * flat + 12 * 3 * edge + 8 * corner
    assert distances.forth_mm2.sum() == pytest.approx(area)

    # 0 mm: on the four sides, the layers 2, 3 and 4 of the moving axis lie on the other's, of
    # which layer 2 is its end: its ring lies on the other's end face's ring. Layer 2 inside the
    # end face of the other is not on the surface of this one.
    side = 4 * (3 * flat + edge)  # ring of a layer: four times three flat elements, four edges
    end_ring = 4 * (3 * edge + corner)  # of layer 4, this one's end
    assert distances.normalized_surface_distance(0.0) == pytest.approx((2 * side + end_ring) / area)
    # Layer 1 is 1 mm away, and so is what of the end face is next to the sides of the other.
    inner_ring = 8 * flat  # of the 3 x 3 elements of the end face, all but the middle
    within = 3 * side + end_ring + inner_ring
    assert distances.normalized_surface_distance(1.0) == pytest.approx(within / area)
    # The end, layer 0, is 2 mm away from the other: more than 5 % of the area, and the farthest.
    assert distances.hausdorff95_mm() == 2.0


def test_empty_masks():
    nothing, all_of_it = np.zeros((4, 4, 4), bool), np.ones((4, 4, 4), bool)
    assert surface_distances(nothing, nothing, ISOTROPIC).normalized_surface_distance(1.0) == 1.0
    one = surface_distances(all_of_it, nothing, ISOTROPIC)
    assert one.normalized_surface_distance(1000.0) == 0.0
    assert math.isinf(one.hausdorff95_mm())


@pytest.mark.parametrize("spacing_mm", [ISOTROPIC, ANISOTROPIC])
@pytest.mark.parametrize("tolerance_mm", [0.5, 1.0, 3.0])
def test_nsd_is_that_of_monai(spacing_mm, tolerance_mm):
    """MONAI's, by area, if it is asked to look at elements and not at voxels."""
    metrics = pytest.importorskip("monai.metrics")
    shape = (18, 20, 22)
    grid = np.indices(shape)
    one, other = (
        sum((axis - at) ** 2 for axis, at in zip(grid, center)) <= radius**2
        for center, radius in (((8, 9, 10), 6), ((9, 10, 12), 5))
    )
    theirs = metrics.compute_surface_dice(
        torch.from_numpy(one)[None, None],
        torch.from_numpy(other)[None, None],
        class_thresholds=[tolerance_mm],
        include_background=True,
        spacing=spacing_mm,
        use_subvoxels=True,
    ).item()
    ours = surface_distances(one, other, spacing_mm).normalized_surface_distance(tolerance_mm)
    assert 0.05 < ours < 1
    assert ours == pytest.approx(theirs, rel=1e-5)


@pytest.mark.parametrize("spacing_mm", [ISOTROPIC, ANISOTROPIC, (1.0, 1.0, 5.0)])
def test_areas_are_those_of_the_package_if_it_is_installed(spacing_mm):
    tables = pytest.importorskip("surface_distance.lookup_tables")
    theirs = tables.create_table_neighbour_code_to_surface_area(np.array(spacing_mm))
    # Their bits run from the last corner to the first.
    turned = [int(f"{code:08b}"[::-1], 2) for code in range(256)]
    np.testing.assert_allclose(element_areas(spacing_mm)[turned], theirs, rtol=1e-9)
