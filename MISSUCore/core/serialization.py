"""Settings and records as frozen dataclasses that go to JSON and come back checked."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, field, fields, is_dataclass, replace
from enum import Enum
from pathlib import PurePath
from typing import Any, TypeVar

S = TypeVar("S")

# An object of JSON whose content is free: what a file or a line held before it is checked, and
# what becomes one. What has a form of its own is a dataclass.
JsonObject = dict[str, Any]

# Under these names a field says what its default does not show.
_ITEMS, _KIND = "items", "kind"
_SHOWN = 40  # characters of a wrong value in a message


def many(kind: type) -> Any:
    """Field of a settings class: any number of ``kind``, none by default."""
    return field(default=(), metadata={_ITEMS: kind})


def by_name(kind: type) -> Any:
    """Field of a settings class: a dictionary of ``kind`` by name, empty by default."""
    return field(default_factory=dict, metadata={_ITEMS: kind})


def maybe(kind: type, items: type | None = None) -> Any:
    """Field of a settings class: ``kind`` (a dictionary of ``items``) or None, by default None."""
    return field(default=None, metadata={_KIND: kind, _ITEMS: items})


def number_of(value: object) -> float:
    """A number of JSON, which is also one that can be computed with.

    Raises:
        ValueError: if it is something else, NaN, infinite, or a whole number beyond all others.
    """
    if (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and abs(value) <= sys.float_info.max  # which NaN is not, either
    ):
        return float(value)
    raise ValueError(f"{str(value)[:_SHOWN]!r} is not a number")


def whole_number_of(value: object) -> int:
    """A whole number of JSON.

    Raises:
        ValueError: if it is something else.
    """
    if type(value) is not int:
        raise ValueError(f"{str(value)[:_SHOWN]!r} is not a whole number")
    return value


def numbers_of(values: Mapping[str, object]) -> dict[str, float]:
    """Numbers of JSON by name.

    Raises:
        ValueError: see :func:`number_of`.
    """
    return {str(name): number_of(value) for name, value in values.items()}


def settings_to_dict(settings: Any) -> JsonObject:
    """A settings dataclass in plain JSON types; nested ones become nested objects."""
    return {key: _plain(value) for key, value in asdict(settings).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    if isinstance(value, Enum):
        return value.value
    return str(value) if isinstance(value, PurePath) else value


def settings_from_dict(kind: type[S], values: JsonObject) -> S:
    """Read settings that :func:`settings_to_dict` wrote; missing keys keep their defaults.

    Every field of ``kind`` has a default, and a value must be of its default's type. :func:`many`,
    :func:`by_name` and :func:`maybe` declare the types behind a tuple, a dictionary or None.

    Raises:
        ValueError: if a key is unknown or a value has the wrong type.
    """
    if not isinstance(values, dict):
        raise ValueError(f"settings are names and values, not {values!r}")
    return _changed(kind(), values)


def _changed(start: S, values: JsonObject) -> S:
    """Settings that differ from others by what is given."""
    known = {one.name: one for one in fields(start)}  # type: ignore[arg-type]
    given = {}
    for key, value in values.items():
        if key not in known:
            raise ValueError(f"unknown setting {key!r}; there are {', '.join(known)}")
        default, about = getattr(start, key), known[key].metadata
        if default is None and _KIND in about:
            default = None if value is None else about[_KIND]()
        given[key] = _checked(key, value, default, about.get(_ITEMS))
    return replace(start, **given)  # type: ignore[type-var]


def _checked(key: str, value: Any, default: Any, items: type | None = None) -> Any:
    """A value as the setting has it, if it is of its default's type.

    Args:
        key: name of the setting.
        value: from JSON.
        default: of the setting.
        items: type of what is in it, if that is known.
    """
    if is_dataclass(default) and isinstance(value, dict):
        return _changed(default, value)
    if isinstance(default, Enum) and isinstance(value, str):
        known = [member.value for member in type(default)]
        if value not in known:
            raise ValueError(f"setting {key!r} cannot be {value!r}; there are {', '.join(known)}")
        return type(default)(value)
    if isinstance(default, PurePath) and isinstance(value, str):
        if not _can_be_path(value):
            raise ValueError(f"setting {key!r} cannot be {value!r}, which no path can be")
        return type(default)(value)
    if isinstance(default, tuple) and isinstance(value, list):
        if items is None and default:
            items = type(default[0])
        return tuple(value if items is None else (_checked(key, one, items()) for one in value))
    if isinstance(default, dict) and isinstance(value, dict) and items is not None:
        return {str(name): _checked(key, one, items()) for name, one in value.items()}
    if not _same_kind(value, default):
        raise ValueError(f"setting {key!r} cannot be {value!r}, it is like {default!r}")
    return value


def _can_be_path(text: str) -> bool:
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeError:  # half a character, which JSON can hold
        return False


def _same_kind(value: Any, default: Any) -> bool:
    if type(default) is float:
        return type(value) is float or (type(value) is int and abs(value) <= sys.float_info.max)
    return type(value) is type(default)
