"""The Lesions section, driven by clicks; the real .ui file, scene and lines, a fake process."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("slicer", reason="needs the package slicer-core")
pytest.importorskip("PySide6", reason="needs the package PySide6-Essentials")

from Testing.Module.gui.user import Panel

LESIONS = [(20.0, 15.0), (18.0, 9.0)]


@pytest.fixture
def segmentation(
    panel: Panel, missu: SimpleNamespace, addVolume: Callable[..., Any], slicerApplication: Any
) -> Any:
    """A segmentation that was not made here, chosen, and two lesions to be found in it."""
    missu.behave(lesions=LESIONS)
    scan = addVolume("T1ce")
    node = slicerApplication.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Mine")
    node.SetReferenceImageGeometryParameterFromVolumeNode(scan)
    node.GetSegmentation().AddEmptySegment("ET", "Enhancing tumor")
    mask = np.ones((4, 5, 6), np.uint8)
    slicerApplication.util.updateSegmentBinaryLabelmapFromArray(mask, node, "ET", scan)
    panel.settle()
    panel.choose("resultSelector", "Mine")
    return node


def measure(panel: Panel) -> None:
    panel.click("measureButton")
    panel.wait(lambda: not panel.widget.logic.isRunning())
    panel.settle()


def rows(panel: Panel) -> list[list[str]]:
    table = panel.ui.lesionsTable
    return [
        [table.item(row, column).text() for column in range(table.columnCount)]
        for row in range(table.rowCount)
    ]


def line(slicer: Any, name: str) -> Any:
    return slicer.mrmlScene.GetFirstNodeByName(name)


def test_without_a_segmentation_there_is_nothing_to_measure(panel: Panel) -> None:
    assert not panel.ui.measureButton.enabled
    assert panel.ui.measureButton.toolTip == "Select a segmentation."
    assert not panel.ui.lesionsTable.visible and not panel.ui.measureSummaryLabel.visible
    assert not panel.ui.resetLinesButton.enabled


def test_any_segmentation_is_measured(
    panel: Panel, segmentation: Any, missu: SimpleNamespace, slicerApplication: Any
) -> None:
    panel.ui.targetsSpinBox.value = 3
    measure(panel)
    request = missu.request()
    assert request.command == "measure" and request.settings.targets == 3
    assert rows(panel) == [
        ["1 target", "1.0", "20.0", "15.0", "90°", "300"],
        ["2 not measurable", "1.0", "18.0", "9.0", "90°", "162"],
    ]
    assert panel.ui.measureSummaryLabel.text.splitlines() == [
        "Sum of products over the targets (1): 300 mm²",
        "Diameters of ET, in axial slices 2 mm apart",
    ]
    assert "below 10 mm" in panel.ui.lesionsTable.item(1, 0).toolTip()
    names = [
        node.GetName() for node in slicerApplication.util.getNodesByClass("vtkMRMLMarkupsLineNode")
    ]
    assert len(names) == 4 and names[0] == "Lesion 1 longest"


def test_a_corrected_line_changes_the_table_and_can_be_reset(
    panel: Panel, segmentation: Any, slicerApplication: Any
) -> None:
    measure(panel)
    corrected = line(slicerApplication, "Lesion 2 perpendicular")
    corrected.SetNthControlPointPosition(1, -1.0, -12.0, 0.0)
    panel.settle()
    assert rows(panel)[1] == ["✎ 2 target", "1.0", "18.0", "12.0", "90°", "216"]
    assert "(2): 516 mm²" in panel.ui.measureSummaryLabel.text
    corrected.SetNthControlPointPosition(1, -4.0, -12.0, 0.0)
    assert rows(panel)[1][4] == "76°"
    assert "not at a right angle" in panel.ui.lesionsTable.item(1, 4).toolTip()
    panel.ui.lesionsTable.selectRow(0)
    panel.click("resetLinesButton")  # of another lesion
    assert rows(panel)[1][0] == "✎ 2 target"
    panel.ui.lesionsTable.clearSelection()
    panel.click("resetLinesButton")
    assert rows(panel)[1] == ["2 not measurable", "1.0", "18.0", "9.0", "90°", "162"]


def test_corrections_are_undone_one_by_one(
    panel: Panel, segmentation: Any, slicerApplication: Any
) -> None:
    measure(panel)
    assert not panel.ui.undoLineButton.enabled
    first = line(slicerApplication, "Lesion 1 longest")
    second = line(slicerApplication, "Lesion 2 perpendicular")
    first.SetNthControlPointPosition(1, -30.0, 0.0, 0.0)
    second.SetNthControlPointPosition(1, -1.0, -12.0, 0.0)
    assert [row[2:4] for row in rows(panel)] == [["30.0", "15.0"], ["18.0", "12.0"]]
    panel.click("resetLinesButton")
    assert [row[2:4] for row in rows(panel)] == [["20.0", "15.0"], ["18.0", "9.0"]]
    panel.click("undoLineButton")  # of the reset
    assert [row[2:4] for row in rows(panel)] == [["30.0", "15.0"], ["18.0", "12.0"]]
    panel.click("undoLineButton")
    assert [row[2:4] for row in rows(panel)] == [["30.0", "15.0"], ["18.0", "9.0"]]
    panel.click("undoLineButton")
    assert rows(panel)[0][0] == "1 target" and rows(panel)[0][2] == "20.0"
    assert not panel.ui.undoLineButton.enabled


def test_a_line_that_leaves_its_slice_is_flagged(
    panel: Panel, segmentation: Any, slicerApplication: Any
) -> None:
    measure(panel)
    moved = line(slicerApplication, "Lesion 1 perpendicular")
    moved.SetNthControlPointPosition(1, -1.0, -15.0, 4.0)
    assert rows(panel)[0][5].startswith("⚠ ")
    assert "do not lie in one slice: 4.0 mm" in panel.ui.lesionsTable.item(0, 5).toolTip()
    panel.click("undoLineButton")
    assert rows(panel)[0][5] == "300"


def test_the_number_of_targets_counts_at_once(panel: Panel, segmentation: Any, missu: Any) -> None:
    missu.behave(lesions=[(20.0, 15.0), (18.0, 12.0), (16.0, 11.0)])
    measure(panel)
    assert "(2): 516 mm²" in panel.ui.measureSummaryLabel.text
    panel.ui.targetsSpinBox.value = 1
    assert "(1): 300 mm²" in panel.ui.measureSummaryLabel.text
    panel.choose("resultSelector", "None")
    assert not panel.ui.measureSummaryLabel.visible
    panel.ui.targetsSpinBox.value = 7
    panel.choose("resultSelector", "Mine")
    assert panel.ui.targetsSpinBox.value == 1


def test_a_selected_lesion_is_shown(
    panel: Panel, segmentation: Any, slicerApplication: Any
) -> None:
    measure(panel)
    small = line(slicerApplication, "Lesion 2 longest")
    assert not small.GetDisplayNode().GetVisibility()
    panel.ui.lesionsTable.selectRow(1)
    assert small.GetDisplayNode().GetVisibility()


def test_corrected_lines_are_replaced_only_if_the_user_says_so(
    panel: Panel, segmentation: Any, slicerApplication: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure(panel)
    line(slicerApplication, "Lesion 1 longest").SetNthControlPointPosition(1, -30.0, 0.0, 0.0)
    answers, asked = [False, True], []

    def confirm(question: str) -> bool:
        asked.append(question)
        return answers[len(asked) - 1]

    monkeypatch.setattr(slicerApplication.util, "confirmOkCancelDisplay", confirm)
    measure(panel)
    assert rows(panel)[0][2] == "30.0"
    measure(panel)
    assert rows(panel)[0][2] == "20.0"
    assert "corrected" in asked[0] and len(asked) == 2


def test_an_edited_segmentation_is_to_be_measured_again(
    panel: Panel, segmentation: Any, slicerApplication: Any
) -> None:
    measure(panel)
    assert "edited" not in panel.ui.measureSummaryLabel.text
    panel.widget.exit()
    segmentation.GetSegmentation().GetSegment("ET").SetName("other")
    panel.widget.enter()
    panel.settle()
    assert "edited since; measure again" in panel.ui.measureSummaryLabel.text


def test_lines_are_followed_only_while_the_panel_is_on_display(
    panel: Panel, segmentation: Any, slicerApplication: Any
) -> None:
    measure(panel)
    panel.widget.exit()
    line(slicerApplication, "Lesion 1 longest").SetNthControlPointPosition(1, -30.0, 0.0, 0.0)
    panel.settle()
    assert rows(panel)[0][2] == "20.0"
    panel.widget.enter()
    panel.settle()
    assert rows(panel)[0][2] == "30.0"


def test_a_failure_is_told(panel: Panel, segmentation: Any, missu: SimpleNamespace) -> None:
    missu.behave(error="the outline is too ragged", code="input")
    measure(panel)
    assert "The outline is too ragged" in panel.ui.statusLabel.text
    assert not panel.ui.lesionsTable.visible
    assert panel.ui.measureButton.enabled


def test_warnings_stand_below_the_table(
    panel: Panel, segmentation: Any, missu: SimpleNamespace
) -> None:
    missu.behave(lesions=LESIONS, warnings=["lesion 1 has 2 parts"])
    measure(panel)
    assert "⚠ lesion 1 has 2 parts." in panel.ui.measureSummaryLabel.text


def test_another_scene_has_no_lesions(
    panel: Panel, segmentation: Any, slicerApplication: Any
) -> None:
    measure(panel)
    slicerApplication.mrmlScene.Clear(False)
    panel.settle()
    assert not panel.ui.lesionsTable.visible
    assert not panel.ui.measureButton.enabled
