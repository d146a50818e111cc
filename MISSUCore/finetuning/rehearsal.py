"""Cases that keep a model from forgetting while it is tuned on a few of another kind.

Without any, a network that learns five new cases unlearns others within a few dozen steps. Where
the user has no data of the kind the model was trained on, simulated brains take their place, each
with random contrasts, and with the model's own output as labels: the aim is to preserve what the
model does, not to be right on simulated scans (pseudo-rehearsal, Robins 1995).
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from importlib.util import find_spec
from itertools import cycle, islice
from pathlib import Path

import numpy as np

from ..contract.labels import BRATS
from ..contract.modalities import BRATS_MODALITIES
from ..core.errors import InputError
from ..core.events import Progress, Stage
from ..core.files import tell_keeper, translate_os_errors
from ..core.messages import a_file, an_option
from ..inference.segmentation import segment_case
from ..io.writing import write_image
from ..models.store import Model
from ..training.cases.brats import find_brats_cases
from ..training.cases.labeled import LabeledCase

REHEARSED, CHECKED = 8, 4  # cases to rehearse on, and others to check for forgetting
# Seeds of the simulated cases; fixed, so that all runs are checked on the same cases.
FIRST_REHEARSED_SEED, FIRST_CHECKED_SEED = 4000, 3000


def rehearsal_cases(
    kind: str, base: Model, folder: Path, progress: Progress
) -> tuple[list[LabeledCase], list[LabeledCase]]:
    """Cases to rehearse on, and others to check for forgetting.

    Args:
        kind: ``"simulated"``; ``"none"``; ``"auto"``: simulated where that is possible; or a folder
            of BraTS training data.
        base: the model that is to be tuned.
        folder: where simulated cases are kept.
        progress: reports every case.

    Raises:
        InputError: if the base model does not work on such cases, or the folder holds too few.
        MISSUError: if cases are to be simulated and nilearn is not installed.
    """
    kind = _chosen(kind, base)
    if kind == "none":
        return [], []
    if not _knows_brats(base):
        raise InputError(
            f"model {base.card.name} is not for BraTS cases; give ", an_option("--rehearsal none")
        )
    if kind != "simulated":
        return _published_cases(Path(kind), base.card.modalities)
    checked = range(FIRST_CHECKED_SEED, FIRST_CHECKED_SEED + CHECKED)
    rehearsed = range(FIRST_REHEARSED_SEED, FIRST_REHEARSED_SEED + REHEARSED)
    cases = {}
    for number, seed in enumerate([*checked, *rehearsed]):
        progress(Stage.PREPARE, number / (CHECKED + REHEARSED), f"simulating case {number + 1}")
        cases[seed] = _simulated_case(seed, base, folder, answered=seed in rehearsed)
    return [cases[seed] for seed in rehearsed], [cases[seed] for seed in checked]


def answers_needed(kind: str, base: Model) -> int:
    """Number of simulated cases the base must segment; ``kind`` as in :func:`rehearsal_cases`."""
    return REHEARSED if _chosen(kind, base) == "simulated" else 0


def _chosen(kind: str, base: Model) -> str:
    if kind == "auto":
        return "simulated" if find_spec("nilearn") and _knows_brats(base) else "none"
    return kind


def balanced(own: list[LabeledCase], rehearsed: list[LabeledCase]) -> list[LabeledCase]:
    """The user's and the rehearsal cases in equal numbers, with some repeated."""
    if not rehearsed:
        return own
    length = max(len(own), len(rehearsed))
    return [*islice(cycle(own), length), *islice(cycle(rehearsed), length)]


def _knows_brats(base: Model) -> bool:
    card = base.card
    return card.label_scheme().regions == BRATS.regions and set(card.modalities) <= set(
        BRATS_MODALITIES
    )


def _published_cases(
    folder: Path, modalities: Sequence[str]
) -> tuple[list[LabeledCase], list[LabeledCase]]:
    """Cases spread evenly over a BraTS folder; every third is kept for checking."""
    found = find_brats_cases(folder, modalities)
    wanted = REHEARSED + CHECKED
    if len(found) < wanted:
        raise InputError(
            a_file(folder), f": holds {len(found)} cases; {wanted} are needed to rehearse on"
        )
    chosen = [found[place * len(found) // wanted] for place in range(wanted)]
    checked = chosen[:: wanted // CHECKED]
    return [case for case in chosen if case not in checked], checked


def _simulated_case(seed: int, base: Model, folder: Path, answered: bool) -> LabeledCase:
    """A case on the working grid, labeled with the truth or with the model's output."""
    from ..simulation.case import simulate_case
    from ..simulation.contrast import random_contrast

    name = f"simulated{seed}"
    place = folder / name
    if not place.exists():
        contrast = random_contrast(np.random.default_rng(seed))
        case = simulate_case(
            seed, spacing_mm=float(np.mean(base.card.spacing_mm)), contrast=contrast
        )
        if answered:
            scans = {kind: case.images[kind] for kind in base.card.modalities}
            case = replace(case, labels=segment_case(scans, base).labels)
        temporary = folder / f".{secrets.token_hex(4)}-{name}"
        with translate_os_errors(place):
            try:
                with ExitStack() as stack:
                    for kind, image in {**case.images, "seg": case.labels}.items():
                        write_image(stack, image, temporary / f"{name}_{kind}.nii.gz")
                for path in temporary.iterdir():
                    tell_keeper(place / path.name)
                temporary.rename(place)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
    images = {kind: place / f"{name}_{kind}.nii.gz" for kind in base.card.modalities}
    return LabeledCase(name, images, place / f"{name}_seg.nii.gz")
