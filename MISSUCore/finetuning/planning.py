"""Planning the steps and precision with which this machine keeps a tuning's time limit."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from ..contract.options import FineTuningOptions
from ..contract.tuning.finetuning_run import TuningPlan
from ..core.events import Progress, Stage
from ..core.written import RUN_RECORD, Written
from ..inference.predictor import has_bfloat16
from .config import MINIMUM_STEPS, planned_steps
from .context import TuningContext
from .evaluator import dice_of_cases
from .folds import FOLDS, count_validation_passes, new_trainer


@dataclass(frozen=True)
class Pace:
    """The speed of this machine.

    Attributes:
        mixed_precision: whether half precision is faster.
        step_seconds: time of a training step.
        segmentation_seconds: time to segment a case.
    """

    mixed_precision: bool
    step_seconds: float
    segmentation_seconds: float


def measure_pace(context: TuningContext, options: FineTuningOptions, progress: Progress) -> Pace:
    """Measure how fast this machine trains and segments."""
    config = context.config
    progress(Stage.PREPARE, 0.0, "measuring how fast this machine is")
    precisions = [config.mixed_precision]
    if context.device.type == "cpu" and "mixed_precision" not in options.changes:
        # Few processors are faster with half precision, even of those that have it.
        precisions = [False, True] if has_bfloat16(context.device) else [False]
    seconds = {
        half: _seconds_per_step(replace(context, config=replace(config, mixed_precision=half)))
        for half in precisions
    }
    precision = min(seconds, key=lambda half: seconds[half])
    began = time.monotonic()
    dice_of_cases(context, context.start.network.state_dict(), context.cases[:1])
    return Pace(precision, seconds[precision], time.monotonic() - began)


def plan(
    context: TuningContext, pace: Pace, minutes: float, used_seconds: float, segmentations: int = 0
) -> TuningPlan:
    """Steps and precision with which this machine keeps to the time limit.

    Args:
        context: of the run.
        pace: of this machine.
        minutes: time limit for everything.
        used_seconds: how much of it has passed.
        segmentations: how many cases will be segmented before training begins.

    Raises:
        InputError: if there is too little time.
    """
    passes = count_validation_passes(len(context.judged), len(context.mixes))
    steps = planned_steps(
        minutes,
        used_seconds=used_seconds + (passes + segmentations) * pace.segmentation_seconds,
        step_seconds=(FOLDS + 1) * pace.step_seconds,
        new_task=context.new_task,
    )
    return TuningPlan(steps, pace.mixed_precision)


def _seconds_per_step(context: TuningContext) -> float:
    """Seconds per training step, measured over three steps, one of them with the teacher."""
    folder, written = context.folder / "timing", Written(context.folder, RUN_RECORD)
    written.delete("timing/*")
    timed = replace(context.config, steps=MINIMUM_STEPS, teacher_start=0.0)
    trainer = new_trainer(replace(context, config=timed), folder, context.cases)
    trainer.run(until=1)  # the first is slower
    first = trainer.seconds
    trainer.run(until=4)
    written.read()
    written.delete("timing/*")
    return (trainer.seconds - first) / 3
