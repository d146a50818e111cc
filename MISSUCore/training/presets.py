"""Named training presets, and how to change single settings of them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from ..contract.model_card import FirstLook
from ..contract.network_config import NetworkConfig
from ..core.errors import InputError
from ..core.serialization import settings_from_dict
from .config import TrainingConfig
from .patches.settings import AugmentationConfig, SamplingConfig

PAPER_BRATS = TrainingConfig()

# Two modalities of abdominal MR: thick slices stay thick; augmentation as in nnU-Net.
PAPER_CHAOS = replace(
    PAPER_BRATS,
    augmentation=AugmentationConfig(
        affine_probability=0.2, rotation_degrees=30.0, scaling=0.3, noise_probability=0.15
    ),
    modalities=("t1", "t2"),
    scheme="chaos-liver",
    spacing_mm=(8.0, 1.6, 1.6),
    patch_size=(32, 192, 192),
)

# Whole brains at 2 mm, for computers without a GPU; tuned for few cases and short training.
BRATS_FAST = replace(
    PAPER_BRATS,
    network=NetworkConfig(normalization="instance"),
    augmentation=AugmentationConfig(
        affine_probability=0.6,
        rotation_degrees=20.0,
        scaling=0.2,
        gamma_probability=0.3,
        noise_probability=0.2,
        blur_probability=0.15,
        intensity_shift=0.2,
        intensity_scale=0.2,
        modality_dropout=0.15,
    ),
    targets="regions",
    loss="dice_cross_entropy",
    spacing_mm=(2.0, 2.0, 2.0),
    patch_size=(72, 88, 72),
    batch_size=1,
    epochs=60,
    learning_rate=1e-3,
    warm_up=0.05,
    weight_decay=1e-2,
    decoupled_weight_decay=True,
    gradient_clip=1.0,
    average_decay=0.995,
    validate_every=5,
)

# The second look: 1 mm, where missu-brats-fast finds something. Reasons: docs/method.md.
BRATS_PRECISE = replace(
    BRATS_FAST,
    augmentation=replace(
        BRATS_FAST.augmentation,
        affine_probability=0.5,
        scaling=0.18,
        bias_probability=0.5,
        shift_probability=0.25,
        modality_dropout=0.12,
        dropout_weights=(1.0, 1.5, 1.0, 2.5),
    ),
    first_look=FirstLook("missu-brats-fast"),
    sampling=SamplingConfig(late_dropout=0.18),
    cross_entropy_weight=2.0,
    teach_every=8,
    teacher_start=0.02,
    spacing_mm=(1.0, 1.0, 1.0),
    patch_size=(80, 80, 80),
    epochs=20,
    steps=40_000,
    learning_rate=4e-4,
    warm_up=0.01,
    average_decay=0.998,
    validate_every=1,
)

PRESETS = {
    "paper-brats": PAPER_BRATS,
    "paper-chaos": PAPER_CHAOS,
    "brats-fast": BRATS_FAST,
    "brats-precise": BRATS_PRECISE,
}


def training_config(preset: str, changes: dict[str, str]) -> TrainingConfig:
    """A preset with some settings changed.

    Args:
        preset: its name in ``PRESETS``.
        changes: new values in JSON (or plain text) by name; nested settings as
            ``network.layers``.

    Raises:
        InputError: if there is no such preset or setting, or the value does not fit.
    """
    if preset not in PRESETS:
        raise InputError(f"no preset {preset!r}; there are {', '.join(PRESETS)}")
    return changed_config(PRESETS[preset], changes)


def changed_config(config: TrainingConfig, changes: dict[str, str]) -> TrainingConfig:
    """Settings with some of them changed, as :func:`training_config` takes the changes.

    Raises:
        InputError: if there is no such setting, or the value does not fit.
    """
    values = config.as_dict()
    for name, text in changes.items():
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            value = text
        *groups, last = name.split(".")
        target = values
        for group in groups:
            target = target.get(group, {}) if isinstance(target, dict) else {}
        # A group cannot be set as a whole: settings left out would lose the preset's values.
        if not isinstance(target, dict) or isinstance(target.get(last, {}), dict):
            raise InputError(f"no setting {name!r}; there are {', '.join(_names(values))}")
        target[last] = value
    try:
        return settings_from_dict(TrainingConfig, values)
    except ValueError as error:
        raise InputError(f"bad training settings: {error}") from error


def _names(values: dict[str, Any], prefix: str = "") -> list[str]:
    names = []
    for key, value in values.items():
        names += _names(value, f"{key}.") if isinstance(value, dict) else [prefix + key]
    return names
