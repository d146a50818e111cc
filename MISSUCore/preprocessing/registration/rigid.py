"""Rigid registration of one scan of a head to another, with checks of the result."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
import SimpleITK as sitk

from ...core.errors import InputError
from ...core.events import Progress, Stage
from ...io.geometry import same_grid
from .checks import (
    POOR_QUALITY,
    fit_warnings,
    header_warnings,
    may_be_mirrored,
    mirror_warnings,
)
from .head import Head, find_head
from .search import COARSE, FINE, centered, search, transformed
from .similarity import Overlay, is_small

_TURN_RADIANS = np.deg2rad(20.0)
# The start at the centers of mass wins only if it gives clearly more mutual information.
_CLEARLY_MORE = 1.05
# Dice of brain masks on one grid: 0.995 or more in 262 of 267 pairs of BraTS scans; with one
# of them mirrored at most 0.982 (89 pairs), or 0.991 if stripped with the other's mask then.
_ONE_MASK = 0.995


@dataclass(frozen=True)
class Registration:
    """Result of registering a moving scan to a fixed one.

    Attributes:
        transform: from points of the fixed scan's space to the moving scan's own (mm, LPS), as
            in ``sitk.Resample(moving, fixed, transform)``.
        quality: normalized mutual information in the part of the head that both scans show, as
            :func:`.similarity.mutual_information` measures it; below 1.03 is poor.
        moved_mm: mean distance by which the head was moved.
        skipped: whether the moving scan was left in place, since it has the grid of the fixed one
            and is aligned with it as far as can be measured.
        warnings: sentences for the user, each starting with the moving scan's name.
    """

    transform: sitk.Euler3DTransform
    quality: float
    moved_mm: float
    skipped: bool
    warnings: list[str]


def register(
    moving: sitk.Image,
    fixed: sitk.Image,
    *,
    moving_mask: sitk.Image | None = None,
    fixed_mask: sitk.Image | None = None,
    moving_name: str = "the moving scan",
    fixed_name: str = "the fixed scan",
    seed: int = 0,
    progress: Progress | None = None,
) -> Registration:
    """Find the rigid transform that registers one scan of a head to another of the same head.

    The search starts from the positions in the headers, and again with aligned centers of mass and
    the best of several rotations; the better result is used. If brains fit poorly, whole heads are
    tried. Same input and seed give the same result on any number of cores.

    Args:
        moving: 3-D scan, float, with skull or without (then 0 outside the brain).
        fixed: scan to register to; may differ in sequence, grid, orientation and field of view.
        moving_mask: nonzero in the brain, on any grid; used only if the fixed scan has one too,
            since a brain and a head differ in size and center. Otherwise the head is found.
        fixed_mask: the same for the fixed scan; the final comparison is in it and closely
            around it, even if the moving scan has no mask.
        moving_name: name of the moving scan in errors and warnings.
        fixed_name: name of the fixed scan in errors and warnings.
        seed: seed of the points at which the scans are compared, 0 or more.
        progress: reports the steps.

    Raises:
        InputError: if a scan is constant, a mask is empty, or the scans share no part of the head.
    """
    target = Target(fixed, fixed_mask, fixed_name)
    return register_on(target, moving, moving_mask, moving_name, seed, progress)


class Target:
    """The scan that others are registered to, with its head and brain computed only once.

    Args:
        image: 3-D scan, float.
        mask: nonzero in the brain, on any grid.
        name: name of the scan in errors and warnings.
    """

    def __init__(self, image: sitk.Image, mask: sitk.Image | None, name: str) -> None:
        self.image, self.mask, self.name = image, mask, name

    @cached_property
    def brain(self) -> Head:
        """The brain, as given by the mask."""
        return find_head(self.name, self.image, self.mask)

    @cached_property
    def head(self) -> Head:
        """The head, found without the mask."""
        return find_head(self.name, self.image)


def register_on(
    target: Target,
    moving: sitk.Image,
    moving_mask: sitk.Image | None = None,
    moving_name: str = "the moving scan",
    seed: int = 0,
    progress: Progress | None = None,
) -> Registration:
    """Register one of several scans to the same target; see :func:`register`."""
    report = progress or Progress()
    masked = moving_mask is not None and target.mask is not None
    moving_head = find_head(moving_name, moving, moving_mask if masked else None)
    fixed_head = target.brain if masked else target.head
    # Heads are registered first as a whole, then to the brain: neck, jaw and scalp can move.
    inner = fixed_head if target.mask is None else target.brain
    overlay = Overlay(moving_head, inner)
    transform = centered(inner.center_mm)
    on_one_grid = _on_one_grid(moving, target.image)
    one_brain = on_one_grid and masked and _same_mask(moving_mask, target.mask)
    # At full resolution the optimum is sharper.
    skipped = on_one_grid and Overlay(moving_head, inner, sharp=True).is_best(transform)
    if one_brain and not skipped:
        # Scans that were stripped together are usually aligned: a coarse search confirms it.
        skipped = is_small(search(moving_head, fixed_head, transform, COARSE, seed))
    if not skipped:
        report(Stage.REGISTER, 0.0, f"laying {moving_name} on {target.name}")
        transform = _coarse_search(moving_head, fixed_head, seed)
        if masked and overlay.mutual_information(transform) < POOR_QUALITY:
            # A part of a brain may be misaligned; the head around it helps.
            by_heads = _coarse_search(find_head(moving_name, moving), target.head, seed)
            transform = max(transform, by_heads, key=overlay.fit)
        report(Stage.REGISTER, 0.4)
        transform = search(moving_head, inner, transform, FINE, seed)
        # Scans on one grid were registered before; a small move is as likely an error of this
        # search as of that registration.
        skipped = on_one_grid and is_small(transform)
    if skipped:
        transform = centered(inner.center_mm)
    report(Stage.REGISTER, 0.8)
    # A mirrored scan has a mirrored mask, unless it was stripped with another scan's mask.
    sure = skipped and one_brain and not may_be_mirrored(overlay, transform)
    registration = _checked(
        moving_head, fixed_head, overlay, transform, skipped, None if sure else seed
    )
    report(Stage.REGISTER, 1.0)
    return registration


def _on_one_grid(moving: sitk.Image, fixed: sitk.Image) -> bool:
    """Whether two scans have the same grid, in whatever order their voxels are stored."""
    if moving.GetDirection() == fixed.GetDirection():
        return same_grid(moving, fixed)
    return same_grid(*(sitk.DICOMOrient(image, "LPS") for image in (moving, fixed)))


def _same_mask(first: sitk.Image | None, second: sitk.Image | None) -> bool:
    """Whether two masks are nearly identical, as of scans stripped together and not mirrored."""
    if first is None or second is None or not same_grid(first, second):
        return False
    own, other = (sitk.GetArrayViewFromImage(mask) != 0 for mask in (first, second))
    both = np.count_nonzero(own) + np.count_nonzero(other)
    return 2 * np.count_nonzero(own & other) >= _ONE_MASK * both


def _checked(
    moving_head: Head,
    fixed_head: Head,
    overlay: Overlay,
    transform: sitk.Euler3DTransform,
    skipped: bool,
    seed: int | None,
) -> Registration:
    """Registration with a transform, with its quality and warnings.

    Without a seed, it is not checked whether the scan is mirrored.
    """
    points_mm = fixed_head.points_mm
    moved_mm = np.linalg.norm(transformed(transform, points_mm) - points_mm, axis=1).mean()
    warnings = [
        *header_warnings(moving_head, fixed_head, transform, moved_mm),
        *fit_warnings(moving_head, overlay, transform),
    ]
    if seed is not None:
        warnings += mirror_warnings(moving_head, overlay, transform, seed)
    return Registration(
        transform, overlay.mutual_information(transform), float(moved_mm), skipped, warnings
    )


def moved(image: sitk.Image, transform: sitk.Euler3DTransform) -> sitk.Image:
    """The scan in the fixed scan's space: the same voxels with a new origin and direction.

    Args:
        image: the moving scan, or another image in its space.
        transform: from the fixed scan's space to the image's, as in :class:`Registration`.
    """
    back = transform.GetInverse()
    rotation = np.array(transform.GetMatrix()).reshape(3, 3).T
    direction = rotation @ np.array(image.GetDirection()).reshape(3, 3)
    result = sitk.Image(image)
    result.SetOrigin(back.TransformPoint(image.GetOrigin()))
    result.SetDirection(direction.ravel().tolist())
    return result


def _coarse_search(moving: Head, fixed: Head, seed: int) -> sitk.Euler3DTransform:
    """Better result of two searches: from the headers, and from the centers of mass."""
    overlay = Overlay(moving, fixed)
    by_centers = search(moving, fixed, _turned_head(moving, fixed, overlay), COARSE, seed)
    with suppress(InputError):  # the scans may not overlap by their headers
        by_headers = search(moving, fixed, centered(fixed.center_mm), COARSE, seed)
        if _CLEARLY_MORE * overlay.fit(by_headers) >= overlay.fit(by_centers):
            return by_headers
    return by_centers


def _turned_head(moving: Head, fixed: Head, overlay: Overlay) -> sitk.Euler3DTransform:
    """Aligned centers of mass, with the best-fitting of several rotations around each axis."""
    starts = []
    for turn in product((0.0, -_TURN_RADIANS, _TURN_RADIANS), repeat=3):
        start = centered(fixed.center_mm, moving.center_mm - fixed.center_mm)
        start.SetRotation(*turn)
        starts.append(start)
    return max(starts, key=overlay.fit)
