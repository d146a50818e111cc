"""Settings as frozen dataclasses that go to JSON and come back checked."""

from __future__ import annotations

from dataclasses import asdict, fields, is_dataclass
from typing import Any, TypeVar

S = TypeVar("S")


def settings_to_dict(settings: Any) -> dict[str, Any]:
    """A settings dataclass in plain JSON types; nested ones become nested objects."""
    return {key: _plain(value) for key, value in asdict(settings).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return list(value) if isinstance(value, tuple) else value


def settings_from_dict(kind: type[S], values: dict[str, Any]) -> S:
    """The settings that :func:`settings_to_dict` wrote; what is left out keeps its default.

    Every field of ``kind`` has a default, and a value must be of its default's type.

    Raises:
        ValueError: if a key is unknown or a value has the wrong type.
    """
    if not isinstance(values, dict):
        raise ValueError(f"settings are names and values, not {values!r}")
    defaults = {field.name: getattr(kind(), field.name) for field in fields(kind)}  # type: ignore[arg-type]
    given = {}
    for key, value in values.items():
        if key not in defaults:
            raise ValueError(f"unknown setting {key!r}; there are {', '.join(defaults)}")
        given[key] = _checked(key, value, defaults[key])
    return kind(**given)


def _checked(key: str, value: Any, default: Any) -> Any:
    if is_dataclass(default) and isinstance(value, dict):
        return settings_from_dict(type(default), value)
    if isinstance(default, tuple) and isinstance(value, list):
        if default and not all(_same_kind(item, default[0]) for item in value):
            raise ValueError(f"setting {key!r} cannot be {value!r}")
        return tuple(value)
    if not _same_kind(value, default):
        raise ValueError(f"setting {key!r} cannot be {value!r}, it is like {default!r}")
    return value


def _same_kind(value: Any, default: Any) -> bool:
    if type(default) is float:
        return type(value) in (int, float)
    return type(value) is type(default)
