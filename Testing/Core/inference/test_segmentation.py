"""A case with a model whose answer is known: every voxel at its place, and what it says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from MISSUCore.contract.labels import BRATS
from MISSUCore.contract.model_card import FewScans, ScanEstimate
from MISSUCore.core.errors import InputError
from MISSUCore.core.events import Progress, ProgressEvent
from MISSUCore.inference.missing_scans import check_modalities
from MISSUCore.inference.postprocessing import Cleanup
from MISSUCore.inference.segmentation import SegmentationOptions, segment_case
from MISSUCore.models.store import Model, load_model

MODALITIES = ("t1", "t1ce", "t2", "flair")
ORIGIN = (-31.0, 42.5, 17.25)
CPU = SegmentationOptions(device="cpu")
MakeModel = Callable[..., Path]
MakeScans = Callable[[NDArray[np.uint8]], dict[str, NDArray[np.float32]]]
SameGrid = Callable[[sitk.Image, sitk.Image, float], None]
Truth = NDArray[np.uint8]


@pytest.fixture
def images(
    make_image: Callable[..., sitk.Image], truth: Truth, scans: MakeScans
) -> dict[str, sitk.Image]:
    """Scans in memory, at 1 mm along the patient's axes."""
    return {name: make_image(voxels, origin=ORIGIN) for name, voxels in scans(truth).items()}


@pytest.fixture
def bright(bright_model: MakeModel) -> Model:
    return load_model(str(bright_model()))


@pytest.mark.parametrize("sliding", [False, True])
@pytest.mark.parametrize("mirror", [False, True])
def test_every_way_of_computing_gives_the_same(
    bright: Model, images: dict[str, sitk.Image], truth: Truth, sliding: bool, mirror: bool
) -> None:
    options = SegmentationOptions(device="cpu", sliding=sliding, mirror=mirror)
    events: list[ProgressEvent] = []
    result = segment_case(images, bright, options=options, progress=Progress(events.append))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(result.labels), truth)
    assert result.device == "cpu" and result.windows == 1
    passes = [event.message for event in events if event.stage == "segment"]
    assert passes == ["window 1 of 1" if sliding else ""] * (8 if mirror else 1)


def test_the_order_of_the_scans_does_not_matter_but_for_the_grid(
    bright: Model, images: dict[str, sitk.Image], truth: Truth, same_grid: SameGrid
) -> None:
    images["flair"] = sitk.Flip(images["flair"], (True, False, False))
    for first in MODALITIES:
        ordered = {first: images[first], **images}
        result = segment_case(ordered, bright, options=CPU)
        same_grid(result.labels, images[first], 0)
        expected = truth[:, :, ::-1] if first == "flair" else truth
        np.testing.assert_array_equal(sitk.GetArrayFromImage(result.labels), expected)


def test_probabilities_and_volumes(
    bright: Model, images: dict[str, sitk.Image], truth: Truth, same_grid: SameGrid
) -> None:
    result = segment_case(images, bright, options=CPU)
    masks = BRATS.to_regions(truth)
    assert list(result.probabilities) == ["WT", "TC", "ET"]
    for (name, image), mask in zip(result.probabilities.items(), masks):
        same_grid(image, images["t1"], 0)
        assert image.GetPixelID() == sitk.sitkFloat32
        values = sitk.GetArrayFromImage(image)
        assert values.min() >= 0 and values.max() <= 1
        np.testing.assert_array_equal(values >= 0.5, mask)
        assert result.volumes_ml[name] == pytest.approx(mask.sum() / 1000)
    assert set(result.seconds) == {"prepare", "predict", "restore"}


def test_small_islands_are_removed_on_request(
    bright: Model, make_image: Callable[..., sitk.Image], truth: Truth, scans: MakeScans
) -> None:
    speckled = truth.copy()
    speckled[16:18, 2:4, 22:26] = 2  # 16 mm3
    images = {name: make_image(voxels) for name, voxels in scans(speckled).items()}
    for cleanup, expected in ((CPU.cleanup, truth), (Cleanup(), speckled), (Cleanup(16), speckled)):
        options = SegmentationOptions(device="cpu", cleanup=cleanup)
        found = segment_case(images, bright, options=options).labels
        np.testing.assert_array_equal(sitk.GetArrayFromImage(found), expected)


def test_confidence_is_told_by_a_model_that_knows_its_doubts(
    images: dict[str, sitk.Image], bright_model: MakeModel
) -> None:
    sure = load_model(str(bright_model(temperatures=(1.0, 1.0, 1.0), doubtful_below=(0.5,) * 3)))
    result = segment_case(images, sure, options=CPU)
    assert list(result.confidence) == ["WT", "TC", "ET"]
    assert min(result.confidence.values()) > 0.95  # its answers are far from one half
    assert not any("confidence" in warning for warning in result.warnings)

    # The same answers as frequencies near one half: the masks stay, the confidence falls.
    doubtful = load_model(
        str(bright_model(temperatures=(1.0, 1.0, 200.0), doubtful_below=(0.5, 0.5, 0.9)))
    )
    other = segment_case(images, doubtful, options=CPU)
    assert (sitk.GetArrayFromImage(other.labels) == sitk.GetArrayFromImage(result.labels)).all()
    assert other.confidence["WT"] == result.confidence["WT"]
    assert other.confidence["ET"] < 0.9
    (warning,) = [text for text in other.warnings if "confidence" in text]
    assert warning.startswith("ET: low confidence (expected Dice 0.")


def test_a_model_whose_doubts_are_unknown_claims_no_confidence(
    images: dict[str, sitk.Image], bright: Model
) -> None:
    assert segment_case(images, bright, options=CPU).confidence == {}


def test_one_scan_may_be_missing(
    bright: Model, images: dict[str, sitk.Image], truth: Truth
) -> None:
    del images["t1"]
    result = segment_case(images, bright, options=CPU)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(result.labels), truth)
    assert "t1 is missing: the result is less reliable" in result.warnings
    images["t1"] = images.pop("flair")  # now no WT, in which the other regions lie
    result = segment_case(images, bright, options=CPU)
    assert not sitk.GetArrayFromImage(result.labels).any()
    assert sitk.GetArrayFromImage(result.probabilities["ET"]).max() < 0.01
    assert result.warnings[0] == "flair is missing: the result is less reliable"
    assert result.warnings[-1] == "nothing was found, all regions are empty"
    assert result.volumes_ml == {"WT": 0, "TC": 0, "ET": 0}


def test_a_missing_scan_is_estimated_where_the_card_says_how(
    bright_model: MakeModel, images: dict[str, sitk.Image], truth: Truth
) -> None:
    # By this card FLAIR looks like T1: of 28 terms only that of T1 in the voxel counts.
    coefficients = [0.0] * 28
    coefficients[1] = 1.0
    estimate = ScanEstimate("flair", ("t1", "t1ce", "t2"), tuple(coefficients))
    model = load_model(str(bright_model(may_miss=2, estimates=(estimate,))))
    images["t1"] = images.pop("flair")
    result = segment_case(images, model, options=CPU)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(result.labels), truth)
    assert result.warnings[0] == (
        "flair is missing, and the network sees an estimate of it: the result is less reliable"
    )
    del images["t2"]  # it needs all the others
    result = segment_case(images, model, options=CPU)
    assert result.volumes_ml["WT"] == 0
    assert "flair is missing: the result is less reliable" in result.warnings


@pytest.mark.parametrize(
    ("known", "told"),
    [
        ({"t1": {"WT": 0.86, "ET": 0.62}}, " (Dice without it: WT 0.86, ET 0.62)"),
        ({"t2": {"WT": 0.86}}, ""),
        ({"t1": 0.86}, ""),
        ([], ""),
    ],
)
def test_what_a_missing_scan_costs_is_told_as_far_as_it_is_known(
    bright_model: MakeModel, known: object, told: str
) -> None:
    model = load_model(str(bright_model(metrics={"without_one_modality_dice": known})))
    warning = f"t1 is missing: the result is less reliable{told}"
    assert check_modalities(["t1ce", "t2", "flair"], model) == [warning]


@pytest.mark.parametrize(
    ("unreliable", "missing", "told"),
    [
        ({"t1": [], "t2": ["TC"]}, [], ["WT", "TC", "ET"]),
        ({"t1": [], "t2": ["TC"]}, ["t1"], ["WT", "TC", "ET"]),
        ({"t1": ["WT", "ET"]}, ["t1"], ["TC"]),
        ({"t1": [], "t2": []}, ["t1", "t2"], []),  # what both cost together is not known
        ({"t2": []}, ["t1"], []),
        ({}, ["t1"], []),
    ],
)
def test_no_dice_is_expected_of_a_region_that_depends_on_a_missing_scan(
    bright_model: MakeModel,
    images: dict[str, sitk.Image],
    unreliable: dict[str, list[str]],
    missing: list[str],
    told: list[str],
) -> None:
    facts = {"temperatures": (1.0, 1.0, 1.0), "doubtful_below": (1.1, 1.2, 1.3), "may_miss": 2}
    model = load_model(str(bright_model(unreliable_without=unreliable, **facts)))
    given = {name: image for name, image in images.items() if name not in missing}
    result = segment_case(given, model, options=CPU)
    assert list(result.confidence) == told
    # Each region is held against its own limit, so here every one that is told is doubted.
    doubted = [text.split(":")[0] for text in result.warnings if "low confidence" in text]
    assert doubted == told


def test_which_regions_are_a_guess_without_a_scan_is_said(bright_model: MakeModel) -> None:
    model = load_model(str(bright_model(unreliable_without={"t1ce": ["TC", "ET"], "t1": []})))
    (warning,) = check_modalities(["t1", "t2", "flair"], model)
    assert warning == (
        "t1ce is missing: the result is less reliable; do not rely on TC, ET: without t1ce this is "
        "a guess, and no expected Dice is given for it"
    )
    (warning,) = check_modalities(["t1ce", "t2", "flair"], model)
    assert warning == "t1 is missing: the result is less reliable"


def test_few_scans_do_where_that_was_measured(
    bright_model: MakeModel, images: dict[str, sitk.Image]
) -> None:
    figures = {"WT": 0.806, "TC": 0.57, "ET": 0.5}
    few = (FewScans(("t1ce", "flair"), figures), FewScans(("t2", "flair"), figures, ("TC", "ET")))
    facts = {"temperatures": (1.0, 1.0, 1.0), "doubtful_below": (1.1, 1.2, 1.3)}
    unreliable = {name: [] for name in ("t1", "t1ce", "t2", "flair")}
    model = load_model(
        str(bright_model(may_miss=1, few_scans=few, unreliable_without=unreliable, **facts))
    )
    # In any order; what is not calibrated is not expected, although no region is unreliable.
    result = segment_case({n: images[n] for n in ("flair", "t1ce")}, model, options=CPU)
    assert result.confidence == {}
    assert result.warnings[0] == (
        "t1ce and flair alone are given: the result is less reliable (mean Dice with them WT 0.81, "
        "TC 0.57, ET 0.50), and no expected Dice is given"
    )
    (warning,) = check_modalities(["t2", "flair"], model)
    assert warning.endswith("; do not rely on TC, ET: this is a guess")
    for given in (["t1", "t1ce"], ["flair"], ["t1", "t2"]):
        with pytest.raises(InputError, match="or with t1ce and flair alone, or with t2 and flair"):
            check_modalities(given, model)
    # One missing is as ever.
    assert check_modalities(["t1ce", "t2", "flair"], model)[0].startswith("t1 is missing")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            ["t1", "t2"],
            "model bright takes t1, t1ce, t2, flair, and works with 1 of them missing; missing: "
            "t1ce, flair",
        ),
        ([], "missing: t1, t1ce, t2, flair"),
        (["t1", "t1ce", "t2", "flair", "dwi"], "t1, t1ce, t2, flair, but not dwi"),
    ],
)
def test_scans_that_are_not_the_models(bright: Model, given: list[str], message: str) -> None:
    image = sitk.GetImageFromArray(np.random.default_rng(0).random((8, 8, 8)))
    with pytest.raises(InputError, match=message):
        check_modalities(given, bright)
    with pytest.raises(InputError, match=message):
        segment_case(dict.fromkeys(given, image), bright)


def test_a_model_that_needs_every_scan(bright_model: MakeModel) -> None:
    model = load_model(str(bright_model(may_miss=0)))
    assert check_modalities(list(MODALITIES), model) == []
    with pytest.raises(InputError, match=r"takes t1, t1ce, t2, flair; missing: t2$"):
        check_modalities(["t1", "t1ce", "flair"], model)


@pytest.mark.parametrize(
    ("spacing", "warning"),
    [
        (6.0, "fill 2903 ml, more than a brain: they must be skull-stripped"),
        (5.0, None),
        (3.0, "fill only 363 ml, less than a brain"),
    ],
)
def test_what_is_no_brain_is_warned_of(
    bright_model: MakeModel,
    make_image: Callable[..., sitk.Image],
    truth: Truth,
    spacing: float,
    warning: str | None,
    scans: MakeScans,
) -> None:
    model = load_model(str(bright_model(spacing_mm=(spacing,) * 3)))
    images = {name: make_image(voxels, (spacing,) * 3) for name, voxels in scans(truth).items()}
    result = segment_case(images, model, options=CPU)
    assert len(result.warnings) == (1 if warning else 0)
    assert warning is None or warning in result.warnings[0]


def test_other_organs_are_not_measured_against_a_brain(
    bright: Model, images: dict[str, sitk.Image]
) -> None:
    assert "less than a brain" in segment_case(images, bright, options=CPU).warnings[0]
    scheme = bright.card.scheme
    for region in scheme["regions"]:
        region["terminology"]["anatomic_region"] = None
    model = Model(bright.network, replace(bright.card, scheme=scheme))
    assert segment_case(images, model, options=CPU).warnings == []


def test_what_happened_to_the_memory_is_told(
    bright: Model, images: dict[str, sitk.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("MISSUCore.inference.predictor.free_memory_bytes", lambda device: 0)
    result = segment_case(images, bright, options=CPU)
    assert "too little memory for a single pass, used a sliding window" in result.warnings


def test_a_reference_somewhere_else(
    bright: Model, images: dict[str, sitk.Image], make_image: Callable[..., sitk.Image]
) -> None:
    reference = make_image(np.zeros((8, 8, 8)), origin=(500.0, 0.0, 0.0))
    with pytest.raises(InputError, match="the reference lies apart in space from the scans"):
        segment_case(images, bright, reference, CPU)
