"""What a library of corrected cases knows of a case, and its JSON file."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..core.errors import InputError
from ..core.files import NAME, read_json, write_json
from ..core.serialization import settings_from_dict, settings_to_dict
from .labels import LabelScheme


@dataclass(frozen=True)
class CaseRecord:
    """What is known of a case in a library.

    Attributes:
        id: name of its folder, made of the scans' content.
        added: when, UTC, ISO 8601.
        scene: from which Slicer scene, as the user told.
        note: of the user.
        excluded: whether it is left out of fine-tuning.
        modalities: of its scans.
        scheme: what its label values mean, as :meth:`LabelScheme.as_dict` writes it.
        model: ``name`` and ``sha256`` of the model whose result was corrected; empty if unknown.
        changes: by region: ``added_ml`` and ``removed_ml`` against that result, and its ``dice``
            with the correction; empty if unknown.
        volumes_ml: by region.
        warnings: what looked odd about the labels.
        scans_sha256: of the voxels of each scan as it was read, before preprocessing, by modality.
        stored_sha256: of the voxels of each scan as it is stored.
        labels_sha256: of the voxels of the labels.
    """

    id: str = ""
    added: str = ""
    scene: str = ""
    note: str = ""
    excluded: bool = False
    modalities: tuple[str, ...] = ()
    scheme: dict[str, Any] = field(default_factory=dict)
    model: dict[str, str] = field(default_factory=dict)
    changes: dict[str, dict[str, float]] = field(default_factory=dict)
    volumes_ml: dict[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    scans_sha256: dict[str, str] = field(default_factory=dict)
    stored_sha256: dict[str, str] = field(default_factory=dict)
    labels_sha256: str = ""

    def label_scheme(self) -> LabelScheme:
        """What its label values mean."""
        return LabelScheme.from_dict(self.scheme)

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
        record.label_scheme()
        # Its files are looked for by this name.
        if record.id != path.parent.name:
            raise ValueError(f"it is of a case named {record.id!r}")
        _check(record)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, InputError) as error:
        raise InputError(
            f"{path}: is damaged: {error}; delete its folder and add the case again"
        ) from error
    return record


def _check(record: CaseRecord) -> None:
    """Make sure of what is inside the record's lists and objects, as far as it is used."""
    if not all(isinstance(name, str) and re.fullmatch(NAME, name) for name in record.modalities):
        raise ValueError("modalities are no names")
    if not all(type(volume) in (int, float) for volume in record.volumes_ml.values()):
        raise ValueError("volumes_ml are no numbers")
    texts = (*record.warnings, *record.scans_sha256.values(), *record.stored_sha256.values())
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("warnings and checksums are no texts")


def write_record(path: Path, record: CaseRecord) -> None:
    """Write a record to a JSON file.

    Raises:
        InputError: if it cannot be written.
        ResourceError: if the disk is full.
    """
    write_json(path, settings_to_dict(record))
