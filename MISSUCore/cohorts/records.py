"""The record of a case in its folder: what became of it, and whether that still holds."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from ..core.errors import InputError
from ..core.files import read_json, write_json
from ..core.serialization import settings_from_dict, settings_to_dict
from ..io.case_lists import CasePaths
from ..io.text_headers import data_files
from .summary import DONE, CohortRecord

RECORD_NAME = "cohort.json"


def inputs_of(case: CasePaths) -> dict[str, Any]:
    """All files of a case in JSON types, with what shows that one was changed.

    Raises:
        InputError: if one cannot be found, or the case has a problem.
    """
    if case.problem:
        raise InputError(case.problem)
    places: dict[str, Any] = {**case.images, "folder": case.folder, "reference": case.reference}
    places |= {f"map {name}": path for name, path in case.maps.items()}
    return {
        what: _fingerprint(what, place) if isinstance(place, Path) else place
        for what, place in places.items()
        if place
    }


def _fingerprint(what: str, path: Path) -> dict[str, str]:
    try:
        files = [path, *data_files(path)]
        if path.is_dir():
            files = sorted(file for file in path.rglob("*") if file.is_file())
        stats = [(str(file), file.stat()) for file in files]
    except OSError as error:
        raise InputError(f"{path}: {what} cannot be read: {error.strerror or error}") from error
    facts = [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]
    digest = hashlib.sha256(repr(facts).encode()).hexdigest()
    return {"path": str(path.resolve()), "sizes_and_times_sha256": digest}


def is_done(place: Path, earlier: CohortRecord, begun: CohortRecord) -> bool:
    """Whether a case was done with the same scans and settings, and its files are there."""
    return (
        earlier.state == DONE
        and (earlier.inputs, earlier.settings) == (begun.inputs, begun.settings)
        and all((place / name).exists() for name in earlier.files)
    )


def read_record(place: Path) -> CohortRecord:
    """What the record in a folder says; that nothing was done where there is none.

    Raises:
        InputError: if it is damaged, or something else.
    """
    path = place / RECORD_NAME
    try:
        facts = read_json(path)
        if not isinstance(facts, dict) or not {"state", "inputs"} <= facts.keys():
            raise ValueError("it has no state and inputs")  # a file of the user's, perhaps
        record = settings_from_dict(CohortRecord, facts)
        record.check()
        return record
    except FileNotFoundError:
        return CohortRecord()
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"{path}: is damaged, or not the record of a case: {error}; give another output "
            "folder, or remove it to begin anew"
        ) from error


def write_record(place: Path, record: CohortRecord) -> None:
    """Write the record of a case into its folder.

    Raises:
        InputError: if it cannot be written.
        ResourceError: if the disk is full.
    """
    write_json(place / RECORD_NAME, settings_to_dict(record))
