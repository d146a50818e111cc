"""The logs of a training run: CSV tables that grow by a row, and outlive a kill."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from ..core.files import append_text, atomic_write


def append_row(path: Path, columns: Sequence[str], step: int, values: Iterable[float]) -> None:
    """Add a row to a log; a new one begins with the names of its columns.

    Args:
        path: of the log.
        columns: their names; the first is that of the step.
        step: of the optimizer.
        values: of the other columns.

    Raises:
        InputError: if it cannot be written.
        ResourceError: if the disk is full.
    """
    line = ",".join([str(step), *(f"{value:.6g}" for value in values)])
    new = not path.exists() or not path.stat().st_size
    append_text(path, f"{','.join(columns)}\n{line}\n" if new else f"{line}\n")


def drop_rows_after(path: Path, step: int) -> None:
    """Drop the rows of a log that a kill left beyond the checkpoint, or half written.

    Args:
        path: of the log; it need not exist.
        step: of the checkpoint.
    """
    if not path.exists() or not path.stat().st_size:
        return
    header, *lines = path.read_text(encoding="utf-8").splitlines()
    kept = [header]
    for line in lines:
        first, *others = line.split(",")
        whole = len(others) == header.count(",")
        if whole and first.isdigit() and int(first) <= step:
            kept.append(line)
    with atomic_write(path) as temporary:
        temporary.write_text("\n".join([*kept, ""]), encoding="utf-8")
