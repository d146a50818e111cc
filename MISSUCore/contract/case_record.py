"""What a library of corrected cases knows of a case, and its JSON file."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from ..core.errors import InputError
from ..core.files import NAME, read_json, write_json
from ..core.messages import a_file
from ..core.serialization import (
    JsonObject,
    by_name,
    many,
    maybe,
    settings_from_dict,
    settings_to_dict,
)
from .labels import LabelScheme
from .model_identity import ModelIdentity
from .provenance.record import Provenance, check_record

RECORD_FILE = "record.json"


@dataclass(frozen=True)
class Change:
    """What was corrected in a region of a model's result.

    Attributes:
        added_ml: volume that the correction has, and the result had not.
        removed_ml: volume that the result had, and the correction has not.
        dice: of the two.
    """

    added_ml: float = 0.0
    removed_ml: float = 0.0
    dice: float = 1.0

    @property
    def amount_ml(self) -> float:
        """Volume that was changed in all."""
        return self.added_ml + self.removed_ml


@dataclass(frozen=True)
class CaseRecord:
    """The record of a case in a library.

    Attributes:
        id: name of its folder, made of the scans' content.
        added: when, UTC, ISO 8601.
        scene: name of the Slicer scene, as the user entered it.
        note: the user's note.
        excluded: whether it is left out of fine-tuning.
        modalities: of its scans.
        scheme: what its label values mean, as :meth:`LabelScheme.as_dict` writes it.
        model: whose result was corrected.
        changes: by region, against that result; empty if unknown.
        volumes_ml: by region.
        warnings: what looked odd about the labels.
        scans_sha256: by modality, checksum of the scan's voxels as read, before preprocessing.
        stored_sha256: by modality, checksum of the scan's voxels in the library.
        labels_sha256: checksum of the label map's voxels.
        provenance: what computed the segmentation that the labels were written from, who edited it
            and who signed it off; None if that is unknown.
    """

    id: str = ""
    added: str = ""
    scene: str = ""
    note: str = ""
    excluded: bool = False
    modalities: tuple[str, ...] = many(str)
    scheme: JsonObject = field(default_factory=dict)
    model: ModelIdentity = field(default_factory=ModelIdentity)
    changes: dict[str, Change] = by_name(Change)
    volumes_ml: dict[str, float] = by_name(float)
    warnings: tuple[str, ...] = many(str)
    scans_sha256: dict[str, str] = by_name(str)
    stored_sha256: dict[str, str] = by_name(str)
    labels_sha256: str = ""
    provenance: Provenance | None = maybe(Provenance)

    def label_scheme(self) -> LabelScheme:
        """What its label values mean."""
        return LabelScheme.from_dict(self.scheme)

    def added_at(self) -> datetime:
        """When it was added.

        Raises:
            ValueError: if that is not a date.
        """
        return datetime.fromisoformat(self.added)

    def shares_scans(self, other: CaseRecord) -> bool:
        """Whether the same scan was given for both, as it came or as the other is stored."""
        ours, theirs = (
            {*record.scans_sha256.values(), *record.stored_sha256.values()}
            for record in (self, other)
        )
        return bool(ours & theirs)


def read_record(path: Path) -> CaseRecord:
    """The record in a JSON file.

    Raises:
        InputError: if it is damaged.
    """
    try:
        record = settings_from_dict(CaseRecord, read_json(path))
        # Its files are looked for by this name.
        if record.id != path.parent.name:
            raise ValueError(f"it is of a case named {record.id!r}")
        _check(record)
    except (OSError, ValueError, InputError) as error:
        raise InputError(
            a_file(path), f": is damaged: {error}; delete its folder and add the case again"
        ) from error
    return record


def _check(record: CaseRecord) -> None:
    """Check the values that are used, beyond their types; raises ValueError."""
    if not all(re.fullmatch(NAME, name) for name in record.modalities):
        raise ValueError("modalities are not names")
    missing = set(record.label_scheme().region_names) - set(record.volumes_ml)
    if missing:
        raise ValueError(f"volumes_ml lack {', '.join(sorted(missing))}")
    record.added_at()
    if record.provenance:
        check_record(record.provenance)


def write_record(path: Path, record: CaseRecord) -> None:
    """Write a record to a JSON file.

    Raises:
        InputError: if it cannot be written.
        ResourceError: if the disk is full.
    """
    write_json(path, settings_to_dict(record))
