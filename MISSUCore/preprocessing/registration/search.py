"""Search for the rigid transform that maximizes the mutual information of two scans."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock

import numpy as np
import SimpleITK as sitk

from ...core.errors import InputError
from ...core.messages import a_modality
from .head import Head, Points

# Includes the surface of the head, which helps to locate it.
_AROUND_HEAD_MM = 6.0
_BINS = 32


@dataclass(frozen=True)
class Level:
    """One resolution of the search.

    Attributes:
        spacing_mm: spacing of the scans.
        points: number of points that are compared.
        step_mm: first step of the search.
        tolerance_mm: step at which the search ends.
    """

    spacing_mm: float
    points: int
    step_mm: float
    tolerance_mm: float


COARSE = Level(4.0, 8_000, 2.0, 0.05)
FINE = Level(2.0, 30_000, 0.5, 0.02)


def search(
    moving: Head,
    fixed: Head,
    start: sitk.Euler3DTransform,
    level: Level,
    seed: int,
    beyond: sitk.Transform | None = None,
) -> sitk.Euler3DTransform:
    """The transform near ``start`` that maximizes mutual information.

    Mutual information as in Mattes et al., IEEE TMI 22, 2003. Powell's method needs no gradient,
    which is unreliable between thick slices.

    Args:
        moving: the scan to be moved.
        fixed: the scan to register to; compared in its head and closely around.
        start: from the fixed scan's space to the moving scan's, before ``beyond``.
        level: resolution and steps.
        seed: seed of the points that are compared, 0 or more.
        beyond: constant transform that follows the one searched for.

    Raises:
        InputError: if the scans do not overlap at the start.
    """
    fixed_image = fixed.shrunk(level.spacing_mm)
    mask = fixed.mask_on(fixed_image, _AROUND_HEAD_MM)
    sampled = level.points / int(np.count_nonzero(sitk.GetArrayViewFromImage(mask)))
    method = _powell(level)
    method.SetMetricFixedMask(mask)
    # ITK replaces a seed of 0 by the time of day.
    method.SetMetricSamplingPercentage(min(sampled, 1.0), seed + 1)
    transform = sitk.Euler3DTransform(start)
    method.SetInitialTransform(transform, inPlace=True)
    if beyond is not None:
        method.SetMovingInitialTransform(beyond)
    moving_image = moving.shrunk(level.spacing_mm)
    try:
        with _one_thread:
            method.SetNumberOfThreads(1)
            method.Execute(fixed_image, moving_image)
    except RuntimeError as error:
        raise InputError(
            a_modality(moving.name),
            ": cannot be registered, since it shares no part of the head with ",
            a_modality(fixed.name),
        ) from error
    return transform


def _powell(level: Level) -> sitk.ImageRegistrationMethod:
    """Registration method: Powell's method on the mutual information of two images."""
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(_BINS)
    method.SetMetricUseFixedImageGradientFilter(False)
    method.SetMetricUseMovingImageGradientFilter(False)
    # A regular grid of points, each with a small random offset.
    method.SetMetricSamplingStrategy(sitk.ImageRegistrationMethod.REGULAR)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsPowell(
        numberOfIterations=10,
        maximumLineIterations=50,
        stepLength=level.step_mm,
        stepTolerance=level.tolerance_mm,
        valueTolerance=1e-5,
    )
    method.SetOptimizerScalesFromPhysicalShift()
    return method


class _OneThread:
    """Limits ITK to one thread: several threads sum in another order, which changes last digits.

    The metric uses the global number of threads, whatever the method's own number is. Of concurrent
    searches, the last one to end restores it.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._searches = 0
        self._threads = 1

    def __enter__(self) -> None:
        with self._lock:
            if not self._searches:
                self._threads = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
                sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
            self._searches += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._searches -= 1
            if not self._searches:
                sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(self._threads)


_one_thread = _OneThread()


def centered(center_mm: Points, shift_mm: Points | None = None) -> sitk.Euler3DTransform:
    """Rigid transform with a center of rotation and a shift, by default the identity."""
    transform = sitk.Euler3DTransform()
    transform.SetCenter(center_mm.tolist())
    if shift_mm is not None:
        transform.SetTranslation(shift_mm.tolist())
    return transform


def transformed(transform: sitk.Euler3DTransform, points_mm: Points) -> Points:
    """Points (N, 3) mapped by a rigid transform."""
    rotation = np.array(transform.GetMatrix()).reshape(3, 3)
    center = np.array(transform.GetCenter())
    return (points_mm - center) @ rotation.T + center + transform.GetTranslation()


def rigid_inverse(transform: sitk.Euler3DTransform) -> sitk.Euler3DTransform:
    """The inverse of a rigid transform."""
    return sitk.Euler3DTransform(transform.GetInverse())
