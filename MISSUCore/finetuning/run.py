"""Fine-tuning of a model on a few of the user's own cases, in a folder, resumable.

The folder of a run holds: ``run.json``, what the run is; ``prepared`` and ``rehearsal``, cases on
the working grid and simulated ones; ``part-1`` to ``part-4``, the trainer's logs for three folds
and for the final model; ``scores.json`` and ``validation.csv``, Dice of held-out cases during the
run; ``gate.json``, table and verdict; ``model``, the candidate. Files needed only during the run
are deleted at its end. See :mod:`.acceptance` for the purpose of the folds, and :mod:`.folds` for
the parts.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

from ..contract.labels import LabelScheme
from ..contract.model_card import ModelCard
from ..contract.model_identity import ModelIdentity
from ..contract.options import FineTuningOptions
from ..contract.tuning.finetuning_run import (
    MINIMUM_CASES,
    MODEL_FOLDER,
    REQUEST_FILE,
    FineTuningRun,
    TuningPlan,
)
from ..contract.tuning.verdict import AcceptanceTest
from ..core.errors import InputError
from ..core.events import Progress, Stage
from ..core.files import NAME, check_output
from ..core.run_state import RunState, read_state, run_state
from ..core.serialization import settings_to_dict
from ..core.written import run_folder
from ..models.store import Model
from ..models.versions import OLDER_RUN, WORK
from ..training.cases.labeled import LabeledCase
from ..training.presets import changed_config
from .acceptance import accept, best_setting
from .candidate import save_candidate
from .context import TuningContext, tuning_context
from .evaluator import retention
from .folds import CrossValidation
from .given import given_facts
from .library.duplicates import scan_checksums, tuned_on
from .planning import Pace, measure_pace
from .planning import plan as plan_steps
from .rehearsal import answers_needed, rehearsal_cases
from .scores import ScoreLog
from .transfer import interpolated


def fine_tune(
    cases: Sequence[LabeledCase],
    scheme: LabelScheme,
    base: Model,
    folder: Path,
    name: str,
    options: FineTuningOptions | None = None,
    progress: Progress | None = None,
) -> AcceptanceTest:
    """Tune a model on labeled cases, test it on held-out cases, and write the candidate.

    The same call resumes a run that was stopped or killed. The base is not changed.

    Args:
        cases: of the user, three or more, all with the same modalities. Those that the base was
            already tuned on are used for training, but not for the test.
        scheme: what their label values mean; if it is not the base's, the task is new.
        base: model to start from.
        folder: of the run.
        name: of the candidate, letters, digits, dots, dashes, underscores.
        options: how.
        progress: reports every step.

    Returns:
        Table and verdict, as ``gate.json`` holds them.

    Raises:
        InputError: if something given cannot be used, or the folder holds another run.
        ResourceError: if memory or disk space runs out.
        Stopped: if the run was asked to stop.

    Examples:
        >>> from MISSUCore import BRATS, fine_tune, load_model
        >>> from MISSUCore.contract.options import FineTuningOptions
        >>> from MISSUCore.training.cases.labeled import LabeledCase
        >>> names = ("t1", "t1ce", "t2", "flair")
        >>> cases = [
        ...     LabeledCase(p.name, {n: p / f"{n}.nii.gz" for n in names}, p / "labels.nii.gz")
        ...     for p in case_folders
        ... ]
        >>> changes = {"steps": "3", "patch_size": "[16, 16, 16]"}
        >>> options = FineTuningOptions(rehearsal="none", changes=changes)
        >>> base = load_model(str(small_model))  # or "missu-brats-fast"
        >>> test = fine_tune(cases, BRATS, base, folder / "tuned", "mine", options)
        >>> test.verdict in ("better", "not better")
        True
    """
    _check_given(cases, base, name)
    check_output(folder / MODEL_FOLDER / f"{name}.json", overwrite=True)
    options = options or FineTuningOptions()
    context = tuning_context(cases, scheme, base, folder, options)
    return _FineTuning(context, name, options, progress or Progress()).run()


def _check_given(cases: Sequence[LabeledCase], base: Model, name: str) -> None:
    """Check the arguments as far as possible without reading the folder."""
    if not re.fullmatch(NAME, name):
        raise InputError(f"model name {name!r}: use letters, digits, dots, dashes, underscores")
    if len(cases) < MINIMUM_CASES:
        raise InputError(
            f"{len(cases)} cases to tune on; give {MINIMUM_CASES} or more, for some must be held "
            "out to see whether the tuned model is better"
        )
    if base.finder:
        raise InputError(
            f"model {base.card.name} looks only where {base.finder.card.name} finds something, and "
            f"cannot be tuned; tune {base.finder.card.name}"
        )


@dataclass
class _FineTuning:
    """A run of :func:`fine_tune` in its folder."""

    context: TuningContext
    name: str
    options: FineTuningOptions
    progress: Progress
    began: float = field(init=False, default_factory=time.monotonic)

    @property
    def record(self) -> FineTuningRun:
        """The record of the run in its folder."""
        return FineTuningRun(self.context.folder)

    def run(self) -> AcceptanceTest:
        """Do the whole run, or the rest of one that was stopped."""
        with run_folder(self.context.folder, _is_run, OLDER_RUN) as written:
            context = self.context
            scans = scan_checksums(context.cases, context.start.card.modalities[0])
            self.context = context = replace(context, known=_known(context.base.card, scans))
            facts = given_facts(
                self.name, context.base, context.cases, context.scheme, self.options
            )
            state = run_state(context.folder, settings_to_dict(facts))
            if self.record.has_ended():
                test = self.record.acceptance()
                self.progress(Stage.DONE, 1.0, "this run is finished already")
            else:
                checked = self._prepare(state)
                test = self._tune(checked, scans)
            written.delete(*WORK)
            return test

    def _prepare(self, state: RunState) -> list[LabeledCase]:
        """Plan and prepare the remaining work; returns the cases to check for forgetting.

        Args:
            state: of the run; if it has no plan yet, one is made and written.
        """
        context = self.context
        plan = self.record.plan(state)
        rehearsal = "none" if context.new_task else self.options.rehearsal
        pace = None
        if plan is None and not context.config.steps:
            # Plan first: a user who gave too little time should not wait for the simulation.
            pace = measure_pace(context, self.options, self.progress)
            self._planned(pace, answers_needed(rehearsal, context.base))
        rehearsed, checked = rehearsal_cases(
            rehearsal,
            context.base,
            context.folder / "rehearsal" / context.base.card.sha256[:12],
            self.progress.part(0.02, 0.05),
        )
        everything = context.prepared([*context.cases, *rehearsed, *checked])
        everything.prepare_all(self.progress.part(0.05, 0.08))
        if plan is None:
            # Refuse a user's case that is also rehearsed: both may come from the same folder.
            scan_checksums(everything.cases, context.config.modalities[0])
            plan = self._planned(pace) if pace else TuningPlan(context.config.steps)
            state.begin(context.folder, plan.to_dict())
        settings = {name: json.dumps(value) for name, value in plan.to_dict().items()}
        config = changed_config(context.config, settings)
        self.context = replace(context, rehearsed=rehearsed, config=config)
        return checked

    def _planned(self, pace: Pace, segmentations: int = 0) -> TuningPlan:
        used = time.monotonic() - self.began
        return plan_steps(self.context, pace, self.options.minutes, used, segmentations)

    def _tune(self, checked: list[LabeledCase], scans: Mapping[str, str]) -> AcceptanceTest:
        """Train the remaining parts, run the acceptance test, and write the candidate.

        Args:
            checked: cases to check for forgetting.
            scans: checksum of a scan of each case.
        """
        context = self.context
        log = ScoreLog(context.folder, context.scheme.region_names)
        parts = CrossValidation(context, log, self.progress.part(0.09, 0.95))
        scores = parts.tune_folds()
        tuned = parts.tune_all(best_setting(scores, context.mixes).steps)
        self.progress(Stage.GATE, 0.95, "what was forgotten")
        kept = retention(context, tuned, checked)
        base = context.base.card
        test = replace(
            accept(scores, kept, context.scheme.region_names, context.known),
            name=self.name,
            date=date.today().isoformat(),
            base=ModelIdentity(base.name, base.sha256),
        )
        weights = interpolated(context.start.network.state_dict(), tuned, test.mix)
        folder = context.folder / MODEL_FOLDER
        save_candidate(folder, context.start.card, weights, test, scans, context.config)
        self.record.end(test)
        self.progress(Stage.DONE, 1.0, f"{test.verdict}: {test.reason}")
        return test


def _known(card: ModelCard, scans: Mapping[str, str]) -> list[str]:
    """Names of the cases that the base was tuned on, whose scores would be too good.

    Args:
        card: of the base.
        scans: checksum of a scan of each case.

    Raises:
        InputError: if too few other cases are left.
    """
    known = tuned_on(card.history, scans)
    left = len(scans) - len(known)
    if left < MINIMUM_CASES:
        first = next(tuning for tuning in card.history if tuned_on([tuning], scans))
        raise InputError(
            f"{card.name} was tuned on {len(known)} of these {len(scans)} cases already, "
            f"so only {left} can show whether it gets better, and {MINIMUM_CASES} are needed: "
            f"tune {first.base.name} instead, which was tuned on none of them, or add more cases"
        )
    return known


def _is_run(folder: Path) -> bool:
    """Whether the folder holds a run of an older version, or only a request from Slicer."""
    run = FineTuningRun(folder)
    if run.has_begun():
        try:
            return "cases" in read_state(folder).given
        except InputError:
            return False
    names = {path.name for path in folder.iterdir()}
    return run.settings() is not None and names <= {REQUEST_FILE, ".lock"}
