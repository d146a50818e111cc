"""The user's own models: installing them from a fine-tuning run, choosing a default, removal.

Every accepted model becomes a new version, ``NAME-1``, ``NAME-2``, ...: none overwrites another,
so that the user can go back at any time.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

from ..contract.model_card import ModelCard, write_card
from ..contract.tuning.finetuning_run import MODEL_FOLDER, FineTuningRun
from ..core.errors import InputError
from ..core.files import atomic_write, folder_lock, translate_os_errors
from ..core.messages import a_file, an_option
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

# Files that only a run in progress needs; deleting them leaves no copy of a scan.
WORK = ("prepared/*", "rehearsal/*", "timing/*", "part-*/checkpoint.pt")
CANDIDATE = f"{MODEL_FOLDER}/*"
# Files that runs wrote before they kept a record of their files.
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
        run: folder of a finished fine-tuning run.
        force: install it even if it was refused.

    Raises:
        InputError: if there is no candidate, it is installed already, or it was refused and
            ``force`` is not set.
        ResourceError: if the disk is full.
    """
    test = FineTuningRun(run).acceptance()
    if not test.may_be_installed and not force:
        raise InputError(
            a_file(run),
            f": the candidate is refused ({test.verdict}: {test.reason}); ",
            an_option("--force"),
            " installs it all the same",
        )
    candidate = run / MODEL_FOLDER / f"{test.name}.pt"
    if not candidate.exists():
        raise InputError(
            a_file(run), ": the candidate was discarded; tune again, in another folder"
        )
    card = load_model(str(candidate)).card
    folder = user_folder()
    with folder_lock(folder):  # otherwise two runs could take the same number
        twin = next((other for other in list_models() if other.sha256 == card.sha256), None)
        if twin:
            raise InputError(a_file(run), f": the candidate is installed already, as {twin.name}")
        name = f"{card.name}-{_next_version(folder, card.name)}"
        card = replace(card, name=name)
        with atomic_write(folder / f"{name}.pt") as temporary:
            shutil.copyfile(candidate, temporary)
        # The card is written last: without one there is no model.
        write_card(folder / f"{name}.json", card)
    return card


def _next_version(folder: Path, name: str) -> int:
    # Ignoring case, as some file systems do.
    version = re.compile(rf"{re.escape(name)}-(\d+)\.(?:pt|json)", re.IGNORECASE)
    taken = [int(match[1]) for path in folder.iterdir() if (match := version.fullmatch(path.name))]
    return 1 + max(taken, default=0)


def discard(run: Path) -> None:
    """Delete a run's candidate and working files; its table and verdict stay.

    Raises:
        InputError: if there is no run, it is still in progress, or it cannot be deleted.
    """
    if not FineTuningRun(run).has_begun():
        raise InputError(a_file(run), ": is not a folder of a fine-tuning")
    with folder_lock(run):
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
    """Delete one of the user's models; if it was the default, the bundled one takes its place.

    Raises:
        InputError: if there is no such model, or it came with the package.
    """
    card = find_model(name)
    if card.parent != user_folder() or card.stem != name:
        raise InputError(
            f"{name}: is not one of your own models; only those in ",
            a_file(user_folder()),
            " can be removed",
        )
    if default_model() == name:
        use(DEFAULT_MODEL)
    with translate_os_errors(card):
        card.unlink()  # first: without a card there is no model
        card.with_suffix(".pt").unlink(missing_ok=True)
