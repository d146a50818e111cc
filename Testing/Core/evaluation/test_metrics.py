"""Metrics against cases computed by hand, SimpleITK and MONAI."""

from __future__ import annotations

import math

import numpy as np
import pytest
import SimpleITK as sitk

from MISSUCore.evaluation import metrics
from MISSUCore.evaluation.surfaces import surface_distances

ISOTROPIC = (1.0, 1.0, 1.0)
ANISOTROPIC = (3.0, 1.2, 0.7)


def empty(shape=(4, 5, 6)):
    return np.zeros(shape, dtype=bool)


def random_masks(seed, density=0.05):
    generator = np.random.default_rng(seed)
    return generator.random((2, 9, 14, 11)) < density


def blobs(seed):
    """Two overlapping ellipsoids, the first of which touches the border, with holes in both."""
    generator = np.random.default_rng(seed)
    z, y, x = np.indices((16, 20, 24))
    first = (z - 3) ** 2 / 16 + (y - 9) ** 2 / 36 + (x - 10) ** 2 / 49 < 1
    second = (z - 6) ** 2 / 25 + (y - 10) ** 2 / 30 + (x - 13) ** 2 / 64 < 1
    return [mask & (generator.random(mask.shape) < 0.98) for mask in (first, second)]


PAIRS = {
    "sparse": random_masks(0, 0.02),
    "dense": random_masks(1, 0.6),
    "unequal": [random_masks(2, 0.02)[0], random_masks(3, 0.4)[1]],
    "blobs": blobs(4),
}
on_pairs = pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS.keys())
on_spacings = pytest.mark.parametrize("spacing_mm", [ISOTROPIC, ANISOTROPIC])


def to_image(mask, spacing_mm=ISOTROPIC):
    image = sitk.GetImageFromArray(mask.astype(np.uint8))
    image.SetSpacing(spacing_mm[::-1])
    return image


def test_overlap_by_hand():
    # 120 voxels; the reference has 6 in a row, the prediction 4, 3 of them shared:
    # TP 3, FP 1, FN 3, TN 113.
    prediction, reference = empty(), empty()
    reference[1, 2, :] = True
    prediction[1, 2, :3] = True
    prediction[2, 2, 0] = True

    assert metrics.dice(prediction, reference) == pytest.approx(2 * 3 / (4 + 6))
    assert metrics.accuracy(prediction, reference) == pytest.approx((3 + 113) / 120)
    assert metrics.sensitivity(prediction, reference) == pytest.approx(3 / 6)
    assert metrics.specificity(prediction, reference) == pytest.approx(113 / 114)


@on_pairs
def test_overlap_is_that_of_simpleitk(pair):
    prediction, reference = pair
    overlap = sitk.LabelOverlapMeasuresImageFilter()
    overlap.Execute(to_image(prediction), to_image(reference))

    assert metrics.dice(prediction, reference) == pytest.approx(overlap.GetDiceCoefficient())
    assert metrics.sensitivity(prediction, reference) == pytest.approx(
        1 - overlap.GetFalseNegativeError()
    )
    assert metrics.specificity(prediction, reference) == pytest.approx(
        1 - overlap.GetFalsePositiveError()
    )


def test_distances_by_hand():
    # Two voxels of the prediction, one of them on the only voxel of the reference, the other
    # 1 slice of 3 mm, 2 rows of 1.2 mm and 3 columns of 0.7 mm away.
    prediction, reference = empty(), empty()
    reference[1, 1, 1] = True
    prediction[1, 1, 1] = True
    prediction[2, 3, 4] = True
    far = math.sqrt(3.0**2 + 2.4**2 + 2.1**2)

    distances = metrics.hausdorff(prediction, reference, ANISOTROPIC)

    assert distances.maximum_mm == pytest.approx(far)
    # Forth, the ways are 0 and far; back, the only one is 0.
    assert distances.percentile95_mm == pytest.approx(0.95 * far)
    assert distances.average_mm == pytest.approx((far / 2 + 0) / 2)


def test_95th_percentile_goes_from_surface_to_surface():
    # A cube of 5 around a cube of 3 with one center: their surfaces are 1 voxel apart at the
    # faces, sqrt(2) at the edges and sqrt(3) at the corners. The surface of the large cube has
    # 98 voxels, 8 of them corners: more than 5 %.
    large, small = empty((9, 9, 9)), empty((9, 9, 9))
    large[2:7, 2:7, 2:7] = True
    small[3:6, 3:6, 3:6] = True

    distances = metrics.hausdorff(small, large, ISOTROPIC)

    assert distances.percentile95_mm == pytest.approx(math.sqrt(3))
    # From the small cube into the large one it is no way: 27 zeros. Back, 27 of 125 voxels lie in
    # it, 54 on its faces' fronts, 36 before its edges, 8 before its corners.
    back = (54 * 1 + 36 * math.sqrt(2) + 8 * math.sqrt(3)) / 125
    assert distances.average_mm == pytest.approx(back / 2)


def test_95th_percentile_can_exceed_the_maximum():
    # A cube of 9 with 8 holes around its center. No voxel is further than 1 from the other mask.
    # But of the holes' 36 neighbors, all surface, 12 lie 3 below the surface of the full cube and
    # 24 lie 2 below it; with the 386 voxels of the outer surface, the 95th percentile is 2.
    full = empty((9, 9, 9)) | True
    holed = full.copy()
    holed[3:6:2, 3:6:2, 3:6:2] = False

    distances = metrics.hausdorff(holed, full, ISOTROPIC)

    assert distances.maximum_mm == 1
    assert distances.percentile95_mm == 2


@on_spacings
@on_pairs
def test_maximum_and_average_are_those_of_simpleitk(pair, spacing_mm):
    prediction, reference = pair
    expected = sitk.HausdorffDistanceImageFilter()
    expected.Execute(to_image(prediction, spacing_mm), to_image(reference, spacing_mm))

    distances = metrics.hausdorff(prediction, reference, spacing_mm)

    assert distances.maximum_mm == pytest.approx(expected.GetHausdorffDistance())
    assert distances.average_mm == pytest.approx(expected.GetAverageHausdorffDistance())


@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning")
@on_spacings
@on_pairs
def test_95th_percentile_is_that_of_monai(pair, spacing_mm):
    monai_metrics = pytest.importorskip("monai.metrics")
    prediction, reference = pair
    expected = monai_metrics.compute_hausdorff_distance(
        prediction[None, None],
        reference[None, None],
        include_background=True,
        percentile=95,
        spacing=spacing_mm,
    )

    distances = metrics.hausdorff(prediction, reference, spacing_mm)

    assert distances.percentile95_mm == pytest.approx(expected.item(), rel=1e-5)


@on_pairs
def test_distances_are_symmetric_and_the_same_in_a_larger_image(pair):
    prediction, reference = pair
    padding = ((2, 1), (3, 0), (0, 4))

    distances = metrics.hausdorff(prediction, reference, ANISOTROPIC)

    assert metrics.hausdorff(reference, prediction, ANISOTROPIC) == distances
    padded = [np.pad(mask, padding) for mask in (prediction, reference)]
    assert metrics.hausdorff(*padded, ANISOTROPIC) == distances


def test_identical_masks_are_perfect():
    mask = PAIRS["blobs"][0]
    assert metrics.score_region(mask, mask, ANISOTROPIC) == metrics.RegionMetrics(
        1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0
    )


def test_score_region_puts_every_metric_in_its_place():
    prediction, reference = PAIRS["unequal"]
    distances = metrics.hausdorff(prediction, reference, ANISOTROPIC)

    scores = metrics.score_region(prediction, reference, ANISOTROPIC)

    assert scores == metrics.RegionMetrics(
        dice=metrics.dice(prediction, reference),
        accuracy=metrics.accuracy(prediction, reference),
        sensitivity=metrics.sensitivity(prediction, reference),
        specificity=metrics.specificity(prediction, reference),
        hausdorff_mm=distances.maximum_mm,
        hausdorff95_mm=distances.percentile95_mm,
        average_hausdorff_mm=distances.average_mm,
        surface_dice=metrics.surface_dice(prediction, reference, ANISOTROPIC),
        nsd_1mm=surface_distances(prediction, reference, ANISOTROPIC).normalized_surface_distance(
            1.0
        ),
    )


def test_two_empty_masks_agree():
    assert metrics.score_region(empty(), empty(), ISOTROPIC) == metrics.RegionMetrics(
        1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0
    )


@pytest.mark.parametrize("predicted", [True, False])
def test_one_empty_mask_is_the_worst(predicted):
    # The BraTS image: 240 x 240 x 155 voxels of 1 mm.
    full, nothing = empty((155, 240, 240)), empty((155, 240, 240))
    full[10:12, 20:22, 30:35] = True
    masks = (full, nothing) if predicted else (nothing, full)

    scores = metrics.score_region(*masks, ISOTROPIC)

    assert scores.dice == 0
    assert scores.sensitivity == 0
    assert scores.surface_dice == 0
    assert scores.specificity == pytest.approx(1 - 20 / full.size if predicted else 1)
    assert scores.hausdorff_mm == pytest.approx(373.13, abs=0.005)
    assert scores.hausdorff95_mm == scores.average_hausdorff_mm == scores.hausdorff_mm


def test_an_empty_mask_costs_the_same_in_a_cropped_or_coarser_image():
    mask = empty((4, 5, 6))
    mask[0, 0, 0] = True
    distances = metrics.hausdorff(mask, empty((4, 5, 6)), ANISOTROPIC)
    # The diagonal of the image of BraTS, not that of this one, which is 14 mm.
    assert distances.maximum_mm == pytest.approx(373.13, abs=0.005)


def test_surface_dice_by_hand():
    # A rod of 6 voxels of 2 mm, found but for its last two: of its surface five of six voxels are
    # within the 2 mm of a voxel, and all four of the other.
    prediction, reference = empty(), empty()
    reference[1, 2, :] = True
    prediction[1, 2, :4] = True
    assert metrics.surface_dice(prediction, reference, (3.0, 2.5, 2.0)) == pytest.approx(11 / 12)
    assert metrics.surface_dice(reference, prediction, (3.0, 2.5, 2.0)) == pytest.approx(11 / 12)


def test_specificity_without_background():
    full, partial = ~empty(), ~empty()
    partial[0, 0, 0] = False
    assert metrics.specificity(full, full) == 1
    assert metrics.specificity(partial, full) == 0


@pytest.mark.parametrize(
    "metric", [metrics.dice, metrics.accuracy, metrics.sensitivity, metrics.specificity]
)
@pytest.mark.parametrize(
    ("prediction", "message"),
    [
        (empty((4, 5, 1)), "one shape"),
        (empty()[0], "one shape"),
        (empty().astype(np.uint8), "boolean"),
    ],
)
def test_masks_that_do_not_fit_are_refused(metric, prediction, message):
    with pytest.raises(ValueError, match=message):
        metric(prediction, empty())
    with pytest.raises(ValueError, match=message):
        metrics.score_region(prediction, empty(), ISOTROPIC)


def test_masks_without_voxels_are_refused():
    with pytest.raises(ValueError, match="one shape"):
        metrics.accuracy(empty((0, 5, 6)), empty((0, 5, 6)))


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0), (1.0, 0.0, 1.0), (1.0, math.nan, 1.0)])
def test_spacing_that_is_none_is_refused(spacing_mm):
    with pytest.raises(ValueError, match="spacing"):
        metrics.hausdorff(empty(), empty(), spacing_mm)
