"""What became of the cases of a cohort: a record for each, and a table of all."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..core.files import atomic_write

DONE = "done"
FAILED = "failed"
NOT_DONE = "not done"  # yet, or not to the end


@dataclass(frozen=True)
class CohortRecord:
    """What became of a case.

    Attributes:
        state: ``DONE``, ``FAILED`` or ``NOT_DONE``.
        inputs: by which it is seen whether a scan was changed.
        settings: with which it was segmented.
        files: names of what was written to its folder.
        volumes_ml: by region.
        confidence: expected Dice by region.
        map_figures: what further maps show, as ``ADC_WT_mean``.
        warnings: as in the case's report.
        seconds: that it took.
        error: why it failed.
        traceback: of an error that no one foresaw.
    """

    state: str = NOT_DONE
    inputs: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    volumes_ml: dict[str, float] = field(default_factory=dict)
    confidence: dict[str, float] = field(default_factory=dict)
    map_figures: dict[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0
    error: str = ""
    traceback: str = ""

    def check(self) -> None:
        """Make sure of what is inside the lists and objects.

        Raises:
            ValueError: if they hold something else.
        """
        for values in (self.volumes_ml, self.confidence, self.map_figures):
            if not all(type(number) in (int, float) for number in values.values()):
                raise ValueError(
                    "volumes_ml, confidence and map_figures hold something else than numbers"
                )
        if not all(isinstance(text, str) for text in (*self.files, *self.warnings)):
            raise ValueError("files and warnings hold something else than texts")
        if self.state not in (DONE, FAILED, NOT_DONE):
            raise ValueError(f"there is no state {self.state!r}")

    @property
    def was_interrupted(self) -> bool:
        """Whether it was begun and did not come to an end, not even a bad one."""
        return self.state == NOT_DONE and bool(self.inputs)


@dataclass(frozen=True)
class CohortSummary:
    """The records of all cases by name, in the order of their list."""

    records: Mapping[str, CohortRecord]

    def count(self, state: str) -> int:
        """How many cases are in a state."""
        return sum(record.state == state for record in self.records.values())

    @property
    def regions(self) -> list[str]:
        """Names of the regions that were found in any case."""
        return list(
            dict.fromkeys(name for record in self.records.values() for name in record.volumes_ml)
        )

    @property
    def map_figures(self) -> list[str]:
        """What further maps show in any case, as ``ADC_WT_mean``."""
        return list(
            dict.fromkeys(name for record in self.records.values() for name in record.map_figures)
        )

    def write_csv(self, path: Path) -> None:
        """Write one line for each case.

        Raises:
            InputError: if the file cannot be written.
            ResourceError: if the disk is full.
        """
        rows = [self._row(name, record) for name, record in self.records.items()]
        with (
            atomic_write(path) as temporary,
            # File names that are not Unicode occur in messages.
            temporary.open("w", newline="", encoding="utf-8", errors="backslashreplace") as stream,
        ):
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)

    def _row(self, name: str, record: CohortRecord) -> dict[str, Any]:
        volumes = {
            f"{region}_volume_ml": record.volumes_ml.get(region, "") for region in self.regions
        }
        confidence = {
            f"{region}_expected_dice": record.confidence.get(region, "") for region in self.regions
        }
        return {
            "name": name,
            "state": record.state,
            **volumes,
            **confidence,
            **{figure: record.map_figures.get(figure, "") for figure in self.map_figures},
            "warnings": len(record.warnings),
            "warning_texts": _no_formula("; ".join(record.warnings)),
            "seconds": record.seconds,
            "error": _no_formula(record.error),
        }

    def format_table(self) -> str:
        """For a terminal: a line for each case, and the counts."""
        width = max(len("case"), *map(len, self.records))
        titles = [f"{region} ml  (Dice)" for region in self.regions]
        lines = [f"{'case':<{width}}  {''.join(f'{title:>18}' for title in titles)}  warnings"]
        for name, record in self.records.items():
            line = f"{name:<{width}}  "
            if record.state == DONE:
                line += "".join(f"{self._cell(record, region):>18}" for region in self.regions)
                line += f"{len(record.warnings):>10}"
            else:
                line += ": ".join([record.state, *record.error.splitlines()[:1]])
            lines.append(line)
        counts = [f"{self.count(state)} {state}" for state in (DONE, FAILED, NOT_DONE)]
        lines.append(f"{len(self.records)} cases: {', '.join(counts)}")
        return "\n".join(lines)

    def _cell(self, record: CohortRecord, region: str) -> str:
        if region not in record.volumes_ml:
            return ""
        expected = record.confidence.get(region)
        return f"{record.volumes_ml[region]:.1f}" + (
            "       " if expected is None else f" ({expected:.2f})"
        )


def is_summary(path: Path) -> bool:
    """Whether a file has the heading of a summary."""
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            heading = stream.readline(10_000).rstrip()
    except (OSError, ValueError):
        return False
    return heading.startswith("name,state,") and heading.endswith(
        "warnings,warning_texts,seconds,error"
    )


def _no_formula(text: str) -> str:
    """A text that no spreadsheet takes for a formula, whatever the names of files are."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text
