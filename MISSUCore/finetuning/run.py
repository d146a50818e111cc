"""Tuning a model on a few cases of the user's own, in a folder where it can stop and go on.

The folder of a run holds: ``run.json``, what the run is; ``prepared`` and ``rehearsal``, cases on
the working grid and simulated ones; ``part-1`` to ``part-4``, the trainer's logs for three folds
and for the final model; ``scores.json`` and ``validation.csv``, Dice of held-out cases on the way;
``gate.json``, table and verdict; ``model``, the candidate. What only a run under way needs is
deleted at its end. See :mod:`.verdict` for what the folds are for, and :mod:`.folds` for the
parts.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ..contract.labels import LabelScheme, same_task
from ..core.errors import InputError
from ..core.events import Progress, Stage
from ..core.files import NAME, read_json, write_json
from ..core.run_state import run_state
from ..core.written import run_folder
from ..inference.predictor import choose_device, has_bfloat16
from ..models.store import Model
from ..models.versions import OLDER_RUN, WORK, read_gate
from ..training.brats import LabeledCase
from ..training.config import changed_config
from .candidate import save_candidate
from .config import FineTuningOptions, planned_steps, tuning_config
from .folds import FOLDS, Parts, looks
from .given import given_facts
from .library.duplicates import scan_checksums, tuned_on
from .rehearsal import answers_needed, rehearsal_cases
from .scores import ScoreLog
from .transfer import fits, mixed, transfer
from .verdict import best_setting, format_table, judge

MINIMUM_CASES = 3
# Fine steps: the gate takes the best with which little is forgotten, and what lies between is lost.
MIXES = (1.0, 0.85, 0.7, 0.55, 0.4)


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
        cases: of the user, three or more, all with the same modalities. Those that the base was
            tuned on already are learned from, but it is not judged by them.
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

    Examples:
        >>> from MISSUCore import BRATS, fine_tune, load_model
        >>> from MISSUCore.finetuning.config import FineTuningOptions
        >>> from MISSUCore.training.brats import LabeledCase
        >>> names = ("t1", "t1ce", "t2", "flair")
        >>> cases = [
        ...     LabeledCase(p.name, {n: p / f"{n}.nii.gz" for n in names}, p / "labels.nii.gz")
        ...     for p in case_folders
        ... ]
        >>> changes = {"steps": "3", "patch_size": "[16, 16, 16]"}
        >>> options = FineTuningOptions(rehearsal="none", changes=changes)
        >>> base = load_model(str(small_model))  # or "missu-brats-fast"
        >>> gate = fine_tune(cases, BRATS, base, folder / "tuned", "mine", options)
        >>> gate["verdict"] in ("better", "not better")
        True
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


class Pace(NamedTuple):
    """How long things take on this machine.

    Attributes:
        mixed_precision: whether half precision is faster.
        step_seconds: of a step of training.
        look_seconds: of segmenting a case.
        looks: how often that is done while it is tuned.
    """

    mixed_precision: bool
    step_seconds: float
    look_seconds: float
    looks: int


@dataclass
class FineTuning:
    """A run of :func:`fine_tune`, which says what the arguments are.

    Attributes:
        new_task: whether the base does another task, and there is nothing to compare with.
        start: the base, as a beginning for the task.
        device: where it computes.
        began: when, on the monotonic clock.
        scans: once it runs: checksum of a scan of each case, by the case's name.
        known: once it runs: names of the cases that the base was tuned on already.
    """

    cases: list[LabeledCase]
    scheme: LabelScheme
    base: Model
    folder: Path
    name: str
    options: FineTuningOptions
    progress: Progress
    new_task: bool = field(init=False)
    start: Model = field(init=False)
    device: torch.device = field(init=False)
    began: float = field(init=False, default_factory=time.monotonic)
    scans: dict[str, str] = field(init=False)
    known: list[str] = field(init=False)

    def __post_init__(self) -> None:
        modalities = tuple(self.base.card.modalities)
        if not set(modalities) <= set(self.cases[0].images):
            modalities = tuple(self.cases[0].images)
        known = self.base.card.label_scheme()
        if same_task(self.scheme, known):
            self.scheme = known  # BraTS labels are read in either numbering
        self.new_task = not fits(self.base, modalities, self.scheme)
        self.start = transfer(self.base, modalities, self.scheme)
        self.device = choose_device(self.options.device)

    def run(self) -> dict[str, Any]:
        """All of it, or what a run that was stopped has left to do."""
        with run_folder(self.folder, _is_run, OLDER_RUN) as written:
            self.scans = scan_checksums(self.cases, self.start.card.modalities[0])
            self.known = self._known()
            given = given_facts(self.name, self.base, self.cases, self.scheme, self.options)
            state = run_state(self.folder, given)
            if (self.folder / "gate.json").exists():
                gate = _whole_gate(self.folder)
                self.progress(Stage.DONE, 1.0, "this run is finished already")
            else:
                parts, checked = self._prepared(state)
                gate = self._gate(parts, checked)
            written.delete(*WORK)
            return gate

    def _known(self) -> list[str]:
        """Names of the cases that the base was tuned on: they would flatter both models.

        Raises:
            InputError: if the others are too few.
        """
        card = self.base.card
        known = tuned_on(card.history, self.scans)
        left = len(self.cases) - len(known)
        if left < MINIMUM_CASES:
            first = next(entry for entry in card.history if tuned_on([entry], self.scans))
            raise InputError(
                f"{card.name} was tuned on {len(known)} of these {len(self.cases)} cases already, "
                f"so only {left} can show whether it gets better, and {MINIMUM_CASES} are needed: "
                f"tune {first['base']['name']} instead, which was tuned on none of them, or add "
                "more cases"
            )
        return known

    def _prepared(self, state: dict[str, Any]) -> tuple[Parts, list[LabeledCase]]:
        """The parts, ready to be trained, and the cases to check for forgetting.

        Args:
            state: what ``run.json`` holds; settings that it lacks are planned, and added to it.
        """
        config = tuning_config(self.start.card, self.scheme, self.new_task, self.options.changes)
        parts = Parts(
            self.cases,
            [case for case in self.cases if case.name not in self.known],
            [],
            self.start,
            self.scheme,
            config,
            (1.0,) if self.new_task else MIXES,
            self.new_task,
            self.folder,
            self.device,
            ScoreLog(self.folder, self.scheme.region_names),
            self.progress.part(0.09, 0.95),
        )
        rehearsal = "none" if self.new_task else self.options.rehearsal
        pace = None
        if "settings" not in state and not config.steps:
            # First of all: who gave too little time is not to wait for the simulation.
            pace = self._measured(parts)
            self._planned(pace, looks_to_come=answers_needed(rehearsal, self.base))
        rehearsed, checked = rehearsal_cases(
            rehearsal,
            self.base,
            self.folder / "rehearsal" / self.base.card.sha256[:12],
            self.progress.part(0.02, 0.05),
        )
        parts = replace(parts, rehearsed=rehearsed)
        everything = parts.prepared([*self.cases, *rehearsed, *checked])
        everything.prepare_all(self.progress.part(0.05, 0.08))
        if "settings" not in state:
            # Refuses a case of the user's that is rehearsed, too: both may come from one folder.
            scan_checksums(everything.cases, config.modalities[0])
            state["settings"] = self._planned(pace) if pace else {"steps": config.steps}
            write_json(self.folder / "run.json", state)
        planned = {name: json.dumps(value) for name, value in state["settings"].items()}
        return replace(parts, config=changed_config(config, planned)), checked

    def _measured(self, parts: Parts) -> Pace:
        """How fast this machine is."""
        config = parts.config
        self.progress(Stage.PREPARE, 0.0, "measuring how fast this machine is")
        precisions = [config.mixed_precision]
        if self.device.type == "cpu" and "mixed_precision" not in self.options.changes:
            # Few processors are faster with half precision, even of those that have it.
            precisions = [False, True] if has_bfloat16(self.device) else [False]
        seconds = {
            half: replace(parts, config=replace(config, mixed_precision=half)).seconds_per_step()
            for half in precisions
        }
        precision = min(seconds, key=lambda half: seconds[half])
        began = time.monotonic()
        parts.trial().scores(self.start.network.state_dict(), self.cases[:1])
        look = time.monotonic() - began
        return Pace(precision, seconds[precision], look, looks(len(parts.judged), len(parts.mixes)))

    def _planned(self, pace: Pace, looks_to_come: int = 0) -> dict[str, Any]:
        """Number of steps and precision with which this machine keeps to the time limit.

        Args:
            pace: of this machine.
            looks_to_come: how often a case will be segmented before training begins.

        Raises:
            InputError: if there is too little time.
        """
        looking_seconds = (pace.looks + looks_to_come) * pace.look_seconds
        steps = planned_steps(
            self.options.minutes,
            used_seconds=time.monotonic() - self.began + looking_seconds,
            step_seconds=(FOLDS + 1) * pace.step_seconds,
            new_task=self.new_task,
        )
        return {"steps": steps, "mixed_precision": pace.mixed_precision}

    def _gate(self, parts: Parts, checked: list[LabeledCase]) -> dict[str, Any]:
        """Train what is left of the parts; judge and write the candidate."""
        scores = parts.tune_folds()
        steps = best_setting(scores, parts.mixes).steps
        tuned = parts.tune_all(steps)
        self.progress(Stage.GATE, 0.95, "what was forgotten")
        forgetting = parts.trial().forgetting(checked, tuned, parts.mixes)
        gate = {
            "name": self.name,
            "date": date.today().isoformat(),
            "base": {"name": self.base.card.name, "sha256": self.base.card.sha256},
            "new_task": self.new_task,
            **judge(scores, forgetting, self.scheme.region_names, self.known),
        }
        weights = mixed(self.start.network.state_dict(), tuned, gate["mix"])
        save_candidate(
            self.folder / "model", self.start.card, weights, gate, self.scans, parts.config
        )
        write_json(self.folder / "gate.json", gate)
        self.progress(Stage.DONE, 1.0, f"{gate['verdict']}: {gate['reason']}")
        return gate


def _is_run(folder: Path) -> bool:
    """Whether an older version has run here, or Slicer has asked for a run and nothing else."""
    try:
        if (folder / "run.json").is_file():
            return "cases" in read_json(folder / "run.json")["given"]
        asked = read_json(folder / "request.json")
        return set(asked) == {"base", "name", "minutes", "device"} and all(
            path.name in ("request.json", ".lock") for path in folder.iterdir()
        )
    except (OSError, ValueError, LookupError, TypeError):
        return False


def _whole_gate(folder: Path) -> dict[str, Any]:
    """What ``gate.json`` holds, if a table can be made of it.

    Raises:
        InputError: if it is damaged.
    """
    gate = read_gate(folder)
    try:
        format_table(gate)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{folder / 'gate.json'}: is damaged: it holds no table of results; delete it, and "
            "give the command of the run again"
        ) from error
    return gate
