"""Random patches of a case, with augmentation.

Everything runs on the device of its tensors, and draws from the generator it is given, so that
training can be repeated and resumed exactly.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from .chance import uniform
from .contrast import change_contrast
from .cutting import cut_patch
from .settings import AugmentationConfig

_NCR, _ET = 1, 3  # class numbers of BraTS


def random_patch(
    volume: Tensor,
    classes: Tensor,
    size: tuple[int, int, int],
    spacing_mm: tuple[float, ...],
    config: AugmentationConfig,
    generator: Generator,
) -> tuple[Tensor, Tensor]:
    """A random patch of a case, randomly mirrored, rotated, scaled and changed in contrast.

    Args:
        volume: (modalities, D, H, W) float32, 0 outside the brain.
        classes: (D, H, W) class numbers.
        size: of the patch; where the case is shorter, it is padded with background.
        spacing_mm: of the voxels (depth, height, width); rotations are rotations in space.
        config: settings of the augmentation.
        generator: on the device of the tensors.

    Returns:
        Patch (modalities, *size) and its classes (*size).
    """
    if uniform(generator) < config.enhancement_dropout:
        volume, classes = remove_enhancement(volume, classes)
    center = _random_center(classes, size, config, generator)
    volume, classes = cut_patch(volume, classes, size, center, spacing_mm, config, generator)
    return change_contrast(volume, spacing_mm, config, generator), classes


def remove_enhancement(volume: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """A BraTS case as if its tumor did not enhance; real ones are rare, and hard to segment.

    In and around the core, T1ce is replaced by T1, scaled to the contrast of T1ce outside the
    tumor, so that vessels keep their brightness. ET becomes non-enhancing core.

    Args:
        volume: (modalities, D, H, W), of which the first are T1 and T1ce; 0 outside the brain.
        classes: (D, H, W): 1 NCR, 2 ED, 3 ET.
    """
    t1, t1ce = volume[0], volume[1]
    healthy = (classes == 0) & (t1 != 0) & (t1ce != 0)
    if not (classes == _ET).any() or healthy.sum() < 2:
        return volume, classes
    deviation, mean = torch.std_mean(t1[healthy])
    wanted_deviation, wanted_mean = torch.std_mean(t1ce[healthy])
    matched = (t1 - mean) / (deviation + 1e-6) * wanted_deviation + wanted_mean
    core = ((classes == _NCR) | (classes == _ET)).float()[None]
    around = F.max_pool3d(core, kernel_size=5, stride=1, padding=2)
    weight = F.avg_pool3d(around, kernel_size=5, stride=1, padding=2)[0]  # no visible seam
    brain = t1ce != 0
    changed = torch.lerp(t1ce, matched, weight)
    # Z-score again, since the bright rim contributed to the brain's mean and deviation.
    deviation, mean = torch.std_mean(changed[brain])
    volume = volume.clone()
    volume[1] = torch.where(brain, (changed - mean) / (deviation + 1e-6), 0)
    return volume, torch.where(classes == _ET, _NCR, classes).to(classes.dtype)


def _random_center(
    classes: Tensor, size: tuple[int, int, int], config: AugmentationConfig, generator: Generator
) -> list[int]:
    """Center of a patch: a voxel of a random label, or any place where the patch lies inside."""
    if uniform(generator) < config.tumor_probability:
        labels = classes[classes > 0].unique()
        if len(labels):
            label = labels[int(uniform(generator) * len(labels))]
            places = (classes == label).nonzero()
            return places[int(uniform(generator) * len(places))].tolist()
    center = []
    for length, wanted in zip(classes.shape, size):
        spare = length - wanted
        # A case that is shorter than the patch is placed anywhere in it.
        start = math.floor(uniform(generator) * (abs(spare) + 1)) * (1 if spare > 0 else -1)
        center.append(start + wanted // 2)
    return center
