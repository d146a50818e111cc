"""A model card tells its figures, in whichever form they were written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from MISSUCore.contract.model_card import (
    ModelCard,
    Tuning,
    TuningOutcome,
    check_card,
    read_card,
    write_card,
)
from MISSUCore.contract.model_identity import ModelIdentity
from MISSUCore.contract.tuning.verdict import MeanDice
from MISSUCore.core.errors import InputError

TUNING = Tuning(
    "2026-11-26",
    ModelIdentity("missu", "ab"),
    ("case-1",),
    ("cd",),
    {"steps": 3},
    TuningOutcome(3, 100, 0.7, "rule", "reason", MeanDice({"WT": 0.5}, {"WT": 0.75}, 0.25)),
    "better",
)


def test_it_comes_back_as_it_was(tmp_path: Path, tiny_card: ModelCard) -> None:
    card = replace(tiny_card, history=(TUNING, Tuning(cases=("old",))), metrics={"mean_dice": 0.5})
    write_card(tmp_path / "tiny.json", card)
    assert read_card(tmp_path / "tiny.json") == card


@pytest.mark.parametrize(
    ("metrics", "dice"),
    [
        ({}, {}),
        ({"mean_dice": 0.5}, {}),  # of missu train: one for all regions
        ({"mean_dice": {"WT": 0.5, "ET": 1}}, {"WT": 0.5, "ET": 1}),  # of missu finetune
        ({"mean_by_region": {"WT": {"dice": 0.9, "cases": 3}}}, {"WT": 0.9}),  # of a validation
    ],
)
def test_dice_is_told_by_region(
    tiny_card: ModelCard, metrics: dict[str, Any], dice: dict[str, float]
) -> None:
    card = replace(tiny_card, metrics=metrics)
    check_card(card)
    assert card.dice_by_region() == dice


@pytest.mark.parametrize("score", ["good", None, {}, {"dice": "good"}, [0.5]])
def test_figures_that_are_none_are_refused(tiny_card: ModelCard, score: object) -> None:
    for key in ("mean_by_region", "mean_dice"):
        with pytest.raises(InputError, match="metrics hold no mean Dice by region"):
            check_card(replace(tiny_card, metrics={key: {"WT": score}}))
