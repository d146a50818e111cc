"""Training settings for a few cases, and the number of steps that fits into a time limit."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..contract.labels import SCHEMES, LabelScheme
from ..contract.model_card import ModelCard
from ..core.errors import InputError
from ..training.config import TrainingConfig
from ..training.presets import BRATS_FAST, changed_config

MINIMUM_STEPS = 30
MAXIMUM_STEPS, MAXIMUM_STEPS_OF_NEW_TASK = 150, 1500  # more gain little, and forget more
FIELD_OF_VIEW_MM = (144.0, 176.0, 144.0)  # a brain, depth, height, width
LARGEST_PATCH = 128
SPARE = 0.9  # fraction of the time limit to plan for


def tuning_config(
    card: ModelCard, scheme: LabelScheme, new_task: bool, changes: Mapping[str, str]
) -> TrainingConfig:
    """The training settings for tuning a model.

    For a known task the learning rate is a third of that in training, since the model knows most
    already. The teacher of the self-distillation is new, and learns by itself at first.

    Args:
        card: of the model to start from.
        scheme: what the label values mean.
        new_task: whether the model has to learn other regions or modalities.
        changes: the user's own settings, as :func:`changed_config` takes them.

    Raises:
        InputError: if a change does not fit.
    """
    name = next((name for name, known in SCHEMES.items() if known == scheme), None)
    config = replace(
        BRATS_FAST,
        network=replace(card.network, fusion="local"),
        augmentation=replace(
            BRATS_FAST.augmentation, modality_dropout=0.15 if card.may_miss else 0.0
        ),
        modalities=card.modalities,
        # Not a path, since the settings go into the model's card, and the run may be moved.
        scheme=name or json.dumps(scheme.as_dict()),
        targets=card.targets,
        spacing_mm=card.spacing_mm,
        patch_size=_patch_size(card.spacing_mm),
        # A new teacher's loss is large, and would dominate the others when gradients are clipped.
        teacher_weight=0.1,
        distillation_weight=0.1,
        teach_every=3,
        learning_rate=1e-3 if new_task else 3e-4,
        warm_up=0.1,
        weight_decay=0.0,
        average_decay=0.98,
        validate_every=BRATS_FAST.epochs,  # folds.py evaluates the held-out cases
    )
    config = changed_config(config, dict(changes))
    if config.network.fusion == "local" and not new_task and "teacher_start" not in changes:
        config = replace(config, teacher_start=0.1)
    return config


def planned_steps(minutes: float, used_seconds: float, step_seconds: float, new_task: bool) -> int:
    """Number of steps that fit into the time limit.

    Args:
        minutes: for everything.
        used_seconds: time for preparation, and for segmenting held-out cases later.
        step_seconds: time of one step, summed over all parts of the run.
        new_task: whether the task is new, which may need many steps.

    Raises:
        InputError: if they are too few to learn anything.
    """
    steps = int((SPARE * 60 * minutes - used_seconds) / step_seconds)
    if steps < MINIMUM_STEPS:
        needed = (used_seconds + MINIMUM_STEPS * step_seconds) / 60 / SPARE
        raise InputError(
            f"{minutes:g} minutes do not suffice on this machine; give {needed + 1:.0f} minutes or "
            "more"
        )
    return min(steps, MAXIMUM_STEPS_OF_NEW_TASK if new_task else MAXIMUM_STEPS)


def _patch_size(spacing_mm: Sequence[float]) -> tuple[int, int, int]:
    """Patch size that covers a brain, up to the largest patch, in multiples of 8 for the stages."""
    depth, height, width = (
        min(LARGEST_PATCH, 8 * round(length / step / 8))
        for length, step in zip(FIELD_OF_VIEW_MM, spacing_mm)
    )
    return depth, height, width
