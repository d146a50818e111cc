"""Corrections of lines are undone one by one, as a reader made them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="needs the package slicer-core")

from MISSUSegmentationLib.Scene.LineHistory import LineHistory

ENDS = [[0.0, 0.0, 0.0], [10.0, 0.0, 0.0]]


@pytest.fixture
def addLine(scene: Any) -> Callable[[], Any]:
    """Function that adds a line of 10 mm to the scene."""

    def add() -> Any:
        line = scene.AddNewNodeByClass("vtkMRMLMarkupsLineNode")
        slicer.util.updateMarkupsControlPointsFromArray(line, np.array(ENDS))
        return line

    return add


def ends(line: Any) -> list[list[float]]:
    return slicer.util.arrayFromMarkupsControlPoints(line).tolist()


def drag(line: Any, point: int, *xs: float) -> None:
    """Move a point with the mouse, through several places."""
    line.InvokeEvent(line.PointStartInteractionEvent)
    for x in xs:
        line.SetNthControlPointPosition(point, x, 0.0, 0.0)
    line.InvokeEvent(line.PointEndInteractionEvent)


def test_each_correction_is_taken_back(addLine: Callable[[], Any]) -> None:
    calls: list[int] = []
    history = LineHistory(lambda: calls.append(1))
    one, other = addLine(), addLine()
    history.follow([one, other])
    assert not history.canUndo()
    history.undo()  # nothing
    drag(one, 1, 11, 12, 13)
    other.SetNthControlPointPosition(0, -5.0, 0.0, 0.0)
    drag(one, 1, 14)
    assert ends(one)[1] == [14, 0, 0] and len(calls) >= 5
    history.undo()
    assert ends(one)[1] == [13, 0, 0] and ends(other)[0] == [-5, 0, 0]
    history.undo()
    assert ends(one)[1] == [13, 0, 0] and ends(other) == ENDS
    assert history.canUndo()
    history.undo()
    assert ends(one) == ends(other) == ENDS and not history.canUndo()
    # And on from there.
    drag(other, 1, 20)
    history.undo()
    assert ends(other) == ENDS and not history.canUndo()


def test_a_click_is_no_correction(addLine: Callable[[], Any]) -> None:
    history = LineHistory(lambda: None)
    line = addLine()
    history.follow([line])
    drag(line, 1)
    drag(line, 1, 12, 10)
    assert not history.canUndo()


def test_a_point_that_was_removed_comes_back(addLine: Callable[[], Any]) -> None:
    history = LineHistory(lambda: None)
    line = addLine()
    history.follow([line])
    line.RemoveNthControlPoint(1)
    assert history.canUndo()
    history.undo()
    assert ends(line) == ENDS


def test_what_was_changed_meanwhile_is_one_correction(
    scene: Any, addLine: Callable[[], Any]
) -> None:
    history = LineHistory(lambda: None)
    one, other = addLine(), addLine()
    history.follow([one, other])
    history.release()
    for line in (one, other):
        line.SetNthControlPointPosition(1, 12.0, 3.0, 0.0)
    assert not history.canUndo()
    history.follow([one, other])
    history.undo()
    assert ends(one) == ends(other) == ENDS and not history.canUndo()
    drag(one, 1, 12)
    scene.RemoveNode(other)
    history.undo()
    assert ends(one) == ENDS


def test_corrections_of_other_lines_are_forgotten(addLine: Callable[[], Any]) -> None:
    history = LineHistory(lambda: None)
    one, other = addLine(), addLine()
    history.follow([one])
    drag(one, 1, 12)
    history.follow([other])
    assert not history.canUndo()
    drag(one, 1, 14)  # which is not followed
    assert not history.canUndo()
