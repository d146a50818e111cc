"""Patches for training the second look: around tumors, at errors of the first look, or anywhere.

Every batch depends on the seed and its number alone, so that a run can be resumed, and several
processes can make batches, with the same result.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Generator, Tensor
from torch.utils.data import DataLoader, Dataset

from ..config import TrainingConfig
from ..distributed import rank_in_group
from ..patches.chance import uniform
from ..patches.contrast import change_contrast
from ..patches.cutting import cut_patch, mirrored
from ..patches.settings import AugmentationConfig, SamplingConfig
from .cases import BRAIN, ERRORS, SeenCase, SeenCases
from .crops import LesionCrops


class Batches(Dataset[tuple[Tensor, Tensor]]):
    """Batches by number, over the whole run and all processes of a group.

    Each is a pair: patches (B, modalities, D, H, W) float32 and classes (B, D, H, W).

    Args:
        cases: that patches are cut from.
        crops: lesion crops; None if there are none.
        config: settings of the training.
        count: batches of the whole run.
    """

    def __init__(
        self, cases: SeenCases, crops: LesionCrops | None, config: TrainingConfig, count: int
    ) -> None:
        self.cases = cases
        self.crops = crops
        self.config = config
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        config, sampling = self.config, self.config.sampling
        generator = torch.Generator().manual_seed(config.seed * 1_000_003 + number)
        varied = self._augmentation(number)
        crops = self.crops
        if crops and uniform(generator) < sampling.crops:
            patches = [self._crop(crops, varied, generator) for _ in range(config.batch_size)]
        else:
            patches = [self._patch(varied, generator) for _ in range(config.batch_size)]
        volumes = [
            change_contrast(volume, config.spacing_mm, varied, generator) for volume, _ in patches
        ]
        return torch.stack(volumes), torch.stack([classes for _, classes in patches])

    def _augmentation(self, number: int) -> AugmentationConfig:
        varied, late = self.config.augmentation, self.config.sampling.late_dropout
        if 2 * number < self.count:
            return varied
        return replace(varied, modality_dropout=varied.modality_dropout + late)

    def _patch(self, varied: AugmentationConfig, generator: Generator) -> tuple[Tensor, Tensor]:
        sampling = self.config.sampling
        case = self._case(generator)
        pasted = uniform(generator) < sampling.pasted
        # Paste a tumor only into a patch without one.
        center = any_place(case, generator) if pasted else random_place(case, sampling, generator)
        volume, classes = self._cut(case, center, varied, generator)
        if not pasted or classes.any():
            return volume, classes
        donor = self._case(generator)
        place = random_place(donor, sampling, generator)
        return with_pasted_tumor(volume, classes, *self._cut(donor, place, varied, generator))

    def _case(self, generator: Generator) -> SeenCase:
        return self.cases.seen(int(uniform(generator) * len(self.cases)))

    def _cut(
        self, case: SeenCase, center: list[int], varied: AugmentationConfig, generator: Generator
    ) -> tuple[Tensor, Tensor]:
        config = self.config
        return cut_patch(
            case.volume,
            case.classes,
            config.patch_size,
            center,
            config.spacing_mm,
            varied,
            generator,
        )

    def _crop(
        self, crops: LesionCrops, varied: AugmentationConfig, generator: Generator
    ) -> tuple[Tensor, Tensor]:
        """A lesion crop, cut to a size that the network takes without padding."""
        volume, classes = crops[int(uniform(generator) * len(crops))]
        box = []
        for length in classes.shape:
            stride = self.config.network.stride
            size = max(length // stride * stride, min(length, stride))
            start = int(uniform(generator) * (length - size + 1))
            box.append(slice(start, start + size))
        z, y, x = box
        return mirrored(volume[:, z, y, x].float(), classes[z, y, x], varied, generator)


def random_place(case: SeenCase, sampling: SamplingConfig, generator: Generator) -> list[int]:
    """Random center voxel of a patch: in the tumor, at an error of the first look, or anywhere."""
    lot = uniform(generator)
    labels = case.tumor()
    if lot < sampling.tumor and labels:
        places = labels[int(uniform(generator) * len(labels))]
        place = _one_of(places, generator)
        moved = [
            voxel + round(uniform(generator, -sampling.jitter, sampling.jitter)) for voxel in place
        ]
        return [min(max(0, v), length - 1) for v, length in zip(moved, case.classes.shape)]
    if lot < sampling.tumor + sampling.errors and ERRORS in case.places:
        return _one_of(case.places[ERRORS], generator)
    return any_place(case, generator)


def any_place(case: SeenCase, generator: Generator) -> list[int]:
    """A random voxel of the brain; the middle of the case if no voxel has all modalities."""
    if BRAIN not in case.places:
        return [length // 2 for length in case.classes.shape]
    return _one_of(case.places[BRAIN], generator)


def _one_of(places: Tensor, generator: Generator) -> list[int]:
    voxel: list[int] = places[int(uniform(generator) * len(places))].tolist()
    return voxel


def with_pasted_tumor(
    volume: Tensor, classes: Tensor, donor_volume: Tensor, donor_classes: Tensor
) -> tuple[Tensor, Tensor]:
    """A tumor-free patch with the tumor of another pasted in, its border blended.

    Args:
        volume: (modalities, D, H, W), 0 outside the brain.
        classes: (D, H, W), all 0.
        donor_volume: patch of another case, of the same shape.
        donor_classes: its classes.
    """
    brain = (volume != 0).all(dim=0)
    tumor = (donor_classes > 0) & brain
    if not tumor.any():
        return volume, classes
    around = F.max_pool3d(tumor[None].float(), kernel_size=5, stride=1, padding=2)
    weight = F.avg_pool3d(around, kernel_size=5, stride=1, padding=2)[0] * brain
    # There is nothing to blend with outside the donor's brain.
    weight = weight * (donor_volume != 0)
    return torch.lerp(volume, donor_volume, weight), torch.where(tumor, donor_classes, classes)


class BatchStream:
    """Batches on the device; the next ones are prepared while a step is computed.

    Args:
        batches: of the whole run.
        steps: optimizer steps to make batches for.
        device: where they go.
        layout: memory format of the patches.
        workers: number of processes that make batches; with 0, batches are made on demand.
    """

    def __init__(
        self,
        batches: Batches,
        steps: range,
        device: torch.device,
        layout: torch.memory_format,
        workers: int,
    ) -> None:
        rank, ranks = rank_in_group()
        turns = batches.config.accumulation
        first, last = steps.start * turns, steps.stop * turns
        self.numbers = range(first * ranks + rank, last * ranks + rank, ranks)
        self.batches = batches
        self.device = device
        self.layout = layout
        self.workers = workers

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        loader = DataLoader(
            self.batches,
            batch_size=None,
            sampler=self.numbers,
            num_workers=self.workers,
            pin_memory=self.device.type == "cuda",
        )
        for volumes, classes in loader:
            moved = volumes.to(self.device, non_blocking=True)
            yield (
                moved.contiguous(memory_format=self.layout),
                classes.to(self.device, non_blocking=True),
            )
