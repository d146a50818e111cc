"""Reading a user's CSV tables, written by hand or by spreadsheets of any locale."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from ..core.errors import InputError
from ..core.messages import a_file

Row = tuple[int, dict[str, str]]


def read_table(
    path: Path, kind: str, columns: Sequence[str], needed: Sequence[str], prefix: str = ""
) -> list[Row]:
    """The rows of a table: for each its line number, and its nonempty cells by column.

    The table is in UTF-8, separated by commas, semicolons or tabs. Headings ignore case.

    Args:
        path: of the table.
        kind: what it is, for messages, as "case list".
        columns: that are allowed.
        needed: columns that are required.
        prefix: longer titles that begin with it are allowed, too.

    Raises:
        InputError: if it cannot be read, a column is unknown, missing or occurs twice, or a cell
            has no heading.
    """
    lines = _lines(path, kind)
    if not lines:
        headings = " and ".join(map(repr, needed))
        raise InputError(a_file(path), f": is empty; a heading with {headings} is expected")
    (_, titles), *rows = lines
    heading = _heading(path, titles, columns, needed, prefix)
    return [(number, _cells(path, number, heading, cells)) for number, cells in rows]


def _lines(path: Path, kind: str) -> list[tuple[int, list[str]]]:
    """Number and cells of every line that is not empty."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError(a_file(path), f": cannot be read as a {kind}: {error}") from error
    except UnicodeDecodeError as error:
        raise InputError(a_file(path), ': is not in UTF-8; save it as "CSV UTF-8"') from error
    # Where the comma is a decimal sign, spreadsheets write semicolons.
    delimiter = max(",;\t", key=text.lstrip("\r\n").partition("\n")[0].count)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        cells = [(rows.line_num, [cell.strip() for cell in row]) for row in rows]
    except csv.Error as error:
        raise InputError(a_file(path), f": line {rows.line_num}: is not CSV: {error}") from error
    return [(number, row) for number, row in cells if any(row)]


def _heading(
    path: Path, titles: Sequence[str], columns: Sequence[str], needed: Sequence[str], prefix: str
) -> list[str]:
    """The names of the columns; empty for those without a heading."""
    begun = prefix.casefold()
    more = [
        title
        for title in titles
        if prefix and title.casefold().startswith(begun) and title[len(prefix) :].strip()
    ]
    known = {title.casefold(): title for title in (*columns, *more)}
    unknown = [title for title in titles if title and title.casefold() not in known]
    if unknown:
        others = f", and {prefix}NAME for further ones" if prefix else ""
        raise InputError(
            a_file(path),
            f": has a column {unknown[0]!r}; there may be {', '.join(columns)}{others}",
        )
    heading = [known.get(title.casefold(), "") for title in titles]
    twice = {title for title in heading if title and heading.count(title) > 1}
    if twice:
        raise InputError(a_file(path), f": has two columns {min(twice)!r}")
    missing = [name for name in needed if name not in heading]
    if missing:
        raise InputError(a_file(path), f": has no column {missing[0]!r} in its first line")
    return heading


def _cells(path: Path, number: int, heading: Sequence[str], cells: Sequence[str]) -> dict[str, str]:
    if any(cells[len(heading) :]) or any(cell and not title for title, cell in zip(heading, cells)):
        raise InputError(
            a_file(path),
            f": line {number}: has a cell without a heading; quote what holds a separator",
        )
    return {title: cell for title, cell in zip(heading, cells) if cell}
