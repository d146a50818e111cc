"""Lesions with their diameters and a table of them, drawn into one picture.

Pillow is imported only when needed: it is installed with highdicom, which is optional.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from ...contract.measurement.lesions import LesionMeasurement
from ...contract.measurement.report import MeasurementReport
from ...measurement.case import MeasuredCase
from ...measurement.tables import lesion_rows, summary_lines
from ..dicom_seg import AUTOMATIC, MANUAL, SEMIAUTOMATIC, Algorithm
from ..lesion_slices import LesionSlice, UprightScan
from ..planes import Plane

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

TILE, TILES_IN_ROW, MOST_TILES = 512, 2, 4
NOTICE = "MISSU, research software, not a medical device. Not for diagnosis."
_MARGIN, _TEXT, _LINE = 12, 16, 22
_COLUMN_WIDTH = 88  # of the table
_MOST_LESIONS = 12
_DRAWN = {
    AUTOMATIC: "Segments by a program: {}",
    SEMIAUTOMATIC: "Segments by a program, corrected: {}",
    MANUAL: "Segments by hand",
}
_BACKGROUND, _WHITE = (0, 0, 0), (255, 255, 255)
# As on the page of visits; also distinguishable for color-blind readers.
_OUTLINE = (240, 200, 60)
COLORS = {"longest": (86, 180, 233), "perpendicular": (230, 159, 0)}


def draw_measurements(
    measured: MeasuredCase, drawn_by: Algorithm | None = None
) -> NDArray[np.uint8]:
    """A picture (rows, columns, RGB) of the largest lesions, with a table of measurements.

    Each lesion is shown in the slice of its diameters, or else of its center; targets come first.
    The picture has neither name nor ID of the patient.

    Args:
        measured: the measured case, with its scan.
        drawn_by: who drew the segments, if that is known.

    Raises:
        ValueError: if there is no scan.
    """
    from PIL import Image, ImageDraw, ImageFont

    if measured.scan is None:
        raise ValueError("lesions are drawn on their scan")
    report = measured.report
    numbers = sitk.GetImageFromArray(measured.numbers)
    numbers.CopyInformation(measured.image)
    upright = UprightScan.of(measured.scan, numbers, report.plane)
    chosen = sorted(report.lesions, key=lambda lesion: not lesion.target)[:MOST_TILES]
    table = _table(report, drawn_by)
    columns = min(len(chosen), TILES_IN_ROW)
    rows = -(-len(chosen) // TILES_IN_ROW)
    width = TILES_IN_ROW * TILE + (TILES_IN_ROW + 1) * _MARGIN
    top = _LINE + 2 * _MARGIN
    height = top + rows * (TILE + _LINE + _MARGIN) + (len(table) + 1) * _LINE
    picture = Image.new("RGB", (width, height), _BACKGROUND)
    pen = ImageDraw.Draw(picture)
    pen.font = ImageFont.load_default(size=_TEXT)
    pen.text((_MARGIN, _MARGIN), NOTICE, _WHITE)
    for number, lesion in enumerate(chosen):
        left = _MARGIN + number % columns * (TILE + _MARGIN)
        upper = top + number // columns * (TILE + _LINE + _MARGIN)
        place = lesion.longest.start if lesion.longest else lesion.center_mm
        picture.paste(
            Image.fromarray(_tile(upright.through(place, lesion, TILE), upright.plane)),
            (left, upper),
        )
        pen.text((left, upper + TILE), _caption(lesion), _WHITE)
    _write_table(pen, table, height - (len(table) + 1) * _LINE)
    return np.asarray(picture)


def _tile(shown: LesionSlice, plane: Plane) -> NDArray[np.uint8]:
    """A slice with outlines and diameters, as a square tile (rows, columns, RGB)."""
    from PIL import Image, ImageDraw, ImageFont

    pixels = np.repeat(shown.gray[..., None], 3, axis=2)
    pixels[_edge(shown.lesions)] = _OUTLINE
    tile = Image.new("RGB", (TILE, TILE), _BACKGROUND)
    rows, columns = shown.gray.shape
    corner = (TILE - columns) // 2, (TILE - rows) // 2
    tile.paste(Image.fromarray(pixels), corner)
    pen = ImageDraw.Draw(tile)
    pen.font = ImageFont.load_default(size=_TEXT)
    for line in shown.lines:
        ends = [
            (x + corner[0] - 0.5, y + corner[1] - 0.5)  # Pillow's origin is a pixel's center
            for x, y in (line.start, line.end)
        ]
        pen.line(ends, COLORS[line.kind], width=2)
    left, right, upper, lower = plane.sides
    for text, place, anchor in (
        (left, (4, TILE // 2), "lm"),
        (right, (TILE - 4, TILE // 2), "rm"),
        (upper, (TILE // 2, 4), "ma"),
        (lower, (TILE // 2, TILE - 4), "md"),
    ):
        pen.text(place, text, _WHITE, anchor=anchor)
    return np.asarray(tile)


def _edge(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The pixels of a mask with a neighbor (of 4) outside it."""
    padded = np.pad(mask, 1)
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    edge: NDArray[np.bool_] = mask & ~inner
    return edge


def _caption(lesion: LesionMeasurement) -> str:
    name = f"Lesion {lesion.number}{' (target)' if lesion.target else ''}"
    if not lesion.longest or not lesion.perpendicular:
        return f"{name}: no diameters"
    return (
        f"{name}: {lesion.longest.length_mm:.1f} x {lesion.perpendicular.length_mm:.1f} mm"
        f"{', drawn by a reader' if lesion.corrected else ''}"
    )


def _table(report: MeasurementReport, drawn_by: Algorithm | None) -> list[list[str]]:
    """The rows of the table: cells, or a single sentence."""
    heads, *lesions, whole = lesion_rows(report)
    # The reasons are left out for lack of room; the other output files give them.
    lesions = [[*row[:-1], row[-1].partition(":")[0]] for row in lesions]
    left_out = len(lesions) - _MOST_LESIONS
    more = [[f"and {left_out} smaller ones"]] if left_out > 0 else []
    below = [[line] for line in summary_lines(report)]
    if drawn_by:
        below.append([_DRAWN[drawn_by.kind].format(drawn_by.name)])
    return [heads, *lesions[:_MOST_LESIONS], *more, whole, *below]


def _write_table(pen: ImageDraw, rows: Sequence[Sequence[str]], top: int) -> None:
    for number, row in enumerate(rows):
        for column, cell in enumerate(row):
            pen.text((_MARGIN + column * _COLUMN_WIDTH, top + number * _LINE), cell, _WHITE)
