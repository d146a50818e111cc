"""Plausibility checks of a corrected segmentation, before a network learns from it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import SimpleITK as sitk

from ...contract.labels import LabelScheme
from ...core.errors import ErrorCode, InputError
from ...core.messages import a_modality, an_option
from ...io.geometry import overlap, voxel_ml
from ...preprocessing.brain_extraction import PLAUSIBLE_BRAIN_ML, content_ml

MINIMUM_COVERAGE = 0.95  # fraction of a scan's brain that the labels' grid must cover
MAXIMUM_OUTSIDE = 0.05  # fraction of the labeled voxels that may lie outside the brain
WORTH_TELLING = 0.005  # a smaller fraction is just the edge of a mask
TINY_ML = 0.1


def check_labels(
    labels: sitk.Image,
    images: Mapping[str, sitk.Image],
    stored: Mapping[str, sitk.Image],
    scheme: LabelScheme,
    tumor: bool = True,
) -> list[str]:
    """Warnings about a label map; raises an error if it cannot be right.

    Nesting needs no check here: the labels of a map exclude each other, and regions are unions of
    them.

    Args:
        labels: label map in the numbering of the scheme.
        images: skull-stripped scans by modality, as they were given.
        stored: the same on the grid of the labels.
        scheme: what the values mean.
        tumor: whether anything is labeled, as the user says.

    Raises:
        InputError: if the labels lie apart from a scan or reach only part of its brain, are empty
            or not empty against what the user says, or lie outside the brain, or if the scans
            have a skull.
    """
    _check_reach(labels, images, stored)
    brain = np.any([sitk.GetArrayViewFromImage(image) != 0 for image in stored.values()], axis=0)
    one_ml = voxel_ml(labels.GetSpacing())
    if scheme.is_in_brain:
        _check_stripped(brain.sum() * one_ml)
    labeled = sitk.GetArrayViewFromImage(labels) != 0
    count = int(labeled.sum())
    _check_meant(count * one_ml, tumor)
    if not count:
        return []
    warnings = []
    outside = float((labeled & ~brain).sum() / count)
    if outside > MAXIMUM_OUTSIDE:
        raise InputError(
            f"{outside:.0%} of the labeled voxels lie where all scans are 0, outside the brain; "
            "the labels are of another case, or shifted"
        )
    if outside >= WORTH_TELLING:
        warnings.append(f"{outside:.1%} of the labeled voxels lie outside the brain")
    if scheme.is_in_brain and count > brain.sum() / 2:
        warnings.append(
            f"the labels fill {count / brain.sum():.0%} of the brain: is it the right segmentation?"
        )
    if count * one_ml < TINY_ML:
        warnings.append(f"only {count * one_ml:.3f} ml are labeled")
    return warnings


def _check_meant(labeled_ml: float, tumor: bool) -> None:
    """Check that labels are empty if and only if the user says that there is no tumor."""
    if labeled_ml and not tumor:
        raise InputError(
            f"the labels have {labeled_ml:.1f} ml, though the case is said to have none; leave "
            "out ",
            an_option("--no-tumor"),
        )
    if tumor and not labeled_ml:
        raise InputError(
            "the labels are empty; if there is nothing to label in this case, say so with ",
            an_option("--no-tumor"),
            code=ErrorCode.LABELS_EMPTY,
        )


def _check_stripped(brain_ml: float) -> None:
    """Check that scans are skull-stripped, by the volume of the brain."""
    if brain_ml > PLAUSIBLE_BRAIN_ML[1]:
        raise InputError(
            f"nonzero voxels of the scans fill {brain_ml:.0f} ml, more than a brain: add "
            "skull-stripped scans, with 0 outside the brain"
        )


def _check_reach(
    labels: sitk.Image, images: Mapping[str, sitk.Image], stored: Mapping[str, sitk.Image]
) -> None:
    """Check that the labels' grid covers the brain of every scan."""
    for name, image in images.items():
        if not overlap(labels, image):
            raise InputError(
                "the labels lie apart in space from ",
                a_modality(name),
                "; they are of another case, or a header is wrong",
            )
        reached = content_ml(stored[name]) / content_ml(image)
        if reached < MINIMUM_COVERAGE:
            raise InputError(
                f"the grid of the labels reaches only {reached:.0%} of the brain in ",
                a_modality(name),
                "; export the segmentation on the grid of a scan",
            )
