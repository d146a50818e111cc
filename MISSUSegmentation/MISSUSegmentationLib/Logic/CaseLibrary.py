"""What a library of training cases holds, read from its files for display.

Changes go through ``missu library``; the files are described in MISSUCore.finetuning.library.store.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from MISSUCore.contract.case_record import CaseRecord, read_record
from MISSUCore.contract.labels import LabelScheme
from MISSUCore.core.errors import InputError

MINIMUM_CASES = 3


@dataclass(frozen=True)
class TrainingCase:
    """A corrected case in a library.

    Attributes:
        id: of the case in the library.
        folder: with its scans and labels.
        added: when.
        note: of the user.
        excluded: whether it is left out of fine-tuning.
        modalities: of its scans.
        scheme: what its labels mean.
        volumesMl: by region name.
        changes: by region name: "added_ml", "removed_ml" and "dice" of the correction against the
            model's result; empty if that is not known.
        warnings: one sentence each.
    """

    id: str
    folder: Path
    added: datetime
    note: str
    excluded: bool
    modalities: tuple[str, ...]
    scheme: LabelScheme
    volumesMl: dict[str, float]
    changes: dict[str, dict[str, float]]
    warnings: tuple[str, ...]

    @property
    def title(self) -> str:
        """What the user knows it by: the note, else when it was added."""
        return self.note or self.added.astimezone().strftime("%d %b %H:%M")


def readCases(library: Path) -> list[TrainingCase]:
    """The cases of a library, oldest first; none if there is no such folder, or no more.

    Damaged records are passed over: ``missu`` tells of them.
    """
    cases = []
    try:
        paths = list(library.glob("cases/[!.]*/record.json"))
    except OSError:  # a drive that was unplugged, a folder of somebody else
        return []
    for path in paths:
        try:
            cases.append(_case(path.parent, read_record(path)))
        except (ValueError, InputError):
            continue
    return sorted(cases, key=lambda case: case.added)


def _case(folder: Path, record: CaseRecord) -> TrainingCase:
    return TrainingCase(
        id=record.id,
        folder=folder,
        added=datetime.fromisoformat(record.added),
        note=record.note,
        excluded=record.excluded,
        modalities=record.modalities,
        scheme=record.label_scheme(),
        volumesMl=record.volumes_ml,
        changes=record.changes,
        warnings=record.warnings,
    )
