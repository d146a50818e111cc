"""Reads the cases of a library of training cases from its files, for display.

Changes are made by ``missu library``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from MISSUCore.contract.case_record import RECORD_FILE, CaseRecord, read_record
from MISSUCore.contract.labels import LabelScheme
from MISSUCore.core.errors import InputError


@dataclass(frozen=True)
class TrainingCase:
    """A corrected case in a library.

    Attributes:
        folder: folder with its scans and labels.
        record: metadata of the case.
    """

    folder: Path
    record: CaseRecord

    @property
    def id(self) -> str:
        """The ID of the case in the library."""
        return self.record.id

    @property
    def scheme(self) -> LabelScheme:
        """The label scheme of the case."""
        return self.record.label_scheme()

    @property
    def added(self) -> datetime:
        """When it was added, in the time zone of this computer."""
        return self.record.added_at().astimezone()

    @property
    def title(self) -> str:
        """The title shown to the user: the note, or else when the case was added."""
        return self.record.note or self.added.strftime("%d %b %H:%M")


def readCases(library: Path) -> list[TrainingCase]:
    """The cases of a library, oldest first; none if the folder does not exist.

    Damaged records are skipped: ``missu`` reports them.
    """
    cases = []
    try:
        paths = list(library.glob(f"cases/[!.]*/{RECORD_FILE}"))
    except OSError:  # e.g. an unplugged drive, or no permission
        return []
    for path in paths:
        try:
            cases.append(TrainingCase(path.parent, read_record(path)))
        except InputError:
            continue
    return sorted(cases, key=lambda case: case.added)


def usedCases(library: Path) -> list[TrainingCase]:
    """The cases of a library that are not excluded from fine-tuning, oldest first."""
    return [case for case in readCases(library) if not case.record.excluded]
