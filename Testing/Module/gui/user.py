"""Simulates a user of the panel, who clicks, chooses, waits and reads."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from PySide6 import QtCore, QtWidgets
from PySide6.QtTest import QTest

MODALITIES = ("t1", "t1ce", "t2", "flair")


class Panel:
    """The module's displayed panel, with the actions of a user."""

    def __init__(self) -> None:
        import qt
        import slicer

        import MISSUSegmentation

        self.parent = slicer.qMRMLWidget()
        self.parent.setLayout(qt.QVBoxLayout())
        self.parent.isEntered = True
        self.widget = MISSUSegmentation.MISSUSegmentationWidget(self.parent)
        self.widget.setup()
        slicer.app.entered = self.widget
        self.ui = self.widget.ui
        self.parent.resize(430, 900)
        self.parent.show()
        self.settle()

    def close(self) -> None:
        """Clean up the panel as Slicer does on exit; only the first call has an effect."""
        if self.widget.logic:
            self.widget.cleanup()
        self.parent.close()

    def settle(self) -> None:
        """Process pending Qt events."""
        for _ in range(3):
            QtWidgets.QApplication.processEvents()

    def wait(self, condition: Callable[[], bool], seconds: float = 60.0) -> float:
        """Process Qt events until the condition holds; returns the elapsed seconds."""
        began = time.monotonic()
        while not condition():
            assert time.monotonic() - began < seconds, "waited in vain"
            QTest.qWait(5)
        return time.monotonic() - began

    def click(self, name: str) -> None:
        """Click a widget near its left edge, where a check box has its indicator."""
        widget = getattr(self.ui, name)
        assert widget.visible, f"{name} is hidden"
        place = QtCore.QPoint(8, widget.height // 2)
        QTest.mouseClick(widget, QtCore.Qt.LeftButton, pos=place)
        self.settle()

    def choose(self, name: str, text: str) -> None:
        """Open a combo box or node selector, and click the entry."""
        widget = getattr(self.ui, name)
        box = getattr(widget, "comboBox", widget)
        index = box.findText(text)
        assert index >= 0, f"{name} has no {text}"
        box.showPopup()
        view = box.view()
        view.scrollTo(box.model().index(index, 0))
        place = view.visualRect(box.model().index(index, 0)).center()
        QTest.mouseClick(view.viewport(), QtCore.Qt.LeftButton, pos=place)
        self.settle()

    def expand(self, name: str) -> None:
        """Click on the header of a section."""
        header = QtCore.QPoint(30, 8)
        QTest.mouseClick(getattr(self.ui, name), QtCore.Qt.LeftButton, pos=header)
        self.settle()

    def selected(self) -> dict[str, str]:
        """Names of the selected volumes by modality."""
        nodes = {m: getattr(self.ui, f"{m}Selector").currentNode() for m in MODALITIES}
        return {modality: node.GetName() for modality, node in nodes.items() if node}

    def table(self) -> list[list[str]]:
        """Cell texts of the result table, starting with the header."""
        table = self.ui.resultTable
        columns = range(table.columnCount)
        titles = [table.horizontalHeaderItem(column).text() for column in columns]
        header = [title.replace("\n", " ") for title in titles]
        rows = [
            [table.item(row, column).text() for column in columns] for row in range(table.rowCount)
        ]
        return [header, *rows]

    def segment(self) -> None:
        """Click Segment and wait until the run has ended."""
        self.click("segmentButton")
        self.wait(lambda: self.ui.segmentButton.text == "Segment")


def putPythonOnPath(monkeypatch: pytest.MonkeyPatch, folder: Path, *arguments: str) -> None:
    """Make this Python, with these arguments, available as PythonSlicer."""
    if os.name == "nt":
        pytest.skip("the fake PythonSlicer is a shell script")
    script = folder / "PythonSlicer"
    command = " ".join(f'"{part}"' for part in (sys.executable, *arguments))
    script.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
