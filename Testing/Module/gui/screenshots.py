"""Writes pictures of the panel in its states: the sample case, segmented with the bundled model.

    python -m Testing.Module.gui.screenshots FOLDER [--thumbnail FILE] [--library FOLDER]
    python -m Testing.Module.gui.screenshots FOLDER --demo FOLDER

They are drawn outside Slicer, behind the stand-in, so that frames and fonts differ a little from
Slicer's. The thumbnail is a PNG file of the sample case to write, for the Sample Data module. The
library is one of training cases, with a fine-tuning that has finished, to show. Of a folder that
``missu demo`` wrote, the first pictures of its page become ``demo.png``, the README's.
"""

from __future__ import annotations

import argparse
import base64
import os
import re
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PySide6 import QtCore, QtGui, QtWidgets

from MISSUCore.reporting.pictures import Drawing, Row, Tile

from .stand_in import application, python_qt
from .user import Panel, putPythonOnPath

WIDTH = 440
THUMBNAIL_SIZE = (260, 280)
DEMO_TILE = 320  # pixels across a picture of the demonstration


def main(folder: Path, thumbnail: Path | None, library: Path | None) -> None:
    """Go through the states of the panel, and take a picture of each."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    application_ = QtWidgets.QApplication([])
    application_.setStyle("Fusion")
    with tempfile.TemporaryDirectory() as temporary, pytest.MonkeyPatch.context() as patch:
        patch.setenv("MISSU_MODELS", str(Path(temporary) / "none"))
        putPythonOnPath(patch, Path(temporary))
        patch.setattr(python_qt.QSettings, "path", Path(temporary) / "settings.ini")
        application.install(patch, Path(temporary))
        panel = Panel()

        def take(name: str) -> None:
            # As high as Slicer's scroll area makes it.
            panel.parent.setFixedSize(WIDTH, panel.parent.layout().totalHeightForWidth(WIDTH))
            panel.settle()
            QtWidgets.QWidget.grab(panel.parent).save(str(folder / f"{name}.png"))

        take("empty")
        panel.click("sampleButton")
        take("ready")
        if thumbnail:
            drawThumbnail(thumbnail)
        panel.click("segmentButton")
        panel.wait(lambda: panel.ui.progressBar.value > 150)
        take("running")
        panel.wait(lambda: panel.ui.segmentButton.text == "Segment")
        take("result")
        panel.click("compareButton")
        panel.wait(lambda: panel.ui.segmentButton.text == "Segment")
        take("compared")
        panel.expand("advancedCollapsibleButton")
        take("advanced")
        panel.expand("advancedCollapsibleButton")
        if library:
            for section in ("inputs", "result", "fineTuning"):
                panel.expand(f"{section}CollapsibleButton")
            panel.ui.libraryPathLineEdit.setCurrentPath(str(library))
            take("fine_tuning")
            for section in ("inputs", "result", "fineTuning"):
                panel.expand(f"{section}CollapsibleButton")
        script = Path(temporary) / "PythonSlicer"
        script.write_text("#!/bin/sh\necho 'missu: out of memory; use the CPU' >&2; exit 3\n")
        panel.widget.logic.coolDown()
        panel.segment()
        take("failed")
        panel.close()


def drawThumbnail(path: Path) -> None:
    """A slice through the sample's tumor in T1ce, with the true outlines."""
    import slicer

    from MISSUCore.contract.labels import BRATS

    scan = slicer.util.getNode("SimulatedTumor_t1ce")
    truth = slicer.util.getNode("SimulatedTumor_truth")
    center = [(size - 1) // 2 for size in slicer.util.arrayFromVolume(scan).shape]
    row = center[0] + 7
    gray = slicer.util.arrayFromVolume(scan)[row]
    picture = np.repeat((gray / gray.max() * 255).astype(np.uint8)[..., None], 3, axis=2)
    for region in BRATS.regions:
        mask = slicer.util.arrayFromSegmentBinaryLabelmap(truth, region.name, scan)[row] > 0
        inside = mask.copy()
        for axis, step in ((0, 1), (0, -1), (1, 1), (1, -1)):
            inside &= np.roll(mask, step, axis)
        picture[mask & ~inside] = region.color
    height, width = gray.shape
    image = QtGui.QImage(picture.tobytes(), width, height, 3 * width, QtGui.QImage.Format_RGB888)
    scaled = image.scaled(
        *THUMBNAIL_SIZE, QtCore.Qt.KeepAspectRatio, QtCore.Qt.SmoothTransformation
    )
    canvas = QtGui.QImage(*THUMBNAIL_SIZE, QtGui.QImage.Format_RGB888)
    canvas.fill(QtCore.Qt.black)
    painter = QtGui.QPainter(canvas)
    width, height = THUMBNAIL_SIZE
    left, top = (width - scaled.width()) // 2, (height - scaled.height()) // 2
    painter.drawImage(left, top, scaled)
    painter.end()
    canvas.save(str(path))


def drawDemo(demo: Path, path: Path) -> None:
    """The first three slices of a demonstration's page, with their outlines."""
    import SimpleITK as sitk

    from MISSUCore.contract.labels import BRATS
    from MISSUCore.contract.modalities import BRATS_MODALITIES
    from MISSUCore.io.reading import read_label_map

    (labels,) = demo.glob("*.nii.gz")
    scans = demo / "scans" / labels.name.removesuffix(".nii.gz")
    images = {name: sitk.ReadImage(f"{scans}_{name}.nii.gz") for name in BRATS_MODALITIES}
    truth = read_label_map(Path(f"{scans}_seg.nii.gz"))
    rows = Drawing.of(images, read_label_map(labels), BRATS, reference=truth).outlined()[:3]
    # As wide as each other, like those of the page.
    scales = [DEMO_TILE / row.tiles[0].width for row in rows]
    height = sum(row.tiles[0].height * scale for row, scale in zip(rows, scales))
    canvas = QtGui.QImage(DEMO_TILE * len(images), int(height), QtGui.QImage.Format_RGB888)
    canvas.fill(QtCore.Qt.black)
    painter = QtGui.QPainter(canvas)
    painter.setRenderHints(QtGui.QPainter.Antialiasing | QtGui.QPainter.SmoothPixmapTransform)
    for row, scale in zip(rows, scales):
        for column, tile in enumerate(row.tiles):
            painter.save()
            painter.translate(column * DEMO_TILE, 0)
            painter.scale(scale, scale)
            drawTile(painter, row, tile)
            painter.restore()
        painter.translate(0, row.tiles[0].height * scale)
    painter.end()
    canvas.save(str(path))


def drawTile(painter: QtGui.QPainter, row: Row, tile: Tile) -> None:
    """A picture with its outlines and its caption, as the page shows it."""
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
    parser.add_argument("folder", type=Path)
    parser.add_argument("--thumbnail", type=Path)
    parser.add_argument("--library", type=Path)
    parser.add_argument("--demo", type=Path)
    options = parser.parse_args()
    if options.demo:
        QtWidgets.QApplication(["-platform", "offscreen"])
        drawDemo(options.demo, options.folder / "demo.png")
    else:
        main(options.folder, options.thumbnail, options.library)
    sys.stdout.flush()
    os._exit(0)  # PySide6 and VTK do not agree on who goes first
