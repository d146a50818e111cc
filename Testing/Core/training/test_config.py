"""Settings that do not fit, and the learning rate."""

from __future__ import annotations

import pytest

from MISSUCore.core.errors import InputError
from MISSUCore.training.config import TrainingConfig
from MISSUCore.training.presets import training_config


@pytest.mark.parametrize(
    "changes",
    [
        {"augmentation.tumor_probability": "0.5"},
        {"augmentation.enhancement_dropout": "0.1"},
        {"sampling.tumor": "0.9"},
        {"sampling.tumor": "-0.1"},
        {"sampling.jitter": "-1"},
        {"sampling.jitter": "NaN"},
        {"sampling.late_dropout": "0.9"},
        {"sampling.crop_spacing_mm": "[1, 1]"},
        {"sampling.crop_spacing_mm": "[1, 0, 1]"},
        {"augmentation.dropout_weights": "[1, 1]"},
        {"augmentation.dropout_weights": '["a"]'},
        {"patch_size": "[80, 4, 80]"},
        {"modalities": '["t1ce", "t1", "t2", "flair"]'},
    ],
)
def test_settings_of_the_second_look_that_do_not_fit_are_refused(changes):
    with pytest.raises(InputError, match="bad training settings"):
        training_config("brats-precise", changes)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", "many"),
        ("epochs", "1.5"),
        ("epochs", "true"),
        ("epochs", "0"),
        ("batch_size", "-1"),
        ("accumulation", "0"),
        ("validate_every", "0"),
        ("learning_rate", "0"),
        ("learning_rate", "NaN"),
        ("learning_rate", "Infinity"),
        ("mixed_precision", "1"),
        ("warm_up", "1"),
        ("average_decay", "-0.1"),
        ("weight_decay", "-1"),
        ("gradient_clip", "-1"),
        ("decay_power", "-1"),
        ("teacher_weight", "-1"),
        ("distillation_weight", "-0.3"),
        ("patch_size", "[16, 16]"),
        ("patch_size", "[16, 16, 0]"),
        ("patch_size", "[16, 16, 16.5]"),
        ("patch_size", "16"),
        ("spacing_mm", "[1, 1, NaN]"),
        ("targets", "voxels"),
        ("loss", "focal"),
        ("modalities", "[]"),
        ("modalities", '["t1", "t1"]'),
        ("modalities", "[1]"),
        ("network.heads", "3"),
        ("network.fusion", "both"),
        ("augmentation.flip_probability", "2"),
    ],
)
def test_values_that_do_not_fit_are_refused(name, value):
    with pytest.raises(InputError, match=rf"bad training settings: .*{name.split('.')[-1]}"):
        training_config("paper-brats", {name: value})


def test_the_learning_rate_by_hand():
    config = TrainingConfig(learning_rate=2.0, warm_up=0.2)
    rates = [config.learning_rate_at(step, 10) for step in range(10)]
    decay = [2 * (1 - step / 8) ** 0.9 for step in range(8)]
    assert rates == pytest.approx([1, 2, *decay])
    assert rates[-1] == pytest.approx(2 * (1 / 8) ** 0.9)


@pytest.mark.parametrize("warm_up", [0, 0.05, 0.5, 0.99])
@pytest.mark.parametrize("steps", [1, 2, 3, 1000])
def test_the_learning_rate_rises_and_falls_and_is_never_zero(warm_up, steps):
    config = TrainingConfig(learning_rate=1.0, warm_up=warm_up)
    rates = [config.learning_rate_at(step, steps) for step in range(steps)]
    peak = rates.index(max(rates))
    assert max(rates) == 1
    assert min(rates) > 0
    assert rates[:peak] == sorted(rates[:peak])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)


def test_the_decay_has_the_power_asked_for():
    config = TrainingConfig(learning_rate=1.0, decay_power=2.0)
    assert config.learning_rate_at(5, 10) == pytest.approx(0.25)


def test_a_single_modality_cannot_be_dropped() -> None:
    changes = {"modalities": '["t1"]', "augmentation.modality_dropout": "0.5"}
    with pytest.raises(InputError, match="modality_dropout would leave nothing"):
        training_config("paper-brats", changes)
