"""Skulls and brains, on heads made of ellipsoids whose every layer is known."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from MISSUCore.core.errors import InputError
from MISSUCore.io.reading import read_image, read_label_map
from MISSUCore.preprocessing.brain_extraction import (
    Brain,
    BrainExtractionMissing,
    agreed_brain,
    extract_brain,
    find_brains,
    has_skull,
    strip,
)

pytestmark = pytest.mark.slow

MakeImage = Callable[..., sitk.Image]
Mask = NDArray[np.bool_]
SPACING = (2.0, 2.0, 4.0)  # x, y, z
SHAPE = (55, 120, 100)
BRAIN_RADII_MM = (60.0, 80.0, 70.0)  # 1407 ml


def ellipsoid(radii_mm: ArrayLike, center_mm: ArrayLike = (0, 0, 0)) -> Mask:
    """Where an ellipsoid is (radii and place x, y, z), seen from the middle of the grid."""
    grid = np.indices(SHAPE).transpose(1, 2, 3, 0)[..., ::-1]
    places = (grid - (np.array(SHAPE[::-1]) - 1) / 2) * SPACING - center_mm
    return ((places / radii_mm) ** 2).sum(axis=-1) <= 1


def brain_voxels(level: float = 100.0) -> NDArray[np.float32]:
    noise = np.random.default_rng(0).normal(0, 0.05 * level, SHAPE)
    return np.where(ellipsoid(BRAIN_RADII_MM), level + noise, 0).astype(np.float32)


def head_voxels(air_noise: float = 3.0) -> NDArray[np.float32]:
    """Brain, 6 mm of dark skull, 9 mm of bright scalp, a neck that the image cuts, and air."""
    voxels = brain_voxels()
    skull = ellipsoid(np.array(BRAIN_RADII_MM) + 6)
    neck = ellipsoid((55, 65, 200), (0, 10, -130))
    scalp = (ellipsoid(np.array(BRAIN_RADII_MM) + 15) | neck) & ~skull
    voxels[skull & (voxels == 0)] = 10
    voxels[scalp] = 160
    air = (voxels == 0) & (air_noise > 0)
    voxels[air] = np.abs(np.random.default_rng(1).normal(0, air_noise or 1, air.sum()))
    return voxels


def dice(first: ArrayLike, second: ArrayLike) -> float:
    first, second = np.asarray(first) > 0, np.asarray(second) > 0
    return float(2 * (first & second).sum() / (first.sum() + second.sum()))


@pytest.mark.parametrize("background", [0.0, -1024.0, 7.5])
def test_a_brain_on_a_constant_background_has_no_skull(
    make_image: MakeImage, direction: NDArray[np.float64], background: float
) -> None:
    voxels = brain_voxels()
    voxels[voxels == 0] = background
    assert not has_skull(make_image(voxels, SPACING, direction=direction))


def test_a_z_scored_brain_has_no_skull(make_image: MakeImage) -> None:
    voxels = brain_voxels()
    brain = voxels != 0
    voxels[brain] = (voxels[brain] - voxels[brain].mean()) / voxels[brain].std()
    assert not has_skull(make_image(voxels, SPACING))


def test_ringing_around_an_interpolated_brain_is_no_head(make_image: MakeImage) -> None:
    image = make_image(brain_voxels(), SPACING)
    turned = sitk.Euler3DTransform(image.TransformIndexToPhysicalPoint((50, 60, 27)), 0.2, 0.1, 0.3)
    resampled = sitk.Resample(image, turned, sitk.sitkBSpline)
    assert sitk.GetArrayFromImage(resampled).min() < 0
    assert not has_skull(resampled)


def test_part_of_a_brain_has_no_skull(make_image: MakeImage) -> None:
    image = make_image(brain_voxels(), SPACING)
    assert not has_skull(image[:, :, 25:])
    assert not has_skull(image[45:, :, :])


@pytest.mark.parametrize("air_noise", [0.0, 3.0])
def test_a_head_has_a_skull(
    make_image: MakeImage, direction: NDArray[np.float64], air_noise: float
) -> None:
    voxels = head_voxels(air_noise)
    assert has_skull(make_image(voxels, SPACING, direction=direction))
    voxels[:30, :30] = 0  # without its face
    assert has_skull(make_image(voxels, SPACING, direction=direction))


def test_part_of_a_head_has_a_skull(make_image: MakeImage) -> None:
    masked_air = make_image(head_voxels(air_noise=0), SPACING)
    assert has_skull(masked_air[:, :, 30:])  # told by the scalp: it has less volume than a brain
    voxels = head_voxels()
    voxels[voxels == 160] = 95  # fat is suppressed
    assert has_skull(make_image(voxels, SPACING)[:, :, 30:])  # told by the noise


@pytest.fixture
def deepbet_double(monkeypatch: pytest.MonkeyPatch) -> list[NDArray[np.float32]]:
    """A double of deepbet, that takes what is brighter than 50 for brain; what it was given."""
    nibabel = pytest.importorskip("nibabel")
    seen = []

    class BrainExtraction:
        def __init__(self, no_gpu: bool) -> None:
            assert no_gpu

        def run(self, head):
            voxels = head.get_fdata(dtype=np.float32)
            assert nibabel.aff2axcodes(head.affine) == ("R", "A", "S")
            seen.append(voxels)
            if voxels.max() < 50:
                raise AssertionError("Not enough foreground to calculate bounding box")
            return head, nibabel.Nifti1Image((voxels > 50).astype(np.uint8), head.affine), 0.0

    module = ModuleType("deepbet")
    module.BrainExtraction = BrainExtraction
    monkeypatch.setitem(sys.modules, "deepbet", module)
    return seen


def test_deepbet_sees_the_head_upright_and_its_mask_comes_back_to_the_voxels(
    make_image: MakeImage, direction: NDArray[np.float64], deepbet_double: list
) -> None:
    voxels = np.random.default_rng(2).uniform(1, 40, (9, 12, 10)).astype(np.float32)
    voxels[2:4, 3:9, 1:3] = 100
    image = make_image(voxels, (1.0, 1.5, 3.0), (5.0, -7.0, 11.0), direction)
    mask = extract_brain(image)
    assert np.array_equal(sitk.GetArrayFromImage(mask), voxels > 50)
    assert mask.GetDirection() == image.GetDirection()
    assert mask.GetOrigin() == image.GetOrigin()
    assert mask.GetSpacing() == image.GetSpacing()
    (upright,) = deepbet_double
    offset = np.argwhere(upright > 50).mean(axis=0) - (np.array(upright.shape) - 1) / 2
    block = np.array(image.TransformContinuousIndexToPhysicalPoint([1.5, 5.5, 2.5]))
    middle = np.array(image.TransformContinuousIndexToPhysicalPoint([4.5, 5.5, 4.0]))
    to_right_front_top = (block - middle) * [-1, -1, 1]
    farthest = np.abs(to_right_front_top).argmax()
    assert np.sign(offset[farthest]) == np.sign(to_right_front_top[farthest])


def test_a_background_far_below_the_head_takes_no_contrast(
    make_image: MakeImage, deepbet_double: list
) -> None:
    voxels = head_voxels(air_noise=0)
    extract_brain(make_image(np.where(voxels == 0, -1024, voxels), SPACING))
    assert 0 < deepbet_double[0].min() <= 10


def test_no_brain_is_told(make_image: MakeImage, deepbet_double: list) -> None:
    voxels = head_voxels() / 10
    with pytest.raises(InputError, match=r"^t2: no brain was found in the scan; .*--brain-mask"):
        find_brains({"t2": make_image(voxels, SPACING)})


def faint_scalp() -> NDArray[np.float32]:
    """A head of whose layers the double of deepbet takes the brain alone for brain."""
    voxels = head_voxels()
    voxels[voxels == 160] = 40
    return voxels


def test_of_heads_the_one_that_the_others_are_laid_on_is_enough(
    make_image: MakeImage, deepbet_double: list
) -> None:
    head = make_image(faint_scalp(), SPACING)
    brains = find_brains({"t2": head, "t1": head, "flair": head}, "t1")
    assert list(brains) == ["t1"] and len(deepbet_double) == 1
    assert dice(sitk.GetArrayFromImage(brains["t1"].mask), ellipsoid(BRAIN_RADII_MM)) == 1


@pytest.mark.parametrize("why", ["nothing is laid on it", "not T1", "cut off", "no brain's size"])
def test_every_head_is_asked_where_one_is_not_enough(
    make_image: MakeImage, deepbet_double: list, why: str
) -> None:
    head = make_image(faint_scalp(), SPACING)
    images = {"t2": head, "t1": head, "flair": head}
    if why == "cut off":
        images["t1"] = head[:, :, 22:]
    if why == "no brain's size":
        voxels = faint_scalp()
        voxels[~ellipsoid((20, 20, 20))] *= 0.4
        images["t1"] = make_image(voxels, SPACING)
    fixed = {"nothing is laid on it": None, "not T1": "flair"}.get(why, "t1")
    brains = find_brains(images, fixed)
    assert sorted(brains) == ["flair", "t1", "t2"]
    assert len(deepbet_double) == 3


def test_of_heads_beside_stripped_scans_those_are_asked_that_must_be(
    make_image: MakeImage, deepbet_double: list
) -> None:
    """A brain is laid on a brain: on a stripped scan every head by its own, and the other way."""
    head, brain = make_image(faint_scalp(), SPACING), make_image(brain_voxels(), SPACING)
    brains = find_brains({"t1": brain, "t2": head, "flair": head}, "t1")
    assert {name: brain.stripped for name, brain in brains.items()} == {
        "t1": True, "t2": False, "flair": False
    }  # fmt: skip
    brains = find_brains({"t1": head, "t2": brain, "flair": head}, "t1")
    assert {name: brain.stripped for name, brain in brains.items()} == {"t1": False, "t2": True}


def test_without_deepbet_the_choices_are_told(
    make_image: MakeImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "deepbet", None)
    head = make_image(head_voxels(), SPACING)
    with pytest.raises(BrainExtractionMissing) as told:
        find_brains({"t1": head, "t2": head})
    for choice in ("pip install deepbet", "--brain-mask FILE", "--brain-extraction never"):
        assert choice in str(told.value)


def test_without_deepbet_a_stripped_scan_is_enough(
    make_image: MakeImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "deepbet", None)
    brain = make_image(brain_voxels(), SPACING)
    brains = find_brains({"t1": make_image(head_voxels(), SPACING), "t2": brain})
    assert list(brains) == ["t2"]
    assert brains["t2"].stripped
    assert dice(sitk.GetArrayFromImage(brains["t2"].mask), sitk.GetArrayFromImage(brain)) == 1


def as_brain(make_image: MakeImage, mask: Mask, stripped: bool = False) -> Brain:
    return Brain(make_image(mask.astype(np.uint8), SPACING), stripped)


def on_grid(mask: sitk.Image, image: sitk.Image) -> Mask:
    return sitk.GetArrayFromImage(sitk.Resample(mask, image, sitk.Transform(), sitk.sitkLinear)) > 0


def test_the_majority_decides_and_t1_counts_double(make_image: MakeImage) -> None:
    true = ellipsoid(BRAIN_RADII_MM)
    small = ellipsoid(np.array(BRAIN_RADII_MM) - 8)
    large = ellipsoid(np.array(BRAIN_RADII_MM) + 8)
    scan = make_image(true.astype(np.uint8), SPACING)
    outvoted = {"t1": true, "t1ce": true, "t2": large, "flair": small}
    agreed = agreed_brain({name: as_brain(make_image, mask) for name, mask in outvoted.items()})
    assert dice(on_grid(agreed.mask, scan), true) > 0.985
    assert agreed.dice["t1"] > 0.985
    assert agreed.dice["t2"] == pytest.approx(dice(large, true), abs=0.02)
    # Half of the votes is enough, so that nothing of the brain is lost.
    agreed = agreed_brain({"t1": as_brain(make_image, true), "t2": as_brain(make_image, small)})
    assert dice(on_grid(agreed.mask, scan), true) > 0.985
    agreed = agreed_brain({"t2": as_brain(make_image, true), "flair": as_brain(make_image, small)})
    assert dice(on_grid(agreed.mask, scan), true) > 0.985


def test_a_scan_votes_only_where_it_reaches(make_image: MakeImage) -> None:
    true = ellipsoid(BRAIN_RADII_MM)
    scan = make_image(true.astype(np.uint8), SPACING)
    upper = Brain(scan[:, :, 20:], stripped=False)
    agreed = agreed_brain({"t1": upper, "t1ce": upper, "t2": Brain(scan, stripped=False)})
    assert dice(on_grid(agreed.mask, scan), true) > 0.985
    assert min(agreed.dice.values()) > 0.985


def test_scans_that_came_stripped_decide(make_image: MakeImage) -> None:
    true, large = ellipsoid(BRAIN_RADII_MM), ellipsoid(np.array(BRAIN_RADII_MM) + 6)
    agreed = agreed_brain(
        {
            "t1": as_brain(make_image, large),
            "t1ce": as_brain(make_image, large),
            "flair": as_brain(make_image, true, stripped=True),
        }
    )
    assert dice(on_grid(agreed.mask, make_image(true.astype(np.uint8), SPACING)), true) > 0.985
    assert agreed.dice["t1"] == pytest.approx(dice(large, true), abs=0.02)


def test_what_has_not_the_size_of_a_brain_has_no_vote(make_image: MakeImage) -> None:
    true, eye = ellipsoid(BRAIN_RADII_MM), ellipsoid((15, 15, 15), (30, -80, 0))
    agreed = agreed_brain({"t1": as_brain(make_image, eye), "t2": as_brain(make_image, true)})
    assert dice(on_grid(agreed.mask, make_image(true.astype(np.uint8), SPACING)), true) > 0.985
    assert list(agreed.left_out) == ["t1"]
    assert "14 ml" in agreed.left_out["t1"]
    with pytest.raises(InputError, match=r"t1: .*14 ml.*flair: .*0 ml"):
        agreed_brain(
            {
                "t1": as_brain(make_image, eye),
                "flair": as_brain(make_image, np.zeros(SHAPE, dtype=bool)),
            }
        )


def test_cavities_are_not_cut_off_and_islands_are(make_image: MakeImage) -> None:
    true = ellipsoid(BRAIN_RADII_MM)
    cavity = ellipsoid((20, 20, 20), (30, 0, 0))
    channel = np.zeros(SHAPE, dtype=bool)
    channel[27, 58:60, 65:] = True  # 4 mm wide, from the cavity to the outside
    island = ellipsoid((10, 10, 10), (0, -100, 60))
    agreed = agreed_brain({"t1": as_brain(make_image, (true & ~cavity & ~channel) | island)})
    found = on_grid(agreed.mask, make_image(true.astype(np.uint8), SPACING))
    assert found[cavity].all()
    assert not found[island].any()


def test_stripping_keeps_the_voxels_and_0_says_outside(
    make_image: MakeImage, direction: NDArray[np.float64]
) -> None:
    voxels = np.random.default_rng(3).normal(0, 50, SHAPE).astype(np.float32)
    voxels[20:30, 50:60, 40:50] = 0
    image = make_image(voxels, SPACING, (3.0, 4.0, -5.0), direction)
    brain = ellipsoid(BRAIN_RADII_MM)
    mask = make_image(brain.astype(np.uint8), SPACING, (3.0, 4.0, -5.0), direction)
    stripped = strip(image, mask)
    found = sitk.GetArrayFromImage(stripped)
    assert np.array_equal(found != 0, brain)
    np.testing.assert_allclose(found[brain], voxels[brain], atol=1e-30)
    assert stripped.GetDirection() == image.GetDirection()
    # A mask on another grid.
    fine = sitk.Resample(mask, [200, 240, 220], sitk.Transform(), sitk.sitkNearestNeighbor,
                         mask.GetOrigin(), [1.0, 1.0, 1.0], mask.GetDirection())  # fmt: skip
    assert dice(sitk.GetArrayFromImage(strip(image, fine)) != 0, brain) > 0.98


def test_deepbet_finds_the_brain_of_a_simulated_head(make_image: MakeImage) -> None:
    pytest.importorskip("deepbet", reason="deepbet is not installed")
    pytest.importorskip("nilearn", reason="nilearn is not installed")
    from MISSUCore.simulation.case import simulate_case

    spacing_mm = 2.0
    image = sitk.ConstantPad(
        simulate_case(0, spacing_mm=spacing_mm).images["t1"], [22] * 3, [22] * 3
    )
    voxels = sitk.GetArrayFromImage(image)
    brain = ndimage.binary_fill_holes(voxels != 0)
    outside_mm = ndimage.distance_transform_edt(~ndimage.binary_closing(brain, iterations=4))
    outside_mm *= spacing_mm
    level = np.median(voxels[brain])
    voxels[~brain & (outside_mm < 3)] = 0.35 * level  # fluid
    voxels[(outside_mm >= 3) & (outside_mm < 9)] = 0.08 * level  # skull
    voxels[(outside_mm >= 9) & (outside_mm < 16)] = 1.5 * level  # scalp
    voxels += np.abs(np.random.default_rng(4).normal(0, 0.03 * level, voxels.shape))
    head = make_image(voxels.astype(np.float32), image.GetSpacing(), image.GetOrigin())
    found = find_brains({"t1": head})["t1"]
    assert not found.stripped
    assert dice(sitk.GetArrayFromImage(found.mask), brain) > 0.92


@pytest.mark.skipif(
    "MISSU_RAW_DATA" not in os.environ,
    reason="MISSU_RAW_DATA names no folder with scans X_t1.nii.gz and X_t1_brainmask.nii.gz",
)
def test_the_brain_of_real_t1_scans_is_found() -> None:
    pytest.importorskip("deepbet", reason="deepbet is not installed")
    masks = sorted(Path(os.environ["MISSU_RAW_DATA"]).rglob("*_t1_brainmask.nii.gz"))
    assert masks
    for path in masks:
        scan = path.with_name(path.name.replace("_brainmask", ""))
        found = find_brains({"t1": read_image(scan)})["t1"]
        given = sitk.GetArrayFromImage(read_label_map(path))
        assert not found.stripped
        assert dice(sitk.GetArrayFromImage(found.mask), given) > 0.95
        assert not has_skull(strip(read_image(scan), found.mask))
