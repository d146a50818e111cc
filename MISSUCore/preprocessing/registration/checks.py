"""Warnings about a registration: poor fit, wrong spacing or position, exchanged sides."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import SimpleITK as sitk

from ...core.errors import InputError
from ...core.messages import Text, a_modality
from .head import Head, extent_mm
from .search import COARSE, centered, rigid_inverse, search, transformed
from .similarity import Overlay

POOR_QUALITY = 1.03
_COVERED = 0.75
_FAR_MM = 60.0
# Brains of adults are at least 110 mm long along each axis, heads with neck at most 300 mm.
_HEAD_MM = (80.0, 320.0)
# A head with its skull is up to a third longer than its brain.
_EXTENT_RATIO = 1.5
# In 54 BraTS cases the mirror image has at most 0.8 times the mutual information of the scan itself
# (minus 1); if the scan was mirrored on purpose, at least 1.2 times.
_MIRRORED = 1.1
# Without a search, the mirror image of an aligned scan has at most 0.66 times as much (30 pairs of
# 10 cases); if the scan was mirrored on purpose, at least 1.2 times.
_SUSPICIOUS = 0.9
_AXES = "left-right x front-back x feet-head"


def header_warnings(
    moving: Head, fixed: Head, transform: sitk.Euler3DTransform, moved_mm: float
) -> Iterator[str]:
    """Warnings about heads of implausible or different size, or far from each other."""
    spacing = "x".join(f"{step:.3g}" for step in moving.image.GetSpacing())
    extents = moving.extent_mm
    if extents.min() < _HEAD_MM[0] or extents.max() > _HEAD_MM[1]:
        yield (
            Text(
                a_modality(moving.name),
                f": the head in it spans {_joined(extents, '.0f')} mm ({_AXES}), which is "
                "not a whole head: it shows a part, or the voxel spacing of "
                f"{spacing} mm in its header is wrong",
            )
        )
    back = transformed(rigid_inverse(transform), moving.points_mm)
    moving_part = back[fixed.shows(back)]
    fixed_part = fixed.points_mm[moving.shows(transformed(transform, fixed.points_mm))]
    if len(moving_part) and len(fixed_part):
        own, other = extent_mm(moving_part), extent_mm(fixed_part)
        if max((own / other).max(), (other / own).max()) > _EXTENT_RATIO:
            yield (
                Text(
                    a_modality(moving.name),
                    f": the head in it spans {_joined(own, '.0f')} mm ({_AXES}), but "
                    f"{_joined(other, '.0f')} mm in ",
                    a_modality(fixed.name),
                    f"; check the voxel spacing in both headers ({spacing} mm in the former)",
                )
            )
    if moved_mm > _FAR_MM:
        yield (
            Text(
                a_modality(moving.name),
                f": lay {moved_mm:.0f} mm away from ",
                a_modality(fixed.name),
                "; check that both are of one patient and examination",
            )
        )


def fit_warnings(moving: Head, overlay: Overlay, transform: sitk.Euler3DTransform) -> Iterator[str]:
    """Warnings about little mutual information, or a small shared part of the head."""
    fixed = overlay.fixed
    quality, covered = overlay.mutual_information(transform), overlay.covered(transform)
    if quality < POOR_QUALITY:
        yield (
            Text(
                a_modality(moving.name),
                ": fits ",
                a_modality(fixed.name),
                " poorly after registration (normalized mutual information "
                f"{quality:.3f}, {POOR_QUALITY} or more is usual); look at both on each other, and "
                "register them by hand or leave the scan out if they do not fit",
            )
        )
    if covered < _COVERED:
        yield (
            Text(
                a_modality(moving.name),
                f": shows only {covered:.0%} of the head in ",
                a_modality(fixed.name),
                "; nothing is known beyond",
            )
        )


def may_be_mirrored(overlay: Overlay, transform: sitk.Euler3DTransform) -> bool:
    """Whether the mirror image of a scan fits so well that a search is worthwhile.

    Valid only for aligned brains that lie straight in their scans.
    """
    mirrored = _mirrored(overlay.fixed, transform)
    return overlay.mutual_information(mirrored) - 1 > _SUSPICIOUS * (
        overlay.mutual_information(transform) - 1
    )


def mirror_warnings(
    moving: Head, overlay: Overlay, transform: sitk.Euler3DTransform, seed: int
) -> Iterator[str]:
    """Warning if a scan fits better when mirrored left-right, each at its best position."""
    fixed = overlay.fixed
    mirrored = _mirrored(fixed, transform)
    try:
        found = search(moving, fixed, centered(fixed.center_mm), COARSE, seed, beyond=mirrored)
    except InputError:
        return  # the mirror image of half a brain does not overlap it
    mirrored.AddTransform(found)
    gain = (overlay.mutual_information(mirrored) - 1) / max(
        overlay.mutual_information(transform) - 1, 1e-6
    )
    if gain > _MIRRORED:
        yield (
            Text(
                a_modality(moving.name),
                ": fits ",
                a_modality(fixed.name),
                " better when mirrored left-right; one of them may "
                "have left and right exchanged in its header, check that before using the result",
            )
        )


def _mirrored(fixed: Head, transform: sitk.Euler3DTransform) -> sitk.CompositeTransform:
    """A left-right reflection of the fixed scan's space, followed by a transform."""
    reflection = sitk.AffineTransform(3)
    reflection.SetCenter(fixed.center_mm.tolist())
    reflection.SetMatrix([-1, 0, 0, 0, 1, 0, 0, 0, 1])
    return sitk.CompositeTransform([sitk.Transform(transform), reflection])


def _joined(values: np.ndarray, form: str) -> str:
    return " x ".join(format(value, form) for value in values)
