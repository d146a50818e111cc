"""Draws the README's picture of the demonstration, and the thumbnail of the module's sample case.

    python -m Testing.pictures --demo FOLDER --picture Resources/demo.png
    python -m Testing.pictures --thumbnail MISSUSegmentation/Resources/Icons/SimulatedTumor.png

The folder is one that ``missu demo`` wrote. Slices and outlines are those of the quality page; here
they are painted by Qt, since a README shows no HTML. The pictures of Slicer are taken in Slicer.
"""

from __future__ import annotations

import argparse
import base64
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import SimpleITK as sitk
from PySide6 import QtCore, QtGui

from MISSUCore.contract.labels import BRATS
from MISSUCore.contract.modalities import BRATS_MODALITIES
from MISSUCore.io.reading import read_label_map
from MISSUCore.reporting.pictures import Drawing, Row, Tile
from MISSUCore.simulation.anatomy import drawn_brain
from MISSUCore.simulation.case import simulate_case

THUMBNAIL_SIZE = (260, 280)
DEMO_TILE = 320  # pixels across a picture of the demonstration


def draw_thumbnail(path: Path) -> None:
    """Draw the slice with the most tumor of the sample case in T1ce, with the true outlines."""
    case = simulate_case(spacing_mm=2.0, anatomy=drawn_brain)
    row = Drawing.of({"": case.images["t1ce"]}, case.labels, BRATS).outlined()[0]
    canvas = black_canvas(*THUMBNAIL_SIZE)
    scale = min(size / sides for size, sides in zip(THUMBNAIL_SIZE, size_of(row)))
    left, top = ((size - sides * scale) / 2 for size, sides in zip(THUMBNAIL_SIZE, size_of(row)))
    with painting(canvas) as painter:
        painter.translate(left, top)
        painter.scale(scale, scale)
        draw_tile(painter, row, row.tiles[0])
    canvas.save(str(path))


def draw_demo(demo: Path, path: Path) -> None:
    """Draw the first three slices of a demonstration's page, with their outlines."""
    (labels,) = demo.glob("*.nii.gz")
    scans = demo / "scans" / labels.name.removesuffix(".nii.gz")
    images = {name: sitk.ReadImage(f"{scans}_{name}.nii.gz") for name in BRATS_MODALITIES}
    truth = read_label_map(Path(f"{scans}_seg.nii.gz"))
    rows = Drawing.of(images, read_label_map(labels), BRATS, reference=truth).outlined()[:3]
    # All pictures have the same width, as on the page.
    scales = [DEMO_TILE / size_of(row)[0] for row in rows]
    height = sum(size_of(row)[1] * scale for row, scale in zip(rows, scales))
    canvas = black_canvas(DEMO_TILE * len(images), int(height))
    with painting(canvas) as painter:
        for row, scale in zip(rows, scales):
            for column, tile in enumerate(row.tiles):
                painter.save()
                painter.translate(column * DEMO_TILE, 0)
                painter.scale(scale, scale)
                draw_tile(painter, row, tile)
                painter.restore()
            painter.translate(0, size_of(row)[1] * scale)
    canvas.save(str(path))


def size_of(row: Row) -> tuple[int, int]:
    """Width and height of a row's pictures."""
    return row.tiles[0].width, row.tiles[0].height


def black_canvas(width: int, height: int) -> QtGui.QImage:
    canvas = QtGui.QImage(width, height, QtGui.QImage.Format_RGB888)
    canvas.fill(QtCore.Qt.black)
    return canvas


@contextmanager
def painting(canvas: QtGui.QImage) -> Iterator[QtGui.QPainter]:
    painter = QtGui.QPainter(canvas)
    painter.setRenderHints(QtGui.QPainter.Antialiasing | QtGui.QPainter.SmoothPixmapTransform)
    yield painter
    painter.end()


def draw_tile(painter: QtGui.QPainter, row: Row, tile: Tile) -> None:
    """Draw a picture with its outlines and its caption, as the page shows it."""
    painter.drawImage(0, 0, QtGui.QImage.fromData(base64.b64decode(tile.png)))
    for outline in row.outlines:
        pen = QtGui.QPen(QtGui.QColor(*(outline.color or (255, 255, 255))), outline.width or 0.7)
        pen.setCosmetic(True)
        if outline.kind == "reference":
            pen.setDashPattern([4 / outline.width] * 2)
        path = QtGui.QPainterPath()
        for loop in outline.path.split("Z")[:-1]:
            start, *steps = re.split("[MHV]", loop)[1:]
            path.moveTo(*map(int, start.split()))
            for x, y in zip(steps[::2], steps[1::2]):
                path.lineTo(int(x), path.currentPosition().y())
                path.lineTo(int(x), int(y))
            path.closeSubpath()
        painter.strokePath(path, pen)
    painter.setPen(QtCore.Qt.white)
    painter.drawText(4, 14, tile.caption)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--demo", type=Path)
    parser.add_argument("--picture", type=Path, default=Path("demo.png"))
    parser.add_argument("--thumbnail", type=Path)
    options = parser.parse_args()
    application = QtGui.QGuiApplication(["pictures", "-platform", "offscreen"])
    if options.demo:
        draw_demo(options.demo, options.picture)
    if options.thumbnail:
        draw_thumbnail(options.thumbnail)
