"""Settings survive JSON, and what does not fit is refused by name."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from MISSUCore.core.serialization import settings_from_dict, settings_to_dict


@dataclass(frozen=True)
class Inner:
    """Nested settings."""

    layers: int = 2
    channels: tuple[int, ...] = (4, 8)

    def __post_init__(self) -> None:
        if self.layers < 1:
            raise ValueError("layers must be at least 1")


@dataclass(frozen=True)
class Outer:
    """One field of every type that settings have."""

    name: str = "default"
    rate: float = 0.5
    count: int = 3
    mirror: bool = False
    spacing: tuple[float, ...] = (1.0, 1.0)
    words: tuple[str, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)
    inner: Inner = field(default_factory=Inner)


CHANGED = Outer(
    "other", 1e-4, 7, True, (2.0, 3.0, 4.0), ("t1", "t2"), {"dice": {"WT": 0.9}}, Inner(5, (1,))
)


@pytest.mark.parametrize("settings", [Outer(), CHANGED])
def test_round_trip_through_json(settings: Outer) -> None:
    plain = settings_to_dict(settings)
    text = json.dumps(plain)
    assert json.loads(text) == plain  # plain JSON types only, no tuples
    assert settings_from_dict(Outer, json.loads(text)) == settings


def test_plain_types() -> None:
    assert settings_to_dict(CHANGED) == {
        "name": "other",
        "rate": 1e-4,
        "count": 7,
        "mirror": True,
        "spacing": [2.0, 3.0, 4.0],
        "words": ["t1", "t2"],
        "facts": {"dice": {"WT": 0.9}},
        "inner": {"layers": 5, "channels": [1]},
    }


def test_what_is_left_out_keeps_its_default() -> None:
    assert settings_from_dict(Outer, {}) == Outer()
    assert settings_from_dict(Outer, {"inner": {"layers": 9}}).inner == Inner(9, (4, 8))


def test_a_whole_number_is_a_real_one() -> None:
    assert settings_from_dict(Outer, {"rate": 1}).rate == 1.0
    assert settings_from_dict(Outer, {"spacing": [1, 2.5]}).spacing == (1.0, 2.5)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", 1),
        ("name", None),
        ("rate", "0.5"),
        ("rate", True),
        ("rate", [0.5]),
        ("count", 1.5),
        ("count", 1.0),
        ("count", True),
        ("count", "3"),
        ("mirror", 1),
        ("mirror", "true"),
        ("spacing", 1.0),
        ("spacing", "11"),
        ("spacing", ["1", "2"]),
        ("spacing", [1.0, None]),
        ("facts", ["dice"]),
        ("inner", 3),
        ("inner", None),
    ],
)
def test_a_wrong_type_is_refused_by_name(key: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"setting '{key}' cannot be"):
        settings_from_dict(Outer, {key: value})


@pytest.mark.parametrize(("key", "value"), [("channels", [4, 8.5]), ("layers", 2.5)])
def test_a_wrong_type_inside_is_refused_by_name(key: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"setting '{key}' cannot be"):
        settings_from_dict(Outer, {"inner": {key: value}})


def test_an_unknown_setting_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"unknown setting 'nmae'; there are name, rate, count"):
        settings_from_dict(Outer, {"nmae": "x"})
    with pytest.raises(ValueError, match=r"unknown setting 'depth'; there are layers, channels"):
        settings_from_dict(Outer, {"inner": {"depth": 1}})


def test_the_settings_check_themselves() -> None:
    with pytest.raises(ValueError, match="layers must be at least 1"):
        settings_from_dict(Outer, {"inner": {"layers": 0}})


@pytest.mark.parametrize("values", [[], [1], "name", None, 3])
def test_what_is_no_object_is_refused(values: Any) -> None:
    with pytest.raises(ValueError, match="settings are names and values"):
        settings_from_dict(Outer, values)
