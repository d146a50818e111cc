"""Random patches of a case, as another scanner might have seen another patient.

Everything runs on the device of its tensors, and draws from the generator it is given, so that
training can be repeated and resumed exactly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

_NCR, _ET = 1, 3  # class numbers of BraTS


@dataclass(frozen=True)
class AugmentationConfig:
    """How patches vary. The defaults are the paper's for BraTS.

    Args:
        flip_probability: of a mirror image, along each axis.
        affine_probability: of a rotation and scaling.
        rotation_degrees: largest angle about each axis.
        scaling: largest relative change of size.
        tumor_probability: of a patch centered on a voxel of a random label, instead of anywhere.
        intensity_shift: largest shift of a modality, in standard deviations of the brain.
        intensity_scale: largest relative change of a modality's contrast.
        gamma_probability: of a modality's gray values being bent by a power.
        gamma: the largest such power; its inverse is the smallest.
        noise_probability: of Gaussian noise.
        noise: its largest standard deviation, in those of the brain.
        blur_probability: of a modality being read at half the resolution along one axis.
        rim_probability: of a brain that fades at its edge, as scans do that were resampled after
            skull-stripping.
        enhancement_dropout: probability that a BraTS case is shown as if its tumor took up no
            contrast agent.
        modality_dropout: probability that one modality is missing.

    Raises:
        ValueError: if values are out of range.
    """

    flip_probability: float = 0.5
    affine_probability: float = 0.0
    rotation_degrees: float = 15.0
    scaling: float = 0.15
    tumor_probability: float = 0.0
    intensity_shift: float = 0.1
    intensity_scale: float = 0.1
    gamma_probability: float = 0.0
    gamma: float = 1.5
    noise_probability: float = 0.0
    noise: float = 0.15
    blur_probability: float = 0.0
    rim_probability: float = 0.0
    enhancement_dropout: float = 0.0
    modality_dropout: float = 0.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 <= value < math.inf:
                raise ValueError(f"{name} must not be negative: {value}")
            if name.endswith(("_probability", "_dropout")) and value > 1:
                raise ValueError(f"{name} must lie in [0, 1], not {value}")
        if self.gamma < 1:
            raise ValueError(f"gamma must be at least 1, not {self.gamma}")
        if self.scaling >= 1:
            raise ValueError(f"scaling must be less than 1, not {self.scaling}")


def random_patch(
    volume: Tensor,
    classes: Tensor,
    size: tuple[int, int, int],
    spacing_mm: tuple[float, ...],
    config: AugmentationConfig,
    generator: Generator,
) -> tuple[Tensor, Tensor]:
    """A patch somewhere in a case, mirrored, rotated, scaled and changed in contrast.

    Args:
        volume: (modalities, D, H, W) float32, 0 outside the brain.
        classes: (D, H, W) class numbers.
        size: of the patch; where the case is shorter, it is padded with background.
        spacing_mm: of the voxels (depth, height, width); rotations are rotations in space.
        config: how it varies.
        generator: on the device of the tensors.

    Returns:
        Patch (modalities, *size) and its classes (*size).
    """
    if _uniform(generator) < config.enhancement_dropout:
        volume, classes = remove_enhancement(volume, classes)
    center = _random_center(classes, size, config, generator)
    if _uniform(generator) < config.affine_probability:
        volume, classes = _affine_patch(
            volume, classes, size, center, spacing_mm, config, generator
        )
    else:
        volume = _crop(volume, size, center)
        classes = _crop(classes, size, center)
    flipped = [axis for axis in (-3, -2, -1) if _uniform(generator) < config.flip_probability]
    volume, classes = volume.flip(flipped), classes.flip(flipped)
    return change_contrast(volume, config, generator), classes


def remove_enhancement(volume: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """A BraTS case as if its tumor took up no contrast agent: few are so, and they are hard.

    In and around the core T1ce becomes what T1 is there, at the contrast that T1ce has outside the
    tumor, so that vessels keep their brightness; what enhanced is core that does not.

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
    share = F.avg_pool3d(around, kernel_size=5, stride=1, padding=2)[0]  # no visible seam
    brain = t1ce != 0
    changed = torch.lerp(t1ce, matched, share)
    # Z-scored anew, for the bright rim has weighed in the brain's mean and deviation.
    deviation, mean = torch.std_mean(changed[brain])
    volume = volume.clone()
    volume[1] = torch.where(brain, (changed - mean) / (deviation + 1e-6), 0)
    return volume, torch.where(classes == _ET, _NCR, classes).to(classes.dtype)


def change_contrast(volume: Tensor, config: AugmentationConfig, generator: Generator) -> Tensor:
    """The intensities of another scanner: each modality by itself; the background stays 0."""
    brain = volume != 0
    if _uniform(generator) < config.rim_probability:
        volume = _fade_edge(volume, brain)
    changed = []
    for channel, inside in zip(volume, brain):
        if inside.any():
            channel = _change_modality(channel, inside, config, generator)
        changed.append(channel)
    volume = torch.stack(changed) * brain
    if _uniform(generator) < config.modality_dropout:
        volume[int(_uniform(generator) * len(volume))] = 0
    return volume


def _fade_edge(volume: Tensor, brain: Tensor) -> Tensor:
    """The brain's outermost voxels mixed with the black around it: each modality's lowest value."""
    low = volume.amin(dim=(1, 2, 3), keepdim=True)
    mixed = F.avg_pool3d((volume - low) * brain, kernel_size=3, stride=1, padding=1) + low
    edge = F.avg_pool3d(brain.float(), kernel_size=3, stride=1, padding=1) < 0.999
    return torch.where(edge & brain, mixed, volume)


def _change_modality(
    channel: Tensor, inside: Tensor, config: AugmentationConfig, generator: Generator
) -> Tensor:
    if _uniform(generator) < config.blur_probability:
        axis = int(_uniform(generator) * 3)
        coarse = [
            length if a != axis else math.ceil(length / 2) for a, length in enumerate(channel.shape)
        ]
        coarse_channel = F.interpolate(channel[None, None], coarse, mode="area")
        channel = F.interpolate(coarse_channel, channel.shape, mode="trilinear")[0, 0]
    if _uniform(generator) < config.gamma_probability:
        low, high = channel[inside].aminmax()
        power = config.gamma ** _uniform(generator, -1, 1)
        channel = low + (high - low) * ((channel - low) / (high - low + 1e-6)).clamp(0, 1) ** power
    if _uniform(generator) < config.noise_probability:
        deviation = _uniform(generator, 0, config.noise)
        noise = torch.randn(channel.shape, generator=generator, device=channel.device)
        channel = channel + deviation * noise
    scale = 1 + _uniform(generator, -config.intensity_scale, config.intensity_scale)
    return scale * channel + _uniform(generator, -config.intensity_shift, config.intensity_shift)


def _random_center(
    classes: Tensor, size: tuple[int, int, int], config: AugmentationConfig, generator: Generator
) -> list[int]:
    """Middle voxel of a patch: on a voxel of a random label, or such that the patch lies inside."""
    if _uniform(generator) < config.tumor_probability:
        labels = classes[classes > 0].unique()
        if len(labels):
            label = labels[int(_uniform(generator) * len(labels))]
            places = (classes == label).nonzero()
            return places[int(_uniform(generator) * len(places))].tolist()
    center = []
    for length, wanted in zip(classes.shape, size):
        spare = length - wanted
        # A case that is shorter than the patch lies anywhere in it.
        start = math.floor(_uniform(generator) * (abs(spare) + 1)) * (1 if spare > 0 else -1)
        center.append(start + wanted // 2)
    return center


def _crop(x: Tensor, size: tuple[int, int, int], center: list[int]) -> Tensor:
    """Patch of x (..., D, H, W) around a voxel; 0 beyond the ends."""
    padding = []
    for length, wanted, middle in zip(x.shape[-3:], size, center):
        start = middle - wanted // 2
        padding.append((-start, start + wanted - length))  # negative numbers cut off
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
    """Like :func:`_crop`, of the case rotated and scaled about the voxel."""
    limit = math.radians(config.rotation_degrees)
    matrix = torch.eye(3)
    for first, second in ((0, 1), (0, 2), (1, 2)):
        angle = _uniform(generator, -limit, limit)
        turn = torch.eye(3)
        turn[first, first] = turn[second, second] = math.cos(angle)
        turn[first, second], turn[second, first] = -math.sin(angle), math.sin(angle)
        matrix = turn @ matrix
    matrix *= 1 + _uniform(generator, -config.scaling, config.scaling)
    spacing = torch.tensor(spacing_mm[::-1])
    matrix = matrix * spacing / spacing[:, None]  # from rotating mm to rotating voxels
    # grid_sample wants coordinates of -1..1 in the order (width, height, depth).
    lengths = torch.tensor(classes.shape[::-1], dtype=torch.float32)
    wanted = torch.tensor(size[::-1], dtype=torch.float32)
    theta = torch.zeros(3, 4)
    theta[:, :3] = matrix * wanted / lengths[:, None]
    middle = torch.tensor(center[::-1], dtype=torch.float32) + 0.5 * (wanted % 2)
    theta[:, 3] = 2 * middle / lengths - 1
    grid = F.affine_grid(theta[None].to(volume), [1, 1, *size], align_corners=False)
    patch = F.grid_sample(volume[None], grid, align_corners=False)[0]
    # A voxel between brain and background is background, as where scans are prepared.
    inside = F.grid_sample((volume != 0)[None].float(), grid, align_corners=False)[0] >= 0.5
    labels = F.grid_sample(classes[None, None].float(), grid, mode="nearest", align_corners=False)
    return patch * inside, labels[0, 0].to(classes.dtype)


def _uniform(generator: Generator, low: float = 0.0, high: float = 1.0) -> float:
    draw = torch.rand((), generator=generator, device=generator.device).item()
    return low + (high - low) * draw
