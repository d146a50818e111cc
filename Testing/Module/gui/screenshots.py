"""Writes pictures of the panel in its states: the sample case, segmented with the bundled model.

    python -m Testing.Module.gui.screenshots FOLDER [--thumbnail FILE] [--library FOLDER]

They are drawn outside Slicer, behind the stand-in, so that frames and fonts differ a little from
Slicer's. The thumbnail is a PNG file of the sample case to write, for the Sample Data module. The
library is one of training cases, with a fine-tuning that has finished, to show.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PySide6 import QtCore, QtGui, QtWidgets

from .stand_in import application, python_qt
from .user import Panel, putPythonOnPath

WIDTH = 440
THUMBNAIL_SIZE = (260, 280)


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


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--thumbnail", type=Path)
    parser.add_argument("--library", type=Path)
    options = parser.parse_args()
    main(options.folder, options.thumbnail, options.library)
    sys.stdout.flush()
    os._exit(0)  # PySide6 and VTK do not agree on who goes first
