"""The logs of a training run: CSV tables that survive a kill, and can be plotted."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..core.errors import InputError
from ..core.files import append_text, atomic_write


def append_row(path: Path, columns: Sequence[str], step: int, values: Iterable[float]) -> None:
    """Add a row to a log; a new log begins with a header row.

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
    """Drop rows that a kill left behind: those after the checkpoint, and a half-written one.

    Args:
        path: of the log; it need not exist.
        step: of the checkpoint.

    Raises:
        InputError: if it is not a log.
    """
    if not path.exists() or not path.stat().st_size:
        return
    try:
        header, *lines = path.read_text(encoding="utf-8").splitlines()
        if header.split(",")[0] != "step":
            raise ValueError("no steps")
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: is damaged: it is not a table of steps; move it away") from error
    kept = [header]
    for line in lines:
        first, *others = line.split(",")
        whole = len(others) == header.count(",")
        if whole and first.isdecimal() and int(first) <= step and _are_numbers(others):
            kept.append(line)
    with atomic_write(path) as temporary:
        temporary.write_text("\n".join([*kept, ""]), encoding="utf-8")


def write_curves(folder: Path) -> Path | None:
    """Draw ``training.csv`` and ``validation.csv`` of a run folder to ``curves.png``.

    Returns:
        The picture's path; None if matplotlib (the optional extra ``plots``) is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return None
    figure = Figure(figsize=(10, 4), layout="constrained")
    loss_axes, dice_axes = figure.subplots(1, 2)
    training = read_log(folder / "training.csv")
    validation = read_log(folder / "validation.csv")
    losses = ("loss", "segmentation", "teacher", "distillation")
    for axes, log, names in (
        (loss_axes, training, [name for name in losses if name in training]),
        (dice_axes, validation, [name for name in validation if name != "step"]),
    ):
        for name in names:
            axes.plot(log["step"], log[name], marker=".", markersize=3, linewidth=1, label=name)
        if names:
            axes.legend()
    loss_axes.set(xlabel="step", ylabel="loss", title="Training")
    dice_axes.set(xlabel="step", ylabel="mean Dice", ylim=(0, 1), title="Validation")
    path = folder / "curves.png"
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=120)
    return path


def read_log(path: Path) -> dict[str, list[float]]:
    """Columns of a log by name; empty if there is no log yet."""
    if not path.exists():
        return {}
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    return {name: [float(row[name]) for row in rows] for name in rows[0]} if rows else {}


def _are_numbers(cells: Iterable[str]) -> bool:
    try:
        return all(isinstance(float(cell), float) for cell in cells)
    except ValueError:
        return False
