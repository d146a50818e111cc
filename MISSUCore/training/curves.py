"""The curves of a training run as a picture."""

from __future__ import annotations

import csv
from pathlib import Path

from ..core.files import atomic_write


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
    """Columns of a run's log by name; empty if it is not written yet."""
    if not path.exists():
        return {}
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    return {name: [float(row[name]) for row in rows] for name in rows[0]} if rows else {}
