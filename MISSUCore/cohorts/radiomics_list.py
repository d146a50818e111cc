"""All images and masks of a cohort in one list for radiomics."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..core.errors import InputError
from ..core.files import atomic_write
from ..inference.radiomics.folder import COLUMNS, Row, write_table


def write_radiomics_list(path: Path, tables: Sequence[Path]) -> None:
    """Write the rows of the cases' lists, with paths relative to the folder of all.

    Args:
        path: list to write, in a folder above those of the cases.
        tables: their lists; one that is not there any more is passed over.

    Raises:
        InputError: if a list cannot be read, or is none.
        ResourceError: if the disk is full.
    """
    rows = [row for table in tables if table.is_file() for row in _rows(table, path.parent)]
    with atomic_write(path) as temporary:
        write_table(temporary, rows)


def _rows(table: Path, folder: Path) -> Iterator[Row]:
    place = table.parent.relative_to(folder)
    try:
        with table.open(encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream)
            if tuple(reader.fieldnames or ()) != COLUMNS:
                raise ValueError("it has other columns")
            rows = list(reader)
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{table}: cannot be read as a list for radiomics: {error}") from error
    for row in rows:
        paths = {name: (place / str(row[name])).as_posix() for name in ("Image", "Mask")}
        yield {**row, **paths}
