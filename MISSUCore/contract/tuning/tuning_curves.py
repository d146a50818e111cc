"""How a fine-tuning gets on: Dice of held-out cases and loss over the steps, and their tables."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...core.files import atomic_write

VALIDATION_FILE = "validation.csv"
_KEYS = ("fold", "step", "mix")


@dataclass(frozen=True)
class ValidationRow:
    """Mean Dice over the cases that a fold holds out.

    Attributes:
        fold: from 1.
        step: of the optimizer; 0 is the base.
        mix: interpolation weight of the tuned model.
        dice: by region.
    """

    fold: int
    step: int
    mix: float
    dice: Mapping[str, float]


@dataclass(frozen=True)
class Curve:
    """Points of a curve over the steps.

    Attributes:
        kind: "dice" or "loss".
        part: fold, or part of the run, from 1.
        steps: of the optimizer.
        values: at these steps.
    """

    kind: str
    part: int
    steps: list[float]
    values: list[float]


def write_validation(folder: Path, regions: Sequence[str], rows: Sequence[ValidationRow]) -> None:
    """Write the table of held-out Dice in the folder of a run.

    Raises:
        InputError: if it cannot be written.
        ResourceError: if the disk is full.
    """
    lines = [",".join([*_KEYS, *regions])]
    for row in rows:
        dice = (f"{row.dice[region]:.4f}" for region in regions)
        lines.append(",".join([str(row.fold), str(row.step), str(row.mix), *dice]))
    with atomic_write(folder / VALIDATION_FILE) as temporary:
        temporary.write_text("\n".join([*lines, ""]), encoding="utf-8")


def read_validation(folder: Path) -> list[ValidationRow]:
    """The table of held-out Dice in the folder of a run; what cannot be read is left out."""
    rows = []
    for values in read_rows(folder / VALIDATION_FILE):
        if set(_KEYS) <= set(values):
            dice = {name: value for name, value in values.items() if name not in _KEYS}
            rows.append(
                ValidationRow(int(values["fold"]), int(values["step"]), values["mix"], dice)
            )
    return rows


def read_curves(folder: Path) -> list[Curve]:
    """Dice on the cases held out in each fold, and the loss of the part that is at work."""
    curves = []
    # Rows with other interpolation weights repeat the same steps.
    rows = [row for row in read_validation(folder) if row.mix == 1 and row.dice]
    for fold in sorted({row.fold for row in rows}):
        own = [row for row in rows if row.fold == fold]
        means = [sum(row.dice.values()) / len(row.dice) for row in own]
        curves.append(Curve("dice", fold, [row.step for row in own], means))
    logs = sorted(folder.glob("part-[0-9]/training.csv"))
    if logs:
        losses = [row for row in read_rows(logs[-1]) if {"step", "loss"} <= set(row)]
        part = int(logs[-1].parent.name.partition("-")[2])
        curves.append(
            Curve("loss", part, [row["step"] for row in losses], [row["loss"] for row in losses])
        )
    return [curve for curve in curves if curve.steps]


def read_rows(path: Path) -> list[dict[str, float]]:
    """Rows of a table of numbers; what is being written just now is left out."""
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            lines = list(csv.DictReader(stream))
    except (OSError, ValueError, csv.Error):
        return []
    rows = []
    for line in lines:
        try:
            rows.append({name: float(value) for name, value in line.items()})
        except (TypeError, ValueError):
            continue
    return rows
