"""The user's own models: taken from a run of fine-tuning, chosen as default, removed.

Every model that is accepted becomes a version of its own, ``NAME-1``, ``NAME-2``, ...: none
overwrites another, so that the user can go back at any time.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..contract.model_card import ModelCard
from ..core.errors import InputError
from ..core.files import atomic_write, errors_told, only_process, read_json, write_json
from ..core.serialization import settings_to_dict
from ..core.written import RUN_RECORD, Written, adopt
from .store import (
    DEFAULT_FILE,
    DEFAULT_MODEL,
    default_model,
    find_model,
    list_models,
    load_model,
    user_folder,
)

# Of the files of a run, those that only a run under way needs; no copy of a scan is left.
WORK = ("prepared/*", "rehearsal/*", "timing/*", "part-*/checkpoint.pt")
CANDIDATE = "model/*"
# What runs wrote before they kept a record of it.
OLDER_RUN = (
    *("run.json", "scores.json", "validation.csv", "gate.json"),
    *("model/*.pt", "model/*.json"),
    "prepared/*-" + "[0-9a-f]" * 12 + ".npz",
    *("rehearsal/*/simulated[0-9]*/*.nii.gz", "rehearsal/*/.????????-simulated[0-9]*/*"),
    *("timing/training.csv", "timing/checkpoint.pt"),
    *("part-[1-4]/training.csv", "part-[1-4]/curves.png", "part-[1-4]/checkpoint.pt"),
    "part-[1-4]/.????????-checkpoint.pt",
)


def accept(run: Path, force: bool = False) -> ModelCard:
    """Install the candidate of a run as a new version in the user's folder.

    Args:
        run: folder of a fine-tuning that has ended.
        force: also if it is not better than its base.

    Raises:
        InputError: if there is no candidate, it is installed already, or it is not better and
            ``force`` is not given.
        ResourceError: if the disk is full.
    """
    gate = read_gate(run)
    if gate["verdict"] not in ("better", "new task") and not force:
        raise InputError(
            f"{run}: the candidate is refused ({gate['verdict']}: {gate['reason']}); --force "
            "installs it all the same"
        )
    candidate = run / "model" / f"{gate['name']}.pt"
    if not candidate.exists():
        raise InputError(f"{run}: the candidate was discarded; tune again, in another folder")
    card = load_model(str(candidate)).card
    folder = user_folder()
    with only_process(folder):  # or two would take the same number
        twin = next((other for other in list_models() if other.sha256 == card.sha256), None)
        if twin:
            raise InputError(f"{run}: the candidate is installed already, as {twin.name}")
        name = f"{card.name}-{_next_version(folder, card.name)}"
        card = replace(card, name=name)
        with atomic_write(folder / f"{name}.pt") as temporary:
            shutil.copyfile(candidate, temporary)
        # The card goes last: without one there is no model.
        write_json(folder / f"{name}.json", settings_to_dict(card))
    return card


def read_gate(run: Path) -> dict[str, Any]:
    """What a run's ``gate.json`` holds.

    Raises:
        InputError: if the run has not ended, or the file is damaged.
    """
    path = run / "gate.json"
    if not path.is_file():
        raise InputError(f"{run}: is no fine-tuning that has ended; run missu finetune to its end")
    try:
        gate: dict[str, Any] = read_json(path)
        if not all(isinstance(gate[key], str) for key in ("name", "verdict", "reason")):
            raise ValueError("name, verdict and reason are no text")
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise InputError(
            f"{path}: is damaged: {error}; delete it, and give the command of the run again"
        ) from error
    return gate


def _next_version(folder: Path, name: str) -> int:
    # Whatever the case of its letters: some file systems know no difference.
    version = re.compile(rf"{re.escape(name)}-(\d+)\.(?:pt|json)", re.IGNORECASE)
    taken = [int(match[1]) for path in folder.iterdir() if (match := version.fullmatch(path.name))]
    return 1 + max(taken, default=0)


def discard(run: Path) -> None:
    """Delete a run's candidate and all it works with; its table and verdict stay.

    Raises:
        InputError: if there is no run, or it is still going on, or it cannot be deleted.
    """
    if not (run / "run.json").is_file():
        raise InputError(f"{run}: is no folder of a fine-tuning")
    with only_process(run):
        written = Written(run, RUN_RECORD)
        if not written.exists():
            adopt(written, OLDER_RUN)
        written.delete_temporary()
        written.delete(CANDIDATE, *WORK)


def use(name: str) -> None:
    """Make an installed model the default.

    Raises:
        InputError: if there is no such model, or its weights are damaged.
    """
    card = load_model(name).card
    if card.name != name:
        raise InputError(f"{name}: is a file; give the name of an installed model")
    with atomic_write(user_folder() / DEFAULT_FILE) as temporary:
        temporary.write_text(f"{name}\n", encoding="utf-8")


def remove(name: str) -> None:
    """Delete one of the user's models; if it was the default, the bundled one is again.

    Raises:
        InputError: if there is no such model, or it came with the package.
    """
    card = find_model(name)
    if card.parent != user_folder() or card.stem != name:
        raise InputError(
            f"{name}: is none of your own models; only those in {user_folder()} can go"
        )
    if default_model() == name:
        use(DEFAULT_MODEL)
    with errors_told(card):
        card.unlink()  # first: without a card there is no model
        card.with_suffix(".pt").unlink(missing_ok=True)
