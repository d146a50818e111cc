"""What a run's folder says that it is, so that only the same run goes on there."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from .errors import InputError
from .files import read_json, write_json
from .messages import a_file
from .serialization import JsonObject, maybe, settings_from_dict

FILE = "run.json"


@dataclass(frozen=True)
class RunState:
    """What a run is.

    Attributes:
        given: what it depends on, in plain JSON types; ``cases`` are by name.
        settings: that were planned for it; None until it has begun to train.
    """

    given: JsonObject = field(default_factory=dict)
    settings: JsonObject | None = maybe(dict)

    def begin(self, folder: Path, settings: JsonObject) -> None:
        """Write that the run trains with these settings: from now on it is this, and no other.

        Raises:
            InputError: if it cannot be written.
            ResourceError: if the disk is full.
        """
        write_json(folder / FILE, {"given": self.given, "settings": settings})


def read_state(folder: Path) -> RunState:
    """What the folder's ``run.json`` holds.

    Raises:
        InputError: if it cannot be read or is damaged.
    """
    path = folder / FILE
    try:
        values = read_json(path)
        if not isinstance(values, dict) or "given" not in values:
            raise ValueError("it does not say what was given")
        state = settings_from_dict(RunState, values)
        if not isinstance(state.given.get("cases", {}), dict):
            raise ValueError("its cases have no names")
    except (OSError, ValueError) as error:
        raise damaged_state(path) from error
    return state


def damaged_state(path: Path) -> InputError:
    """The error for a file of a run's state that cannot be used."""
    return InputError(a_file(path), ": is damaged; give another folder to start anew")


def run_state(folder: Path, given: JsonObject) -> RunState:
    """What the folder's run is; written if it has not begun.

    Until there are settings nothing was trained, and something else may be given.

    Args:
        folder: of the run.
        given: what the run depends on, in plain JSON types.

    Raises:
        InputError: if the folder holds a run of which something else was given, or is damaged.
        ResourceError: if the disk is full.
    """
    if (folder / FILE).exists():
        state = read_state(folder)
        if state.settings is not None:
            _check_same(folder, state.given, given)
            return state
    write_json(folder / FILE, {"given": given})
    return RunState(given)


def _check_same(folder: Path, before: JsonObject, given: JsonObject) -> None:
    changed = [key for key in given if before.get(key) != given[key]]
    if not changed:
        return
    names = []
    if "cases" in changed:
        old, new = before.get("cases", {}), given["cases"]
        names = [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
    raise InputError(
        a_file(folder),
        f": holds a run with other settings ({', '.join(changed)}); give the same to resume it, or "
        "another folder",
        f"; added, changed or gone are: {', '.join(names)}" if names else "",
    )
