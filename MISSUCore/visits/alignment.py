"""Registration of the scans of all visits to the first one, with a check of the patient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import SimpleITK as sitk

from ..core.errors import ErrorCode, InputError
from ..core.events import Progress
from ..core.messages import Text, a_file, an_option
from ..preprocessing.background import shift_to_nonnegative
from ..preprocessing.registration.rigid import Registration, register
from .one_patient import similarity


def align(
    names: Sequence[str],
    scans: Sequence[sitk.Image],
    sources: Sequence[object],
    different_anatomy: bool = False,
    progress: Progress | None = None,
) -> list[Registration | None]:
    """Register the scans of all visits to that of the first.

    Args:
        names: of the visits, for messages.
        scans: of one sequence, with skull or without.
        sources: where they come from, for messages.
        different_anatomy: go on with scans that fit so poorly that they seem to be of two patients.
        progress: reports the steps.

    Returns:
        The registration of each visit; None for the first.

    Raises:
        InputError: if two scans are the same, or do not show one patient's head.
    """
    progress = progress or Progress()
    _check_different(scans, sources)
    fixed = shift_to_nonnegative(scans[0])
    found: list[Registration | None] = [None]
    for number in range(1, len(scans)):
        moving = shift_to_nonnegative(scans[number])
        registration = register(
            moving,
            fixed,
            moving_name=names[number],
            fixed_name=names[0],
            progress=progress.part((number - 1) / (len(scans) - 1), number / (len(scans) - 1)),
        )
        measured = similarity(moving, fixed, registration)
        if not measured.one_patient:
            suspicion = (
                f"do not seem to show one patient, they fit each other too poorly ({measured})"
            )
            if not different_anatomy:
                raise InputError(
                    a_file(sources[number]),
                    " and ",
                    a_file(sources[0]),
                    f": {suspicion}; give the visits of one patient, or ",
                    an_option("--allow-different-anatomy"),
                    " if you have made sure",
                    code=ErrorCode.ANATOMY_DIFFERS,
                )
            warning = f"{names[number]} and {names[0]} {suspicion}"
            registration = replace(registration, warnings=[*registration.warnings, warning])
        found.append(registration)
    return found


def alignment_warnings(registrations: Sequence[Registration | None]) -> list[Text]:
    """Warnings about doubtful registrations."""
    return [Text(text) for each in registrations if each for text in each.warnings]


def _check_different(scans: Sequence[sitk.Image], sources: Sequence[object]) -> None:
    voxels = [sitk.GetArrayViewFromImage(scan) for scan in scans]
    for number in range(len(scans)):
        for earlier in range(number):
            if np.array_equal(voxels[number], voxels[earlier]):
                raise InputError(
                    a_file(sources[number]),
                    ": is the same scan as ",
                    a_file(sources[earlier]),
                    "; give each visit once, with its own scan",
                )
