"""The search for the rigid transform under which two scans share most information."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock

import numpy as np
import SimpleITK as sitk

from ...core.errors import InputError
from ...core.messages import a_modality
from .head import Head, Points

# The head's surface says much about where it is.
_AROUND_HEAD_MM = 6.0
_BINS = 32


@dataclass(frozen=True)
class Level:
    """One resolution of the search.

    Attributes:
        spacing_mm: of the scans.
        points: how many points are compared.
        step_mm: first step of the search.
        tolerance_mm: how closely it looks for the best place.
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
    """The transform near ``start`` under which mutual information is greatest.

    Mutual information as of Mattes et al., IEEE TMI 22, 2003. Powell's method needs no gradient,
    which is unreliable between thick slices.

    Args:
        moving: the scan to be moved.
        fixed: the scan to be laid on; compared in its head and closely around.
        start: from the fixed scan's space to the moving scan's, before ``beyond``.
        level: resolution and steps.
        seed: of the points that are compared, 0 or more.
        beyond: transform from where ``start`` leads to the moving scan's space, left as it is.

    Raises:
        InputError: if the scans share nothing at the start.
    """
    fixed_image = fixed.shrunk(level.spacing_mm)
    mask = fixed.mask_on(fixed_image, _AROUND_HEAD_MM)
    sampled = level.points / int(np.count_nonzero(sitk.GetArrayViewFromImage(mask)))
    method = _powell(level)
    method.SetMetricFixedMask(mask)
    # ITK takes a seed of 0 for the time of day.
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
    """Powell's method on the mutual information of two images."""
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(_BINS)
    method.SetMetricUseFixedImageGradientFilter(False)
    method.SetMetricUseMovingImageGradientFilter(False)
    # Regular points, each moved a little off its voxel's center at random.
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
    """Several threads would add in another order, and end elsewhere in the last digits.

    The metric goes by the global number, whatever that of the method is. Of searches that run at
    the same time the last one sets that number back.
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
    """A shift, by default by nothing, that becomes a rotation around a center."""
    transform = sitk.Euler3DTransform()
    transform.SetCenter(center_mm.tolist())
    if shift_mm is not None:
        transform.SetTranslation(shift_mm.tolist())
    return transform


def transformed(transform: sitk.Euler3DTransform, points_mm: Points) -> Points:
    """Where a rigid transform takes points (N, 3)."""
    rotation = np.array(transform.GetMatrix()).reshape(3, 3)
    center = np.array(transform.GetCenter())
    return (points_mm - center) @ rotation.T + center + transform.GetTranslation()


def rigid_inverse(transform: sitk.Euler3DTransform) -> sitk.Euler3DTransform:
    """The transform that leads back."""
    return sitk.Euler3DTransform(transform.GetInverse())
