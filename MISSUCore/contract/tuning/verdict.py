"""Whether a tuned model is better than its base: table and verdict, and the JSON file of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from ...core.errors import InputError
from ...core.files import read_json, write_json
from ...core.messages import a_file
from ...core.serialization import (
    JsonObject,
    by_name,
    many,
    maybe,
    settings_from_dict,
    settings_to_dict,
)
from ..model_identity import ModelIdentity

Dice = dict[str, float]  # by region


class Verdict(str, Enum):
    """What came of an acceptance test."""

    BETTER = "better"
    NOT_BETTER = "not better"
    FORGETS = "forgets"
    NEW_TASK = "new task"

    __str__ = str.__str__  # the value also where it is formatted


@dataclass(frozen=True)
class CaseDice:
    """Dice of a case by region.

    Attributes:
        case: its name.
        fold: in which it was held out, from 1; None for a case that is not the user's.
        base: of the base model; None if that does another task.
        tuned: of a model that was tuned without it.
    """

    case: str = ""
    fold: int | None = maybe(int)
    base: Dice | None = maybe(dict, float)
    tuned: Dice = by_name(float)


@dataclass(frozen=True)
class MeanDice:
    """Mean Dice over the user's cases.

    Attributes:
        base: by region; None if the base does another task.
        tuned: by region.
        gain: over cases and regions; None if there is no base to compare with.
    """

    base: Dice | None = maybe(dict, float)
    tuned: Dice = by_name(float)
    gain: float | None = maybe(float)


@dataclass(frozen=True)
class RetainedDice:
    """Mean Dice over the cases that tell what was forgotten.

    Attributes:
        base: by region.
        tuned: by region.
        loss: over cases and regions.
        agreement: Dice of the two models' answers with each other; None in a file that lacks it.
    """

    base: Dice = by_name(float)
    tuned: Dice = by_name(float)
    loss: float = 0.0
    agreement: float | None = maybe(float)


@dataclass(frozen=True)
class Forgetting:
    """What was forgotten, on cases that are not the user's."""

    cases: tuple[CaseDice, ...] = many(CaseDice)
    mean: RetainedDice = field(default_factory=RetainedDice)


@dataclass(frozen=True)
class AcceptanceTest:
    """A tuned model against its base, on cases that neither was tuned on.

    Attributes:
        name: of the tuned model.
        date: YYYY-MM-DD.
        base: the model that was tuned.
        verdict: what came of it.
        reason: why, one sentence without its full stop.
        rule: by which it was judged.
        regions: their names.
        folds: how many there were.
        steps: of the optimizer that the tuned model took.
        mix: its interpolation weight, the rest being the base's.
        cases: of the user, each by a model that was tuned without it.
        mean: over them.
        not_judged: names of cases that the base was tuned on already.
        forgetting: None if there was nothing to check it on.

    Raises:
        ValueError: if the table lacks a region.
    """

    name: str = ""
    date: str = ""
    base: ModelIdentity = field(default_factory=ModelIdentity)
    verdict: Verdict = Verdict.NOT_BETTER
    reason: str = ""
    rule: str = ""
    regions: tuple[str, ...] = many(str)
    folds: int = 0
    steps: int = 0
    mix: float = 1.0
    cases: tuple[CaseDice, ...] = many(CaseDice)
    mean: MeanDice = field(default_factory=MeanDice)
    not_judged: tuple[str, ...] = many(str)
    forgetting: Forgetting | None = maybe(Forgetting)

    def __post_init__(self) -> None:
        rows: list[CaseDice | MeanDice | RetainedDice] = [*self.cases, self.mean]
        if self.forgetting:
            rows += [*self.forgetting.cases, self.forgetting.mean]
        known = (dice for row in rows for dice in (row.base, row.tuned) if dice is not None)
        if not all(set(self.regions) <= set(dice) for dice in known):
            raise ValueError("it lacks a region in its table of results")

    @property
    def recommended(self) -> bool:
        """Whether the tuned model is to be used from now on."""
        return self.verdict is Verdict.BETTER

    @property
    def may_be_installed(self) -> bool:
        """Whether the tuned model is installed without being forced to."""
        return self.verdict in (Verdict.BETTER, Verdict.NEW_TASK)

    def to_dict(self) -> JsonObject:
        """As the file has it, in plain JSON types."""
        derived = {
            "new_task": self.verdict is Verdict.NEW_TASK,
            "recommended": self.recommended,
        }
        return {**settings_to_dict(self), **derived}

    @classmethod
    def from_dict(cls, values: JsonObject) -> AcceptanceTest:
        """What :meth:`to_dict` gave, now or in an earlier version.

        Raises:
            ValueError: if it is something else, or holds no table.
        """
        derived = ("new_task", "recommended")
        missing = _missing(values, ("name", "verdict", "reason", "regions", "cases", "mean"))
        if missing:
            raise ValueError(f"it has no {missing}")
        given = {key: value for key, value in values.items() if key not in derived}
        return settings_from_dict(cls, given)


def _missing(values: JsonObject, keys: Iterable[str]) -> str:
    return ", ".join(key for key in keys if key not in values)


def read_acceptance(path: Path) -> AcceptanceTest:
    """The acceptance test in a JSON file.

    Raises:
        InputError: if it is damaged.
    """
    try:
        return AcceptanceTest.from_dict(read_json(path))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise InputError(
            a_file(path),
            f": is damaged: {error}; delete it, and give the command of the run again",
        ) from error


def write_acceptance(path: Path, test: AcceptanceTest) -> None:
    """Write an acceptance test to a JSON file.

    Raises:
        InputError: if it cannot be written.
        ResourceError: if the disk is full.
    """
    write_json(path, test.to_dict())
