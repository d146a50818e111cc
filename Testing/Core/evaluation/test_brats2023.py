"""Lesion-wise scores against lesions counted by hand, and against what BraTS' own code gave."""

from __future__ import annotations

import numpy as np
import pytest

from MISSUCore.evaluation.brats2023 import score_lesion_wise
from MISSUCore.evaluation.surfaces import surface_distances

ISOTROPIC = (1.0, 1.0, 1.0)
ANISOTROPIC = (3.0, 1.2, 0.7)
SHAPE = (20, 30, 40)

# Balls: center (z, y, x) and radius in voxels, of the prediction and of the reference.
SCENES = {
    "three found, one missed, one invented": (
        [(6, 8, 8, 4), (12, 20, 12, 3), (10, 14, 30, 5), (3, 26, 4, 2)],
        [(6, 9, 9, 4), (13, 20, 12, 3), (10, 14, 29, 4), (17, 26, 36, 2)],
    ),
    "one lesion found as two": ([(10, 10, 8, 4), (10, 10, 22, 5)], [(10, 10, 15, 11)]),
    "at the border": ([(0, 0, 0, 5), (19, 29, 39, 6)], [(0, 2, 0, 5), (19, 29, 37, 6)]),
    "apart": ([(5, 5, 5, 3)], [(15, 25, 30, 3)]),
}
# LesionWise_Score_Dice and _HD95 of rachitsaluja/BraTS-2023-Metrics at 43c9052 with the settings of
# BraTS-GLI; NSD at 1 mm and HD95 of the region of the package surface-distance 0.1.
OFFICIAL = {
    ("three found, one missed, one invented", ISOTROPIC): (
        0.471057176620,
        125.666666666667,
        0.809622973646,
        9.695359714833,
    ),
    ("three found, one missed, one invented", ANISOTROPIC): (
        0.353292882465,
        187.947311132373,
        0.656905420683,
        15.662694531912,
    ),
    ("one lesion found as two", ISOTROPIC): (
        0.236812749004,
        7.615773105864,
        0.182029453524,
        7.615773105864,
    ),
    ("one lesion found as two", ANISOTROPIC): (
        0.236812749004,
        14.351306560728,
        0.199408944088,
        14.351306560728,
    ),
    ("at the border", ISOTROPIC): (
        0.800254291163,
        1.732050807569,
        0.932550325510,
        1.732050807569,
    ),
    ("at the border", ANISOTROPIC): (0.800254291163, 1.9, 0.854722271422, 1.4),
    ("apart", ISOTROPIC): (0.0, 374.0, 0.0, 32.619012860600),
    ("apart", ANISOTROPIC): (0.0, 374.0, 0.0, 40.140378672853),
}


def balls(places):
    grid = np.indices(SHAPE)
    mask = np.zeros(SHAPE, dtype=bool)
    for *center, radius in places:
        mask |= sum((axis - at) ** 2 for axis, at in zip(grid, center)) <= radius**2
    return mask


@pytest.mark.parametrize(("scene", "spacing_mm"), OFFICIAL)
def test_scores_are_those_that_the_official_code_gave(scene, spacing_mm):
    prediction, reference = map(balls, SCENES[scene])
    lesions = score_lesion_wise(prediction, reference, spacing_mm)
    surfaces = surface_distances(prediction, reference, spacing_mm)
    found = (
        lesions.lesion_wise_dice,
        lesions.lesion_wise_hausdorff95_mm,
        surfaces.normalized_surface_distance(1.0),
        surfaces.hausdorff95_mm(),
    )
    # It reads spacings in single precision.
    assert found == pytest.approx(OFFICIAL[scene, spacing_mm], rel=1e-7)


def blocks(*corners):
    """A mask of blocks of 4 x 4 x 4 = 64 voxels with these first corners."""
    mask = np.zeros((12, 12, 60), dtype=bool)
    for z, y, x in corners:
        mask[z : z + 4, y : y + 4, x : x + 4] = True
    return mask


def scores(prediction, reference, spacing_mm=ISOTROPIC):
    lesions = score_lesion_wise(prediction, reference, spacing_mm)
    return lesions.lesion_wise_dice, lesions.lesion_wise_hausdorff95_mm


def test_missed_and_invented_lesions_count_as_the_worst():
    # One of two is found, exactly; and one is invented.
    reference, prediction = blocks((4, 4, 2), (4, 4, 20)), blocks((4, 4, 2), (4, 4, 40))
    assert scores(prediction, reference) == (1 / 3, pytest.approx(2 * 374 / 3))


def test_parts_of_the_reference_that_dilation_joins_are_one_lesion():
    # Six voxels apart they meet after three dilations each, seven voxels apart they do not.
    prediction = blocks((4, 4, 2))
    assert scores(prediction, blocks((4, 4, 2), (4, 4, 12)))[0] == pytest.approx(2 / 3)
    assert scores(prediction, blocks((4, 4, 2), (4, 4, 13)))[0] == pytest.approx(1 / 2)


def test_a_part_near_a_lesion_belongs_to_it_and_is_not_invented():
    # The lesion ends at 5, and dilated at 8; the part moved by 7 begins at 9, that by 6 at 8.
    reference = blocks((4, 4, 2))
    near, far = blocks((4, 4, 2), (4, 4, 8)), blocks((4, 4, 2), (4, 4, 9))
    assert scores(near, reference)[0] == pytest.approx(2 * 64 / (128 + 64))
    assert scores(far, reference) == (1 / 2, 374 / 2)


def test_lesions_of_50_mm3_do_not_count_nor_what_touches_them():
    reference = blocks((4, 4, 2))
    reference[6, 4:9, 30:40] = True  # 50 voxels
    assert scores(blocks((4, 4, 2)), reference) == (1.0, 0.0)
    assert scores(blocks((4, 4, 2), (4, 4, 30)), reference) == (1.0, 0.0)
    reference[6, 9, 30] = True  # 51 voxels
    assert scores(blocks((4, 4, 2)), reference) == (1 / 2, 374 / 2)
    # The same 51 voxels have less than 50 mm3 where a voxel has 0.9.
    assert scores(blocks((4, 4, 2)), reference, (0.9, 1.0, 1.0)) == (1.0, 0.0)


def test_where_there_are_no_lesions_all_is_right():
    assert scores(blocks(), blocks()) == (1.0, 0.0)
    assert scores(blocks((4, 4, 2)), blocks()) == (0.0, 374.0)
    assert scores(blocks(), blocks((4, 4, 2))) == (0.0, 374.0)
