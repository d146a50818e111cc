"""Settings of patch sampling and augmentation."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ...core.serialization import many


@dataclass(frozen=True)
class AugmentationConfig:
    """Settings of the augmentation. The defaults are the paper's for BraTS.

    Args:
        flip_probability: of a mirror image, along each axis.
        affine_probability: of a rotation and scaling.
        rotation_degrees: largest angle about each axis.
        scaling: largest relative change of size.
        tumor_probability: of centering a patch on a voxel of a random label, instead of anywhere.
        intensity_shift: largest shift of a modality, in standard deviations of the brain.
        intensity_scale: largest relative change of a modality's contrast.
        gamma_probability: of a random gamma transform, per modality.
        gamma: its largest exponent; the smallest is the inverse.
        noise_probability: of Gaussian noise.
        noise: its largest standard deviation, in those of the brain.
        blur_probability: of half the resolution along one axis, per modality.
        bias_probability: of a bias field, as of a surface coil, per modality.
        bias: standard deviation of the logarithm of the strongest field.
        shift_probability: of a T1ce shifted against the other scans, as by poor registration.
        shift_mm: largest such shift along each axis.
        rim_probability: of a brain that fades at its edge, like scans resampled after
            skull-stripping.
        enhancement_dropout: probability that a BraTS case is shown as if its tumor did not
            enhance.
        modality_dropout: probability that one modality is missing.
        dropout_weights: relative frequency with which each modality is dropped; by default equal.

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
    bias_probability: float = 0.0
    bias: float = 0.35
    shift_probability: float = 0.0
    shift_mm: float = 2.0
    rim_probability: float = 0.0
    enhancement_dropout: float = 0.0
    modality_dropout: float = 0.0
    dropout_weights: tuple[float, ...] = many(float)

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            values = value if isinstance(value, tuple) else (value,)
            if not all(0 <= one < math.inf for one in values):
                raise ValueError(f"{name} must not be negative: {value}")
            if isinstance(value, tuple):
                continue
            if name.endswith(("_probability", "_dropout")) and value > 1:
                raise ValueError(f"{name} must lie in [0, 1], not {value}")
        if self.gamma < 1:
            raise ValueError(f"gamma must be at least 1, not {self.gamma}")
        if self.dropout_weights and not sum(self.dropout_weights):
            raise ValueError("dropout_weights must not all be 0")
        if self.scaling >= 1:
            raise ValueError(f"scaling must be less than 1, not {self.scaling}")


@dataclass(frozen=True)
class SamplingConfig:
    """Where patches are taken in the training of the second look.

    The patches that ``tumor`` and ``errors`` leave are taken anywhere in the brain.

    Args:
        tumor: fraction of patches centered on a voxel of a random label.
        errors: fraction centered on a voxel where the first look disagrees with the reference.
        jitter: largest random shift of a patch around the tumor along each axis, in voxels.
        pasted: fraction of patches into which, if tumor-free, another case's tumor is pasted.
        crops: fraction of batches made of lesion crops, if there are any.
        crop_spacing_mm: of the lesion crops, along the axes (x, y, z) that their file has.
        late_dropout: added to the probability of a missing modality in the second half of the run.

    Raises:
        ValueError: if values are out of range.
    """

    tumor: float = 0.75
    errors: float = 0.15
    jitter: float = 12.0
    pasted: float = 0.2
    crops: float = 0.35
    crop_spacing_mm: tuple[float, float, float] = (1.875, 1.875, 1.211)
    late_dropout: float = 0.0

    def __post_init__(self) -> None:
        for name in ("tumor", "errors", "pasted", "crops", "late_dropout"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in [0, 1], not {getattr(self, name)}")
        if self.tumor + self.errors > 1 + 1e-9:
            raise ValueError("tumor and errors must not add up to more than 1")
        if not 0 <= self.jitter < math.inf:
            raise ValueError(f"jitter must not be negative: {self.jitter}")
        spacing = self.crop_spacing_mm
        if len(spacing) != 3 or not all(0 < length < 100 for length in spacing):
            raise ValueError(f"crop_spacing_mm must be three lengths under 100 mm, not {spacing}")
