"""Cutting patches from a case, with random rotation, scaling and mirroring."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from .chance import uniform
from .settings import AugmentationConfig


def cut_patch(
    volume: Tensor,
    classes: Tensor,
    size: tuple[int, int, int],
    center: list[int],
    spacing_mm: tuple[float, ...],
    config: AugmentationConfig,
    generator: Generator,
) -> tuple[Tensor, Tensor]:
    """A patch around a voxel, randomly rotated and scaled (in one interpolation) and mirrored.

    Args:
        volume: (modalities, D, H, W) float32 or float16, 0 outside the brain.
        classes: (D, H, W) class numbers.
        size: of the patch; padded with 0 beyond the ends of the case.
        center: its middle voxel.
        spacing_mm: of the voxels (depth, height, width).
        config: settings of the augmentation.
        generator: on the device of the tensors.

    Returns:
        Patch (modalities, *size) float32, with unchanged intensities, and its classes (*size).
    """
    if uniform(generator) < config.affine_probability:
        volume, classes = _affine_patch(
            volume, classes, size, center, spacing_mm, config, generator
        )
    else:
        volume = crop(volume, size, center).float()
        classes = crop(classes, size, center)
    return mirrored(volume, classes, config, generator)


def mirrored(
    volume: Tensor, classes: Tensor, config: AugmentationConfig, generator: Generator
) -> tuple[Tensor, Tensor]:
    """A patch (modalities, D, H, W) and its classes (D, H, W), randomly mirrored per axis."""
    flipped = [axis for axis in (-3, -2, -1) if uniform(generator) < config.flip_probability]
    return volume.flip(flipped), classes.flip(flipped)


def crop(x: Tensor, size: tuple[int, int, int], center: list[int]) -> Tensor:
    """Patch of x (..., D, H, W) around a voxel; 0 beyond the ends."""
    padding = []
    for length, wanted, middle in zip(x.shape[-3:], size, center):
        start = middle - wanted // 2
        padding.append((-start, start + wanted - length))  # negative padding crops
    return F.pad(x, [end for pair in reversed(padding) for end in pair])


def _affine_patch(
    volume: Tensor,
    classes: Tensor,
    size: tuple[int, int, int],
    center: list[int],
    spacing_mm: tuple[float, ...],
    config: AugmentationConfig,
    generator: Generator,
) -> tuple[Tensor, Tensor]:
    """:func:`crop` of the case rotated and scaled about the voxel."""
    limit = math.radians(config.rotation_degrees)
    matrix = torch.eye(3)
    for first, second in ((0, 1), (0, 2), (1, 2)):
        angle = uniform(generator, -limit, limit)
        turn = torch.eye(3)
        turn[first, first] = turn[second, second] = math.cos(angle)
        turn[first, second], turn[second, first] = -math.sin(angle), math.sin(angle)
        matrix = turn @ matrix
    matrix *= 1 + uniform(generator, -config.scaling, config.scaling)
    spacing = torch.tensor(spacing_mm[::-1])
    matrix = matrix * spacing / spacing[:, None]  # from mm to voxel coordinates
    wanted = torch.tensor(size[::-1], dtype=torch.float32)
    # Interpolate only in the block around the patch, since most cases are far larger.
    depth, height, width = ((matrix.abs() @ wanted / 2).ceil().int() * 2 + 3).tolist()[::-1]
    block = (depth, height, width)
    volume, classes = crop(volume, block, center).float(), crop(classes, block, center)
    # grid_sample wants coordinates of -1..1 in the order (width, height, depth).
    lengths = torch.tensor(block[::-1], dtype=torch.float32)
    theta = torch.zeros(3, 4)
    theta[:, :3] = matrix * wanted / lengths[:, None]
    middle = torch.tensor([n // 2 for n in block[::-1]]) + 0.5 * (wanted % 2)
    theta[:, 3] = 2 * middle / lengths - 1
    grid = F.affine_grid(theta[None].to(volume), [1, 1, *size], align_corners=False)
    patch = F.grid_sample(volume[None], grid, align_corners=False)[0]
    # A voxel between brain and background becomes background, as in preprocessing.
    inside = F.grid_sample((volume != 0)[None].float(), grid, align_corners=False)[0] >= 0.5
    labels = F.grid_sample(classes[None, None].float(), grid, mode="nearest", align_corners=False)
    return patch * inside, labels[0, 0].to(classes.dtype)
