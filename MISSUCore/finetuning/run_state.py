"""What a run of fine-tuning is, so that only the same one goes on in its folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..contract.labels import LabelScheme
from ..core.errors import InputError
from ..core.files import sha256, write_json
from ..models.store import Model
from ..training.brats import LabeledCase
from .config import FineTuningOptions


def given_facts(
    name: str,
    base: Model,
    cases: Sequence[LabeledCase],
    scheme: LabelScheme,
    options: FineTuningOptions,
) -> dict[str, Any]:
    """What a run depends on, in plain JSON types; with other cases or files it is another run.

    Raises:
        InputError: if a file cannot be read.
    """
    return {
        "name": name,
        "base": base.card.sha256,
        "cases": {
            case.name: [
                f"{kind} {sha256(path)}"
                for kind, path in (*case.images.items(), ("labels", case.labels))
            ]
            for case in cases
        },
        "scheme": scheme.as_dict(),
        "minutes": options.minutes,
        "rehearsal": options.rehearsal,
        "changes": options.changes,
    }


def run_state(folder: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """What the folder's ``run.json`` holds: what was given, and once planned, the settings.

    Until there are settings nothing was trained, and something else may be given.

    Args:
        folder: of the run.
        given: what the run depends on, in plain JSON types.

    Raises:
        InputError: if the folder holds a run of which something else was given, or is damaged.
        ResourceError: if the disk is full.
    """
    path = folder / "run.json"
    state: dict[str, Any] = {}
    try:
        if path.exists():
            state = json.loads(path.read_text(encoding="utf-8"))
        begun = "settings" in state
        before = state["given"] if begun else given
        changed = [key for key in given if before.get(key) != given[key]]
        names = _different(before["cases"], given["cases"]) if "cases" in changed else []
    except (OSError, ValueError, LookupError, AttributeError, TypeError) as error:
        raise InputError(f"{path}: is damaged; give another folder to start anew") from error
    if changed:
        raise InputError(
            f"{folder}: holds a run with other settings ({', '.join(changed)}); give the same to "
            "resume it, or another folder"
            + (f"; added, changed or gone are: {', '.join(names)}" if names else "")
        )
    if not begun:
        state = {"given": dict(given)}
        write_json(path, state)
    return state


def _different(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Names of the cases that are not the same."""
    return [name for name in sorted({*before, *now}) if before.get(name) != now.get(name)]
