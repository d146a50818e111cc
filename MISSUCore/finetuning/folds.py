"""The trainings that a fine-tuning consists of: one for each fold, and one on all cases.

Each can be killed at any moment: the trainer resumes from its checkpoint, and the Dice of held-out
cases is written before the trainer goes on.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from ..contract.labels import LabelScheme
from ..core.events import Progress, Stage
from ..core.written import RUN_RECORD, Written
from ..models.store import Model
from ..training.brats import LabeledCase
from ..training.config import TrainingConfig
from ..training.datasets import PreparedCases
from ..training.run import stopped_by_signals
from ..training.trainer import Trainer
from .config import MINIMUM_STEPS
from .evaluator import Trial
from .rehearsal import balanced
from .scores import BASE, ScoreLog
from .transfer import mixed
from .verdict import CaseScores

FOLDS = 3
CHECKS = 3  # how often, while a fold is tuned, its held-out cases are segmented
CHECKED_PER_FOLD = 8  # held-out cases that are segmented; more would take longer than tuning


def looks(cases: int, mixes: int) -> int:
    """How many segmentations of held-out cases all folds take together.

    Args:
        cases: how many are judged.
        mixes: how many shares of the tuned weights are tried.
    """
    return (1 + CHECKS * mixes) * min(cases, FOLDS * CHECKED_PER_FOLD)


@dataclass
class Parts:
    """The parts of a run: 1 to 3 with a fold held out, 4 on all cases.

    Args:
        cases: of the user.
        judged: those of them that are held out in one fold each.
        rehearsed: others to learn from, against forgetting.
        start: the model that they begin with.
        scheme: what the label values mean.
        config: settings of the training.
        mixes: shares of the tuned weights to try.
        new_task: whether the base gives no answer that could be compared.
        folder: of the run.
        device: where it computes.
        scores: Dice of held-out cases so far.
        progress: of the parts.
    """

    cases: list[LabeledCase]
    judged: list[LabeledCase]
    rehearsed: list[LabeledCase]
    start: Model
    scheme: LabelScheme
    config: TrainingConfig
    mixes: Sequence[float]
    new_task: bool
    folder: Path
    device: torch.device
    scores: ScoreLog
    progress: Progress

    def prepared(self, cases: list[LabeledCase]) -> PreparedCases:
        """Cases on the working grid."""
        return PreparedCases(
            cases,
            self.config.modalities,
            self.scheme,
            self.config.spacing_mm,
            self.folder / "prepared",
        )

    def trial(self) -> Trial:
        """Tries weights on cases."""
        return Trial(
            self.start.network,
            self.prepared,
            torch.from_numpy(self.scheme.membership),
            self.config,
            self.device,
        )

    def seconds_per_step(self) -> float:
        """Measured with three steps, of which one has the teacher."""
        folder, written = self.folder / "timing", Written(self.folder, RUN_RECORD)
        written.delete("timing/*")
        timed = replace(self.config, steps=MINIMUM_STEPS, teacher_start=0.0)
        trainer = replace(self, config=timed)._trainer(folder, self.cases)
        trainer.run(until=1)  # the first is slower
        first = trainer.seconds
        trainer.run(until=4)
        written.read()
        written.delete("timing/*")
        return (trainer.seconds - first) / 3

    def tune_folds(self) -> list[CaseScores]:
        """For each fold, train without its cases, and try the model on them."""
        shuffled = sorted(self.judged, key=lambda case: case.name)
        random.Random(0).shuffle(shuffled)  # noqa: S311
        folds = [shuffled[fold::FOLDS] for fold in range(FOLDS)]
        for number, held_out in enumerate(folds, start=1):
            self._tune_fold(number, held_out)
        return self.scores.by_case(
            [[case.name for case in held_out[:CHECKED_PER_FOLD]] for held_out in folds]
        )

    def tune_all(self, steps: int) -> dict[str, Tensor]:
        """Weights after so many steps on all cases."""
        trainer = self._part(FOLDS + 1, self.cases)
        with stopped_by_signals(trainer):
            trainer.run(until=steps)
        return {name: value.cpu() for name, value in trainer.average.state_dict().items()}

    def _tune_fold(self, number: int, held_out: list[LabeledCase]) -> None:
        checked = held_out[:CHECKED_PER_FOLD]
        steps = sorted(
            {max(1, self.config.steps * check // CHECKS) for check in range(1, CHECKS + 1)}
        )
        known = self.scores.known(number)
        if {(step, mix) for step in steps for mix in self.mixes} <= known:
            _PartProgress(self.progress, number).skip(1.0)
            return
        trial = self.trial()
        start = self.start.network.state_dict()
        if not self.new_task and (BASE.steps, BASE.mix) not in known:
            self.scores.add(number, BASE.steps, {BASE.mix: trial.scores(start, checked)})
        trainer = self._part(number, [case for case in self.cases if case not in held_out])
        for step in steps:
            with stopped_by_signals(trainer):
                trainer.run(until=step)
            if (step, self.mixes[-1]) in known:
                continue
            weights = trainer.average.state_dict()
            self.scores.add(
                number,
                step,
                {mix: trial.scores(mixed(start, weights, mix), checked) for mix in self.mixes},
            )
        trainer.checkpoint_path.unlink(missing_ok=True)

    def _part(self, number: int, cases: list[LabeledCase]) -> Trainer:
        trainer = self._trainer(self.folder / f"part-{number}", cases)
        trainer.report_to(_PartProgress(self.progress, number))
        return trainer

    def _trainer(self, folder: Path, cases: list[LabeledCase]) -> Trainer:
        trainer = Trainer(
            self.config,
            self.prepared(balanced(cases, self.rehearsed)),
            self.prepared([]),
            folder,
            self.device,
            start=self.start,
        )
        trainer.resume()
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
