"""The trainings that a fine-tuning consists of: one for each fold, and one on all cases.

Each can be killed at any moment: the trainer resumes from its checkpoint, and the Dice of held-out
cases is written before the trainer goes on.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from ..core.events import Progress, Stage
from ..training.cases.labeled import LabeledCase
from ..training.run import stopped_by_signals
from ..training.trainer import Trainer
from .acceptance import CaseScores
from .context import TuningContext
from .evaluator import dice_of_cases
from .rehearsal import balanced
from .scores import BASE, ScoreLog
from .transfer import interpolated

FOLDS = 3
CHECKS = 3  # evaluations on the held-out cases during the tuning of a fold
CHECKED_PER_FOLD = 8  # held-out cases to segment; more would take longer than tuning


def count_validation_passes(cases: int, mixes: int) -> int:
    """Number of segmentations of held-out cases in all folds together.

    Args:
        cases: number of cases that are held out once.
        mixes: number of interpolation weights that are tried.
    """
    return (1 + CHECKS * mixes) * min(cases, FOLDS * CHECKED_PER_FOLD)


def new_trainer(context: TuningContext, folder: Path, cases: Sequence[LabeledCase]) -> Trainer:
    """A trainer on these and the rehearsed cases, resumed from its checkpoint if there is one."""
    trainer = Trainer(
        context.config,
        context.prepared(balanced(list(cases), list(context.rehearsed))),
        context.prepared([]),
        folder,
        context.device,
        start=context.start,
    )
    trainer.resume()
    return trainer


@dataclass
class CrossValidation:
    """The parts of a run: 1 to 3 with a fold held out, 4 on all cases.

    Args:
        context: of the run.
        scores: Dice of held-out cases so far.
        progress: of the parts.
    """

    context: TuningContext
    scores: ScoreLog
    progress: Progress

    def tune_folds(self) -> list[CaseScores]:
        """For each fold, train without its cases, and try the model on them."""
        shuffled = sorted(self.context.judged, key=lambda case: case.name)
        random.Random(0).shuffle(shuffled)  # noqa: S311
        folds = [shuffled[fold::FOLDS] for fold in range(FOLDS)]
        for number, held_out in enumerate(folds, start=1):
            self._tune_fold(number, held_out)
        return self.scores.by_case(
            [[case.name for case in held_out[:CHECKED_PER_FOLD]] for held_out in folds]
        )

    def tune_all(self, steps: int) -> dict[str, Tensor]:
        """Weights after a number of steps on all cases."""
        trainer = self._part(FOLDS + 1, self.context.cases)
        with stopped_by_signals(trainer):
            trainer.run(until=steps)
        return {name: value.cpu() for name, value in trainer.average.state_dict().items()}

    def _tune_fold(self, number: int, held_out: Sequence[LabeledCase]) -> None:
        context = self.context
        checked = held_out[:CHECKED_PER_FOLD]
        steps = sorted(
            {max(1, context.config.steps * check // CHECKS) for check in range(1, CHECKS + 1)}
        )
        known = self.scores.known(number)
        if {(step, mix) for step in steps for mix in context.mixes} <= known:
            _PartProgress(self.progress, number).skip(1.0)
            return
        start = context.start.network.state_dict()
        if not context.new_task and (BASE.steps, BASE.mix) not in known:
            base = dice_of_cases(context, start, checked)
            self.scores.add(number, BASE.steps, {BASE.mix: base})
        trainer = self._part(number, [case for case in context.cases if case not in held_out])
        for step in steps:
            with stopped_by_signals(trainer):
                trainer.run(until=step)
            if (step, context.mixes[-1]) in known:
                continue
            weights = trainer.average.state_dict()
            self.scores.add(
                number,
                step,
                {
                    mix: dice_of_cases(context, interpolated(start, weights, mix), checked)
                    for mix in context.mixes
                },
            )
        trainer.checkpoint_path.unlink(missing_ok=True)

    def _part(self, number: int, cases: Sequence[LabeledCase]) -> Trainer:
        trainer = new_trainer(self.context, self.context.folder / f"part-{number}", cases)
        trainer.report_to(_PartProgress(self.progress, number))
        return trainer


class _PartProgress(Progress):
    """Progress of a trainer that trains one part of several."""

    def __init__(self, parts: Progress, number: int) -> None:
        part = parts.part((number - 1) / (FOLDS + 1), number / (FOLDS + 1))
        super().__init__(part.sink, part.start, part.end)
        self.pace = part.pace
        self.number = number

    def __call__(
        self,
        stage: str,
        fraction: float,
        message: str = "",
        part: int | None = None,
        parts: int | None = None,
    ) -> None:
        parts = FOLDS + 1
        message = f"part {self.number} of {parts}, {message}"
        super().__call__(Stage.TUNE, fraction, message, self.number, parts)
