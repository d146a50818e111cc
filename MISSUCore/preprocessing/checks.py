"""Checks that the scans of a case show one brain, and have the modalities they were given as."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np
import SimpleITK as sitk

from ..contract.modalities import BRATS_MODALITIES
from ..core.errors import ErrorCode, InputError
from ..core.messages import Text, a_modality, an_option
from ..io.geometry import image_like, overlap
from ..io.resampling import on_grid
from ..sequences.appearance import guess_from_images
from .bias_field import strong_field
from .brain_extraction import Brain, mask_dice
from .edge_agreement import edge_agreement

# Dice of registered brains. Below the first the user is warned; below the second they are taken to
# be of different patients if their inner edges do not agree either. See
# Testing/Benchmarks/different_anatomy.py for values in the same and in different patients.
SAME_BRAIN = 0.955
OTHER_BRAIN = 0.945
OTHER_INSIDE = 0.05
# Edge agreement of registered heads: of one patient 0.109 or more (29 pairs, some with noise or
# bias fields), of two patients 0.044 or less (21 pairs); see Testing/Benchmarks/head_pairs.py.
SAME_INSIDE_HEADS = 0.075
# Confidence of the guess, at most 0.85. There is no warning in 54 BraTS cases, complete or not;
# two exchanged scans are noticed in 22 (T1 and T1ce) to 26 of 27 cases.
SURELY_ANOTHER = 0.75


def check_overlap(images: Mapping[str, sitk.Image]) -> None:
    """Check that scans that are not registered overlap in space.

    Raises:
        InputError: if two of them do not.
    """
    for (name, image), (other, seen) in combinations(images.items(), 2):
        if not overlap(image, seen):
            raise InputError(
                a_modality(other),
                " lies apart in space from ",
                a_modality(name),
                "; they are not of one examination, or a header is wrong",
            )


def check_anatomy(
    fixed: str,
    images: Mapping[str, sitk.Image],
    brains: Mapping[str, Brain],
    *,
    only_warn: bool = False,
) -> list[str]:
    """Compare the brain in each scan with that in the fixed one.

    Args:
        fixed: modality of the scan that the others were registered to.
        images: scans in one space, by modality.
        brains: brains of some of them, in the same space.
        only_warn: warn about different anatomy instead of raising an error.

    Returns:
        Warnings about brains whose outlines differ.

    Raises:
        InputError: if outline and inner edges differ (another brain, or misaligned).
    """
    warnings: list[str] = []
    for name, brain in brains.items():
        if name == fixed or fixed not in brains:
            continue
        dice = mask_dice(brain.mask, brains[fixed].mask)
        if dice >= SAME_BRAIN:
            continue
        fit = edge_agreement(images[name], images[fixed], brain.mask, brains[fixed].mask)
        if dice >= OTHER_BRAIN or fit is None or fit >= OTHER_INSIDE:
            told = Text(
                a_modality(name),
                ": its brain and that of ",
                a_modality(fixed),
                f" differ in shape (Dice {dice:.2f}); check that both "
                "are of one patient and lie on each other",
            )
        else:
            told = Text(
                a_modality(name),
                ": shows another brain than ",
                a_modality(fixed),
                f", or does not lie on it: their outlines differ (Dice {dice:.2f}), and the edges "
                "inside fit no better than by chance",
            )
            if not only_warn:
                raise InputError(
                    told,
                    "; give scans of one patient, or, if they are, leave this one out or go on by ",
                    an_option("--allow-different-anatomy"),
                    code=ErrorCode.ANATOMY_DIFFERS,
                )
        warnings.append(told)
    return warnings


def fits_inside(head: sitk.Image, fixed: sitk.Image, brain: sitk.Image) -> bool:
    """Whether a head registered to the fixed scan shows the same edges inside the brain.

    Args:
        head: 3-D scan, float, in the space of the fixed one.
        fixed: 3-D scan, float.
        brain: mask (0 and 1) of the brain in the fixed scan, on any grid.
    """
    there = image_like((on_grid(brain, head) >= 0.5).astype(np.uint8), head)
    agreement = edge_agreement(head, fixed, there, brain)
    return agreement is not None and agreement >= SAME_INSIDE_HEADS


def sequence_warnings(images: Mapping[str, sitk.Image]) -> list[str]:
    """Warnings about scans in one space that look like another modality than given."""
    given = {name: image for name, image in images.items() if name in BRATS_MODALITIES}
    return [
        Text(
            a_modality(name),
            ": looks like ",
            a_modality(guess.sequence),
            "; check that each scan is given as what it is",
        )
        for name, guess in guess_from_images(given, given).items()
        if guess.sequence and guess.sequence != name and guess.confidence > SURELY_ANOTHER
    ]


def strong_fields(images: Mapping[str, sitk.Image]) -> dict[str, float]:
    """Strength of the bias field, by modality, of stripped scans that seem to have a strong one."""
    strengths = {name: strong_field(image) for name, image in images.items()}
    return {name: strength for name, strength in strengths.items() if strength is not None}


def bias_field_warnings(strengths: Mapping[str, float]) -> list[str]:
    """Warnings about scans with a strong bias field that was not corrected."""
    return [
        Text(
            a_modality(name),
            ": is much brighter in one part of the brain than in another (bias field of about "
            f"{strength:.0%}), which can spoil the result; correct it (",
            an_option("--bias-field"),
            ") and compare",
        )
        for name, strength in strengths.items()
    ]
