"""Do the scans of a case belong together, and are they what they are said to be?"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import SimpleITK as sitk

from ..contract.modalities import BRATS_MODALITIES
from ..core.errors import InputError
from ..core.messages import Text, a_modality
from ..io.geometry import overlap
from ..sequences.appearance import guess_from_images
from .bias_field import strong_field
from .brain_extraction import Brain, likeness

# Dice of stripped brains: 0.97 and more in one patient, even with slices of 5 mm, and at most 0.945
# in two whose brains were laid on each other (6 pairs of BraTS cases).
SAME_BRAIN = 0.955
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


def brain_warnings(fixed: str, brains: Mapping[str, Brain]) -> list[str]:
    """Brains in one space that differ in shape from that of the fixed scan."""
    alike = {
        name: likeness(brain.mask, brains[fixed].mask)
        for name, brain in brains.items()
        if name != fixed
    }
    return [
        Text(
            a_modality(name),
            ": its brain and that of ",
            a_modality(fixed),
            f" differ in shape (Dice {dice:.2f}); check that both "
            "are of one patient and lie on each other",
        )
        for name, dice in alike.items()
        if dice < SAME_BRAIN
    ]


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


def bias_field_warnings(images: Mapping[str, sitk.Image]) -> list[str]:
    """Stripped scans that seem to have a strong bias field."""
    strengths = {name: strong_field(image) for name, image in images.items()}
    return [
        Text(
            a_modality(name),
            ": is much brighter in one part of the brain than in another (bias field of about "
            f"{strength:.0%}), which can spoil the result; correct it (--bias-field) and compare",
        )
        for name, strength in strengths.items()
        if strength is not None
    ]
