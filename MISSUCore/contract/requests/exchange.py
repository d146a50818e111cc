"""Requests as they are handed over: one JSON object a command, as the Slicer module writes it.

The command line makes the same objects of its options, so that an option means the same on both
ways. What comes through a file is checked: its names and types, and later, like all input, itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from ...core.errors import InputError
from ...core.files import read_json, write_json
from ...core.messages import a_file
from ...core.serialization import JsonObject, settings_from_dict, settings_to_dict
from .commands import (
    AddCaseRequest,
    ChangeCasesRequest,
    EvaluateRequest,
    FineTuneRequest,
    GuessRequest,
    MeasureRequest,
    ModelRequest,
    Request,
    SegmentRequest,
    VisitsRequest,
)

_KINDS: tuple[type[Request], ...] = (
    SegmentRequest,
    AddCaseRequest,
    ChangeCasesRequest,
    FineTuneRequest,
    ModelRequest,
    EvaluateRequest,
    MeasureRequest,
    VisitsRequest,
    GuessRequest,
)
R = TypeVar("R")


def request_of(kind: type[R], values: Mapping[str, object]) -> R:
    """A request, or a part of one, of values by the name of their field, in whichever part it is.

    So neither the command line nor Slicer has to know where in a request an option stands.

    Args:
        kind: of the request.
        values: may hold others, too; None keeps the default.
    """
    filled: R = _filled(kind(), values)
    return filled


def _filled(start: Any, values: Mapping[str, object]) -> Any:
    given: dict[str, object] = {}
    for one in fields(start):
        before, value = getattr(start, one.name), values.get(one.name)
        if is_dataclass(before) and not isinstance(value, type(before)):
            given[one.name] = _filled(before, values)
        elif value is not None:
            given[one.name] = tuple(value) if isinstance(value, list) else value
    return replace(start, **given)


def request_to_dict(request: Request) -> JsonObject:
    """A request in plain JSON types."""
    return {"command": request.command, **settings_to_dict(request)}


def write_request(path: Path, request: Request) -> None:
    """Write a request to a JSON file, which appears only when it is whole.

    Raises:
        InputError: if it cannot be written.
        ResourceError: if the disk is full.
    """
    write_json(path, request_to_dict(request))


def read_request(path: Path) -> Request:
    """The request in a JSON file.

    Raises:
        InputError: if it cannot be read, or is none.
    """
    try:
        values = read_json(path)
        kinds = {kind.command: kind for kind in _KINDS}
        command = values.pop("command", None) if isinstance(values, dict) else None
        if command not in kinds:
            raise ValueError(f"there is no command {command!r}; there are {', '.join(kinds)}")
        return settings_from_dict(kinds[command], values)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(a_file(path), f": is not a request: {error}") from error
