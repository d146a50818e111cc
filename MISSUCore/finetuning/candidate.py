"""The candidate model of a fine-tuning, with a card that documents its origin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from ..contract.model_card import ModelCard, Tuning, TuningOutcome
from ..contract.tuning.verdict import AcceptanceTest
from ..models.store import save_model
from ..training.config import TrainingConfig


def save_candidate(
    folder: Path,
    card: ModelCard,
    weights: dict[str, Tensor],
    test: AcceptanceTest,
    scans: Mapping[str, str],
    config: TrainingConfig,
) -> ModelCard:
    """Write a tuned model and its card, adding this tuning to the card's history.

    Args:
        folder: to write to.
        card: of the model it was tuned from, for the task it was tuned for.
        weights: of the tuned model.
        test: result of its acceptance test, with name, date and base.
        scans: checksum of a scan of each case it was tuned on, by the case's name; the next tuning
            recognizes by them which cases the model knows.
        config: settings of the training.

    Raises:
        InputError: if the folder cannot be written.
        ResourceError: if the disk is full.
    """
    tuning = Tuning(
        date=test.date,
        base=test.base,
        cases=tuple(scans),
        scans_sha256=tuple(scans.values()),
        settings=config.as_dict(),
        gate=TuningOutcome(test.folds, test.steps, test.mix, test.rule, test.reason, test.mean),
        verdict=test.verdict.value,
    )
    tuned = replace(
        card,
        name=test.name,
        spacing_mm=config.spacing_mm,
        # The confidence of the tuned model was never calibrated.
        temperatures=(),
        doubtful_below=(),
        unreliable_without={},
        few_scans=(),
        training_data=f"{card.training_data}; then tuned on {len(scans)} cases of the user's own",
        metrics={
            "validation": "mean Dice over whole volumes at the working spacing, each case by a "
            "model tuned without it",
            "mean_dice": test.mean.tuned,
        },
        date=test.date,
        history=(*card.history, tuning),
        sha256="",
    )
    return save_model(folder, tuned, weights)
