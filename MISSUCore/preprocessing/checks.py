"""Do the scans of a case belong together, and are they what they are said to be?"""

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

# Dice of brains that were laid on each other. Below the first a user is warned; brains below the
# second are not of one patient, if the edges inside them do not fit either. See
# Testing/Benchmarks/different_anatomy.py for what is measured in one patient and in two.
SAME_BRAIN = 0.955
OTHER_BRAIN = 0.945
OTHER_INSIDE = 0.05
# Heads of one patient, laid on each other, have 0.109 and more (29 pairs, some with noise or bias
# fields), of two patients 0.044 at most (21); see Testing/Benchmarks/head_pairs.py.
SAME_INSIDE_HEADS = 0.075
# Confidence, which is 0.85 at most. No warning in 54 BraTS cases, whole or with scans left out; two
# scans that were exchanged are noticed in 22 of 27 (T1 and T1ce) to 26 of 27.
SURELY_ANOTHER = 0.75


def check_overlap(images: Mapping[str, sitk.Image]) -> None:
    """Make sure that scans that are not moved lie in the same part of space.

    Raises:
        InputError: if two do not.
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
    """Hold the brain in each scan against that in the fixed one.

    Args:
        fixed: modality of the scan that the others were laid on.
        images: scans in one space, by modality.
        brains: of some of them, in the same space.
        only_warn: whether other anatomy is no error.

    Returns:
        Warnings of brains whose outlines differ.

    Raises:
        InputError: if outline and inside of a brain differ: it is another, or lies elsewhere.
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
    """Whether the edges inside the fixed scan's brain are in a head that was laid on it, too.

    Args:
        head: 3-D scan, float, in the space of the fixed one.
        fixed: 3-D scan, float.
        brain: mask (0 and 1) of the brain in the fixed scan, on any grid.
    """
    there = image_like((on_grid(brain, head) >= 0.5).astype(np.uint8), head)
    agreement = edge_agreement(head, fixed, there, brain)
    return agreement is not None and agreement >= SAME_INSIDE_HEADS


def sequence_warnings(images: Mapping[str, sitk.Image]) -> list[str]:
    """Scans in one space that look as if they were given as each other."""
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
    """How strong the bias field is in those stripped scans that seem to have a strong one."""
    strengths = {name: strong_field(image) for name, image in images.items()}
    return {name: strength for name, strength in strengths.items() if strength is not None}


def bias_field_warnings(strengths: Mapping[str, float]) -> list[str]:
    """Scans with a strong bias field that was left in them."""
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
