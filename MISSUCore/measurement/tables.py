"""Measurements as tables for a terminal, and as CSV."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from ..contract.measurement.lesions import LesionMeasurement, Line
from ..contract.measurement.report import MeasurementReport
from ..contract.segmentation_report import MapStatistics
from ..core.files import atomic_write

_AXES = "xyz"
_MAP_FIGURES = {
    "Mean": "mean",
    "SD": "standard_deviation",
    "Min": "minimum",
    "5 %": "percentile_5",
    "10 %": "percentile_10",
    "25 %": "percentile_25",
    "Median": "median",
    "75 %": "percentile_75",
    "90 %": "percentile_90",
    "95 %": "percentile_95",
    "Max": "maximum",
}


def format_table(report: MeasurementReport) -> str:
    """The table for a terminal: a line for each lesion, then the total."""
    heads, *rows = lesion_rows(report)
    lines = ["".join(f"{head:>10}" for head in heads[:-1]) + f"  {heads[-1]}"]
    for row in rows:
        lines.append("".join(f"{cell:>10}" for cell in row[:-1]) + f"  {row[-1]}".rstrip())
    return "\n".join([*lines, *summary_lines(report)])


def lesion_rows(report: MeasurementReport) -> list[list[str]]:
    """Cells of the table: the header, a row for each lesion, and one for the total."""
    names = list(report.volumes_ml)
    volumes = [f"{name}, ml" for name in names]
    rows = [["Lesion", *volumes, "Longest", "Perpend.", "Product", "3-D", "Judged"]]
    for lesion in report.lesions:
        rows.append(
            [
                str(lesion.number),
                *(_number(lesion.volumes_ml.get(name), 2) for name in names),
                *(_number(_length(line), 1) for line in (lesion.longest, lesion.perpendicular)),
                _number(lesion.product_mm2 or None, 0),
                _number(_length(lesion.maximum), 1),
                _judged(lesion),
            ]
        )
    return [*rows, ["All", *(f"{volume:.2f}" for volume in report.volumes_ml.values()), ""]]


def summary_lines(report: MeasurementReport) -> list[str]:
    """The lines below the table."""
    targets = sum(lesion.target for lesion in report.lesions)
    return [
        f"Sum of products over {targets} target{'' if targets == 1 else 's'}: "
        f"{report.sum_of_products_mm2:.0f} mm2",
        f"Diameters of {report.region} in mm, in {report.plane} slices {report.slice_mm:g} mm "
        "apart",
    ]


def map_rows(maps: Mapping[str, MapStatistics]) -> list[list[str]]:
    """Cells of the table of map statistics: the header, and a row for each map and region."""
    rows = [["Map", "Region", "Covered", "Voxels", *_MAP_FIGURES]]
    for name, one in maps.items():
        for region, told in one.regions.items():
            figures = (getattr(told, figure) for figure in _MAP_FIGURES.values())
            rows.append(
                [
                    name,
                    region,
                    f"{told.covered:.0%}",
                    str(told.voxels),
                    *("-" if figure is None else f"{figure:.4g}" for figure in figures),
                ]
            )
    return rows


def format_maps(maps: Mapping[str, MapStatistics]) -> str:
    """Map statistics for a terminal, a line for each map and region."""
    rows = map_rows(maps)
    widths = [max(map(len, column)) for column in zip(*rows)]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths)) for row in rows
    )


def write_csv(report: MeasurementReport, path: Path) -> None:
    """Write a row for each lesion; points are (x, y, z) in mm, LPS.

    Raises:
        InputError, ResourceError: if the file cannot be written; an older one stays as it was.
    """
    rows = [_row(report, lesion) for lesion in report.lesions]
    with (
        atomic_write(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as stream,
    ):
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _row(report: MeasurementReport, lesion: LesionMeasurement) -> dict[str, object]:
    return {
        "lesion": lesion.number,
        **{f"{name}_ml": lesion.volumes_ml.get(name, "") for name in report.volumes_ml},
        "longest_mm": _cell(_length(lesion.longest)),
        "perpendicular_mm": _cell(_length(lesion.perpendicular)),
        "product_mm2": _cell(lesion.product_mm2 if lesion.longest else None),
        "angle_degrees": _cell(lesion.angle_degrees),
        "maximum_3d_mm": _cell(_length(lesion.maximum)),
        "slices": lesion.slices,
        "measurable": "yes" if lesion.measurable else "no",
        "target": "yes" if lesion.target else "no",
        "reasons": "; ".join(lesion.reasons),
        **_points("longest", lesion.longest),
        **_points("perpendicular", lesion.perpendicular),
    }


def _points(name: str, line: Line | None) -> dict[str, object]:
    return {
        f"{name}_{end}_{axis}_mm": _cell(getattr(line, end)[number] if line else None)
        for end in ("start", "end")
        for number, axis in enumerate(_AXES)
    }


def _cell(value: float | None) -> object:
    return "" if value is None else round(value, 4)


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _length(line: Line | None) -> float | None:
    return line.length_mm if line else None


def _judged(lesion: LesionMeasurement) -> str:
    if lesion.measurable:
        return "target" if lesion.target else "measurable"
    return "not measurable: " + "; ".join(lesion.reasons)
