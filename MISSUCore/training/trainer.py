"""The training loop: steps, validation, checkpoints; on one device, or several under torchrun."""

from __future__ import annotations

import csv
import os
import time
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from ..errors import InputError, MISSUError
from ..evaluation.metrics import dice
from ..files import atomic_write
from ..inference.predictor import Predictor
from ..network.transunet import SelfDistillingTransUNet
from ..progress import Progress
from ..regions import label_scheme
from .augmentation import random_patch
from .config import TrainingConfig
from .datasets import PreparedCases, ResumableSampler
from .losses import LossTerms, MISSULoss, SegmentationLoss

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


class Stopped(MISSUError):  # noqa: N818 - not an error
    """Training was asked to stop, and has saved where it was."""

    exit_code = 130


@dataclass
class Trainer:
    """Trains a model in a run folder, where it can be stopped and resumed at any time.

    Every random choice derives from the seed, the step and the rank, so a resumed run is the run
    that was never stopped, bit for bit on the same machine.

    Args:
        config: settings; a resumed run must have the same.
        training: cases to learn from.
        validation: cases to choose the best weights on; may be empty.
        folder: of the run: checkpoint, logs.
        device: where it computes.
        workers: processes that load cases.
        progress: hears of every step.

    Raises:
        InputError: if the folder holds a run with other settings.
    """

    config: TrainingConfig
    training: PreparedCases
    validation: PreparedCases
    folder: Path
    device: torch.device
    workers: int = 0
    progress: Progress = field(default_factory=Progress)

    def __post_init__(self) -> None:
        config = self.config
        scheme = label_scheme(config.scheme)
        self.ranks = dist.get_world_size() if dist.is_initialized() else 1
        self.rank = dist.get_rank() if self.ranks > 1 else 0
        self.samples_per_step = config.batch_size * config.accumulation * self.ranks
        self.steps = max(1, config.epochs * len(self.training) // self.samples_per_step)
        self.steps_per_validation = max(
            1, round(self.steps * config.validate_every / config.epochs)
        )
        membership = torch.from_numpy(scheme.membership)
        self.region_names = scheme.region_names
        network_config = replace(
            config.network,
            modalities=len(config.modalities),
            outputs=membership.shape[0 if config.targets == "regions" else 1],
        )
        torch.manual_seed(config.seed)
        self.model = SelfDistillingTransUNet(network_config)
        self.model.to(self.device).to(memory_format=torch.channels_last_3d)
        self.average = deepcopy(self.model.network)
        self.parallel: nn.Module = self.model
        if self.ranks > 1:
            self.parallel = DistributedDataParallel(
                nn.SyncBatchNorm.convert_sync_batchnorm(self.model)
                if self.device.type == "cuda"
                else self.model
            )
        self.loss = MISSULoss(
            SegmentationLoss(membership, config.targets, config.loss),
            config.teacher_weight,
            config.distillation_weight,
        ).to(self.device)
        self.predictor = Predictor(
            self.average, membership, config.targets, self.device, config.patch_size
        )
        if config.decoupled_weight_decay:
            self.optimizer: torch.optim.Optimizer = torch.optim.AdamW(
                self.model.parameters(), weight_decay=config.weight_decay
            )
        else:
            self.optimizer = torch.optim.Adam(
                self.model.parameters(), weight_decay=config.weight_decay, amsgrad=True
            )
        self.step = 0
        self.seconds = 0.0
        self.best_score = -1.0
        self.best: dict[str, Tensor] = {}
        self.bad_steps = 0
        self.stop_requested = False
        if self.checkpoint_path.exists():
            self._resume()

    @property
    def checkpoint_path(self) -> Path:
        """Where the run is saved."""
        return self.folder / "checkpoint.pt"

    def stop(self) -> None:
        """Ask to save and stop after the step under way; safe to call from a signal handler."""
        self.stop_requested = True

    def run(self) -> None:
        """Train to the last step.

        Raises:
            Stopped: after :meth:`stop`, once the checkpoint is written.
            MISSUError: if the loss stays not finite.
        """
        batches = iter(self._loader())
        terms = []
        while self.step < self.steps:
            began = time.monotonic()
            terms.append(self._train_step(batches))
            self.seconds += time.monotonic() - began
            self.step += 1
            if self.step % 10 == 0 or self.step == self.steps:
                self._log_step(np.mean(terms, axis=0))
                terms = []
            if self.step % self.steps_per_validation == 0 or self.step == self.steps:
                self._validate()
                self._save()
            if self._stop_agreed():
                self._save()
                raise Stopped(
                    f"stopped at step {self.step} of {self.steps}; run the same command again to "
                    "continue"
                )

    def _loader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        sampler = ResumableSampler(
            len(self.training),
            self.config.seed,
            start=self.step * self.samples_per_step,
            stop=self.steps * self.samples_per_step,
            rank=self.rank,
            ranks=self.ranks,
        )
        # One whole case at a time: patches are cut, and joined to batches, on the device.
        return DataLoader(
            self.training,
            batch_size=None,
            sampler=sampler,
            num_workers=self.workers,
            pin_memory=self.device.type == "cuda",
        )

    def _train_step(self, batches: Any) -> list[float]:
        """One step of the optimizer; returns the log's loss columns."""
        config = self.config
        self.parallel.train()
        for group in self.optimizer.param_groups:
            group["lr"] = config.learning_rate_at(self.step, self.steps)
        logged = torch.zeros(4, device=self.device)
        for turn in range(config.accumulation):
            volumes, classes = self._next_batch(batches, turn)
            last = turn == config.accumulation - 1
            synced = (
                nullcontext()
                if last or not isinstance(self.parallel, DistributedDataParallel)
                else self.parallel.no_sync()
            )
            with synced:
                terms = self._losses(volumes, classes)
                (terms.total / config.accumulation).backward()
            logged += torch.stack([term.detach() for term in terms]) / config.accumulation
        norm = nn.utils.clip_grad_norm_(
            self.model.parameters(), config.gradient_clip or float("inf")
        )
        # The norm is that of the gradient averaged over all ranks, so all of them agree.
        if torch.isfinite(norm):
            self.bad_steps = 0
            self.optimizer.step()
        else:
            self.bad_steps += 1
            if self.bad_steps == MAXIMUM_BAD_STEPS:
                raise MISSUError(
                    f"the loss was not finite in {MAXIMUM_BAD_STEPS} steps in a row; resume with "
                    "a lower learning_rate or mixed_precision=false"
                )
        self.optimizer.zero_grad(set_to_none=True)
        self._update_average()
        return [*logged.tolist(), norm.item()]

    def _losses(self, volumes: Tensor, classes: Tensor) -> LossTerms:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.mixed_precision):
            output = self.parallel(volumes)
        return self.loss(output, classes)

    def _next_batch(self, batches: Any, turn: int) -> tuple[Tensor, Tensor]:
        """Patches (B, modalities, D, H, W) and classes (B, D, H, W) on the device."""
        config = self.config
        patches = []
        for place in range(config.batch_size):
            volume, classes = next(batches)
            generator = torch.Generator(self.device)
            turns = self.step * config.accumulation + turn
            sample = (turns * config.batch_size + place) * self.ranks + self.rank
            generator.manual_seed(config.seed * 1_000_003 + sample)
            patches.append(
                random_patch(
                    volume.to(self.device, non_blocking=True),
                    classes.to(self.device, non_blocking=True),
                    config.patch_size,
                    config.spacing_mm,
                    config.augmentation,
                    generator,
                )
            )
        volumes, labels = zip(*patches)
        return (
            torch.stack(volumes).contiguous(memory_format=torch.channels_last_3d),
            torch.stack(labels),
        )

    @torch.no_grad()
    def _update_average(self) -> None:
        # Follow quickly at first, when the weights still change much.
        decay = min(self.config.average_decay, (1 + self.step) / (10 + self.step))
        current = self.model.network.state_dict().values()
        for mean, value in zip(self.average.state_dict().values(), current):
            if self.config.average_decay and mean.is_floating_point():
                mean.lerp_(value, 1 - decay)
            else:
                mean.copy_(value)

    def _validate(self) -> None:
        """Dice by region over whole volumes, at the working spacing; keeps the best weights."""
        if self.rank == 0 and len(self.validation):
            membership = self.predictor.membership.cpu()
            scores = []
            for index in range(len(self.validation)):
                volume, classes = self.validation[index]
                self.progress("validate", self.step / self.steps, self.validation.cases[index].name)
                predicted = self.predictor(volume) >= 0.5
                truth = membership[:, classes.long()]
                scores.append([dice(p.numpy(), t.numpy()) for p, t in zip(predicted, truth)])
            means = np.mean(scores, axis=0)
            self._append("validation.csv", ("step", *self.region_names), [self.step, *means])
            named = zip(self.region_names, means)
            self._report("Dice " + ", ".join(f"{name} {mean:.3f}" for name, mean in named))
            if means.mean() > self.best_score:
                self.best_score = float(means.mean())
                self.best = {
                    key: value.cpu().clone() for key, value in self.average.state_dict().items()
                }
        if self.ranks > 1:
            dist.barrier()

    def _stop_agreed(self) -> bool:
        """Whether any rank was asked to stop; all ranks must stop at the same step."""
        if self.ranks == 1:
            return self.stop_requested
        asked = torch.tensor(float(self.stop_requested), device=self.device)
        dist.all_reduce(asked)
        return bool(asked > 0)

    def _save(self) -> None:
        if self.rank > 0:
            return
        with atomic_write(self.checkpoint_path) as temporary:
            torch.save(
                {
                    "config": self.config.as_dict(),
                    "step": self.step,
                    "seconds": self.seconds,
                    "model": self.model.state_dict(),
                    "average": self.average.state_dict(),
                    "optimizer": self.optimizer.state_dict(),
                    "best_score": self.best_score,
                    "best": self.best,
                },
                temporary,
            )

    def _resume(self) -> None:
        saved = torch.load(self.checkpoint_path, map_location=self.device, weights_only=True)
        changed = {
            key for key, value in self.config.as_dict().items() if saved["config"].get(key) != value
        }
        if changed:
            raise InputError(
                f"{self.folder}: holds a run with other settings ({', '.join(sorted(changed))}); "
                "give the same settings to resume it, or another folder"
            )
        self.model.load_state_dict(saved["model"])
        self.average.load_state_dict(saved["average"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.step = saved["step"]
        self.seconds = saved["seconds"]
        self.best_score = saved["best_score"]
        self.best = saved["best"]

    def _log_step(self, terms: Any) -> None:
        rate = self.config.learning_rate_at(self.step - 1, self.steps)
        self._append("training.csv", LOG_COLUMNS, [self.step, self.seconds, rate, *terms])
        self._report(f"step {self.step} of {self.steps}, loss {terms[0]:.4f}")

    def _report(self, message: str) -> None:
        if self.rank == 0:
            self.progress("train", self.step / self.steps, message)

    def _append(self, name: str, columns: tuple[str, ...], values: list[float]) -> None:
        """Add a row to a log; rows that a kill left behind the checkpoint are replaced."""
        if self.rank > 0:
            return
        path = self.folder / name
        rows = []
        if path.exists():
            with path.open(newline="") as stream:
                rows = [row for row in csv.reader(stream) if row and row[0].isdigit()]
        rows = [row for row in rows if int(row[0]) < self.step]
        rows.append([f"{value:.6g}" for value in values])
        with atomic_write(path) as temporary, temporary.open("w", newline="") as stream:
            csv.writer(stream).writerows([list(columns), *rows])


def join_process_group(device: torch.device) -> torch.device:
    """Join the other processes if torchrun started this one; returns this process's device."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return device
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    if device.type != "cuda":
        return device
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    torch.cuda.set_device(device)
    return device
