"""What a user sees who leaves the panel, comes back, and changes the scene meanwhile."""

from __future__ import annotations

import gc
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("slicer", reason="needs the package slicer-core")
pytest.importorskip("PySide6", reason="needs the package PySide6-Essentials")

import vtk
from PySide6 import QtWidgets

from Testing.Module.gui.user import MODALITIES, Panel

# As wide as Slicer's dock is when it is opened first.
WIDTH = 350


@pytest.fixture
def case(panel: Panel, addVolume: Callable[..., Any]) -> dict[str, Any]:
    """Four volumes in the scene, selected."""
    labels = np.zeros((8, 9, 10), np.float32)
    labels[1:6, 1:6, 1:6] = 2
    nodes = {m: addVolume(f"Case_{m}", labels if m == "t1" else labels + 5) for m in MODALITIES}
    panel.settle()
    return nodes


def cutTexts(panel: Panel) -> list[str]:
    """Names of the visible labels with wrapped text that have less room than it needs."""
    labels = [w for w in vars(panel.ui).values() if isinstance(w, QtWidgets.QLabel)]
    closed = [
        getattr(panel.ui, f"{name}CollapsibleButton")
        for name in ("visits", "fineTuning", "advanced")
    ]
    hidden = {
        label
        for section in closed
        if section.collapsed
        for label in section.findChildren(QtWidgets.QLabel)
    }
    shown = [label for label in labels if label.wordWrap and label.visible and label not in hidden]
    assert shown
    return [label.name for label in shown if label.height < label.heightForWidth(label.width)]


def squeeze(panel: Panel) -> QtWidgets.QWidget:
    """Keep the panel at its first height, as Slicer does from the second visit on."""
    content = panel.parent.findChild(QtWidgets.QWidget, "MISSUSegmentation")
    panel.parent.layout().setSizeConstraint(QtWidgets.QLayout.SetNoConstraint)
    panel.parent.resize(WIDTH, 100)
    panel.settle()
    return content


def test_no_text_is_cut_where_slicer_gives_too_little_height(panel: Panel) -> None:
    content = squeeze(panel)
    assert cutTexts(panel) == []
    before = content.height
    panel.ui.advancedCollapsibleButton.collapsed = False  # with the card of the model
    panel.settle()
    assert cutTexts(panel) == []
    assert content.height > before
    panel.ui.advancedCollapsibleButton.collapsed = True
    panel.settle()
    assert content.minimumHeight == before


def test_long_names_do_not_widen_the_panel(
    slicerApplication: Any, missu: SimpleNamespace, addVolume: Callable[..., Any]
) -> None:
    widths = []
    for length in (1, 80):
        slicerApplication.mrmlScene.Clear(False)
        for modality in MODALITIES:
            addVolume(f"{length * 'x'}_{modality}")
        slicerApplication.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", length * "x")
        panel = Panel()
        widths.append(panel.parent.layout().totalMinimumSize().width())
        assert set(panel.selected()) == set(MODALITIES)
        panel.close()
    short, long = widths
    assert long < 1.05 * short


def test_what_was_told_of_a_scene_goes_with_it(
    panel: Panel, case: dict[str, Any], missu: SimpleNamespace, slicerApplication: Any
) -> None:
    panel.segment()
    assert panel.ui.statusLabel.text.startswith("Done in")
    slicerApplication.mrmlScene.Clear(False)
    panel.settle()
    assert panel.ui.statusLabel.text == ""
    assert not panel.ui.statusLabel.visible


def test_a_scene_that_goes_says_that_its_run_was_cancelled(
    panel: Panel, case: dict[str, Any], missu: SimpleNamespace, slicerApplication: Any
) -> None:
    missu.behave(hang=True)
    panel.click("segmentButton")
    slicerApplication.mrmlScene.Clear(False)
    panel.wait(lambda: panel.ui.segmentButton.text == "Segment")
    assert panel.ui.statusLabel.text == "Cancelled."


def test_a_result_says_that_a_model_drew_it_until_it_is_edited(
    panel: Panel, case: dict[str, Any], missu: SimpleNamespace, slicerApplication: Any
) -> None:
    panel.segment()
    (node,) = slicerApplication.util.getNodesByClass("vtkMRMLSegmentationNode")
    tag = vtk.mutable("")

    def drawnBy(segmentId: str) -> str:
        segment = node.GetSegmentation().GetSegment(segmentId)
        assert segment.GetTag("DICOM.SegmentAlgorithmType", tag)
        return str(tag)

    assert [drawnBy(name) for name in ("WT", "TC", "ET")] == 3 * ["AUTOMATIC"]
    slicerApplication.util.updateSegmentBinaryLabelmapFromArray(
        np.ones((8, 9, 10), np.uint8), node, "TC", case["t1ce"]
    )
    assert [drawnBy(name) for name in ("WT", "TC", "ET")] == [
        *("AUTOMATIC", "SEMIAUTOMATIC", "AUTOMATIC")
    ]


def test_visits_leave_nothing_behind(
    panel: Panel, case: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from MISSUSegmentationLib.Logic.ParameterNode import MISSUSegmentationParameterNode
    from Testing.Module.gui.stand_in import parameter_node_wrapper

    updates = []
    update = parameter_node_wrapper._updateGui
    monkeypatch.setattr(
        parameter_node_wrapper, "_updateGui", lambda self: updates.append(self) or update(self)
    )

    def wrappers() -> int:
        gc.collect()
        return sum(isinstance(one, MISSUSegmentationParameterNode) for one in gc.get_objects())

    before = wrappers()
    for _ in range(20):
        panel.widget.exit()
        panel.widget.enter()
    assert wrappers() == before
    updates.clear()
    panel.widget.parameters.mirror = True
    assert len(updates) == 1
    panel.widget.exit()
    panel.widget.logic.getParameterNode().mirror = False
    assert len(updates) == 1, "nobody listens while the panel is not on display"


def test_choices_of_a_new_scene_are_its_own(
    panel: Panel, case: dict[str, Any], slicerApplication: Any
) -> None:
    panel.widget.parameters.minimumIslandMm3 = 7.0
    slicerApplication.mrmlScene.Clear(True)  # with the node of the choices
    panel.settle()
    assert panel.ui.minimumIslandSpinBox.value == 100
    assert panel.widget.parameters.parameterNode.GetScene() is slicerApplication.mrmlScene


def test_a_new_result_fills_the_3d_view(
    panel: Panel, case: dict[str, Any], missu: SimpleNamespace, slicerApplication: Any
) -> None:
    scene = slicerApplication.mrmlScene
    view = scene.AddNewNodeByClass("vtkMRMLViewNode")
    camera = scene.AddNewNodeByClass("vtkMRMLCameraNode")
    for node in (view, camera):
        node.SetLayoutName("1")
    scene.AddNewNodeByClass("vtkMRMLViewNode").SetLayoutName("2")  # it has no camera yet
    camera.SetFocalPoint(0, 0, 0)
    camera.SetPosition(300, 400, 0)
    panel.segment()
    # Voxels 1 to 5, of 2 mm, in all directions: a sphere of 7 mm around (6, 6, 6), or a bit more.
    np.testing.assert_allclose(camera.GetFocalPoint(), (6, 6, 6), atol=0.6)
    seen = np.subtract(camera.GetPosition(), camera.GetFocalPoint())
    np.testing.assert_allclose(seen / np.linalg.norm(seen), (0.6, 0.8, 0), atol=1e-6)
    halfHeight = np.linalg.norm(seen) * np.tan(np.radians(camera.GetViewAngle() / 2))
    assert 8 < halfHeight < 20


def test_an_empty_result_leaves_the_3d_view_alone(
    panel: Panel, case: dict[str, Any], missu: SimpleNamespace, slicerApplication: Any
) -> None:
    scene = slicerApplication.mrmlScene
    for class_ in ("vtkMRMLViewNode", "vtkMRMLCameraNode"):
        scene.AddNewNodeByClass(class_).SetLayoutName("1")
    camera = slicerApplication.util.getNode("vtkMRMLCameraNode*")
    before = camera.GetPosition()
    slicerApplication.util.updateVolumeFromArray(case["t1"], np.zeros((8, 9, 10), np.float32))
    panel.segment()
    assert camera.GetPosition() == before
    assert panel.table()[1] == ["Whole tumor", "0.0"]
