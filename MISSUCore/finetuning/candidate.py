"""The model that a fine-tuning offers, with a card that tells where it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from ..contract.model_card import ModelCard
from ..models.store import save_model
from ..training.config import TrainingConfig

IN_HISTORY = ("folds", "steps", "mix", "rule", "reason", "mean")


def save_candidate(
    folder: Path,
    card: ModelCard,
    weights: dict[str, Tensor],
    gate: Mapping[str, Any],
    scans: Mapping[str, str],
    config: TrainingConfig,
) -> ModelCard:
    """Write a tuned model and its card; the history of the card grows by this tuning.

    Args:
        folder: where to.
        card: of the model it was tuned from, for the task it was tuned for.
        weights: tuned.
        gate: as :func:`.gate.judge` gives it, with name, date and base.
        scans: checksum of a scan of each case it was tuned on, by the case's name; they tell in
            the next tuning which cases the model knows.
        config: settings of the training.

    Raises:
        InputError: if the folder cannot be written.
        ResourceError: if the disk is full.
    """
    entry = {
        "date": gate["date"],
        "base": gate["base"],
        "cases": list(scans),
        "scans_sha256": list(scans.values()),
        "settings": config.as_dict(),
        "gate": {key: gate[key] for key in IN_HISTORY},
        "verdict": gate["verdict"],
    }
    tuned = replace(
        card,
        name=gate["name"],
        spacing_mm=config.spacing_mm,
        # Its confidence was never held against the truth.
        temperatures=(),
        doubtful_below=(),
        unreliable_without={},
        training_data=f"{card.training_data}; then tuned on {len(scans)} cases of the user's own",
        metrics={
            "validation": "mean Dice over whole volumes at the working spacing, each case by a "
            "model tuned without it",
            "mean_dice": gate["mean"]["tuned"],
        },
        date=gate["date"],
        history=(*card.history, entry),
        sha256="",
    )
    return save_model(folder, tuned, weights)
