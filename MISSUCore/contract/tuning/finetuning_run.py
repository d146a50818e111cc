"""The files in the folder of a fine-tuning: request, plan, verdict and candidate model."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ...core.errors import InputError
from ...core.files import read_json, write_json
from ...core.messages import a_file
from ...core.run_state import FILE as STATE_FILE
from ...core.run_state import RunState, damaged_state, read_state
from ...core.serialization import (
    JsonObject,
    by_name,
    maybe,
    settings_from_dict,
    settings_to_dict,
)
from ..model_card import ModelCard, read_card
from .tuning_curves import Curve, read_curves
from .verdict import AcceptanceTest, read_acceptance, write_acceptance

REQUEST_FILE = "request.json"
ACCEPTANCE_FILE = "gate.json"
MODEL_FOLDER = "model"
# Fewer, and none could be held out to see whether the tuned model is better.
MINIMUM_CASES = 3


@dataclass(frozen=True)
class TuningSettings:
    """What a user asks for in Slicer.

    Attributes:
        base: name of the model to begin with.
        name: of the new model, to which a version number is added.
        minutes: time limit.
        device: "auto", "cuda", "mps" or "cpu".
    """

    base: str = ""
    name: str = "my-model"
    minutes: float = 30.0
    device: str = "auto"


@dataclass(frozen=True)
class TuningFacts:
    """What a run depends on: with something else it would be another run.

    Attributes:
        name: of the candidate.
        base: checksum of the base's weights.
        cases: by name, a kind of file and its checksum each.
        scheme: what the labels mean, as :meth:`LabelScheme.as_dict` writes it.
        minutes: time limit.
        rehearsal: see :class:`MISSUCore.finetuning.config.FineTuningOptions`.
        changes: of the settings, see there.
    """

    name: str = ""
    base: str = ""
    cases: dict[str, list[str]] = by_name(list)
    scheme: JsonObject = field(default_factory=dict)
    minutes: float = 30.0
    rehearsal: str = "auto"
    changes: dict[str, str] = by_name(str)


@dataclass(frozen=True)
class TuningPlan:
    """With what a run trains.

    Attributes:
        steps: of the optimizer, in each part.
        mixed_precision: whether in half precision; None leaves it to the settings.
    """

    steps: int = 1
    mixed_precision: bool | None = maybe(bool)

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError("no number of steps")

    def to_dict(self) -> JsonObject:
        """In plain JSON types, without what is left to the settings."""
        return {key: value for key, value in settings_to_dict(self).items() if value is not None}


@dataclass(frozen=True)
class FineTuningRun:
    """A run in a folder of its own; those of Slicer lie in ``LIBRARY/runs``."""

    folder: Path

    @property
    def library(self) -> Path:
        """The library whose cases a run of Slicer tunes on."""
        return self.folder.parent.parent

    def ask(self, settings: TuningSettings) -> None:
        """Write what the user asks for.

        Raises:
            InputError: if it cannot be written.
            ResourceError: if the disk is full.
        """
        write_json(self.folder / REQUEST_FILE, settings_to_dict(settings))

    def settings(self) -> TuningSettings | None:
        """What the user asked for; None if the run was not started in Slicer."""
        try:
            return settings_from_dict(TuningSettings, read_json(self.folder / REQUEST_FILE))
        except (OSError, ValueError):
            return None

    def has_begun(self) -> bool:
        """Whether it has got so far that there is something to resume."""
        return (self.folder / STATE_FILE).is_file()

    def case_names(self) -> set[str]:
        """The cases that it tunes on; none before it has begun, or if that cannot be read."""
        try:
            return set(read_state(self.folder).given.get("cases", ()))
        except InputError:
            return set()

    def plan(self, state: RunState) -> TuningPlan | None:
        """With what it trains, by its state; None if that is not planned yet.

        Raises:
            InputError: if the file of the state is damaged.
        """
        if state.settings is None:
            return None
        try:
            return settings_from_dict(TuningPlan, state.settings)
        except ValueError as error:
            raise damaged_state(self.folder / STATE_FILE) from error

    def has_ended(self) -> bool:
        """Whether there is a verdict."""
        return (self.folder / ACCEPTANCE_FILE).is_file()

    def acceptance(self) -> AcceptanceTest:
        """Table and verdict.

        Raises:
            InputError: if the run has not ended, or the file is damaged.
        """
        if not self.has_ended():
            raise InputError(
                a_file(self.folder),
                ": is not a finished fine-tuning; run missu finetune to its end",
            )
        return read_acceptance(self.folder / ACCEPTANCE_FILE)

    def end(self, test: AcceptanceTest) -> None:
        """Write table and verdict.

        Raises:
            InputError: if they cannot be written.
            ResourceError: if the disk is full.
        """
        write_acceptance(self.folder / ACCEPTANCE_FILE, test)

    def candidate(self) -> ModelCard | None:
        """Card of the tuned model; None while there is none, or once it was discarded."""
        for path in sorted(self.folder.glob(f"{MODEL_FOLDER}/*.json")):
            try:
                return read_card(path)
            except InputError:
                continue
        return None

    def curves(self) -> list[Curve]:
        """Dice of held-out cases, and the loss."""
        return read_curves(self.folder)
