"""Estimation and correction of the bias field, a slow change of brightness due to the coil."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from ..core.errors import InputError
from ..core.events import Progress, Stage
from ..io.geometry import image_like, shrink_factors

# The field is smooth, so voxels of about 4 mm suffice: seconds instead of minutes.
_COARSE_MM = 4.0
_ITERATIONS = (50, 50)  # control points double at the second level; more levels would fit tumors
# N4 takes logarithms: intensities are raised to at least this fraction of the brain's mean.
_DARKEST = 0.01

# To detect a field, a smooth drift of brightness is fitted to the most common tissue, in 0.1 s:
# voxels of about 6 mm, each with a weight that falls with its distance (of logarithms) from the
# fit, slowly in the first iterations, so that all tissues count.
_ESTIMATE_MM = 6.0
_SPREADS = (1.0, 0.6, 0.36, *[0.25] * 7)
_RADIUS_MM = 80.0  # keeps the powers of the position near 1
# Limits of the field's strength by the degree of the fit. In 64 scans of 16 BraTS cases, assumed to
# have no field, the estimate was at most 0.30 and 0.45, and none of 108 scans of 27 cases exceeded
# these limits; fields of 60 % along an axis did in 54 of 54, those of 30 % in 16 of 54.
# A fit of the second degree detects more kinds of fields, but also anatomy.
STRONG_FIELD = {1: 0.35, 2: 0.5}


def correct_bias_field(
    image: sitk.Image, mask: sitk.Image, progress: Progress | None = None
) -> sitk.Image:
    """The image divided by its bias field in the brain, with the mean there unchanged (float32).

    Uses N4 (Tustison et al., IEEE TMI 2010), which is deterministic. Voxels outside the mask stay
    as they are.

    Args:
        image: 3-D image.
        mask: nonzero in the brain, on the same grid.
        progress: reports the iterations.

    Raises:
        InputError: if at least half of the brain's intensities are not above 0, as after a
            z-score, when dividing by a field makes no sense.
    """
    progress = progress or Progress()
    voxels = sitk.GetArrayFromImage(image).astype(np.float32)
    brain = sitk.GetArrayViewFromImage(mask) != 0
    if not brain.any() or np.median(voxels[brain]) <= 0:
        raise InputError(
            "the bias field cannot be corrected: half of the brain or more has no intensity above "
            "0; give the scan as it was measured, not z-scored"
        )
    mean = voxels[brain].mean(dtype=np.float64)
    bright = np.maximum(voxels, np.float32(_DARKEST * mean)) * brain

    factors = shrink_factors(image, _COARSE_MM)
    part = sitk.BinShrink(image_like(brain.astype(np.float32), image), factors)
    inside = part >= 0.5
    # Dividing by the fraction of brain keeps the background from darkening the brain's edge.
    coarse = sitk.BinShrink(image_like(bright, image), factors) / sitk.Maximum(part, 1e-3)

    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations(_ITERATIONS)
    done = 0

    def report() -> None:
        nonlocal done
        done += 1
        progress(Stage.BIAS, done / sum(_ITERATIONS))

    n4.AddCommand(sitk.sitkIterationEvent, report)
    n4.Execute(coarse, inside)
    field = np.exp(sitk.GetArrayFromImage(n4.GetLogBiasFieldAsImage(image)))
    corrected = voxels[brain] / field[brain]
    voxels[brain] = corrected * (mean / corrected.mean(dtype=np.float64))
    progress(Stage.BIAS, 1.0)
    return image_like(voxels, image)


def strong_field(image: sitk.Image) -> float | None:
    """Strength of the bias field of a skull-stripped scan if it seems strong; otherwise None.

    0.5 means that the field ranges from 0.5 to 1.5 of its mean. It is a rough estimate.
    """
    logarithms, places = _coarse_logarithms(image)
    if len(logarithms) < 100:  # too small or z-scored for an estimate
        return None
    for degree, limit in STRONG_FIELD.items():
        drift = np.exp(_fitted_drift(logarithms, places, degree))
        low, high = np.percentile(drift, (2, 98))
        strength = float((high - low) / (high + low))
        if strength > limit:
            return strength
    return None


def _coarse_logarithms(image: sitk.Image) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Logarithms of intensity (N,) of coarse brain voxels, and their scaled positions (N, 3)."""
    brain = image_like((sitk.GetArrayViewFromImage(image) != 0).astype(np.float32), image)
    spacing = np.array(image.GetSpacing())
    factors = [
        min(max(1, round(_ESTIMATE_MM / step)), size)
        for step, size in zip(spacing, image.GetSize())
    ]
    part = sitk.GetArrayFromImage(sitk.BinShrink(brain, factors))
    if image.GetPixelID() != sitk.sitkFloat32:
        image = sitk.Cast(image, sitk.sitkFloat32)
    mean = sitk.GetArrayFromImage(sitk.BinShrink(image, factors))
    inside = (part > 0.75) & (mean > 0)
    places = np.argwhere(inside) * (spacing * factors)[::-1]
    places = (places - places.mean(axis=0)) / _RADIUS_MM if len(places) else places
    return np.log(mean[inside] / part[inside]).astype(np.float64), places


def _fitted_drift(
    logarithms: NDArray[np.float64], places: NDArray[np.float64], degree: int
) -> NDArray[np.float64]:
    """Polynomial of the position, fitted to the logarithms of the most common tissue."""
    powers = [np.ones(len(places)), *places.T]
    if degree == 2:
        powers += [places[:, i] * places[:, j] for i in range(3) for j in range(i, 3)]
    terms = np.stack(powers)
    drift = np.full(len(logarithms), np.median(logarithms))
    for spread in _SPREADS:
        weights = np.exp(-0.5 * ((logarithms - drift) / spread) ** 2)
        weighted = terms * weights
        drift = np.linalg.lstsq(weighted @ terms.T, weighted @ logarithms, rcond=None)[0] @ terms
    return drift
