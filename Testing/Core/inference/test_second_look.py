"""Two looks at a case: where the boxes lie, and what both models say together."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from numpy.typing import NDArray

from MISSUCore.contract.labels import BRATS
from MISSUCore.contract.model_card import FirstLook
from MISSUCore.core.errors import InputError
from MISSUCore.core.events import Progress, ProgressEvent
from MISSUCore.inference import second_look
from MISSUCore.inference.explanation import explain_case
from MISSUCore.inference.second_look import FirstResult, find_boxes, log_odds, probability
from MISSUCore.inference.segmentation import SegmentationOptions, segment_case
from MISSUCore.models.store import Model, load_model, save_model

CPU = SegmentationOptions(device="cpu")
ORIGIN = (-31.0, 42.5, 17.25)
MakeScans = Callable[[NDArray[np.uint8]], dict[str, NDArray[np.float32]]]
MakeImage = Callable[..., sitk.Image]
Truth = NDArray[np.uint8]
RENAMED = json.loads(json.dumps(BRATS.as_dict()).replace('"name": "TC"', '"name": "core"'))


@pytest.fixture(autouse=True)
def _small_boxes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(second_look, "SMALLEST_BOX", 4)


@pytest.fixture
def two_looks(bright_model: Callable[..., Path]) -> Callable[..., Model]:
    """Function to a model that looks twice; both looks know the answer, at 2 and at 1 mm."""

    def make(averaged: tuple[str, ...] = ("WT",), margin: int = 3, **changes: object) -> Model:
        coarse = bright_model(spacing_mm=(2.0, 2.0, 2.0))
        for ending in (".pt", ".json"):
            path = coarse.with_suffix(ending)
            path.rename(path.with_name(f"coarse{ending}"))
        card = coarse.with_name("coarse.json")
        card.write_text(card.read_text().replace('"bright"', '"coarse"'))
        first_look = FirstLook("coarse", -1.0, margin, averaged)
        return load_model(str(bright_model(first_look=first_look, **changes)))

    return make


def empty(size: tuple[int, int, int], spacing: float, origin: tuple[float, ...]) -> sitk.Image:
    image = sitk.Image(size, sitk.sitkUInt8)
    image.SetSpacing((spacing,) * 3)
    image.SetOrigin(origin)
    return image


# Boxes


def test_a_box_reaches_the_margin_beyond_what_was_found() -> None:
    """By hand: coarse voxels 4 to 5 of 2 mm are fine voxels 8 to 10; 3 more on each side."""
    coarse, fine = empty((20, 20, 20), 2.0, ORIGIN), empty((40, 40, 40), 1.0, ORIGIN)
    found = np.zeros((20, 20, 20), dtype=bool)
    found[4:6, 7, 10:12] = True
    (box,) = find_boxes(found, coarse, fine, margin=3)
    assert box == (slice(5, 14), slice(11, 18), slice(17, 26))


def test_a_box_ends_with_the_grid_and_is_no_smaller_than_a_network_needs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(second_look, "SMALLEST_BOX", 12)
    coarse, fine = empty((5, 20, 20), 2.0, ORIGIN), empty((10, 40, 40), 1.0, ORIGIN)
    found = np.zeros((20, 20, 5), dtype=bool)
    found[0, 19, 2] = True
    (box,) = find_boxes(found, coarse, fine, margin=3)
    assert box == (slice(0, 12), slice(28, 40), slice(0, 10))


def test_grids_with_other_origins_meet_in_space() -> None:
    coarse = empty((20, 20, 20), 2.0, (10.0, 20.0, 30.0))
    fine = empty((40, 40, 40), 1.0, (9.5, 21.0, 34.0))
    found = np.zeros((20, 20, 20), dtype=bool)
    found[6, 8, 10] = True  # the point (30, 36, 42): fine voxel (20.5, 15, 8)
    (box,) = find_boxes(found, coarse, fine, margin=0)
    assert box[2].start <= 20 and box[2].stop >= 22
    assert box[1].start <= 15 < box[1].stop and box[0].start <= 8 < box[0].stop


def test_far_lesions_have_a_box_each_and_near_ones_share_one() -> None:
    coarse, fine = empty((50, 50, 50), 2.0, ORIGIN), empty((100, 100, 100), 1.0, ORIGIN)
    found = np.zeros((50, 50, 50), dtype=bool)
    found[5, 5, 5] = found[45, 45, 45] = True
    boxes = find_boxes(found, coarse, fine, margin=3)
    assert sorted(box[0].start for box in boxes) == [7, 87]
    found[5, 5, 9] = True  # 8 voxels of 1 mm away: the boxes of 7 do not touch; together 15 long
    boxes = find_boxes(found, coarse, fine, margin=3)
    assert sorted(box[2].start for box in boxes) == [7, 15, 87]
    found[5, 5, 7] = True  # overlaps both
    boxes = find_boxes(found, coarse, fine, margin=3)
    assert sorted((box[2].start, box[2].stop) for box in boxes) == [(7, 22), (87, 94)]


def test_many_specks_are_many_boxes_at_most_until_one_is_cheaper() -> None:
    coarse, fine = empty((30, 30, 30), 2.0, ORIGIN), empty((60, 60, 60), 1.0, ORIGIN)
    found = np.zeros((30, 30, 30), dtype=bool)
    found[::3, ::3, ::3] = True
    (box,) = find_boxes(found, coarse, fine, margin=5)
    assert box == (slice(0, 60),) * 3


def test_nothing_found_is_no_box() -> None:
    grid = empty((9, 9, 9), 1.0, ORIGIN)
    assert find_boxes(np.zeros((9, 9, 9), dtype=bool), grid, grid, 3) == []


# Log-odds


def test_log_odds_are_those_of_the_probabilities_within_bounds() -> None:
    found = log_odds(np.array([0.0, 0.2, 0.5, 0.9, 1.0], dtype=np.float32))
    expected = [-13, math.log(0.25), 0, math.log(9), 13]
    np.testing.assert_allclose(found, expected, rtol=0.01, atol=1e-6)
    np.testing.assert_allclose(probability(np.float32([0, math.log(3)])), [0.5, 0.75], atol=1e-6)


# Whole cases


@pytest.mark.parametrize("averaged", [(), ("WT",), ("WT", "TC", "ET")])
@pytest.mark.parametrize("mirror", [False, True])
def test_both_looks_find_the_tumor_at_every_voxel(
    two_looks: Callable[..., Model],
    make_image: MakeImage,
    scans: MakeScans,
    truth: Truth,
    averaged: tuple[str, ...],
    mirror: bool,
) -> None:
    """Regions that the fine model answers alone are exact; averaged ones are near."""
    images = {name: make_image(voxels, origin=ORIGIN) for name, voxels in scans(truth).items()}
    events: list[ProgressEvent] = []
    result = segment_case(
        images, two_looks(averaged), None, replace(CPU, mirror=mirror), Progress(events.append)
    )
    found = BRATS.to_regions(sitk.GetArrayFromImage(result.labels))
    for index, name in enumerate(BRATS.region_names):
        true = BRATS.to_regions(truth)[index]
        if averaged and index <= len(averaged):  # nested in one that is blurred
            both = 2 * (found[index] & true).sum() / (found[index].sum() + true.sum())
            assert both > 0.85, name
        else:
            np.testing.assert_array_equal(found[index], true)
    fractions = [event.fraction for event in events]
    assert fractions == sorted(fractions) and fractions[-1] <= 1


def test_the_mean_of_both_looks_is_the_mean_of_their_log_odds(
    two_looks: Callable[..., Model], make_image: MakeImage, scans: MakeScans, truth: Truth
) -> None:
    images = {name: make_image(voxels, origin=ORIGIN) for name, voxels in scans(truth).items()}
    model = two_looks(("WT",))
    assert model.finder is not None

    def fixed(log_odds: float) -> Callable[[torch.Tensor], torch.Tensor]:
        return lambda x: torch.full((1, 3, *x.shape[2:]), log_odds)

    model.finder.network.forward = fixed(3.0)  # type: ignore[method-assign]
    model.network.forward = fixed(-1.0)  # type: ignore[method-assign]
    result = segment_case(images, model, options=CPU)
    middle = (10, 12, 14)
    expected = {"WT": 1 / (1 + math.exp(-1)), "TC": 1 / (1 + math.e), "ET": 1 / (1 + math.e)}
    for name, value in expected.items():
        found = sitk.GetArrayFromImage(result.probabilities[name])[middle]
        assert found == pytest.approx(value, abs=1e-3)


@pytest.mark.parametrize(("support", "kept"), [(1.9, "AB"), (2.0, "AB"), (2.1, "A"), (6.0, "")])
def test_what_the_first_look_was_nowhere_sure_of_is_ruled_out(support: float, kept: str) -> None:
    """Part A has one voxel of log-odds 5 on the coarse grid, part B one of 2, the rest has -1."""
    coarse, fine = empty((10, 10, 10), 2.0, (0.0,) * 3), empty((19, 19, 19), 1.0, (0.0,) * 3)
    log_odds = np.full((3, 10, 10, 10), -1.0, dtype=np.float32)
    log_odds[0, 2, 2, 2], log_odds[0, 7, 7, 7] = 5.0, 2.0
    odds = np.full((3, 19, 19, 19), -4.0, dtype=np.float32)
    parts = {"A": (slice(3, 6),) * 3, "B": (slice(13, 16),) * 3}  # around voxels 4 and 14
    for part in parts.values():
        odds[0][part] = 1.0
    first = FirstResult(log_odds, coarse, None, [], [], 0.0, True)  # type: ignore[arg-type]
    sure = second_look.coarse_log_odds(first, 0, fine)
    expected = np.zeros((19, 19, 19), dtype=bool)
    for name, part in parts.items():
        expected[part] = name not in kept
    np.testing.assert_array_equal(second_look.unsupported(odds, sure, support), expected)


@pytest.mark.parametrize(
    ("unreliable_without", "kept"), [({"t1": []}, False), ({"t1": ["WT"]}, True), ({}, True)]
)
def test_a_first_look_that_is_not_reliable_without_a_scan_rules_nothing_out(
    two_looks: Callable[..., Model],
    make_image: MakeImage,
    scans: MakeScans,
    truth: Truth,
    unreliable_without: dict[str, list[str]],
    kept: bool,
) -> None:
    images = {name: make_image(voxels, origin=ORIGIN) for name, voxels in scans(truth).items()}
    model = two_looks((), may_miss=1, unreliable_without={"t1": []})
    assert sitk.GetArrayFromImage(segment_case(images, model, options=CPU).labels).any()
    assert model.finder is not None
    # The first look says 3 everywhere, which is less than the fine model asks for.
    model.finder.network.forward = lambda x: torch.full((1, 3, *x.shape[2:]), 3.0)  # type: ignore
    finder = replace(
        model.finder,
        card=replace(model.finder.card, unreliable_without=unreliable_without, may_miss=1),
    )
    asking = replace(model.card.first_look, support=3.5)
    model = replace(model, card=replace(model.card, first_look=asking), finder=finder)
    assert not sitk.GetArrayFromImage(segment_case(images, model, options=CPU).labels).any()
    del images["t1"]
    found = sitk.GetArrayFromImage(segment_case(images, model, options=CPU).labels)
    assert found.any() == kept


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.5, 0.8, 2.0)])
def test_on_any_grid_the_tumor_lies_where_it_is(
    two_looks: Callable[..., Model],
    make_image: MakeImage,
    scans: MakeScans,
    truth: Truth,
    direction: NDArray[np.float64],
    spacing: tuple[float, float, float],
    same_grid: Callable[[sitk.Image, sitk.Image, float], None],
) -> None:
    """Permuted, mirrored, left-handed and oblique; where axes stay axes, voxel by voxel."""
    geometry = {"origin": ORIGIN, "direction": direction, "spacing": spacing}
    images = {name: make_image(voxels, **geometry) for name, voxels in scans(truth).items()}
    result = segment_case(images, two_looks(()), options=CPU)
    same_grid(result.labels, images["t1"], 0)
    found = BRATS.to_regions(sitk.GetArrayFromImage(result.labels))
    for one, true in zip(found, BRATS.to_regions(truth)):
        exact = spacing == (1.0, 1.0, 1.0) and np.abs(direction).max(axis=0).min() > 0.999
        both = 2 * (one & true).sum() / (one.sum() + true.sum())
        assert both == 1 if exact else both > 0.7
        center = np.argwhere(one).mean(axis=0) - np.argwhere(true).mean(axis=0)
        assert np.abs(center * spacing[::-1]).max() < 0.5  # mm


@pytest.mark.parametrize("corner", ["first", "last"])
def test_a_tumor_at_the_end_of_the_scan(
    two_looks: Callable[..., Model], make_image: MakeImage, scans: MakeScans, corner: str
) -> None:
    labels = np.zeros((20, 24, 28), dtype=np.uint8)
    labels[:8, :9, :10] = 2
    labels[:5, :6, :6] = 4
    if corner == "last":
        labels = np.ascontiguousarray(labels[::-1, ::-1, ::-1])
    images = {name: make_image(voxels, origin=ORIGIN) for name, voxels in scans(labels).items()}
    result = segment_case(images, two_looks(()), options=CPU)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(result.labels), labels)


def test_two_tumors_are_found_in_a_box_each(
    two_looks: Callable[..., Model], make_image: MakeImage, scans: MakeScans
) -> None:
    labels = np.zeros((40, 24, 28), dtype=np.uint8)
    labels[2:9, 3:10, 4:12] = 2
    labels[30:38, 14:22, 16:25] = 4
    images = {name: make_image(voxels, origin=ORIGIN) for name, voxels in scans(labels).items()}
    model, sizes = two_looks((), margin=1), []
    model.network.register_forward_pre_hook(lambda _, args: sizes.append(args[0].shape[2:]))
    result = segment_case(images, model, options=CPU)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(result.labels), labels)
    assert len(sizes) == 2 and max(math.prod(size) for size in sizes) < labels.size / 4


def test_no_second_look_where_nothing_was_found(
    two_looks: Callable[..., Model], make_image: MakeImage
) -> None:
    halves = np.full((20, 24, 28), 100, dtype=np.float32)
    halves[:, :, 14:] = 110  # a deviation above and below the mean: too little for a tumor
    images = {name: make_image(halves) for name in ("t1", "t1ce", "t2", "flair")}
    model = two_looks(temperatures=(2.0, 2.0, 2.0))

    def never(x: torch.Tensor) -> torch.Tensor:
        raise AssertionError("there is nothing to look at")

    model.network.forward = never  # type: ignore[method-assign]
    result = segment_case(images, model, options=CPU)
    assert result.volumes_ml == {"WT": 0.0, "TC": 0.0, "ET": 0.0}
    assert any("no second look" in warning for warning in result.warnings)
    maps = explain_case(images, model, device="cpu")
    assert not any(sitk.GetArrayViewFromImage(one).any() for one in maps.values())


def test_a_missing_scan_and_temperatures_are_those_of_the_fine_model(
    two_looks: Callable[..., Model], make_image: MakeImage, scans: MakeScans, truth: Truth
) -> None:
    images = {name: make_image(voxels, origin=ORIGIN) for name, voxels in scans(truth).items()}
    del images["t1"]
    known = two_looks((), temperatures=(1.0, 1.0, 1.0), unreliable_without={"t1": ["ET"]})
    result = segment_case(images, known, options=CPU)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(result.labels), truth)
    assert list(result.confidence) == ["WT", "TC"]
    soft = replace(known, card=replace(known.card, temperatures=(1.0, 1.0, 50.0)))
    other = segment_case(images, soft, options=CPU)
    inside = tuple(np.argwhere(truth == 4)[0])
    values = [sitk.GetArrayFromImage(one.probabilities["ET"])[inside] for one in (result, other)]
    assert values[0] > 0.99 and 0.5 < values[1] < 0.7


def test_without_a_scan_it_was_never_measured_without_the_finder_answers_alone(
    two_looks: Callable[..., Model], make_image: MakeImage, scans: MakeScans, truth: Truth
) -> None:
    images = {name: make_image(voxels, origin=ORIGIN) for name, voxels in scans(truth).items()}
    del images["t1"]
    model = two_looks(())
    assert model.finder is not None

    def never(x: torch.Tensor) -> torch.Tensor:
        raise AssertionError("the finder answers alone")

    alone = segment_case(images, model.finder, options=CPU)
    model.network.forward = never  # type: ignore[method-assign]
    result = segment_case(images, model, options=CPU)
    assert (sitk.GetArrayFromImage(result.labels) == sitk.GetArrayFromImage(alone.labels)).all()
    last = result.warnings[1]
    assert "never measured without t1, so coarse answers alone" in last
    maps = explain_case(images, model, device="cpu")
    assert max(sitk.GetArrayViewFromImage(one).max() for one in maps.values()) > 0.5


def test_a_box_that_is_too_large_slides(
    two_looks: Callable[..., Model], make_image: MakeImage, scans: MakeScans, truth: Truth
) -> None:
    images = {name: make_image(voxels, origin=ORIGIN) for name, voxels in scans(truth).items()}
    events: list[ProgressEvent] = []
    segment_case(images, two_looks(()), None, replace(CPU, sliding=True), Progress(events.append))
    assert [event.message for event in events].count("window 1 of 1") == 2


def test_what_it_looks_at_lies_in_the_tumor(
    two_looks: Callable[..., Model], make_image: MakeImage, scans: MakeScans, truth: Truth
) -> None:
    images = {name: make_image(voxels, origin=ORIGIN) for name, voxels in scans(truth).items()}
    maps = explain_case(images, two_looks(()), device="cpu")
    for name, mask in zip(BRATS.region_names, BRATS.to_regions(truth)):
        values = sitk.GetArrayFromImage(maps[name])
        assert values[mask].min() > 0.5 > values[~mask].max()


# Cards


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model": "bright"}, "itself"),
        ({"model": "../elsewhere"}, "cannot be named"),
        ({"threshold": math.nan}, "threshold"),
        ({"margin": -1}, "margin"),
        ({"averaged": ("WT", "XX")}, "averaged"),
    ],
)
def test_a_card_with_a_first_look_that_makes_no_sense_is_refused(
    bright_model: Callable[..., Path], changes: dict, reason: str
) -> None:
    first_look = replace(FirstLook("coarse", -1.0, 3, ("WT",)), **changes)
    with pytest.raises(InputError, match=reason):
        bright_model(first_look=first_look)


def test_a_finder_that_is_missing_is_named(bright_model: Callable[..., Path]) -> None:
    path = bright_model(first_look=FirstLook("nowhere"))
    with pytest.raises(InputError, match=r"bright looks where nowhere finds something.*no model"):
        load_model(str(path))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"may_miss": 0}, "may be missing"),
        ({"first_look": FirstLook("other")}, "looks twice itself"),
        ({"scheme": RENAMED}, "other regions"),
    ],
)
def test_a_finder_that_does_not_fit_is_refused(
    two_looks: Callable[..., Model],
    bright_model: Callable[..., Path],
    changes: dict,
    reason: str,
) -> None:
    model = two_looks()
    assert model.finder is not None
    folder = bright_model(first_look=FirstLook("coarse")).parent
    state = model.finder.network.state_dict()
    save_model(folder, replace(model.finder.card, **changes), state)
    with pytest.raises(InputError, match=reason):
        load_model(str(folder / "bright.pt"))
