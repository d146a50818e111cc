"""Tables of visits: for the terminal, and as CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from ..contract.visits.report import VisitsReport
from ..contract.visits.response import Assessment
from ..core.files import atomic_write

COLUMNS = (
    "visit",
    "date",
    "lesion",
    "event",
    "target",
    "volume_ml",
    "product_mm2",
    "change_baseline_percent",
    "change_nadir_percent",
    "category_2d",
    "category_volume",
    "steroids",
    "clinical",
    "reader_category",
)


def write_csv(report: VisitsReport, path: Path) -> None:
    """Write a row for each visit (lesion "all"), and one for each followed lesion at a visit.

    Changes and categories of a visit as a whole are those of the volume; the sum of products has
    its category.

    Raises:
        InputError: if the file cannot be written.
        ResourceError: if the disk is full.
    """
    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as out:
        table = csv.writer(out)
        table.writerow(COLUMNS)
        table.writerows(_rows(report))


def _rows(report: VisitsReport) -> Iterator[tuple[object, ...]]:
    for number, visit in enumerate(report.visits):
        yield (
            visit.name,
            visit.date,
            "all",
            "",
            "",
            _number(visit.volume.value, 3),
            _number(visit.two_d.value, 1),
            _number(visit.volume.baseline_percent, 1),
            _number(visit.volume.nadir_percent, 1),
            visit.two_d.category,
            visit.volume.category,
            visit.reader.steroids,
            visit.reader.clinical,
            visit.reader.category,
        )
        for lesion in report.lesions:
            yield (
                visit.name,
                visit.date,
                lesion.number,
                lesion.events[number],
                "yes" if lesion.target else "no",
                _number(report.volume_ml(lesion, number), 3),
                _number(report.product_mm2(lesion, number), 1),
                *[""] * 7,
            )


def format_table(report: VisitsReport) -> str:
    """The visits and what became of the lesions, for the terminal."""
    region = report.region
    lines = [
        f"{'visit':<14} {'date':<10} {region + ' ml':>8} {'base':>6} {'nadir':>6} {'':<4}"
        f" {'mm2':>7} {'base':>6} {'nadir':>6}"
    ]
    for visit in report.visits:
        lines.append(
            f"{visit.name[:14]:<14} {visit.date:<10} {visit.volume.value:8.2f} "
            f"{_changes(visit.volume)} {visit.two_d.value:7.0f} {_changes(visit.two_d)}"
        )
    for number, visit in enumerate(report.visits):
        for lesion in report.lesions:
            if lesion.events[number]:
                lines.append(f"{visit.date}: lesion {lesion.number}: {lesion.events[number]}")
        lines += [f"{visit.date}: {note}" for note in visit.notes]
    return "\n".join([*lines, report.notice])


def _changes(made: Assessment) -> str:
    percents = (made.baseline_percent, made.nadir_percent)
    cells = ["" if value is None else f"{value:+.0f}%" for value in percents]
    category = {"baseline": "base", "not evaluable": "-"}.get(made.category, made.category)
    return f"{cells[0]:>6} {cells[1]:>6} {category:<4}"


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
