"""The settings of a training run, and the presets by name."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

from ..contract.labels import TARGETS, label_scheme
from ..contract.model_card import FirstLook
from ..contract.network_config import NetworkConfig
from ..core.serialization import settings_to_dict
from .losses import LOSSES
from .patches.settings import AugmentationConfig, SamplingConfig

# Larger values are typing errors: such a run would never end, or learn nothing.
MAXIMUM = {
    "batch_size": 4096,
    "accumulation": 4096,
    "epochs": 10**6,
    "steps": 10**8,
    "validate_every": 10**6,
    "teach_every": 10**6,
    "learning_rate": 10.0,
    "early_rate": 1000.0,
}


@dataclass(frozen=True)
class TrainingConfig:
    """How a model is trained. The defaults are the paper's recipe for BraTS.

    Where the paper gives no number, the default is that of the authors' code.

    Args:
        network: the network; ``modalities`` and ``outputs`` are set from the task.
        augmentation: how patches vary.
        first_look: the model that looks first (the finder). The trained model then looks only
            where the finder finds something; sampling and validation use its predictions.
        sampling: where patches are taken if a model looks first.
        modalities: input modalities, in order.
        scheme: label scheme: a name, a JSON file, or JSON.
        targets: ``"labels"`` (exclusive classes) or ``"regions"`` (nested regions).
        loss: ``"cross_entropy"``, ``"dice"`` or ``"dice_cross_entropy"``.
        cross_entropy_weight: weight of the cross-entropy relative to the Dice loss.
        teacher_weight: weight of the segmentation loss of the multi-scale fusion's own heads.
        distillation_weight: lambda of eq. 6; 0 turns self-distillation off.
        teach_every: use the teacher every n-th step; this more than doubles the time of a step.
        spacing_mm: working spacing (depth, height, width).
        patch_size: of the training patches (depth, height, width).
        batch_size: patches per process and forward pass.
        accumulation: forward passes per step.
        epochs: passes over the training cases.
        steps: optimizer steps, overriding ``epochs``; 0 computes them from the epochs.
        learning_rate: peak learning rate.
        warm_up: fraction of the run in which the learning rate rises from 0.
        decay_power: exponent of the polynomial decay after the warm-up.
        teacher_start: fraction of the run, from its start, in which only the teacher learns: a
            new teacher has nothing to teach to trained weights.
        early_stages: number of first encoder stages with their own learning rate.
        early_rate: their learning rate relative to the others; 0 freezes them.
        weight_decay: of the optimizer.
        decoupled_weight_decay: AdamW instead of Adam with AMSGrad.
        gradient_clip: largest norm of the gradient; 0 turns clipping off.
        average_decay: of the exponential moving average of the weights; 0 turns averaging off.
        mixed_precision: bfloat16 where the device has it.
        seed: of all random numbers.
        validate_every: epochs between validations on whole volumes.

    Raises:
        ValueError: if values are out of range.
    """

    network: NetworkConfig = field(default_factory=NetworkConfig)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    first_look: FirstLook = field(default_factory=FirstLook)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    modalities: tuple[str, ...] = ("t1", "t1ce", "t2", "flair")
    scheme: str = "brats"
    targets: str = "labels"
    loss: str = "cross_entropy"
    cross_entropy_weight: float = 1.0
    teacher_weight: float = 0.5
    distillation_weight: float = 0.3
    teach_every: int = 1
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)
    patch_size: tuple[int, int, int] = (128, 128, 128)
    batch_size: int = 4
    accumulation: int = 1
    epochs: int = 1000
    steps: int = 0
    learning_rate: float = 2e-4
    warm_up: float = 0.0
    decay_power: float = 0.9
    teacher_start: float = 0.0
    early_stages: int = 0
    early_rate: float = 1.0
    weight_decay: float = 1e-5
    decoupled_weight_decay: bool = False
    gradient_clip: float = 0.0
    average_decay: float = 0.0
    mixed_precision: bool = True
    seed: int = 1000
    validate_every: int = 10

    def __post_init__(self) -> None:
        positive = (
            "batch_size",
            "accumulation",
            "epochs",
            "validate_every",
            "learning_rate",
            "teach_every",
        )
        for name in positive:
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")
        not_negative = (
            "cross_entropy_weight",
            "teacher_weight",
            "distillation_weight",
            "decay_power",
            "weight_decay",
            "gradient_clip",
            "steps",
            "early_stages",
            "early_rate",
        )
        for name in not_negative:
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must not be negative: {getattr(self, name)}")
        for name, most in MAXIMUM.items():
            if getattr(self, name) > most:
                raise ValueError(f"{name} must be at most {most:g}, not {getattr(self, name):g}")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed must lie in [0, 2^32), not {self.seed}")
        for name in ("warm_up", "average_decay", "teacher_start"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must lie in [0, 1), not {getattr(self, name)}")
        for name in ("spacing_mm", "patch_size"):
            value = getattr(self, name)
            if len(value) != 3 or not all(0 < length < math.inf for length in value):
                raise ValueError(f"{name} must be three positive numbers, not {value}")
        if self.early_stages > len(self.network.channels):
            raise ValueError(f"the encoder has only {len(self.network.channels)} stages")
        if self.teacher_start and self.network.fusion != "local":
            raise ValueError("teacher_start needs a teacher: set network.fusion to local")
        for name, choices in (("targets", TARGETS), ("loss", LOSSES)):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}")
        if not self.modalities or len(set(self.modalities)) < len(self.modalities):
            raise ValueError(f"modalities must be one or more different ones: {self.modalities}")
        self._check_patches()

    def _check_patches(self) -> None:
        """Check that patches can be made with these settings.

        Raises:
            ValueError: if they cannot.
        """
        varied, names = self.augmentation, self.modalities
        t1ce = names[:2] == ("t1", "t1ce") and self.scheme.startswith("brats")
        for name in ("enhancement_dropout", "shift_probability"):
            if getattr(varied, name) and not t1ce:
                raise ValueError(f"{name} is for BraTS labels, with t1 and t1ce first")
        if varied.modality_dropout and len(names) == 1:
            raise ValueError("modality_dropout would leave nothing of a single modality")
        if varied.dropout_weights and len(varied.dropout_weights) != len(names):
            raise ValueError(f"dropout_weights must be {len(names)} numbers, one a modality")
        if not self.first_look.model:
            return
        if varied.enhancement_dropout or varied.tumor_probability:
            raise ValueError(
                "enhancement_dropout and tumor_probability are not for a training with first_look; "
                "sampling says where its patches are"
            )
        if min(self.patch_size) < 8:
            raise ValueError("patch_size must be at least 8 voxels in a training with first_look")
        if varied.modality_dropout + self.sampling.late_dropout > 1:
            raise ValueError("modality_dropout and late_dropout must not add up to more than 1")
        if len(names) == 1 and self.sampling.late_dropout:
            raise ValueError("late_dropout would leave nothing of a single modality")

    def as_dict(self) -> dict[str, Any]:
        """The settings in plain JSON types."""
        return settings_to_dict(self)

    def network_for_task(self) -> NetworkConfig:
        """The network's settings with the number of inputs and outputs of the task."""
        return replace(
            self.network,
            modalities=len(self.modalities),
            outputs=label_scheme(self.scheme).outputs(self.targets),
        )

    def samples_per_step(self, processes: int) -> int:
        """Number of patches per optimizer step."""
        return self.batch_size * self.accumulation * processes

    def steps_for(self, cases: int, processes: int) -> int:
        """Number of optimizer steps in the whole run."""
        return self.steps or max(1, self.epochs * cases // self.samples_per_step(processes))

    def learning_rate_at(self, step: int, steps: int) -> float:
        """Learning rate of a step (from 0): linear warm-up, then poly decay."""
        rising = round(self.warm_up * steps)
        if step < rising:
            return self.learning_rate * (step + 1) / rising
        return self.learning_rate * (1 - (step - rising) / (steps - rising)) ** self.decay_power
