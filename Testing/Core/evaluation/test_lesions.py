"""Lesion-wise scores against lesions counted by hand, and against BraTS' own package."""

from __future__ import annotations

import math
from importlib.resources import files

import numpy as np
import pytest

from MISSUCore.evaluation.lesions import score_lesions
from MISSUCore.evaluation.metrics import EMPTY_MM

ISOTROPIC = (1.0, 1.0, 1.0)
ANISOTROPIC = (3.0, 1.2, 0.7)
SHAPE = (20, 30, 40)

# Balls: center (z, y, x) and radius in voxels.
SCENES = {
    "three found, one missed, one invented": (
        [(6, 8, 8, 4), (12, 20, 12, 3), (10, 14, 30, 5), (3, 26, 4, 2)],
        [(6, 9, 9, 4), (13, 20, 12, 3), (10, 14, 29, 4), (17, 26, 36, 2)],
    ),
    "one lesion found as two": ([(10, 10, 8, 4), (10, 10, 22, 5)], [(10, 10, 15, 11)]),
    "two lesions found as one": ([(10, 10, 15, 11)], [(10, 10, 8, 4), (10, 10, 22, 5)]),
    "at the border": ([(0, 0, 0, 5), (19, 29, 39, 6)], [(0, 2, 0, 5), (19, 29, 37, 6)]),
    "apart": ([(5, 5, 5, 3)], [(15, 25, 30, 3)]),
}

# tp, fn, fp, sq_dsc, sq_hd95 and sq_nsd of brats-evaluation 0.0.10 with panoptica 2.1.7 (glioma
# settings), as the test below asks for them.
OFFICIAL = {
    ("three found, one missed, one invented", ISOTROPIC): (
        3,
        1,
        1,
        0.72311012066,
        1.471404520791,
        0.841356281655,
    ),
    ("three found, one missed, one invented", ANISOTROPIC): (
        3,
        1,
        1,
        0.72311012066,
        2.129748132982,
        0.567788684207,
    ),
    ("one lesion found as two", ISOTROPIC): (
        1,
        0,
        1,
        0.161515453639,
        12.369316876853,
        0.205446563315,
    ),
    ("one lesion found as two", ANISOTROPIC): (
        1,
        0,
        1,
        0.161515453639,
        15.250245899657,
        0.193602231673,
    ),
    ("two lesions found as one", ISOTROPIC): (
        1,
        1,
        0,
        0.161515453639,
        12.369316876853,
        0.205446563315,
    ),
    ("two lesions found as one", ANISOTROPIC): (
        1,
        1,
        0,
        0.161515453639,
        15.250245899657,
        0.193602231673,
    ),
    ("at the border", ISOTROPIC): (2, 0, 0, 0.800254291163, 1.501618804802, 0.890895349961),
    ("at the border", ANISOTROPIC): (2, 0, 0, 0.800254291163, 1.9, 0.823810382941),
    ("apart", ISOTROPIC): (0, 1, 1, 0.0, 373.128664136113, 0.0),
    ("apart", ANISOTROPIC): (0, 1, 1, 0.0, 373.128664136113, 0.0),
}
on_scenes = pytest.mark.parametrize("scene", SCENES)
on_spacings = pytest.mark.parametrize("spacing_mm", [ISOTROPIC, ANISOTROPIC])


def balls(places):
    grid = np.indices(SHAPE)
    mask = np.zeros(SHAPE, dtype=bool)
    for *center, radius in places:
        mask |= sum((axis - at) ** 2 for axis, at in zip(grid, center)) <= radius**2
    return mask


def scores(scene, spacing_mm):
    prediction, reference = map(balls, SCENES[scene])
    lesions = score_lesions(prediction, reference, spacing_mm)
    return (
        lesions.lesions_found,
        lesions.lesions_missed,
        lesions.lesions_invented,
        lesions.lesion_dice,
        lesions.lesion_hausdorff95_mm,
        lesions.lesion_surface_dice,
    )


@on_spacings
@on_scenes
def test_scores_are_those_that_the_official_package_gave(scene, spacing_mm):
    expected = OFFICIAL[scene, spacing_mm]
    assert scores(scene, spacing_mm) == pytest.approx(expected, rel=1e-9)


@on_spacings
@on_scenes
def test_scores_are_those_of_the_official_package_if_it_is_installed(scene, spacing_mm):
    pytest.importorskip("brats_evaluation")
    assert scores(scene, spacing_mm) == pytest.approx(official(scene, spacing_mm), rel=1e-9)


def official(scene, spacing_mm):
    """What the package says, an infinite distance being the largest that BraTS counts."""
    from panoptica import Panoptica_Evaluator

    prediction, reference = (balls(places).astype(np.uint8) * 3 for places in SCENES[scene])
    settings = files("brats_evaluation").joinpath("configs", "config_gli.yaml")
    evaluator = Panoptica_Evaluator.load_from_config(str(settings))
    result = evaluator.evaluate(prediction, reference, voxelspacing=spacing_mm, verbose=False)
    found = result["et"].to_dict()
    distance = found["sq_hd95"]
    return (
        found["tp"],
        found["fn"],
        found["fp"],
        found["sq_dsc"],
        EMPTY_MM if math.isinf(distance) else distance,
        found["sq_nsd"],
    )


def test_lesions_by_hand():
    # Two rods of 6 and 4 voxels; the first is found but for its last two voxels, the second is
    # missed, and one voxel is invented. It touches none of them, not even by a corner.
    reference, prediction = np.zeros((2, 5, 9, 12), dtype=bool)
    reference[1, 1, 0:6] = reference[1, 5, 0:4] = True
    prediction[1, 1, 0:4] = prediction[4, 8, 11] = True

    result = score_lesions(prediction, reference, ISOTROPIC)

    assert (result.lesions_found, result.lesions_missed, result.lesions_invented) == (1, 1, 1)
    assert result.lesion_dice == pytest.approx(2 * 4 / (4 + 6))
    # The ways are 0 four times forth, and 0, 0, 0, 0, 1, 2 back: the 95th percentile of these ten
    # lies 0.55 between the last two. Five of six are within a voxel, and all four forth.
    assert result.lesion_hausdorff95_mm == pytest.approx(1 + 0.55)
    assert result.lesion_surface_dice == pytest.approx((1 + 5 / 6) / 2)


def test_voxels_that_touch_by_a_corner_are_one_lesion():
    reference = np.zeros((4, 4, 4), dtype=bool)
    reference[0, 0, 0] = reference[1, 1, 1] = True
    assert score_lesions(reference, reference, ISOTROPIC).lesions_found == 1


def test_the_pairs_are_those_with_the_largest_sum_not_each_the_best_for_itself():
    # One rod overlaps both of the reference's, and the shorter of the prediction's only the first.
    reference, prediction = np.zeros((2, 1, 1, 30), dtype=bool)
    reference[0, 0, 0:10] = reference[0, 0, 12:16] = True
    prediction[0, 0, 0:2] = prediction[0, 0, 4:16] = True

    result = score_lesions(prediction, reference, ISOTROPIC)

    # The long rod with the first alone: 2 * 6 / 22. Both: 2 * 2 / 12 and 2 * 4 / 16, which is more.
    assert (result.lesions_found, result.lesions_missed, result.lesions_invented) == (2, 0, 0)
    assert result.lesion_dice == pytest.approx((4 / 12 + 8 / 16) / 2)


def test_where_there_are_no_lesions_there_is_no_score():
    nothing = np.zeros((3, 3, 3), dtype=bool)
    result = score_lesions(nothing, nothing, ISOTROPIC)
    assert (result.lesions_found, result.lesions_missed, result.lesions_invented) == (0, 0, 0)
    assert math.isnan(result.lesion_dice) and math.isnan(result.lesion_hausdorff95_mm)


@pytest.mark.parametrize("predicted", [True, False])
def test_lesions_of_one_mask_alone_are_the_worst(predicted):
    masks = [~np.zeros((3, 3, 3), dtype=bool), np.zeros((3, 3, 3), dtype=bool)]
    result = score_lesions(*(masks if predicted else masks[::-1]), ISOTROPIC)
    assert (result.lesions_missed, result.lesions_invented) == (not predicted, predicted)
    assert (result.lesion_dice, result.lesion_surface_dice) == (0, 0)
    assert result.lesion_hausdorff95_mm == pytest.approx(373.13, abs=0.005)
