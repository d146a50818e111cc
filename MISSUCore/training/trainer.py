"""The training loop: optimizer steps, validation and checkpoints."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..contract.labels import label_scheme
from ..contract.network_config import NetworkConfig
from ..core.errors import InputError, MISSUError, ResourceError
from ..core.events import Progress, Stage
from ..inference.predictor import fastest_layout, has_bfloat16, is_out_of_memory
from ..models.store import Model
from ..network.transunet import SelfDistillingTransUNet, TrainingOutput
from .checkpoint import Checkpoint
from .config import TrainingConfig
from .datasets import PatchBatches, PreparedCases, usable_workers
from .distributed import any_rank, data_parallel, gradients_shared, rank_in_group
from .logs import append_row, drop_rows_after, write_curves
from .losses import LossTerms
from .optimization import new_loss, new_optimizer, start_from, update_average
from .validation import Scores, groups_of, log_of, validation_scores

LOG_COLUMNS = (
    "step",
    "seconds",
    "learning_rate",
    "loss",
    "segmentation",
    "teacher",
    "distillation",
    "gradient_norm",
)
MAXIMUM_BAD_STEPS = 20
REACHED = ("step", "seconds", "best_score", "best", "unlogged")  # progress, in the checkpoint
SECONDS_BETWEEN_SAVES = 300.0  # the most that a power cut can cost


@contextmanager
def told_when_out_of_memory() -> Iterator[None]:
    """Turn PyTorch's out-of-memory errors into one that tells the user what to do.

    Raises:
        ResourceError: instead of PyTorch's own errors.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise ResourceError(
            "out of memory; set a smaller batch_size (and more accumulation) or patch_size"
        ) from error


class Stopped(MISSUError):  # noqa: N818 - not an error
    """Raised when training was asked to stop, after the checkpoint is saved."""

    exit_code = 130


@dataclass
class Trainer:
    """Trains a model in a run folder; can be stopped and resumed at any time.

    A new trainer is at step 0; :meth:`resume` restores the folder's last checkpoint.

    All random choices derive from seed, step and rank, so a resumed run equals an uninterrupted
    one: bit for bit on one CPU, but not on GPUs, which add up in no fixed order.

    Args:
        config: settings; a resumed run must have the same, and the same cases and processes.
        training: cases to learn from.
        validation: cases to choose the best weights on; may be empty.
        folder: of the run, for checkpoint and logs; all processes must see it.
        device: where it computes.
        workers: number of loader processes.
        progress: reports every step.
        start: model whose weights the run begins with, instead of random ones.

    Raises:
        InputError: if the model to start from does not fit.
    """

    config: TrainingConfig
    training: PreparedCases
    validation: PreparedCases
    folder: Path
    device: torch.device
    workers: int = 0
    progress: Progress = field(default_factory=Progress)
    start: Model | None = None

    def __post_init__(self) -> None:
        config = self.config
        scheme = label_scheme(config.scheme)
        self.membership = torch.from_numpy(scheme.membership)
        self.region_names = scheme.region_names
        self.rank, self.ranks = rank_in_group()
        if self.ranks > 1 and config.teach_every > 1:
            raise InputError("teach_every is for a single process; set it to 1")
        self.steps = config.steps_for(len(self.training), self.ranks)
        self.steps_per_validation = max(
            1, round(self.steps * config.validate_every / config.epochs)
        )
        self._make_model()
        self.loss = new_loss(self.membership, config).to(self.device)
        self.optimizer = new_optimizer(self.model, config)
        self.step = 0
        self.seconds = 0.0
        self.best_score = -1.0
        self.best: dict[str, Tensor] = {}
        self.bad_steps = 0
        self.unlogged: list[list[float]] = []  # the losses of the steps since the last row
        self.stop_requested = False
        self.saved_at = time.monotonic()

    def _make_model(self) -> None:
        config = self.config
        torch.manual_seed(config.seed)
        self.model = self.new_model(config.network_for_task())
        if self.start:
            start_from(self.start, self.model, config)
        self.model.to(self.device)
        self.layout = fastest_layout(self.model, self.device)
        self.half_precision = config.mixed_precision and has_bfloat16(self.device)
        # The annotations of Module.to do not know its memory_format.
        self.model.to(memory_format=self.layout)  # type: ignore[call-overload]
        self.average = deepcopy(self.model.network)
        self.parallel = data_parallel(self.model, self.device)

    @property
    def checkpoint_path(self) -> Path:
        """Path of the checkpoint."""
        return self.folder / "checkpoint.pt"

    def new_model(self, config: NetworkConfig) -> SelfDistillingTransUNet:
        """The network to train; a comparison with other networks overrides it."""
        return SelfDistillingTransUNet(config)

    def resume(self) -> None:
        """Restore the checkpoint in the folder, if there is one.

        Raises:
            InputError: if the folder holds a run with other settings or cases, or a damaged one.
        """
        if self.checkpoint_path.exists():
            for name, value in self._checkpoint().restore(REACHED, self.device).items():
                setattr(self, name, value)
        if self.rank == 0:
            for name in ("training.csv", "validation.csv"):
                drop_rows_after(self.folder / name, self.step)

    def report_to(self, progress: Progress) -> None:
        """Report every step to ``progress``; steps done before resuming do not count as time."""
        self.progress = progress
        if self.step:
            progress.skip(self.step / self.steps)

    def stop(self) -> None:
        """Request to save and stop after the current step; safe to call from a signal handler."""
        self.stop_requested = True

    def run(self, until: int | None = None) -> None:
        """Train to the last step, or to an earlier one, and save the run.

        Args:
            until: step to stop at; does not change the learning-rate schedule.

        Raises:
            Stopped: after :meth:`stop`, once the checkpoint is written.
            MISSUError: if the loss remains NaN or infinite.
            ResourceError: if memory runs out.
        """
        batches = iter(self._loader())
        last = self.steps if until is None else min(until, self.steps)
        while self.step < last:
            began = time.monotonic()
            with told_when_out_of_memory():
                self.unlogged.append(self._train_step(batches))
            self.seconds += time.monotonic() - began
            self.step += 1
            if self.step % 10 == 0 or self.step == last:
                self._log_step(np.mean(self.unlogged, axis=0))
                self.unlogged = []
            if self.step % self.steps_per_validation == 0 or self.step == self.steps:
                self._validate()
                self._save()
                if self.rank == 0:
                    write_curves(self.folder)
            elif self.step == last or time.monotonic() - self.saved_at > SECONDS_BETWEEN_SAVES:
                self._save()
            if any_rank(self.stop_requested, self.device):  # all stop at the same step
                self._save()
                raise Stopped(
                    f"stopped at step {self.step} of {self.steps}; run the same command again to "
                    "continue"
                )

    def _loader(self) -> Iterable[tuple[Tensor, Tensor]]:
        steps = range(self.step, self.steps)
        workers = usable_workers(self.workers, self.training, self._tell)
        return PatchBatches(self.training, self.config, steps, self.device, self.layout, workers)

    def _train_step(self, batches: Iterator[tuple[Tensor, Tensor]]) -> list[float]:
        """Do one optimizer step; returns the losses for the log."""
        config = self.config
        self.parallel.train()
        teacher_alone = self.step < config.teacher_start * self.steps
        rate = config.learning_rate_at(self.step, self.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = 0.0 if teacher_alone and group["waits"] else rate * group["rate"]
        taught = teacher_alone or self.step % config.teach_every == 0
        logged = torch.zeros(4, device=self.device)
        buffers = [buffer.clone() for buffer in self.model.buffers()]
        for turn in range(config.accumulation):
            with gradients_shared(self.parallel, now=turn == config.accumulation - 1):
                terms = self._losses(*next(batches), taught)
                (terms.total / config.accumulation).backward()
            logged += torch.stack([term.detach() for term in terms]) / config.accumulation
        norm = nn.utils.clip_grad_norm_(
            self.model.parameters(), config.gradient_clip or float("inf")
        )
        # The gradient is averaged over all ranks, so that all agree on its norm.
        if torch.isfinite(norm):
            self.bad_steps = 0
            self.optimizer.step()
        else:
            self._skip_step(buffers)
        self.optimizer.zero_grad(set_to_none=True)
        update_average(self.average, self.model.network, config.average_decay, self.step)
        return [*logged.tolist(), norm.item()]

    def _skip_step(self, buffers: list[Tensor]) -> None:
        """Leave weights and optimizer unchanged, and restore the model's buffers."""
        for buffer, before in zip(self.model.buffers(), buffers):
            buffer.copy_(before)
        self.bad_steps += 1
        if self.bad_steps == MAXIMUM_BAD_STEPS:
            raise MISSUError(
                f"the loss was not finite in {MAXIMUM_BAD_STEPS} steps in a row; start anew in "
                "another folder, with a lower learning_rate or mixed_precision=false"
            )

    def _losses(self, volumes: Tensor, classes: Tensor, taught: bool) -> LossTerms:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half_precision):
            if taught:
                output = self.parallel(volumes)
            else:
                output = TrainingOutput(self.model.network(volumes), [], [], [])
        return self.loss(output, classes)

    def _validate(self) -> None:
        """Validate the averaged weights, log their Dice, and keep them if they are the best."""
        if not len(self.validation):
            return
        row, text = log_of(self.scores(), self.region_names, groups_of(self.validation))
        self._append("validation.csv", ("step", *row), row.values())
        self._tell(f"Dice {text}")
        score = float(np.mean([row[name] for name in self.region_names]))
        if score > self.best_score:
            self.best_score = score
            weights = self.average.state_dict()
            self.best = {name: value.cpu().clone() for name, value in weights.items()}

    def scores(self) -> dict[str, Scores]:
        """Dice (cases,) of the averaged weights on the validation cases, by region."""
        scores = validation_scores(
            self.average, self.validation, self.membership, self.config, self.device, self._report
        )
        return dict(zip(self.region_names, scores.T))

    def setup(self) -> dict[str, Any]:
        """Everything besides the settings that identifies the run."""
        return {
            "training cases": [case.name for case in self.training.cases],
            "validation cases": [case.name for case in self.validation.cases],
            "validation groups": groups_of(self.validation),
            "number of processes": self.ranks,
            "model to start from": self.start.card.sha256 if self.start else None,
        }

    def _checkpoint(self) -> Checkpoint:
        return Checkpoint(
            self.checkpoint_path,
            self.config.as_dict(),
            setup=self.setup(),
            learners={"model": self.model, "average": self.average, "optimizer": self.optimizer},
        )

    def _save(self) -> None:
        self.saved_at = time.monotonic()
        if self.rank == 0:
            self._checkpoint().save({name: getattr(self, name) for name in REACHED})

    def _log_step(self, terms: Any) -> None:
        rate = self.config.learning_rate_at(self.step - 1, self.steps)
        self._append("training.csv", LOG_COLUMNS, [self.seconds, rate, *terms])
        self._tell(f"step {self.step} of {self.steps}, loss {terms[0]:.4f}")

    def _tell(self, message: str) -> None:
        self._report(Stage.TRAIN, message)

    def _report(self, stage: str, message: str) -> None:
        if self.rank == 0:
            self.progress(stage, self.step / self.steps, message)

    def _append(self, name: str, columns: Sequence[str], values: Iterable[float]) -> None:
        """Add this step's row to a log."""
        if self.rank == 0:
            append_row(self.folder / name, columns, self.step, values)
