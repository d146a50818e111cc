"""Tuning a model on a few cases of the user's own, in a folder where it can stop and go on.

The folder of a run holds: ``run.json``, what the run is; ``prepared`` and ``rehearsal``, cases on
the working grid and simulated ones; ``part-1`` to ``part-4``, the trainer's logs for three folds
and for the final model; ``scores.json`` and ``validation.csv``, Dice of held-out cases on the way;
``gate.json``, table and verdict; ``model``, the candidate. See :mod:`.gate` for what the folds are
for.
"""

from __future__ import annotations

import json
import random
import re
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError
from ..files import write_json
from ..inference.predictor import choose_device
from ..model_store import NAME, Model
from ..progress import Progress
from ..regions import BRATS, BRATS_2023, LabelScheme
from .candidate import save_candidate
from .case_lists import LabeledCase
from .config import TrainingConfig, changed_config
from .datasets import PreparedCases
from .gate import best_setting, judge
from .rehearsal import balanced, rehearsal_cases
from .run import stopped_by_signals
from .run_state import given_facts, run_state
from .scores import ScoreLog
from .trainer import Trainer
from .transfer import fits, mixed, transfer
from .trial import Trial
from .tuning_config import MINIMUM_STEPS, FineTuningOptions, planned_steps, tuning_config

MINIMUM_CASES = 3
FOLDS = 3
CHECKS = 3  # how often on the way of a fold its held-out cases are looked at
MIXES = (1.0, 0.7, 0.4)
CHECKED_PER_FOLD = 8  # held-out cases that are looked at; more would take longer than tuning


def fine_tune(
    cases: Sequence[LabeledCase],
    scheme: LabelScheme,
    base: Model,
    folder: Path,
    name: str,
    options: FineTuningOptions | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Tune a model on labeled cases, try it on cases held out, and write the candidate.

    The same call again goes on with a run that was stopped or killed. The base stays as it is.

    Args:
        cases: of the user, three or more, all with the same modalities.
        scheme: what their label values mean; another than the base's makes it a new task.
        base: what to begin with.
        folder: of the run.
        name: of the candidate, letters, digits, dots, dashes, underscores.
        options: how.
        progress: hears of every step.

    Returns:
        What ``gate.json`` holds.

    Raises:
        InputError: if something given cannot be used, or the folder holds another run.
        ResourceError: if memory or disk space do not suffice.
        Stopped: if the run was asked to stop.
    """
    if not re.fullmatch(NAME, name):
        raise InputError(f"model name {name!r}: use letters, digits, dots, dashes, underscores")
    if len(cases) < MINIMUM_CASES:
        raise InputError(
            f"{len(cases)} cases to tune on; give {MINIMUM_CASES} or more, for some must be held "
            "out to see whether the tuned model is better"
        )
    tuning = FineTuning(
        list(cases),
        scheme,
        base,
        folder,
        name,
        options or FineTuningOptions(),
        progress or Progress(),
    )
    return tuning.run()


@dataclass
class FineTuning:
    """A run of :func:`fine_tune`, which says what the arguments are."""

    cases: list[LabeledCase]
    scheme: LabelScheme
    base: Model
    folder: Path
    name: str
    options: FineTuningOptions
    progress: Progress

    def __post_init__(self) -> None:
        self.began = time.monotonic()
        self.modalities = tuple(self.base.card.modalities)
        given = set(self.cases[0].images)
        if not set(self.modalities) <= given:
            self.modalities = tuple(self.cases[0].images)
        twins = (BRATS, BRATS_2023)
        if self.scheme in twins and self.base.card.label_scheme() in twins:
            self.scheme = self.base.card.label_scheme()  # labels are read in either numbering
        self.new_task = not fits(self.base, self.modalities, self.scheme)
        self.start = transfer(self.base, self.modalities, self.scheme)
        self.mixes = (1.0,) if self.new_task else MIXES
        self.device = choose_device(self.options.device)
        self.membership = torch.from_numpy(self.scheme.membership)
        self.scores = ScoreLog(self.folder, self.scheme.region_names)

    def run(self) -> dict[str, Any]:
        """All of it, or what a run that was stopped has left to do."""
        given = given_facts(self.name, self.base, self.cases, self.scheme, self.options)
        state = run_state(self.folder, given)
        gate_path = self.folder / "gate.json"
        if gate_path.exists():
            self.progress("done", 1.0, "this run is finished already")
            done: dict[str, Any] = json.loads(gate_path.read_text(encoding="utf-8"))
            return done
        config = tuning_config(
            self.start.card, self.scheme, self.new_task, self.options.changes, self.folder
        )
        kind = "none" if self.new_task else self.options.rehearsal
        rehearsed, checked = rehearsal_cases(
            kind, self.base, self.folder / "rehearsal", self.progress.part(0.0, 0.05)
        )
        everything = self._prepared([*self.cases, *rehearsed, *checked], config)
        everything.prepare_all(self.progress.part(0.05, 0.08))
        if "settings" not in state:
            state["settings"] = self._planned(config, rehearsed)
            write_json(self.folder / "run.json", state)
        config = changed_config(config, {k: json.dumps(v) for k, v in state["settings"].items()})
        folds = self._folds()
        for fold, held_out in enumerate(folds, start=1):
            self._tune_fold(fold, held_out, rehearsed, config)
        names = [[case.name for case in held_out[:CHECKED_PER_FOLD]] for held_out in folds]
        scores = self.scores.by_case(names)
        steps = best_setting(scores, self.mixes).steps
        tuned = self._tune_all(steps, rehearsed, config)
        self.progress("gate", 0.95, "what was forgotten")
        forgetting = self._trial(config).forgetting(checked, tuned, self.mixes)
        gate = {
            "name": self.name,
            "date": date.today().isoformat(),
            "base": {"name": self.base.card.name, "sha256": self.base.card.sha256},
            "new_task": self.new_task,
            **judge(scores, forgetting, steps, self.scheme.region_names),
        }
        weights = mixed(self.start.network.state_dict(), tuned, gate["mix"])
        own = [case.name for case in self.cases]
        save_candidate(self.folder / "model", self.start.card, weights, gate, own, config)
        write_json(gate_path, gate)
        for part in range(1, FOLDS + 2):
            (self._part(part) / "checkpoint.pt").unlink(missing_ok=True)
        self.progress("done", 1.0, f"{gate['verdict']}: {gate['reason']}")
        return gate

    def _planned(self, config: TrainingConfig, rehearsed: list[LabeledCase]) -> dict[str, Any]:
        """Number of steps and precision with which this machine is done in time."""
        if config.steps:
            return {"steps": config.steps}
        self.progress("prepare", 0.08, "measuring how fast this machine is")
        seconds = {
            half: self._seconds_per_step(replace(config, mixed_precision=half), rehearsed)
            for half in ((True, False) if self.device.type == "cpu" else (True,))
        }
        precision = min(seconds, key=lambda half: seconds[half])
        began = time.monotonic()
        self._trial(config).scores(self.start.network.state_dict(), self.cases[:1])
        looks = (1 + CHECKS * len(self.mixes)) * min(len(self.cases), FOLDS * CHECKED_PER_FOLD)
        looking_seconds = looks * (time.monotonic() - began)
        steps = planned_steps(
            self.options.minutes,
            used_seconds=time.monotonic() - self.began + looking_seconds,
            step_seconds=(FOLDS + 1) * seconds[precision],
            new_task=self.new_task,
        )
        return {"steps": steps // CHECKS * CHECKS, "mixed_precision": precision}

    def _seconds_per_step(self, config: TrainingConfig, rehearsed: list[LabeledCase]) -> float:
        folder = self.folder / "timing"
        shutil.rmtree(folder, ignore_errors=True)
        timed = replace(config, steps=MINIMUM_STEPS, teacher_start=0.0)
        trainer = self._trainer(folder, self.cases, rehearsed, timed)
        trainer.progress = Progress()
        trainer.run(until=1)  # the first is slower
        first = trainer.seconds
        trainer.run(until=4)
        shutil.rmtree(folder, ignore_errors=True)
        return (trainer.seconds - first) / 3

    def _folds(self) -> list[list[LabeledCase]]:
        """The cases that each fold holds out."""
        shuffled = sorted(self.cases, key=lambda case: case.name)
        random.Random(0).shuffle(shuffled)  # noqa: S311
        return [shuffled[fold::FOLDS] for fold in range(FOLDS)]

    def _tune_fold(
        self,
        fold: int,
        held_out: list[LabeledCase],
        rehearsed: list[LabeledCase],
        config: TrainingConfig,
    ) -> None:
        checked = held_out[:CHECKED_PER_FOLD]
        points = sorted({max(1, config.steps * check // CHECKS) for check in range(1, CHECKS + 1)})
        wanted = {(step, mix) for step in points for mix in self.mixes}
        if wanted <= self.scores.known(fold):
            return
        trial = self._trial(config)
        start = self.start.network.state_dict()
        if not self.new_task and (0, 1.0) not in self.scores.known(fold):
            self.scores.add(fold, 0, {1.0: trial.scores(start, checked)})
        training = [case for case in self.cases if case not in held_out]
        trainer = self._trainer(self._part(fold), training, rehearsed, config)
        trainer.progress = _PartProgress(self._of_parts(fold), fold)
        for step in points:
            with stopped_by_signals(trainer):
                trainer.run(until=step)
            if (step, self.mixes[-1]) in self.scores.known(fold):
                continue
            self.scores.add(
                fold,
                step,
                {
                    mix: trial.scores(mixed(start, trainer.average.state_dict(), mix), checked)
                    for mix in self.mixes
                },
            )
        (self._part(fold) / "checkpoint.pt").unlink(missing_ok=True)

    def _tune_all(
        self, steps: int, rehearsed: list[LabeledCase], config: TrainingConfig
    ) -> dict[str, Tensor]:
        part = FOLDS + 1
        trainer = self._trainer(self._part(part), self.cases, rehearsed, config)
        trainer.progress = _PartProgress(self._of_parts(part), part)
        with stopped_by_signals(trainer):
            trainer.run(until=steps)
        return {name: value.cpu() for name, value in trainer.average.state_dict().items()}

    def _trial(self, config: TrainingConfig) -> Trial:
        return Trial(
            self.start.network,
            lambda cases: self._prepared(cases, config),
            self.membership,
            config,
            self.device,
        )

    def _prepared(self, cases: list[LabeledCase], config: TrainingConfig) -> PreparedCases:
        return PreparedCases(
            cases, config.modalities, self.scheme, config.spacing_mm, self.folder / "prepared"
        )

    def _trainer(
        self,
        folder: Path,
        cases: list[LabeledCase],
        rehearsed: list[LabeledCase],
        config: TrainingConfig,
    ) -> Trainer:
        return Trainer(
            config,
            self._prepared(balanced(cases, rehearsed), config),
            self._prepared([], config),
            folder,
            self.device,
            start=self.start,
        )

    def _part(self, number: int) -> Path:
        return self.folder / f"part-{number}"

    def _of_parts(self, number: int) -> Progress:
        length = 0.86 / (FOLDS + 1)
        return self.progress.part(0.09 + (number - 1) * length, 0.09 + number * length)


class _PartProgress(Progress):
    """Progress of a trainer that trains one part of several."""

    def __init__(self, whole: Progress, part: int) -> None:
        super().__init__(whole.sink, whole.start, whole.end)
        self.began = whole.began
        self.part_number = part

    def __call__(self, stage: str, fraction: float, message: str = "") -> None:
        super().__call__("tune", fraction, f"part {self.part_number} of {FOLDS + 1}, {message}")
