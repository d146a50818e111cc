"""The training loop: steps, validation, checkpoints; on one device, or several under torchrun."""

from __future__ import annotations

import io
import os
import pickle
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
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

from ..contract.labels import LabelScheme, label_scheme
from ..contract.network_config import NetworkConfig
from ..core.errors import InputError, MISSUError, ResourceError
from ..core.events import Progress
from ..core.files import atomic_write
from ..evaluation.metrics import dice
from ..inference.predictor import Predictor, fastest_layout, has_bfloat16
from ..models.store import Model
from ..network.transunet import SelfDistillingTransUNet, TrainingOutput
from .augmentation import random_patch
from .config import TrainingConfig
from .curves import write_curves
from .datasets import PreparedCases, ResumableSampler
from .logs import append_row, drop_rows_after
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
SECONDS_BETWEEN_SAVES = 600.0  # what a power cut may cost


class Stopped(MISSUError):  # noqa: N818 - not an error
    """Training was asked to stop, and has saved where it was."""

    exit_code = 130


@dataclass
class Trainer:
    """Trains a model in a run folder, where it can be stopped and resumed at any time.

    Every random choice derives from the seed, the step and the rank, so a resumed run is the run
    that was never stopped: bit for bit on one CPU; GPUs add up in no fixed order.

    Args:
        config: settings; a resumed run must have the same, and the same cases and processes.
        training: cases to learn from.
        validation: cases to choose the best weights on; may be empty.
        folder: of the run: checkpoint, logs; all processes must see it.
        device: where it computes.
        workers: processes that load cases.
        progress: hears of every step.
        start: model whose weights the run begins with, instead of random ones.

    Raises:
        InputError: if the folder holds a run with other settings or cases, or a damaged one, or if
            the model to start from does not fit.
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
        self.ranks = dist.get_world_size() if dist.is_initialized() else 1
        self.rank = dist.get_rank() if self.ranks > 1 else 0
        if self.ranks > 1 and config.teach_every > 1:
            raise InputError("teach_every is for a single process; set it to 1")
        self.samples_per_step = config.batch_size * config.accumulation * self.ranks
        self.steps = config.steps or max(
            1, config.epochs * len(self.training) // self.samples_per_step
        )
        self.steps_per_validation = max(
            1, round(self.steps * config.validate_every / config.epochs)
        )
        self.membership = torch.from_numpy(scheme.membership)
        self.region_names = scheme.region_names
        network_config = replace(
            config.network,
            modalities=len(config.modalities),
            outputs=scheme.outputs(config.targets),
        )
        torch.manual_seed(config.seed)
        self.model = self.new_model(network_config)
        if self.start:
            self._load_start(self.start, scheme)
        self.model.to(self.device)
        self.layout = fastest_layout(self.model, self.device)
        self.half_precision = config.mixed_precision and has_bfloat16(self.device)
        # The annotations of Module.to do not know its memory_format.
        self.model.to(memory_format=self.layout)  # type: ignore[call-overload]
        self.average = deepcopy(self.model.network)
        self.parallel: nn.Module = self.model
        if self.ranks > 1:
            self.parallel = DistributedDataParallel(
                nn.SyncBatchNorm.convert_sync_batchnorm(self.model)
                if self.device.type == "cuda"
                else self.model
            )
        self.loss = MISSULoss(
            SegmentationLoss(self.membership, config.targets, config.loss),
            config.teacher_weight,
            config.distillation_weight,
        ).to(self.device)
        if config.decoupled_weight_decay:
            self.optimizer: torch.optim.Optimizer = torch.optim.AdamW(
                self._parameter_groups(), weight_decay=config.weight_decay
            )
        else:
            self.optimizer = torch.optim.Adam(
                self._parameter_groups(), weight_decay=config.weight_decay, amsgrad=True
            )
        self.step = 0
        self.seconds = 0.0
        self.best_score = -1.0
        self.best: dict[str, Tensor] = {}
        self.bad_steps = 0
        self.stop_requested = False
        self.saved_at = time.monotonic()
        if self.checkpoint_path.exists():
            self._resume()
        if self.rank == 0:
            for name in ("training.csv", "validation.csv"):
                drop_rows_after(self.folder / name, self.step)

    @property
    def checkpoint_path(self) -> Path:
        """Where the run is saved."""
        return self.folder / "checkpoint.pt"

    def new_model(self, config: NetworkConfig) -> SelfDistillingTransUNet:
        """The network to train; a comparison with other networks overrides it."""
        return SelfDistillingTransUNet(config)

    def report_to(self, progress: Progress) -> None:
        """Report every step there; those of an earlier run took no time now."""
        self.progress = progress
        if self.step:
            progress.skip(self.step / self.steps)

    def stop(self) -> None:
        """Ask to save and stop after the step under way; safe to call from a signal handler."""
        self.stop_requested = True

    def run(self, until: int | None = None) -> None:
        """Train to the last step, or to an earlier one; there the run is saved.

        Args:
            until: step to stop at; the learning rate is that of the whole run all the same.

        Raises:
            Stopped: after :meth:`stop`, once the checkpoint is written.
            MISSUError: if the loss stays not finite.
            ResourceError: if the memory does not suffice.
        """
        batches = iter(self._loader())
        terms = []
        last = self.steps if until is None else min(until, self.steps)
        while self.step < last:
            began = time.monotonic()
            try:
                terms.append(self._train_step(batches))
            except torch.cuda.OutOfMemoryError as error:
                raise ResourceError(
                    "out of memory; set a smaller batch_size (and more accumulation) or patch_size"
                ) from error
            self.seconds += time.monotonic() - began
            self.step += 1
            if self.step % 10 == 0 or self.step == last:
                self._log_step(np.mean(terms, axis=0))
                terms = []
            if self.step % self.steps_per_validation == 0 or self.step == self.steps:
                self._validate()
                self._save()
                if self.rank == 0:
                    write_curves(self.folder)
            elif self.step == last or time.monotonic() - self.saved_at > SECONDS_BETWEEN_SAVES:
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
        rate = config.learning_rate_at(self.step, self.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = 0.0 if self._teacher_starts and group["waits"] else rate * group["rate"]
        logged = torch.zeros(4, device=self.device)
        buffers = [buffer.clone() for buffer in self.model.buffers()]
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
            self._skip_step(buffers)
        self.optimizer.zero_grad(set_to_none=True)
        self._update_average()
        return [*logged.tolist(), norm.item()]

    def _skip_step(self, buffers: list[Tensor]) -> None:
        """Leave weights and optimizer as they were, and with these buffers the running means."""
        for buffer, before in zip(self.model.buffers(), buffers):
            buffer.copy_(before)
        self.bad_steps += 1
        if self.bad_steps == MAXIMUM_BAD_STEPS:
            raise MISSUError(
                f"the loss was not finite in {MAXIMUM_BAD_STEPS} steps in a row; start anew in "
                "another folder, with a lower learning_rate or mixed_precision=false"
            )

    def _parameter_groups(self) -> list[dict[str, Any]]:
        """The weights by how they learn: ``rate`` is a part of the learning rate, and ``waits``
        says that they stand still until the teacher has learned."""
        config, network = self.config, self.model.network
        stages = network.encoder[: config.early_stages] if config.early_stages else ()
        early = {id(weight) for stage in stages for weight in stage.parameters()}
        students = {id(weight) for weight in network.parameters()}
        groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
        for weight in self.model.parameters():
            rate = config.early_rate if id(weight) in early else 1.0
            waits = config.teacher_start > 0 and id(weight) in students
            groups.setdefault((rate, waits), []).append(weight)
        return [
            {"params": weights, "rate": rate, "waits": waits}
            for (rate, waits), weights in groups.items()
        ]

    @property
    def _teacher_starts(self) -> bool:
        """Whether only the teacher learns at this step."""
        return self.step < self.config.teacher_start * self.steps

    def _losses(self, volumes: Tensor, classes: Tensor) -> LossTerms:
        taught = self._teacher_starts or self.step % self.config.teach_every == 0
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half_precision):
            if taught:
                output = self.parallel(volumes)
            else:
                output = TrainingOutput(self.model.network(volumes), [], [], [])
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
            torch.stack(volumes).contiguous(memory_format=self.layout),
            torch.stack(labels),
        )

    @torch.no_grad()
    def _update_average(self) -> None:
        # Follow quickly at first, when the weights still change much.
        decay = min(self.config.average_decay, (1 + self.step) / (10 + self.step))
        current = self.model.network.state_dict().values()
        for mean, value in zip(self.average.state_dict().values(), current):
            if mean.is_floating_point():
                mean.lerp_(value, 1 - decay)
            else:
                mean.copy_(value)

    def _validate(self) -> None:
        """Dice by region over whole volumes, at the working spacing; keeps the best weights."""
        if not len(self.validation):
            return
        # A copy, since a predictor short of memory moves its network to the CPU.
        predictor = Predictor(
            deepcopy(self.average),
            self.membership,
            self.config.targets,
            self.device,
            self.config.patch_size,
        )
        scores = np.zeros((len(self.validation), len(self.region_names)))
        for index in range(self.rank, len(self.validation), self.ranks):
            volume, classes = self.validation[index]
            self._report("validate", self.validation.cases[index].name)
            predicted = predictor(volume) >= 0.5
            truth = self.membership[:, classes.long()]
            scores[index] = [dice(p.numpy(), t.numpy()) for p, t in zip(predicted, truth)]
        if self.ranks > 1:
            shared = torch.from_numpy(scores).to(self.device)
            dist.all_reduce(shared)  # each case is 0 in all processes but one
            scores = shared.cpu().numpy()
        means = scores.mean(axis=0)
        self._append("validation.csv", ("step", *self.region_names), means)
        named = zip(self.region_names, means)
        self._report("train", "Dice " + ", ".join(f"{name} {mean:.3f}" for name, mean in named))
        if means.mean() > self.best_score:
            self.best_score = float(means.mean())
            self.best = {
                key: value.cpu().clone() for key, value in self.average.state_dict().items()
            }

    def _stop_agreed(self) -> bool:
        """Whether any rank was asked to stop; all ranks must stop at the same step."""
        if self.ranks == 1:
            return self.stop_requested
        asked = torch.tensor(float(self.stop_requested), device=self.device)
        dist.all_reduce(asked)
        return bool(asked > 0)

    def _setup(self) -> dict[str, Any]:
        """What a run depends on besides its settings; a change would make it another run."""
        return {
            "training cases": [case.name for case in self.training.cases],
            "validation cases": [case.name for case in self.validation.cases],
            "number of processes": self.ranks,
            "model to start from": self.start.card.sha256 if self.start else None,
        }

    def _load_start(self, start: Model, scheme: LabelScheme) -> None:
        card = start.card
        given = (card.modalities, card.label_scheme().regions, card.targets)
        wanted = (self.config.modalities, scheme.regions, self.config.targets)
        if given != wanted:
            raise InputError(f"model {card.name} segments from other modalities, or other regions")
        try:
            self.model.network.load_state_dict(start.network.state_dict())
        except RuntimeError as error:
            raise InputError(
                f"model {card.name} is a network of another shape than the settings ask for"
            ) from error

    def _save(self) -> None:
        self.saved_at = time.monotonic()
        if self.rank > 0:
            return
        content = io.BytesIO()
        torch.save(
            {
                "config": self.config.as_dict(),
                "setup": self._setup(),
                "step": self.step,
                "seconds": self.seconds,
                "model": self.model.state_dict(),
                "average": self.average.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "best_score": self.best_score,
                "best": self.best,
            },
            content,
        )
        # Not by torch.save, which does not say why a file cannot be written.
        with atomic_write(self.checkpoint_path) as temporary:
            temporary.write_bytes(content.getbuffer())

    def _resume(self) -> None:
        try:
            saved = torch.load(self.checkpoint_path, map_location=self.device, weights_only=True)
            self._check_same_run(saved)
            self.model.load_state_dict(saved["model"])
            self.average.load_state_dict(saved["average"])
            self.optimizer.load_state_dict(saved["optimizer"])
            self.step = saved["step"]
            self.seconds = saved["seconds"]
            self.best_score = saved["best_score"]
            self.best = saved["best"]
        except (
            OSError,
            RuntimeError,
            EOFError,
            LookupError,
            TypeError,
            ValueError,
            AttributeError,
            pickle.UnpicklingError,
        ) as error:
            raise InputError(
                f"{self.checkpoint_path}: is damaged, or no checkpoint of this version; move it "
                "away to start anew"
            ) from error

    def _check_same_run(self, saved: dict[str, Any]) -> None:
        given = {**self.config.as_dict(), **self._setup()}
        known = {**saved["config"], **saved["setup"]}
        changed = [key for key, value in given.items() if known.get(key) != value]
        if changed:
            raise InputError(
                f"{self.folder}: holds a run with other settings ({', '.join(changed)}); give the "
                "same to resume it, or another folder"
            )

    def _log_step(self, terms: Any) -> None:
        rate = self.config.learning_rate_at(self.step - 1, self.steps)
        self._append("training.csv", LOG_COLUMNS, [self.seconds, rate, *terms])
        self._report("train", f"step {self.step} of {self.steps}, loss {terms[0]:.4f}")

    def _report(self, stage: str, message: str) -> None:
        if self.rank == 0:
            self.progress(stage, self.step / self.steps, message)

    def _append(self, name: str, columns: Sequence[str], values: Iterable[float]) -> None:
        """Add this step's row to a log."""
        if self.rank == 0:
            append_row(self.folder / name, columns, self.step, values)


@contextmanager
def process_group(device: torch.device) -> Iterator[torch.device]:
    """Join the other processes if torchrun started this one; gives this process's device."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield device
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    yield device
    # Not after an error: then the others may never answer.
    dist.destroy_process_group()
