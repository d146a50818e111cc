"""What a run's folder says that it is, so that only the same run goes on there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import InputError
from .files import read_json, write_json


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
            state = _checked(read_json(path))
        begun = "settings" in state
        before = state["given"] if begun else given
        changed = [key for key in given if before.get(key) != given[key]]
        names = _different(before["cases"], given["cases"]) if "cases" in changed else []
    except (
        OSError,
        ValueError,
        LookupError,
        AttributeError,
        TypeError,
        RecursionError,
    ) as error:
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


def _checked(state: dict[str, Any]) -> dict[str, Any]:
    """The state as it must be, or one of the errors that a look into something else gives."""
    if not isinstance(state["given"], dict):
        raise TypeError("no facts")
    if "settings" in state:
        steps, half = (state["settings"].get(name) for name in ("steps", "mixed_precision"))
        if steps is not None and (type(steps) is not int or steps < 1):
            raise ValueError("no number of steps")
        if half not in (None, True, False):
            raise ValueError("no precision")
    return state


def _different(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Names of the cases that are not the same."""
    return [name for name in sorted({*before, *now}) if before.get(name) != now.get(name)]
