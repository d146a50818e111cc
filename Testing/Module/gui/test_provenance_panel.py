"""The History section, driven by clicks; the real .ui file and scene, a fake process."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("slicer", reason="needs the package slicer-core")
pytest.importorskip("PySide6", reason="needs the package PySide6-Essentials")

from PySide6.QtTest import QTest

from Testing.Module.gui.user import Panel

LABELS = np.ones((4, 5, 6), np.uint8)


@pytest.fixture
def segmentation(panel: Panel, addVolume: Callable[..., Any], slicerApplication: Any) -> Any:
    """A segmentation that was not made here, chosen; voxels of 2 mm."""
    scan = addVolume("T1ce")
    node = slicerApplication.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Mine")
    node.SetReferenceImageGeometryParameterFromVolumeNode(scan)
    node.GetSegmentation().AddEmptySegment("ET", "Enhancing tumor")
    paint(slicerApplication, node, LABELS)
    panel.settle()
    panel.choose("resultSelector", "Mine")
    return node


def paint(slicer: Any, node: Any, voxels: Any) -> None:
    scan = slicer.mrmlScene.GetFirstNodeByName("T1ce")
    slicer.util.updateSegmentBinaryLabelmapFromArray(voxels, node, "ET", scan)


def answered(slicer: Any, monkeypatch: pytest.MonkeyPatch, answer: bool) -> list[str]:
    """Questions that the user gets and answers so."""
    asked: list[str] = []
    monkeypatch.setattr(
        slicer.util, "confirmOkCancelDisplay", lambda text: bool(asked.append(text)) or answer
    )
    return asked


def section(panel: Panel) -> Any:
    return panel.ui.provenanceCollapsibleButton


def typeIn(panel: Panel, name: str, text: str) -> None:
    QTest.keyClicks(getattr(panel.ui, name), text)
    panel.settle()


def lines(panel: Panel) -> list[str]:
    return panel.ui.provenanceLabel.text.splitlines()


def test_it_is_collapsed_and_says_what_is_missing(panel: Panel) -> None:
    assert section(panel).collapsed
    assert section(panel).text == "History and sign-off"
    panel.expand("provenanceCollapsibleButton")
    assert not panel.ui.provenanceLabel.visible
    assert not panel.ui.signOffButton.enabled
    assert panel.ui.signOffButton.toolTip == "Select a segmentation under Result."
    assert not panel.ui.withdrawSignOffButton.enabled


def test_a_reader_signs_off_and_withdraws(
    panel: Panel, segmentation: Any, slicerApplication: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel.expand("provenanceCollapsibleButton")
    assert lines(panel) == ["What computed it was not recorded. Nobody has signed it off."]
    assert panel.ui.signOffButton.toolTip == "Type in your name."
    typeIn(panel, "readerLineEdit", "A. Reader")
    typeIn(panel, "signOffCommentLineEdit", "cavity left out")
    asked = answered(slicerApplication, monkeypatch, False)
    panel.click("signOffButton")
    assert asked[0].startswith("Sign off Mine as A. Reader?\n\nEnhancing tumor: 0.96 ml\n")
    assert lines(panel)[0].endswith("Nobody has signed it off."), "the question was declined"
    asked = answered(slicerApplication, monkeypatch, True)
    panel.click("signOffButton")
    assert lines(panel)[0] == "Signed off by A. Reader, and not changed since."
    assert lines(panel)[1].startswith("• Signed off by A. Reader, ")
    assert lines(panel)[1].endswith("Comment: cavity left out")
    assert section(panel).text == "History and sign-off (signed off)"
    assert (panel.ui.readerLineEdit.text, panel.ui.signOffCommentLineEdit.text) == ("A. Reader", "")
    panel.click("withdrawSignOffButton")
    assert "Withdraw the sign-off by A. Reader?" in asked[-1]
    assert "; withdrawn, " in lines(panel)[1]
    assert section(panel).text == "History and sign-off"
    assert not panel.ui.withdrawSignOffButton.enabled


def test_a_later_edit_shows_by_itself_even_while_collapsed(
    panel: Panel, segmentation: Any, slicerApplication: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from MISSUSegmentationLib.Panel.Provenance.PanelProvenance import watchEdits

    answered(slicerApplication, monkeypatch, True)
    timer = watchEdits(slicerApplication.mrmlScene)  # as the module does when Slicer starts
    assert timer.interval == 1000
    panel.expand("provenanceCollapsibleButton")
    typeIn(panel, "readerLineEdit", "A. Reader")
    panel.click("signOffButton")
    panel.expand("provenanceCollapsibleButton")
    edited = LABELS.copy()
    edited[0, 0, 0] = 0
    paint(slicerApplication, segmentation, edited)
    assert "signed off)" in section(panel).text and "⚠" not in section(panel).text
    panel.wait(lambda: "⚠ changed since it was signed off" in section(panel).text)
    assert lines(panel)[0].startswith("⚠ Changed since it was signed off by A. Reader")
    assert "Enhancing tumor was edited by A. Reader, " in lines(panel)[2]
    assert lines(panel)[2].endswith(
        "0.96 ml before, 0.95 ml after (0.00 ml added, 0.01 ml removed)."
    )
    paint(slicerApplication, segmentation, LABELS)
    panel.wait(lambda: section(panel).text.endswith("(signed off)"))


def test_the_sign_off_that_was_asked_for_is_withdrawn(
    panel: Panel, segmentation: Any, slicerApplication: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from MISSUSegmentationLib.Scene.Provenance.ProvenanceRecord import isSignedOff

    answered(slicerApplication, monkeypatch, True)
    panel.expand("provenanceCollapsibleButton")
    typeIn(panel, "readerLineEdit", "A")
    panel.click("signOffButton")
    other = slicerApplication.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "New")

    def confirm(question: str) -> bool:
        panel.widget.parameters.result = other  # a run ends while the question is shown
        return True

    monkeypatch.setattr(slicerApplication.util, "confirmOkCancelDisplay", confirm)
    assert isSignedOff(segmentation)
    panel.click("withdrawSignOffButton")
    assert not isSignedOff(segmentation)
    assert lines(panel)[0].endswith("Nobody has signed it off."), "the new one is shown"


def test_what_changes_under_the_question_is_not_signed(
    panel: Panel, segmentation: Any, slicerApplication: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel.expand("provenanceCollapsibleButton")
    typeIn(panel, "readerLineEdit", "A")
    errors: list[str] = []

    def change(text: str) -> bool:
        paint(slicerApplication, segmentation, LABELS * (np.arange(6) > 2))
        return True

    monkeypatch.setattr(slicerApplication.util, "confirmOkCancelDisplay", change)
    monkeypatch.setattr(slicerApplication.util, "errorDisplay", errors.append)
    panel.click("signOffButton")
    assert errors == ["Mine was changed meanwhile and is not signed off; look at it again."]
    assert lines(panel)[0].endswith("Nobody has signed it off.")


def test_names_are_forgotten_with_the_scene(
    panel: Panel, segmentation: Any, slicerApplication: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered(slicerApplication, monkeypatch, True)
    panel.expand("provenanceCollapsibleButton")
    typeIn(panel, "readerLineEdit", "A. Reader")
    panel.click("signOffButton")
    assert section(panel).text.endswith("(signed off)")
    slicerApplication.mrmlScene.Clear(False)
    panel.settle()
    assert panel.ui.readerLineEdit.text == ""
    assert section(panel).text == "History and sign-off"
    assert not panel.ui.provenanceLabel.visible


def test_segments_that_cannot_be_read_say_so(
    panel: Panel, slicerApplication: Any, addVolume: Callable[..., Any]
) -> None:
    import vtk

    node = slicerApplication.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Outlines")
    node.GetSegmentation().SetSourceRepresentationName("Planar contour")
    segment = slicerApplication.vtkSegment()
    segment.AddRepresentation("Planar contour", vtk.vtkPolyData())
    node.GetSegmentation().AddSegment(segment, "GTV")
    panel.settle()
    panel.choose("resultSelector", "Outlines")
    panel.expand("provenanceCollapsibleButton")
    typeIn(panel, "readerLineEdit", "A")
    panel.click("signOffButton")
    assert "was not recorded" in lines(panel)[0] and len(lines(panel)) == 1


@pytest.mark.slow
def test_a_run_begins_the_history(
    panel: Panel, addVolume: Callable[..., Any], missu: SimpleNamespace
) -> None:
    for modality in ("t1", "t1ce", "t2", "flair"):
        addVolume(f"Case_{modality}", np.float32(LABELS * (2 if modality == "t1" else 7)))
    panel.settle()
    panel.segment()
    panel.expand("provenanceCollapsibleButton")
    assert lines(panel)[0] == "As the model computed it. Nobody has signed it off."
    assert lines(panel)[1].startswith("• Segmented by missu-brats-fast")
