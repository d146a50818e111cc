"""Log of the Dice of held-out cases during a run, safe against a kill at any moment."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..contract.tuning.tuning_curves import ValidationRow, write_validation
from ..core.errors import InputError
from ..core.files import atomic_write, read_json
from ..core.messages import a_file
from .acceptance import CaseScores, Setting

BASE = Setting(0, 1.0)


class ScoreLog:
    """Dice by fold, step, interpolation weight, case and region.

    ``scores.json`` holds all of it; ``validation.csv``, the mean over each fold's cases, is for
    people and plots.

    Args:
        folder: where the two files are.
        regions: their names.

    Raises:
        InputError: if an existing file of scores is damaged.
    """

    def __init__(self, folder: Path, regions: Sequence[str]) -> None:
        self.path = folder / "scores.json"
        self.regions = regions
        self.rows: list[tuple[int, int, float, str, list[float]]] = []
        if self.path.exists():
            try:
                self.rows = [_row(row, len(regions)) for row in read_json(self.path)]
            except (OSError, ValueError, TypeError) as error:
                raise InputError(a_file(self.path), ": is damaged; move its folder away") from error

    def add(
        self, fold: int, step: int, by_mix: Mapping[float, Mapping[str, NDArray[np.float64]]]
    ) -> None:
        """Store the Dice (regions,) of a fold's cases after a step, by weight and case.

        Raises:
            InputError: if they cannot be written.
            ResourceError: if the disk is full.
        """
        for mix, cases in by_mix.items():
            self.rows += [(fold, step, mix, case, dice.tolist()) for case, dice in cases.items()]
        means = []
        for key in sorted({row[:3] for row in self.rows}):
            mean = np.mean([row[4] for row in self.rows if row[:3] == key], axis=0)
            means.append(ValidationRow(*key, dict(zip(self.regions, mean.tolist()))))
        write_validation(self.path.parent, self.regions, means)
        # Written last: a resumed run reads here what is left to do.
        with atomic_write(self.path) as temporary:
            temporary.write_text(json.dumps(self.rows), encoding="utf-8")

    def known(self, fold: int) -> set[tuple[int, float]]:
        """Steps and interpolation weights for which a fold has scores."""
        return {(row[1], row[2]) for row in self.rows if row[0] == fold}

    def by_case(self, folds: Sequence[Sequence[str]]) -> list[CaseScores]:
        """The scores by case, for the acceptance test.

        Args:
            folds: names of the cases that each fold held out.
        """
        scores = []
        for fold, names in enumerate(folds, start=1):
            for name in names:
                tuned = {
                    Setting(row[1], row[2]): np.array(row[4])
                    for row in self.rows
                    if row[0] == fold and row[3] == name
                }
                scores.append(CaseScores(name, fold, tuned.pop(BASE, None), tuned))
        return scores


def _row(row: Sequence[Any], regions: int) -> tuple[int, int, float, str, list[float]]:
    """A parsed row of the file; malformed rows raise the usual conversion errors."""
    fold, step, mix, case, dice = row
    if not (type(fold) is type(step) is int and isinstance(case, str) and len(dice) == regions):
        raise ValueError("not a row of scores")
    return fold, step, float(mix), case, [float(value) for value in dice]
