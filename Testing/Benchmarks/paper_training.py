"""Trains a run of the paper's tables, scores it on the held-out cases, and keeps both.

All runs of a task have the same cases, order, patches, augmentation, loss, rate and steps; what is
scored are the averaged weights after the last step, not the best ones.
"""

from __future__ import annotations

import tempfile
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
import torch.nn.functional as F
from networks import AnySize, peer, peer_model
from paper_chaos import chaos_cases, chaos_scores, chaos_split
from paper_results import Result, read_result, result_path
from paper_rows import BRATS, CHAOS, Run
from torch import Tensor, nn

from MISSUCore.contract.labels import label_scheme
from MISSUCore.contract.model_card import ModelCard
from MISSUCore.contract.network_config import NetworkConfig
from MISSUCore.contract.options import SegmentationOptions
from MISSUCore.core.errors import InputError
from MISSUCore.core.events import Progress
from MISSUCore.evaluation.metrics import accuracy, dice, hausdorff
from MISSUCore.inference.predictor import Predictor
from MISSUCore.inference.segmentation import Prediction, restored
from MISSUCore.io.reading import read_image
from MISSUCore.network.transunet import SelfDistillingTransUNet, TrainingOutput
from MISSUCore.preprocessing.working_grid import prepare
from MISSUCore.training.cases.labeled import LabeledCase
from MISSUCore.training.cases.labels import read_labels
from MISSUCore.training.config import TrainingConfig
from MISSUCore.training.datasets import PreparedCases
from MISSUCore.training.losses import LossTerms, SegmentationLoss
from MISSUCore.training.presets import training_config
from MISSUCore.training.trainer import Trainer

T1CE = 1  # index among the modalities of BraTS
# For soft labels; the paper gives neither value.
SOFT_WEIGHT, TEMPERATURE = 0.75, 5.0
TIMED_STEPS = 8
# What a budget changes, by task: preset, settings.
_SMALL_LIVER = {
    "network.normalization": "instance",
    "targets": "regions",
    "loss": "dice_cross_entropy",
    "spacing_mm": "[7.7, 5, 5]",
    "patch_size": "[32, 64, 64]",
    "batch_size": "1",
    "learning_rate": "1e-3",
    "warm_up": "0.05",
    "weight_decay": "1e-2",
    "decoupled_weight_decay": "true",
    "gradient_clip": "1.0",
    "average_decay": "0.99",
    "augmentation.flip_probability": "0",
}
_AT_1_MM = {
    "spacing_mm": "[1, 1, 1]",
    "patch_size": "[96, 96, 96]",
    "augmentation.tumor_probability": "0.33",
}
BUDGETS: dict[str, dict[str, tuple[str, dict[str, str]]]] = {
    "small": {BRATS: ("brats-fast", {}), CHAOS: ("paper-chaos", _SMALL_LIVER)},
    "1mm": {BRATS: ("brats-fast", _AT_1_MM)},
    "paper": {BRATS: ("paper-brats", {}), CHAOS: ("paper-chaos", {})},
}


@dataclass(frozen=True)
class Task:
    """The data and device with which all runs are trained and tested.

    Attributes:
        name: ``"brats"`` or ``"chaos"``.
        budget: one of ``BUDGETS``.
        modalities: modalities of the cases.
        training: training cases.
        testing: held-out cases.
        folder: folder of all its runs.
        device: device to compute on.
    """

    name: str
    budget: str
    modalities: tuple[str, ...]
    training: list[LabeledCase]
    testing: list[LabeledCase]
    folder: Path
    device: str = "cpu"

    def config(self, run: Run, seed: int, steps: int) -> TrainingConfig:
        """Settings of a run; 0 steps are those of the budget's epochs."""
        preset, changes = BUDGETS[self.budget][self.name]
        given = {**changes, **run.settings, "seed": str(seed)}
        if run.peer and changes is _SMALL_LIVER:
            # They halve once more, and PyTorch's gradient of a convolution of two slices in
            # bfloat16 was now and then infinite on a CPU.
            given["mixed_precision"] = "false"
        config = replace(training_config(preset, given), modalities=self.modalities)
        steps = steps or config.steps_for(len(self.training), 1)
        return replace(config, steps=steps, epochs=1, validate_every=1)


def chaos_task(data: Path, output: Path, budget: str, device: str = "cpu") -> Task:
    """Segmentation of the liver in CHAOS: 15 training cases and 5 test cases."""
    folder = output / f"{CHAOS}-{budget}"
    cases, modalities = chaos_cases(data, folder / "liver")
    return Task(CHAOS, budget, modalities, *chaos_split(cases), folder, device)


class PeerTrainer(Trainer):
    """Trains another network, as if it were MISSU's without a teacher."""

    run_of_row = Run("")
    teacher_network: nn.Module | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.teacher_network is not None:
            self.loss = SoftLabelLoss(self.loss.segmentation)  # type: ignore[assignment]

    def new_model(self, config: NetworkConfig) -> SelfDistillingTransUNet:
        """The other network, as MISSU's trainer wants it."""
        name, size = self.run_of_row.peer, self.config.patch_size
        if self.teacher_network is None:
            return peer_model(name, config, size)
        student = OneModality(peer(name, config.outputs, size, modalities=1))
        return TaughtByAnother(student, self.teacher_network)


class OneModality(nn.Module):
    """A network that sees T1ce alone, although it is given all modalities."""

    def __init__(self, network: AnySize) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x[:, T1CE : T1CE + 1])


class TaughtByAnother(SelfDistillingTransUNet):
    """KD-Net (Hu et al. 2020): a network of all modalities, trained before, teaches one of T1ce."""

    def __init__(self, student: OneModality, teacher: nn.Module) -> None:
        nn.Module.__init__(self)
        self.network = student  # type: ignore[assignment]
        self.teacher = self.teacher_heads = None
        # In a list, since it does not learn and is no part of what is saved.
        self.frozen = [teacher.eval()]

    def forward(self, x: Tensor) -> TrainingOutput:
        """Logits, and those of the teacher, which see the same patch."""
        with torch.no_grad():
            taught = self.frozen[0](x)
        return TrainingOutput(self.network(x), [], [], [taught])


class SoftLabelLoss(nn.Module):
    """(1 - w) of the segmentation's loss, w of how far the answers are from the teacher's.

    The distance is the cross-entropy at temperature T, times T^2 (Hinton et al. 2015). KD-Net's
    second term, between the deepest features, is not here: the paper does not tell of it.
    """

    def __init__(self, segmentation: SegmentationLoss) -> None:
        super().__init__()
        self.segmentation = segmentation

    def forward(self, output: TrainingOutput, classes: Tensor) -> LossTerms:
        own = self.segmentation(output.logits, classes)
        (taught,) = output.fused_logits
        student, teacher = output.logits.float() / TEMPERATURE, taught.float() / TEMPERATURE
        if self.segmentation.targets == "regions":
            soft = F.binary_cross_entropy_with_logits(student, teacher.sigmoid())
        else:
            soft = F.cross_entropy(student, teacher.softmax(dim=1))
        soft = TEMPERATURE**2 * soft
        return LossTerms(
            (1 - SOFT_WEIGHT) * own + SOFT_WEIGHT * soft, own, torch.zeros_like(own), soft
        )


def new_trainer(task: Task, run: Run, seed: int, steps: int, folder: Path) -> Trainer:
    """The trainer of a run, at its first step."""
    config = task.config(run, seed, steps)
    scheme = label_scheme(config.scheme)
    training, nothing = (
        PreparedCases(cases, config.modalities, scheme, config.spacing_mm, task.folder / "prepared")
        for cases in (task.training, [])
    )
    folder.mkdir(parents=True, exist_ok=True)
    kind = Trainer
    if run.peer:
        taught = trained_network(task, run.teacher, seed, steps) if run.teacher else None
        facts = {"run_of_row": run, "teacher_network": taught}
        kind = type("RowTrainer", (PeerTrainer,), facts)
    return kind(config, training, nothing, folder, torch.device(task.device))


def trained_network(task: Task, run: Run, seed: int, steps: int) -> nn.Module:
    """The network of a run, which is trained first if it is not yet."""
    train_run(task, run, seed, steps, Progress())
    trainer = new_trainer(task, run, seed, steps, result_path(task.folder, run, seed).parent)
    trainer.resume()
    return trainer.average


def train_run(task: Task, run: Run, seed: int, steps: int, progress: Progress) -> Result:
    """Train or resume a run and score it, or return its stored result.

    Raises:
        InputError: if the stored result has other settings or cases.
    """
    path = result_path(task.folder, run, seed)
    config = task.config(run, seed, steps)
    given = {
        "settings": config.as_dict(),
        "training": [case.name for case in task.training],
        "testing": [case.name for case in task.testing],
    }
    if path.exists():
        stored = read_result(path)
        if stored.given != given:
            raise InputError(f"{path}: is of other settings or cases; give another folder")
        return stored
    trainer = new_trainer(task, run, seed, steps, path.parent)
    trainer.resume()
    trainer.report_to(progress)
    trainer.run()
    result = Result(
        given=given,
        steps=trainer.steps,
        parameters=sum(weight.numel() for weight in trainer.average.parameters()),
        seconds_per_step=trainer.seconds / trainer.steps,
        scores={case.name: scores(trainer.average, case, config, task) for case in task.testing},
    )
    result.write(path)
    return result


def steps_in(task: Task, run: Run, seed: int, core_hours: float) -> int:
    """How many steps of a run fit into so many hours of a core, by timing a few."""
    with tempfile.TemporaryDirectory() as name:
        trainer = new_trainer(task, run, seed, 1000, Path(name))
        trainer.run(until=1)  # which prepares cases, and warms up
        before = trainer.seconds
        trainer.run(until=1 + TIMED_STEPS)
    seconds = (trainer.seconds - before) / TIMED_STEPS * torch.get_num_threads()
    return max(1, round(core_hours * 3600 / seconds))


def scores(
    network: nn.Module, case: LabeledCase, config: TrainingConfig, task: Task
) -> dict[str, dict[str, float]]:
    """Metrics by region of a case, on the grid of its labels."""
    scheme = label_scheme(config.scheme)
    labels = read_labels(case, scheme)
    found = segmented(network, case, config, labels, task.device)
    spacing_mm = labels.GetSpacing()[::-1]
    predicted, expected = (
        scheme.to_regions(sitk.GetArrayViewFromImage(image)) for image in (found, labels)
    )
    result = {}
    for region, mask, truth in zip(scheme.region_names, predicted, expected):
        if task.name == CHAOS:
            told = vars(chaos_scores(mask, truth, spacing_mm))
        else:
            average_mm = hausdorff(mask, truth, spacing_mm).average_mm
            told = {"dice": dice(mask, truth), "average_hausdorff_mm": average_mm}
        result[region] = {"accuracy": accuracy(mask, truth), **told}
    return result


def segmented(
    network: nn.Module, case: LabeledCase, config: TrainingConfig, labels: sitk.Image, device: str
) -> sitk.Image:
    """Segmentation of a case by a network, postprocessed as in ``missu segment``."""
    scheme = label_scheme(config.scheme)
    images = {name: read_image(case.images[name]) for name in config.modalities}
    prepared = prepare(images, config.modalities, config.spacing_mm)
    fixed = getattr(network, "size", None) is not None
    predict = Predictor(
        deepcopy(network),
        torch.from_numpy(scheme.membership),
        config.targets,
        torch.device(device),
        config.patch_size,
        sliding=True if fixed else None,
    )
    probabilities = predict(torch.from_numpy(prepared.volume)).numpy().astype(np.float32)
    prediction = Prediction(probabilities, prepared.grid, [], {}, predict.windows, device)
    card = ModelCard(
        name="row",
        modalities=config.modalities,
        scheme=scheme.as_dict(),
        targets=config.targets,
        spacing_mm=config.spacing_mm,
    )
    return restored(prediction, card, (), labels, SegmentationOptions().cleanup).labels
