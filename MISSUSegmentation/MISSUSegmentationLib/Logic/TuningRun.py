"""A run of ``missu finetune`` as its folder tells of it: curves, the verdict, what can be done.

The files are described in MISSUCore.finetuning.run.
"""

from __future__ import annotations

import csv
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..Core.CoreInstallation import modelCards

REQUEST = "request.json"


@dataclass(frozen=True)
class TuningSettings:
    """What the user asks for.

    Attributes:
        base: name of the model to begin with.
        name: of the new model, to which a version number is added.
        minutes: time limit.
        device: "auto", "cuda", "mps" or "cpu".
    """

    base: str
    name: str = "my-model"
    minutes: int = 30
    device: str = "auto"


@dataclass(frozen=True)
class Curve:
    """Points of a curve over the steps; ``kind`` is "dice" or "loss"."""

    name: str
    kind: str
    steps: list[float]
    values: list[float]


@dataclass(frozen=True)
class TuningRun:
    """A run in a folder of its own within ``LIBRARY/runs``."""

    folder: Path

    @property
    def library(self) -> Path:
        """The library whose cases it tunes on."""
        return self.folder.parent.parent

    def settings(self) -> TuningSettings | None:
        """What was asked for; None if it was not started here."""
        content = _readJson(self.folder / REQUEST)
        try:
            return TuningSettings(**content) if content else None
        except TypeError:
            return None

    def caseIds(self) -> set[str]:
        """The cases that it tunes on; none before it has begun."""
        state = _readJson(self.folder / "run.json") or {}
        return set(state.get("given", {}).get("cases", ()))

    def hasBegun(self) -> bool:
        """Whether it has got so far that there is something to resume."""
        return (self.folder / "run.json").is_file()

    def gate(self) -> dict[str, Any] | None:
        """Table and verdict (``gate.json``) once it has finished."""
        return _readJson(self.folder / "gate.json")

    def candidate(self) -> dict[str, Any] | None:
        """Card of the tuned model; None while there is none, or once it was discarded."""
        cards = sorted(self.folder.glob("model/*.json"))
        return _readJson(cards[0]) if cards else None

    def installedAs(self) -> str:
        """Name of the installed model that came of it; empty if it was not accepted."""
        candidate = self.candidate()
        for name, card in modelCards().items():
            if candidate and card.get("sha256") == candidate.get("sha256"):
                return name
        return ""

    def curves(self) -> list[Curve]:
        """Accuracy on the cases held out, and the loss of the part that is at work."""
        curves = []
        rows = _readRows(self.folder / "validation.csv")
        for fold in sorted({row["fold"] for row in rows}):
            # Step 0 is the base; other shares than 1 belong to steps that are there already.
            own = [row for row in rows if row["fold"] == fold and row["mix"] == 1]
            regions = set(own[0]) - {"fold", "step", "mix"} if own else set()
            values = [sum(row[name] for name in regions) / len(regions) for row in own]
            steps = [row["step"] for row in own]
            curves.append(Curve(f"Dice, unseen cases {fold:.0f}", "dice", steps, values))
        logs = sorted(self.folder.glob("part-*/training.csv"))
        rows = _readRows(logs[-1]) if logs else []
        if rows:
            part = logs[-1].parent.name.partition("-")[2]
            steps = [row["step"] for row in rows]
            curves.append(Curve(f"Loss, part {part}", "loss", steps, [row["loss"] for row in rows]))
        return [curve for curve in curves if curve.steps]


def readRuns(library: Path) -> list[TuningRun]:
    """The runs of a library, the newest first; none if it cannot be read."""
    try:
        folders = [path for path in library.glob("runs/[!.]*") if path.is_dir()]
        return [TuningRun(folder) for folder in sorted(folders, key=_begin, reverse=True)]
    except OSError:
        return []


def _begin(folder: Path) -> float:
    request = folder / REQUEST
    return (request if request.is_file() else folder).stat().st_mtime


def newRun(library: Path, settings: TuningSettings) -> TuningRun:
    """Make the folder of a run, with what was asked for.

    Raises:
        OSError: if it cannot be written.
    """
    number = 1
    while (library / "runs" / f"{settings.name}-run-{number}").exists():
        number += 1
    folder = library / "runs" / f"{settings.name}-run-{number}"
    folder.mkdir(parents=True)
    (folder / REQUEST).write_text(json.dumps(asdict(settings)), encoding="utf-8")
    return TuningRun(folder)


def _readJson(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _readRows(path: Path) -> list[dict[str, float]]:
    """Rows of a table of numbers; what is being written just now is left out."""
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            lines = list(csv.DictReader(stream))
    except OSError:
        return []
    rows = []
    for line in lines:
        try:
            rows.append({name: float(value) for name, value in line.items()})
        except (TypeError, ValueError):
            continue
    return rows
