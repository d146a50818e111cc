"""The training loop of the second look: resumed exactly, validated in the boxes, told as a card."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from MISSUCore.core.errors import InputError
from MISSUCore.inference.second_look import CERTAIN
from MISSUCore.models import store
from MISSUCore.models.store import load_model, save_model
from MISSUCore.network.transunet import TransUNet
from MISSUCore.training import run as run_module
from MISSUCore.training.cases.brats import find_brats_cases
from MISSUCore.training.patches.settings import AugmentationConfig, SamplingConfig
from MISSUCore.training.run import train
from MISSUCore.training.second_look.trainer import SecondLookTrainer
from MISSUCore.training.second_look.validation import box_scores
from MISSUCore.training.trainer import Stopped

pytestmark = pytest.mark.slow

VARIED = AugmentationConfig(
    affine_probability=0.5,
    bias_probability=0.5,
    shift_probability=0.5,
    gamma_probability=0.5,
    noise_probability=0.5,
    blur_probability=0.5,
    modality_dropout=0.3,
    dropout_weights=(1.0, 1.5, 1.0, 2.5),
)


class Lesions(list):
    """Lesion crops in memory."""

    sha256 = "3" * 64


def lesions() -> Lesions:
    generator = torch.Generator().manual_seed(4)
    size = (9, 11, 10)
    return Lesions(
        (
            torch.randn((4, *size), generator=generator).half(),
            torch.randint(0, 4, size, generator=generator).byte(),
        )
        for _ in range(3)
    )


@pytest.fixture
def make_trainer(tmp_path, seen_cases, second_look_config):
    """Makes a trainer that goes on with the run that its folder holds."""

    def make(config=None, folder="run", crops=None, held_out=(3,), **settings):
        trainer = SecondLookTrainer(
            config or second_look_config(),
            seen_cases(range(3)),
            seen_cases(held_out),
            tmp_path / folder,
            torch.device("cpu"),
            crops=crops,
            **settings,
        )
        trainer.resume()
        return trainer

    return make


def state(trainer) -> dict[str, torch.Tensor]:
    tensors = {f"model {name}": value for name, value in trainer.model.state_dict().items()}
    tensors |= {f"average {name}": value for name, value in trainer.average.state_dict().items()}
    for number, values in trainer.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer {number} {name}": value for name, value in values.items()}
    return {name: value.clone() for name, value in tensors.items()}


def same(found, expected) -> bool:
    return found.keys() == expected.keys() and all(
        torch.equal(found[name], value) for name, value in expected.items()
    )


@pytest.mark.parametrize("workers", [0, 1])
def test_a_resumed_run_is_the_run_that_was_never_stopped(make_trainer, second_look_config, workers):
    config = second_look_config(
        augmentation=VARIED,
        sampling=SamplingConfig(jitter=3, pasted=0.3, crops=0.4, late_dropout=0.3),
        network={"fusion": "local"},
        teach_every=2,
        accumulation=2,
        average_decay=0.5,
        steps=7,
        patch_size=(8, 8, 8),
    )
    whole = make_trainer(config, "whole", lesions())
    whole.run()
    parts = make_trainer(config, "parts", lesions(), workers=workers)
    parts.run(until=3)
    torch.manual_seed(5)
    again = make_trainer(config, "parts", lesions(), workers=workers)
    assert again.step == 3
    again.stop()
    with pytest.raises(Stopped, match="stopped at step 4 of 7"):
        again.run()
    last = make_trainer(config, "parts", lesions(), workers=workers)
    last.run()
    assert same(state(last), state(whole))
    texts = [(run.folder / "validation.csv").read_text() for run in (last, whole)]
    assert texts[0] == texts[1]


def test_other_crops_or_another_first_look_are_another_run(make_trainer, seen_cases):
    make_trainer(crops=lesions()).run(until=1)
    with pytest.raises(InputError, match="lesion crops"):
        make_trainer()
    other = lesions()
    other.sha256 = "4" * 64
    with pytest.raises(InputError, match="lesion crops"):
        make_trainer(crops=other)


class Answer(nn.Module):
    """Log-odds of a region: 3 where T1 is above the mean, else -2."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.where(x[:, :1] > 0, 3.0, -2.0).expand(-1, 3, -1, -1, -1)


def test_the_boxes_are_scored_as_answered_alone_and_with_the_first_look(
    make_trainer, seen_cases, second_look_config
):
    cases = seen_cases()
    config = second_look_config()
    config = replace(config, first_look=replace(config.first_look, support=-CERTAIN))
    trainer = make_trainer(config, held_out=range(4))
    scores = box_scores(
        Answer(), cases, trainer.membership, config, torch.device("cpu"), lambda *told: None
    )
    assert scores.shape == (4, 3, 3)
    for index in range(4):
        case = cases.seen(index)
        alone = np.where(case.volume[0].numpy() > 0, 3.0, -2.0)
        both = (alone + case.log_odds.float().numpy()) / 2
        for region, classes in enumerate(((1, 2, 3), (1, 3), (3,))):
            truth = np.isin(case.classes.numpy(), classes)
            # The mean is the answer for the regions that are averaged: WT.
            for answer, odds in enumerate((alone if region else both[0], alone, both[region])):
                found = odds > 0
                dice = 2 * (found & truth).sum() / (found.sum() + truth.sum())
                assert scores[index, answer, region] == pytest.approx(dice, abs=0.01)
    trainer.average = Answer()  # type: ignore[assignment]
    columns = trainer.scores()
    assert list(columns) == [
        f"{region}{kind}" for kind in ("", " alone", " both") for region in ("WT", "TC", "ET")
    ]
    np.testing.assert_array_equal(np.transpose(list(columns.values())), scores.reshape(4, 9))


@pytest.mark.parametrize(("surest", "kept"), [(1.5, False), (2.5, True)])
def test_what_the_first_look_was_nowhere_sure_of_is_ruled_out(
    make_trainer, seen_cases, second_look_config, surest, kept
):
    """Two parts are found; the first look is sure of one, and of the other up to ``surest``."""
    cases = seen_cases([0])
    case = cases.seen(0)
    odds = torch.full((3, *case.classes.shape), -1.0)
    odds[0, 3, 3, 3], odds[0, 12, 12, 12] = 4.0, surest
    volume = torch.zeros_like(case.volume)
    volume[0, 2:5, 2:5, 2:5] = volume[0, 11:14, 11:14, 11:14] = 1
    classes = torch.zeros_like(case.classes)
    classes[2:5, 2:5, 2:5] = 3
    box = torch.tensor([[[0, size] for size in classes.shape]], dtype=torch.int16)
    made = replace(case, log_odds=odds.half(), volume=volume, classes=classes, boxes=box)
    cases.seen = lambda index: made  # type: ignore[method-assign]
    config = second_look_config()
    assert config.first_look.support == 2
    trainer = make_trainer(config)
    scores = box_scores(
        Answer(), cases, trainer.membership, config, torch.device("cpu"), lambda *told: None
    )
    # 27 voxels are right, and as many too much where the other part stays.
    np.testing.assert_allclose(scores[0], 2 * 27 / (27 + 54) if kept else 1.0)


def test_outside_the_boxes_there_is_no_tumor(make_trainer, seen_cases, second_look_config):
    cases = seen_cases([0])
    case = cases.seen(0)
    box = torch.tensor([[[0, 16], [0, 16], [0, 8]]], dtype=torch.int16)
    cases.seen = lambda index: replace(case, boxes=box)  # type: ignore[method-assign]

    class Everywhere(nn.Module):
        def forward(self, x):
            return torch.full((1, 3, *x.shape[2:]), 20.0)

    config = second_look_config()
    trainer = make_trainer(config)
    scores = box_scores(
        Everywhere(), cases, trainer.membership, config, torch.device("cpu"), lambda *told: None
    )
    truth = case.classes.numpy() > 0
    expected = 2 * truth[..., :8].sum() / (16 * 16 * 8 + truth.sum())
    assert scores[0, 1, 0] == pytest.approx(expected)


@pytest.fixture
def first_look(tmp_path, monkeypatch, tiny_config):
    """Name of an installed model that looks first, at 2 mm; it is not trained."""
    from MISSUCore.contract.labels import BRATS
    from MISSUCore.contract.model_card import ModelCard

    monkeypatch.setenv("MISSU_MODELS", str(tmp_path / "models"))
    network = replace(tiny_config().network, outputs=3)
    card = ModelCard(
        name="finder",
        modalities=("t1", "t1ce", "t2", "flair"),
        scheme=BRATS.as_dict(),
        targets="regions",
        spacing_mm=(2.0, 2.0, 2.0),
        network=network,
        may_miss=1,
    )
    torch.manual_seed(2)
    save_model(tmp_path / "models", card, TransUNet(network).state_dict())
    return "finder"


@pytest.fixture
def train_tiny(tmp_path, brats_folder, second_look_config, first_look):
    """Trains a tiny model for the second look in the folder "run"."""

    def start(**changes):
        crops, name = changes.pop("crops", None), changes.pop("name", "fine")
        config = second_look_config(**changes)
        config = replace(config, first_look=replace(config.first_look, model=first_look))
        cases = find_brats_cases(brats_folder)
        return train(config, cases[:3], cases[3:], tmp_path / "run", name, "cpu", crops=crops)

    return start


def test_a_run_ends_with_a_model_that_looks_twice(train_tiny, tmp_path):
    crops = tmp_path / "crops.npz"
    np.savez(
        crops,
        volumes=np.random.default_rng(0).normal(size=(2, 4, 8, 8, 8)).astype(np.float16),
        labels=np.full((2, 8, 8, 8), 4, dtype=np.uint8),
        inside=np.ones((2, 8, 8, 8), dtype=bool),
    )
    card = train_tiny(crops=crops, augmentation=VARIED, average_decay=0.5)
    model = load_model(str(tmp_path / "run" / "model" / "fine.pt"))
    assert model.card == card
    assert model.finder is not None
    assert (model.finder.card.name, card.first_look.averaged) == ("finder", ("WT",))
    assert (card.spacing_mm, card.may_miss, card.targets) == ((1, 1, 1), 1, "regions")
    saved = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)
    assert card.metrics["mean_dice"] == round(saved["best_score"], 4)
    assert saved["setup"]["lesion crops"] is not None
    weights = store.load_model(str(tmp_path / "run" / "model" / "fine.pt")).network.state_dict()
    for name, value in weights.items():
        torch.testing.assert_close(value, saved["best"][name], rtol=1e-3, atol=1e-6)
    # A second time there is nothing left to do.
    assert train_tiny(crops=crops, augmentation=VARIED, average_decay=0.5) == card


def test_the_name_of_the_first_look_is_refused_before_the_first_step(train_tiny, tmp_path):
    with pytest.raises(InputError, match="first_look names the model itself"):
        train_tiny(name="finder")
    assert not (tmp_path / "run").exists()


def test_crops_without_a_first_look_are_refused(tmp_path, brats_folder, tiny_config):
    with pytest.raises(InputError, match="lesion crops are for"):
        train(
            tiny_config(),
            find_brats_cases(brats_folder),
            [],
            tmp_path / "run",
            "fine",
            "cpu",
            crops=tmp_path / "crops.npz",
        )
    assert not (tmp_path / "run").exists()


def test_bad_crops_are_refused_before_the_first_case_is_prepared(train_tiny, tmp_path):
    (tmp_path / "crops.npz").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"crops\.npz"):
        train_tiny(crops=tmp_path / "crops.npz")
    assert not list((tmp_path / "run").glob("prepared/*"))


def test_a_first_look_that_is_not_installed_is_told(train_tiny, monkeypatch, tmp_path):
    monkeypatch.setenv("MISSU_MODELS", str(tmp_path / "elsewhere"))
    with pytest.raises(InputError, match="no model 'finder'"):
        train_tiny()
    assert run_module.SecondLookTrainer is SecondLookTrainer
