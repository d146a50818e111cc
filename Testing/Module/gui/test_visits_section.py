"""The Visits section, driven by clicks; the real .ui file, scene and checks, a fake process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("slicer", reason="needs the package slicer-core")
pytest.importorskip("PySide6", reason="needs the package PySide6-Essentials")

from MISSUCore.core.errors import ErrorCode
from Testing.Module.gui.user import Panel

pytestmark = pytest.mark.slow


@pytest.fixture
def patient(
    panel: Panel, missu: SimpleNamespace, addVolume: Callable[..., Any], slicerApplication: Any
) -> list[Any]:
    """Two segmentations with their scans in the scene, and the section open."""
    missu.behave(volumes=[10.0, 20.0])
    nodes = []
    for name in ("First", "Second"):
        scan = addVolume(f"{name} T1ce", np.full((4, 5, 6), float(len(name))))
        node = slicerApplication.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
        node.SetReferenceImageGeometryParameterFromVolumeNode(scan)
        node.GetSegmentation().AddEmptySegment("ET", "Enhancing tumor")
        mask = np.ones((4, 5, 6), np.uint8)
        slicerApplication.util.updateSegmentBinaryLabelmapFromArray(mask, node, "ET", scan)
        nodes.append(node)
    panel.settle()
    panel.ui.visitsCollapsibleButton.collapsed = False
    panel.settle()
    return nodes


def write(panel: Panel, name: str, text: str) -> None:
    """Type into a line, and leave it."""
    line = getattr(panel.ui, name)
    assert line.visible, f"{name} is hidden"
    line.text = text
    line.editingFinished.emit()
    panel.settle()


def add(panel: Panel, name: str, date: str) -> None:
    panel.choose("visitSegmentationSelector", name)
    panel.click("addVisitButton")
    write(panel, "visitDateLineEdit", date)


def addBoth(panel: Panel) -> None:
    add(panel, "First", "2024-01-10")
    add(panel, "Second", "2024-03-06")


def compare(panel: Panel) -> None:
    panel.click("compareVisitsButton")
    panel.wait(lambda: panel.ui.compareVisitsButton.text != "Cancel")
    panel.settle()


def rows(table: Any) -> list[list[str]]:
    return [
        [table.item(row, column).text() for column in range(table.columnCount)]
        for row in range(table.rowCount)
    ]


def select(panel: Panel, row: int) -> None:
    panel.ui.visitsTable.selectRow(row)
    panel.settle()


def test_visits_are_added_with_their_scan_and_date(
    panel: Panel, patient: list[Any], slicerApplication: Any
) -> None:
    assert not panel.ui.visitsTable.visible and not panel.ui.visitFields.visible
    assert not panel.ui.addVisitButton.enabled and not panel.ui.compareVisitsButton.enabled
    assert panel.ui.visitsHintLabel.text == "Add two visits or more."
    panel.choose("visitSegmentationSelector", "Second")
    assert panel.ui.visitScanSelector.currentNode().GetName() == "Second T1ce"
    panel.click("addVisitButton")
    assert rows(panel.ui.visitsTable) == [["⚠ enter it", "Second", "", ""]]
    panel.click("addVisitButton")
    assert "in the list already" in panel.ui.visitsStatusLabel.text
    hierarchy = slicerApplication.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(
        slicerApplication.mrmlScene
    )
    study = hierarchy.CreateStudyItem(hierarchy.GetSceneItemID(), "Study")
    hierarchy.CreateItem(study, slicerApplication.util.getNode("First T1ce"))
    hierarchy.SetItemAttribute(study, "DICOM.StudyDate", "20240110")
    panel.choose("visitSegmentationSelector", "First")
    panel.click("addVisitButton")
    assert rows(panel.ui.visitsTable) == [
        ["2024-01-10", "First", "", ""],
        ["⚠ enter it", "Second", "", ""],
    ]
    assert panel.ui.visitDateLineEdit.text == "2024-01-10"
    assert "Select Second in the list, and enter its date" in panel.ui.visitsHintLabel.text
    select(panel, 1)
    write(panel, "visitDateLineEdit", "soon")
    assert panel.ui.visitsHintLabel.text == "soon is not a date; write YYYY-MM-DD."
    assert panel.ui.visitDateLineEdit.text == "soon"  # to be corrected
    write(panel, "visitDateLineEdit", "2924-03-06")
    assert [row[0] for row in rows(panel.ui.visitsTable)] == ["2024-01-10", "⚠ 2924-03-06"]
    # Earlier than the other: the list is in the order of the dates, and the selection stays.
    write(panel, "visitDateLineEdit", "20231224")
    assert [row[:2] for row in rows(panel.ui.visitsTable)] == [
        ["2023-12-24", "Second"],
        ["2024-01-10", "First"],
    ]
    assert panel.ui.visitDateLineEdit.text == "2023-12-24"
    assert panel.ui.compareVisitsButton.enabled and not panel.ui.visitsHintLabel.visible
    panel.click("removeVisitButton")
    assert [row[1] for row in rows(panel.ui.visitsTable)] == ["First"]
    assert slicerApplication.util.getNode("Second")


def test_what_was_entered_goes_with_its_visit_only_after_asking(
    panel: Panel, patient: list[Any], slicerApplication: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, answers = [], iter([False, True])
    monkeypatch.setattr(
        slicerApplication.util,
        "confirmOkCancelDisplay",
        lambda text: bool(asked.append(text)) or next(answers),
    )
    addBoth(panel)
    panel.choose("steroidsComboBox", "more")
    panel.click("removeVisitButton")
    assert len(rows(panel.ui.visitsTable)) == 2 and "what you have entered" in asked[0]
    assert panel.ui.steroidsComboBox.currentText == "more"
    panel.click("removeVisitButton")
    assert len(rows(panel.ui.visitsTable)) == 1 and len(asked) == 2


def test_a_comparison_fills_table_plot_and_page(
    panel: Panel, patient: list[Any], missu: SimpleNamespace, slicerApplication: Any
) -> None:
    import qt

    addBoth(panel)
    panel.choose("steroidsComboBox", "more")
    panel.choose("clinicalComboBox", "worse")
    write(panel, "visitCommentLineEdit", "headache")
    write(panel, "radiotherapyLineEdit", "2024-02-20; 2023-06-01")
    panel.ui.visitTargetsSpinBox.value = 5
    compare(panel)
    request = missu.request()
    assert request.command == "visits" and request.settings.measurement.targets == 5
    assert [visit.date for visit in request.visits] == ["2024-01-10", "2024-03-06"]
    reader = request.visits[1].reader
    assert (reader.steroids, reader.clinical, reader.comment) == ("more", "worse", "headache")
    assert request.radiotherapy == ("2023-06-01", "2024-02-20") and not request.allow_empty
    assert rows(panel.ui.visitsResultTable) == [
        ["2024-01-10", "10.0", "", "base", "100", "", "base"],
        ["2024-03-06", "20.0", "+100 / +100", "PD", "400", "+300 / +300", "PD"],
    ]
    assert "WT: 40.00 ml" in panel.ui.visitsResultTable.item(1, 0).toolTip()
    summary = panel.ui.visitsSummaryLabel.text
    assert "2024-03-06: lesion 1: grown" in summary
    assert "15 days after radiotherapy" in summary and "clinical state is worse" in summary
    assert not panel.ui.visitsProgressBar.visible
    panel.click("visitsPlotButton")
    assert slicerApplication.modules.plots.logic().shown[-1] == "Volume of ET"
    panel.click("visitsPageButton")
    page = Path(qt.QDesktopServices.opened[-1])
    assert page.read_text() == "<html>First"  # the user's name for the file


def test_what_is_entered_afterwards_counts_at_once(
    panel: Panel, patient: list[Any], slicerApplication: Any
) -> None:
    addBoth(panel)
    compare(panel)
    assert panel.ui.visitsPageButton.enabled
    select(panel, 1)
    panel.choose("readerCategoryComboBox", "SD")
    assert rows(panel.ui.visitsResultTable)[1][-1] == "SD"
    assert not panel.ui.visitsPageButton.enabled  # it does not say so
    panel.choose("readerCategoryComboBox", "not entered")
    assert panel.ui.visitsPageButton.enabled
    assert "no end of a radiotherapy is known" in panel.ui.visitsSummaryLabel.text
    write(panel, "radiotherapyLineEdit", "2024-02-20")
    assert "no end of a radiotherapy" not in panel.ui.visitsSummaryLabel.text
    assert "15 days after radiotherapy" in panel.ui.visitsSummaryLabel.text
    write(panel, "radiotherapyLineEdit", "2024-02-20, never")
    assert panel.ui.visitsHintLabel.text == "never is not a date; write YYYY-MM-DD."
    assert not panel.ui.compareVisitsButton.enabled
    write(panel, "radiotherapyLineEdit", "")
    write(panel, "visitDateLineEdit", "2024-03-07")
    assert "list of visits was changed since" in panel.ui.visitsSummaryLabel.text
    write(panel, "visitDateLineEdit", "2024-03-06")
    assert "changed since" not in panel.ui.visitsSummaryLabel.text
    patient[0].GetSegmentation().GetSegment("ET").SetName("edited")
    panel.widget.exit()
    panel.widget.enter()
    panel.settle()
    assert "First was edited since; compare again" in panel.ui.visitsSummaryLabel.text


def test_a_comparison_is_cancelled(
    panel: Panel, patient: list[Any], missu: SimpleNamespace
) -> None:
    missu.behave(volumes=[10.0, 20.0], hang=True)
    addBoth(panel)
    panel.click("compareVisitsButton")
    panel.wait(lambda: "40" in panel.ui.visitsProgressBar.text)
    assert panel.ui.visitsProgressBar.visible
    panel.click("compareVisitsButton")
    assert panel.ui.visitsStatusLabel.text == "Cancelled."
    assert panel.ui.compareVisitsButton.text == "Compare visits"
    assert not panel.ui.visitsResultTable.visible and not panel.ui.visitsProgressBar.visible


def test_what_goes_wrong_is_told(
    panel: Panel, patient: list[Any], missu: SimpleNamespace, slicerApplication: Any
) -> None:
    addBoth(panel)
    missu.behave(error="the scans are too noisy", code="input")
    compare(panel)
    assert "The scans are too noisy" in panel.ui.visitsStatusLabel.text
    assert panel.ui.compareVisitsButton.enabled
    select(panel, 1)
    write(panel, "visitDateLineEdit", "2024-01-10")
    panel.click("compareVisitsButton")
    assert "both from 2024-01-10" in panel.ui.visitsStatusLabel.text
    slicerApplication.mrmlScene.RemoveNode(patient[1])
    panel.settle()
    assert panel.ui.visitSegmentationSelector.currentNode() is None
    panel.click("compareVisitsButton")
    assert "The segmentation of Second T1ce was deleted" in panel.ui.visitsStatusLabel.text


def test_scans_of_two_patients_are_compared_only_if_the_user_says_so(
    panel: Panel, patient: list[Any], missu: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    import slicer

    addBoth(panel)
    missu.behave(error="they do not fit", code=ErrorCode.ANATOMY_DIFFERS)
    answers, asked = [False, True], []

    def confirm(question: str) -> bool:
        missu.behave(volumes=[10.0, 20.0])
        asked.append(question)
        return answers[len(asked) - 1]

    monkeypatch.setattr(slicer.util, "confirmYesNoDisplay", confirm)
    compare(panel)
    assert "they do not fit" in asked[0] and not panel.ui.visitsResultTable.visible
    missu.behave(error="they do not fit", code=ErrorCode.ANATOMY_DIFFERS)
    compare(panel)
    panel.wait(lambda: panel.ui.visitsResultTable.visible)
    assert missu.request().different_anatomy and len(asked) == 2


def test_an_empty_segmentation_is_asked_about(
    panel: Panel,
    patient: list[Any],
    missu: SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
    slicerApplication: Any,
) -> None:
    patient[1].GetSegmentation().RemoveAllSegments()
    missu.behave(volumes=[10.0, 0.0])
    addBoth(panel)
    asked: list[str] = []
    monkeypatch.setattr(
        slicerApplication.util, "confirmYesNoDisplay", lambda text: asked.append(text) or False
    )
    panel.click("compareVisitsButton")
    assert "Second: the segmentation is empty" in asked[0]
    assert "Segment Second again" in panel.ui.visitsStatusLabel.text
    monkeypatch.setattr(slicerApplication.util, "confirmYesNoDisplay", lambda text: True)
    compare(panel)
    assert missu.request().allow_empty
    assert rows(panel.ui.visitsResultTable)[1][3] == "CR"


def test_another_scene_has_no_visits(
    panel: Panel, patient: list[Any], slicerApplication: Any
) -> None:
    addBoth(panel)
    compare(panel)
    write(panel, "surgeryLineEdit", "never")
    slicerApplication.mrmlScene.Clear(False)
    panel.settle()
    assert not panel.ui.visitsTable.visible and not panel.ui.visitsResultTable.visible
    assert not panel.ui.visitFields.visible and not panel.ui.visitsPlotButton.visible
    assert panel.ui.surgeryLineEdit.text == "" and not panel.ui.visitsStatusLabel.visible


def test_a_folder_that_is_no_result_is_refused(
    panel: Panel, patient: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import qt

    panel.click("addVisitFolderButton")  # and cancel the dialog
    assert not panel.ui.visitsStatusLabel.visible
    monkeypatch.setattr(qt.QFileDialog, "folder", str(tmp_path))
    panel.click("addVisitFolderButton")
    assert "cannot be used as the result of a visit" in panel.ui.visitsStatusLabel.text
