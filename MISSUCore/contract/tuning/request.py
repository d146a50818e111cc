"""What a fine-tuning is asked for by; :mod:`..requests` has the other commands."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from ...core.serialization import many, maybe
from ..options import FineTuningOptions


@dataclass(frozen=True)
class FineTuneRequest:
    """Tune a model.

    Attributes:
        library: of corrected cases, or None.
        cases: JSON list of cases, or None.
        output: folder of the run.
        base: model to tune; empty for the one in use.
        name: of the tuned model.
        scheme: what the labels mean: a name, a JSON file, or JSON itself; empty: as the library or
            the base has it.
        modalities: to use, of a new task; none: those of the base.
        options: how.
    """

    command: ClassVar[str] = "finetune"
    library: Path | None = maybe(Path)
    cases: Path | None = maybe(Path)
    output: Path = Path()
    base: str = ""
    name: str = "my-model"
    scheme: str = ""
    modalities: tuple[str, ...] = many(str)
    options: FineTuningOptions = field(default_factory=FineTuningOptions)
