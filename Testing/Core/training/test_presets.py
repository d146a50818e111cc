"""Presets, and settings of them changed."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from MISSUCore.contract.model_card import read_card
from MISSUCore.core.errors import InputError
from MISSUCore.core.serialization import settings_from_dict
from MISSUCore.models.store import BUNDLED_FOLDER
from MISSUCore.training.config import TrainingConfig
from MISSUCore.training.presets import PRESETS, training_config


def test_the_paper_preset_is_the_papers_recipe():
    config = training_config("paper-brats", {})
    assert config == TrainingConfig()
    assert config.modalities == ("t1", "t1ce", "t2", "flair")
    assert (config.targets, config.loss) == ("labels", "cross_entropy")
    assert (config.learning_rate, config.weight_decay) == (2e-4, 1e-5)
    assert (config.decoupled_weight_decay, config.warm_up, config.decay_power) == (False, 0, 0.9)
    assert (config.batch_size, config.accumulation, config.epochs) == (4, 1, 1000)
    assert (config.distillation_weight, config.seed) == (0.3, 1000)
    assert (config.patch_size, config.spacing_mm) == ((128, 128, 128), (1, 1, 1))
    assert (config.gradient_clip, config.average_decay) == (0, 0)
    augmentation = config.augmentation
    assert augmentation.flip_probability == 0.5
    assert (augmentation.intensity_shift, augmentation.intensity_scale) == (0.1, 0.1)
    others = ("affine", "tumor", "gamma", "noise", "blur")
    assert not any(getattr(augmentation, f"{name}_probability") for name in others)
    assert augmentation.modality_dropout == 0
    network = config.network
    assert (network.channels, network.embedding, network.layers) == ((16, 32, 64, 128), 512, 4)
    assert (network.heads, network.fusion, network.skips) == (8, "local", 3)


def read_bundled(name):
    return read_card(BUNDLED_FOLDER / f"{name}.json")


def test_the_presets_differ_where_their_tasks_do():
    chaos = training_config("paper-chaos", {})
    assert (chaos.modalities, chaos.scheme) == (("t1", "t2"), "chaos-liver")
    assert chaos.augmentation.affine_probability > 0 < chaos.augmentation.noise_probability
    fast = training_config("brats-fast", {})
    assert fast.spacing_mm == (2, 2, 2)
    assert fast.augmentation.modality_dropout > 0


def test_the_precise_preset_looks_where_the_fast_model_does():
    precise, bundled = training_config("brats-precise", {}), read_bundled("missu-brats-precise")
    assert precise.first_look.model == bundled.first_look.model
    assert precise.first_look.averaged == bundled.first_look.averaged
    assert precise.spacing_mm == bundled.spacing_mm == (1, 1, 1)
    assert precise.targets == bundled.targets
    assert precise.modalities == bundled.modalities
    network = replace(precise.network_for_task(), fusion="none")
    assert network == replace(bundled.network, fusion="none")
    # The teacher takes part, and the patches halve evenly.
    assert precise.network.fusion == "local" and precise.distillation_weight > 0
    assert all(length % precise.network.stride == 0 for length in precise.patch_size)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_survives_json(name):
    values = json.loads(json.dumps(PRESETS[name].as_dict()))
    assert settings_from_dict(TrainingConfig, values) == PRESETS[name] == training_config(name, {})


def test_changes_come_as_json_or_text():
    changes = {
        "epochs": "3",
        "learning_rate": "1",
        "scheme": "brats2023",
        "loss": '"dice"',
        "modalities": '["t1", "t2"]',
        "patch_size": "[32, 48, 64]",
        "mixed_precision": "false",
        "network.layers": "2",
        "network.fusion": "none",
        "augmentation.blur_probability": "0.25",
    }
    config = training_config("brats-fast", changes)
    fast = PRESETS["brats-fast"]
    assert config == replace(
        fast,
        epochs=3,
        learning_rate=1.0,
        scheme="brats2023",
        loss="dice",
        modalities=("t1", "t2"),
        patch_size=(32, 48, 64),
        mixed_precision=False,
        network=replace(fast.network, layers=2, fusion="none"),
        augmentation=replace(fast.augmentation, blur_probability=0.25),
    )
    assert PRESETS["brats-fast"].epochs == 60  # the preset itself stays


def test_an_unknown_preset_is_refused():
    with pytest.raises(InputError, match=r"no preset 'fast'; there are paper-brats, paper-chaos,"):
        training_config("fast", {})


@pytest.mark.parametrize(
    "name",
    ["epoch", "network.layer", "network", "net.layers", "epochs.x", "epochs.x.y", "seed.", "", "."],
)
def test_an_unknown_setting_is_refused_naming_those_there_are(name):
    with pytest.raises(InputError, match=r"no setting .*network\.layers.*patch_size") as refusal:
        training_config("paper-brats", {name: "{}"})
    assert f"no setting {name!r}" in str(refusal.value)
