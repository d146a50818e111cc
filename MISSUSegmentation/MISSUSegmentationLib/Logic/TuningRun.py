"""The runs of ``missu finetune`` in a library, and their results in this installation."""

from __future__ import annotations

from pathlib import Path

from MISSUCore.contract.tuning.finetuning_run import REQUEST_FILE, FineTuningRun, TuningSettings
from MISSUCore.contract.tuning.verdict import AcceptanceTest
from MISSUCore.core.errors import InputError

from ..Core.CoreInstallation import modelCards


def readRuns(library: Path) -> list[FineTuningRun]:
    """The runs of a library, the newest first; none if it cannot be read."""
    try:
        folders = [path for path in library.glob("runs/[!.]*") if path.is_dir()]
        return [FineTuningRun(folder) for folder in sorted(folders, key=_begin, reverse=True)]
    except OSError:
        return []


def _begin(folder: Path) -> float:
    request = folder / REQUEST_FILE
    return (request if request.is_file() else folder).stat().st_mtime


def newRun(library: Path, settings: TuningSettings) -> FineTuningRun:
    """Create the folder of a run, ``runs/NAME-run-1``, ..., and write the settings to it.

    Raises:
        OSError: if the folder cannot be created.
        InputError: if the settings cannot be written there.
        ResourceError: if the disk is full.
    """
    number = 1
    while (library / "runs" / f"{settings.name}-run-{number}").exists():
        number += 1
    run = FineTuningRun(library / "runs" / f"{settings.name}-run-{number}")
    run.folder.mkdir(parents=True)
    run.ask(settings)
    return run


def acceptanceOf(run: FineTuningRun) -> AcceptanceTest | None:
    """The acceptance test of a run; None if the run has not ended, or the file is unreadable."""
    try:
        return run.acceptance()
    except InputError:
        return None


def installedAs(run: FineTuningRun) -> str:
    """Name under which a run's model is installed; empty if it was not accepted."""
    candidate = run.candidate()
    for name, card in modelCards().items():
        if candidate and card.sha256 == candidate.sha256:
            return name
    return ""
