"""What runs of the paper's tables have come to: stored by seed, told as mean and spread."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from paper_rows import CHAOS, Row, Run
from scipy import stats

from MISSUCore.core.files import read_json, write_json
from MISSUCore.core.serialization import settings_to_dict

# Patches that the paper's training saw: 1000 epochs of its training cases.
PAPER_PATCHES = {"brats": 1000 * 335, "chaos": 1000 * 15}
ENOUGH = 0.5  # of them
REGIONS = {"brats": ("WT", "TC", "ET"), "chaos": ("liver",)}
# Metric, title, digits.
METRICS = {
    "brats": (("dice", "Dice", 3), ("average_hausdorff_mm", "average HD, mm", 2)),
    "chaos": (
        ("accuracy", "accuracy", 3),
        ("dice", "DICE", 3),
        ("ravd_percent", "RAVD, %", 1),
        ("assd_mm", "ASSD, mm", 2),
        ("mssd_mm", "MSSD, mm", 0),
    ),
}


@dataclass(frozen=True)
class Result:
    """A run with one seed.

    Attributes:
        given: settings and names of cases.
        steps: optimizer steps.
        parameters: parameter count of the segmentation network.
        seconds_per_step: wall-clock time; the machine may have been busy.
        scores: metric by region and case.
    """

    given: dict[str, Any]
    steps: int
    parameters: int
    seconds_per_step: float
    scores: dict[str, dict[str, dict[str, float]]]

    def write(self, path: Path) -> None:
        """Write the result to a file."""
        write_json(path, settings_to_dict(self))

    def mean(self, region: str, metric: str) -> float:
        """Mean of a metric over the cases."""
        return float(np.mean([case[region][metric] for case in self.scores.values()]))

    @property
    def patches(self) -> int:
        """Number of patches that the training saw."""
        settings = self.given["settings"]
        return self.steps * int(settings["batch_size"]) * int(settings["accumulation"])


def result_path(folder: Path, run: Run, seed: int) -> Path:
    """Where the result of a run is kept, in the folder of its task."""
    return folder / run.key / f"seed-{seed}" / "result.json"


def read_result(path: Path) -> Result:
    """A stored result."""
    return Result(**read_json(path))


def stored(folder: Path, run: Run | None) -> list[Result]:
    """The results of a run with all seeds that are done."""
    if run is None:
        return []
    return [read_result(path) for path in sorted((folder / run.key).glob("seed-*/result.json"))]


def spread(values: Sequence[float], digits: int) -> str:
    """Mean and sample standard deviation over seeds; only the mean for one seed."""
    mean = float(np.mean(values))
    if len(values) == 1:
        return f"{mean:.{digits}f}"
    return f"{mean:.{digits}f} ± {np.std(values, ddof=1):.{digits}f}"


def enough(results: Sequence[Result], task: str) -> str:
    """How much of the paper's training a row had, and whether that is too little."""
    steps = {result.steps for result in results}
    share = min(result.patches for result in results) / PAPER_PATCHES[task]
    told = f"{', '.join(map(str, sorted(steps)))} steps, {percent(share)} of the paper's patches"
    return told if share >= ENOUGH else f"{told}: too few to rank"


def percent(share: float) -> str:
    """The share as percent with two significant digits, or whole percent above 10 %."""
    digits = max(0, 1 - math.floor(math.log10(100 * share)))
    return f"{100 * share:.{digits}f} %"


def paper_cells(row: Row, task: str) -> list[str]:
    """The paper's figures for the columns of a task; Dice and accuracy as parts of 1."""
    if task == CHAOS:
        accuracy, dice = (f"{value / 100:.3f}" for value in row.chaos) if row.chaos else ("", "")
        return [accuracy, dice, "", "", ""]
    return [
        " / ".join(f"{value / 100:.3f}" for value in row.brats_dice),
        " / ".join(f"{value:.2f}" for value in row.brats_distance),
    ]


def measured_cells(results: Sequence[Result], task: str) -> list[str]:
    """Mean and spread over the seeds, for the columns of a task; regions are joined by a slash."""
    return [
        " / ".join(
            spread([result.mean(region, metric) for result in results], digits)
            for region in REGIONS[task]
        )
        for metric, _, digits in METRICS[task]
    ]


def table(rows: Iterable[Row], task: str, folder: Path) -> str:
    """Markdown table of the stored results, with the paper's figure next to each measured one."""
    regions = f" {' / '.join(REGIONS[task])}" if len(REGIONS[task]) > 1 else ""
    titles = [f"{title}{regions}" for _, title, _ in METRICS[task]]
    told = [paper_cells(row, task) for row in rows]
    has_paper = [any(cells[column] for cells in told) for column in range(len(titles))]
    head = ["row", "parameters"]
    for title, paper in zip(titles, has_paper):
        head += [title, "paper's"] if paper else [title]
    lines = [_line([*head, "seeds", "s / step", "note"]), _line(["---"] * (len(head) + 3))]
    for row, paper in zip(rows, told):
        results = stored(folder, row.run)
        cells = measured_cells(results, task) if results else [""] * len(titles)
        line = [row.title, f"{results[0].parameters / 1e6:.1f} M" if results else ""]
        for cell, figure, shown in zip(cells, paper, has_paper):
            line += [cell, figure] if shown else [cell]
        seconds = f"{np.median([r.seconds_per_step for r in results]):.2f}" if results else ""
        notes = [row.note, enough(results, task) if results else "" if row.note else "not run"]
        if not results and row.run and row.note:
            notes.append("not run")
        lines.append(
            _line([*line, str(len(results) or ""), seconds, "; ".join(filter(None, notes))])
        )
    return "\n".join(lines)


def differences(rows: Sequence[Row], task: str, folder: Path) -> str:
    """Paired difference in Dice of the last row to each other row, with 95 % intervals.

    A case counts with its mean over the seeds; intervals are bootstrapped over the cases, which
    must be the same and at least two.
    """
    done = [row for row in rows if stored(folder, row.run)]
    if len(done) < 2:
        return ""
    *others, own = done
    lines = []
    for row in others:
        told = []
        for region in REGIONS[task]:
            more = by_case(stored(folder, own.run), region) - by_case(
                stored(folder, row.run), region
            )
            low, high = stats.bootstrap(
                (more,), np.mean, method="percentile", random_state=0
            ).confidence_interval
            told.append(f"{region} {more.mean():+.3f} ({low:+.3f} to {high:+.3f})")
        lines.append(f"{own.title} - {row.title}, Dice: {', '.join(told)}")
    return "\n".join(lines)


def by_case(results: Sequence[Result], region: str) -> NDArray[np.float64]:
    """Dice (cases,) in the order of their names, each the mean over the seeds."""
    scores = [[one.scores[name][region]["dice"] for name in sorted(one.scores)] for one in results]
    means: NDArray[np.float64] = np.mean(scores, axis=0)
    return means


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
