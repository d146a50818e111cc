"""The model that comes with the package: it finds a tumor, and none where there is none."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from MISSUCore.contract.labels import BRATS
from MISSUCore.evaluation.metrics import dice
from MISSUCore.inference.explanation import explain_case
from MISSUCore.inference.missing_scans import check_modalities
from MISSUCore.inference.segmentation import SegmentationOptions, segment_case
from MISSUCore.models.store import BUNDLED_FOLDER, Model, load_model
from MISSUCore.simulation.case import SimulatedCase, simulate_case

pytestmark = pytest.mark.slow

pytest.importorskip("nilearn", reason="the simulated case is made on nilearn's template")
CPU = SegmentationOptions(device="cpu")


BUNDLED = sorted(path.stem for path in BUNDLED_FOLDER.glob("*.json"))


@pytest.fixture(scope="module", params=BUNDLED)
def model(request: pytest.FixtureRequest) -> Model:
    return load_model(request.param)


@pytest.fixture(scope="module")
def case() -> SimulatedCase:
    return simulate_case(seed=3, spacing_mm=2.0)


@pytest.fixture(scope="module")
def healthy() -> SimulatedCase:
    return simulate_case(seed=4, lesion=False, spacing_mm=2.0)


def test_of_two_scans_the_fast_one_takes_those_that_were_measured() -> None:
    model = load_model("missu-brats-fast")
    names = model.card.modalities
    taken = [pair for pair in combinations(names, 2) if model.card.accepts(pair)]
    assert taken == [("t1", "flair"), ("t1ce", "flair"), ("t2", "flair")]
    assert not any(model.card.accepts([name]) for name in names)
    for pair in taken:
        (warning,) = check_modalities(list(pair), model)
        assert ("do not rely on TC, ET" in warning) is ("t1ce" not in pair)
        assert model.card.unreliable(set(names) - set(pair)) == ["WT", "TC", "ET"]


def masks(labels: sitk.Image) -> np.ndarray:
    return BRATS.to_regions(sitk.GetArrayFromImage(labels))


def test_it_finds_a_simulated_tumor(model: Model, case: SimulatedCase) -> None:
    result = segment_case(case.images, model, options=CPU)
    scores = [dice(*pair) for pair in zip(masks(result.labels), masks(case.labels))]
    assert scores[0] > 0.8
    assert min(scores[1:]) > 0.5
    assert set(result.confidence) == {"WT", "TC", "ET"}


@pytest.mark.parametrize("missing", ["nothing", "t1", "t1ce", "t2"])
def test_it_sees_no_tumor_in_a_healthy_brain(
    model: Model, healthy: SimulatedCase, missing: str
) -> None:
    images = {name: image for name, image in healthy.images.items() if name != missing}
    assert segment_case(images, model, options=CPU).volumes_ml["WT"] < 2


def test_what_it_looks_at_depends_on_what_it_learned(model: Model, case: SimulatedCase) -> None:
    """The sanity check of Adebayo et al. 2018 on the real weights."""
    learned = explain_case(case.images, model, device="cpu")
    torch.manual_seed(0)
    untrained = replace(model, network=type(model.network)(model.card.network).eval())
    random = explain_case(case.images, untrained, device="cpu")
    inside, outside = masks(case.labels)[0], ~masks(case.labels)[0]
    for name in learned:
        one, other = (sitk.GetArrayFromImage(maps[name]) for maps in (learned, random))
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.5
        assert one[inside].mean() > 5 * one[outside].mean()


def test_the_card_says_what_it_is_and_where_it_fails(model: Model) -> None:
    card = model.card
    assert "not a medical device" in card.limits
    assert re.search(r"\d+ .*cases", card.training_data)
    assert set(card.metrics["mean_by_region"]) == {"WT", "TC", "ET"}
    assert len(card.temperatures) == len(card.doubtful_below) == 3
    # What was measured without a scan is told, and where nothing was, nothing is promised.
    assert set(card.metrics.get("without_one_modality_dice", {})) == set(card.unreliable_without)
    assert "Without T1ce" in card.limits
    assert "CC BY-NC-SA" in card.training_data


def test_without_t1ce_it_expects_nothing_of_core_and_enhancing_tumor(
    model: Model, case: SimulatedCase
) -> None:
    images = {name: image for name, image in case.images.items() if name != "t1ce"}
    result = segment_case(images, model, options=CPU)
    assert not {"TC", "ET"} & set(result.confidence)
    (warning,) = [text for text in result.warnings if text.startswith("t1ce is missing")]
    assert "do not rely on TC, ET" in warning or "no expected Dice is given" in warning


def test_nothing_but_models_and_cards_is_shipped() -> None:
    files = sorted(path for path in BUNDLED_FOLDER.iterdir() if path.suffix != ".py")
    files = [path for path in files if path.name != "__pycache__"]
    assert {path.suffix for path in files} == {".pt", ".json"}
    for path in files:
        assert path.with_suffix(".pt") in files and path.with_suffix(".json") in files
        assert path.stat().st_size < 25e6
