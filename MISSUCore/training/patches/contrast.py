"""Intensity augmentation: patches as if they came from another scanner."""

from __future__ import annotations

import math
from itertools import accumulate

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from .chance import uniform
from .cutting import crop
from .settings import AugmentationConfig

_T1CE = 1  # its place among the modalities, where it counts


def change_contrast(
    volume: Tensor, spacing_mm: tuple[float, ...], config: AugmentationConfig, generator: Generator
) -> Tensor:
    """The patch with randomly changed intensities, per modality; the background stays 0.

    Args:
        volume: (modalities, D, H, W) float32, 0 outside the brain.
        spacing_mm: of the voxels (depth, height, width).
        config: settings of the augmentation.
        generator: on the volume's device.
    """
    # Draw no random numbers for what is turned off, so that such runs stay reproducible.
    if config.shift_probability and uniform(generator) < config.shift_probability:
        volume = _shift_t1ce(volume, spacing_mm, config.shift_mm, generator)
    brain = volume != 0
    if uniform(generator) < config.rim_probability:
        volume = _fade_edge(volume, brain)
    changed = []
    for channel, inside in zip(volume, brain):
        if inside.any():
            channel = _change_modality(channel, inside, config, generator)
        changed.append(channel)
    volume = torch.stack(changed) * brain
    if uniform(generator) < config.modality_dropout:
        volume[_random_modality(len(volume), config.dropout_weights, generator)] = 0
    return volume


def _random_modality(count: int, weights: tuple[float, ...], generator: Generator) -> int:
    """Index of a random modality, drawn with these weights; without weights, uniformly."""
    bounds = list(accumulate(weights or (1.0,) * count))
    lot = uniform(generator) * bounds[-1]
    return next(number for number, bound in enumerate(bounds) if lot < bound)


def _shift_t1ce(
    volume: Tensor, spacing_mm: tuple[float, ...], shift_mm: float, generator: Generator
) -> Tensor:
    """T1ce shifted by whole voxels along each axis; voxels left empty keep their old value."""
    most = [int(shift_mm / spacing + 1e-6) for spacing in spacing_mm]
    offsets = [math.floor(uniform(generator) * (2 * n + 1)) - n for n in most]
    t1ce = volume[_T1CE]
    middle = [n // 2 - offset for n, offset in zip(t1ce.shape, offsets)]
    depth, height, width = t1ce.shape
    moved = crop(t1ce, (depth, height, width), middle)
    volume = volume.clone()
    volume[_T1CE] = torch.where((t1ce != 0) & (moved != 0), moved, t1ce)
    return volume


def _fade_edge(volume: Tensor, brain: Tensor) -> Tensor:
    """The volume with the brain's edge voxels blended with black, each modality's lowest value."""
    low = volume.amin(dim=(1, 2, 3), keepdim=True)
    mixed = F.avg_pool3d((volume - low) * brain, kernel_size=3, stride=1, padding=1) + low
    edge = F.avg_pool3d(brain.float(), kernel_size=3, stride=1, padding=1) < 0.999
    return torch.where(edge & brain, mixed, volume)


def _change_modality(
    channel: Tensor, inside: Tensor, config: AugmentationConfig, generator: Generator
) -> Tensor:
    if config.bias_probability and uniform(generator) < config.bias_probability:
        channel = torch.where(inside, _with_bias_field(channel, config.bias, generator), channel)
    if uniform(generator) < config.blur_probability:
        axis = int(uniform(generator) * 3)
        coarse = [
            length if a != axis else math.ceil(length / 2) for a, length in enumerate(channel.shape)
        ]
        coarse_channel = F.interpolate(channel[None, None], coarse, mode="area")
        channel = F.interpolate(coarse_channel, channel.shape, mode="trilinear")[0, 0]
    if uniform(generator) < config.gamma_probability:
        low, high = channel[inside].aminmax()
        power = config.gamma ** uniform(generator, -1, 1)
        channel = low + (high - low) * ((channel - low) / (high - low + 1e-6)).clamp(0, 1) ** power
    if uniform(generator) < config.noise_probability:
        deviation = uniform(generator, 0, config.noise)
        noise = torch.randn(channel.shape, generator=generator, device=channel.device)
        channel = channel + deviation * noise
    scale = 1 + uniform(generator, -config.intensity_scale, config.intensity_scale)
    return scale * channel + uniform(generator, -config.intensity_shift, config.intensity_shift)


def _with_bias_field(channel: Tensor, bias: float, generator: Generator) -> Tensor:
    """Intensities (D, H, W) times a smooth field, the exponential of random numbers at 27 knots."""
    knots = torch.randn(1, 1, 3, 3, 3, generator=generator, device=channel.device)
    knots *= uniform(generator, 0, bias)
    field = F.interpolate(knots, channel.shape, mode="trilinear", align_corners=True)[0, 0].exp()
    # A bias field multiplies raw intensities, whose 0 lies so many deviations below the mean.
    zero = uniform(generator, 2.5, 5)
    return (channel + zero) * field - zero
