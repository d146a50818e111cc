"""A measurement in the scene: lines where the report says, corrected, reset, saved and loaded."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="needs the package slicer-core")
import vtk

from MISSUCore.contract.labels import BRATS
from MISSUCore.contract.measurement.lesions import (
    LesionMeasurement,
    Line,
    MeasurementSettings,
    judge,
)
from MISSUCore.contract.measurement.report import MeasurementReport
from MISSUSegmentationLib.Scene import MeasurementNodes as nodes
from MISSUSegmentationLib.Scene.SegmentationNodes import checksumOf, importSegmentation

SHAPE = (8, 9, 10)


def report() -> MeasurementReport:
    """Two lesions with lines, the second too small, and one without the measured region."""
    settings = MeasurementSettings()
    lesions = [
        LesionMeasurement(
            number=number,
            center_mm=(0.0, 0.0, 0.0),
            volumes_ml={"WT": 3.0, "ET": 1.0},
            slices=4,
            longest=Line((1.0, 2.0, 3.0), (1.0 + length, 2.0, 3.0)),
            perpendicular=Line((4.0, 0.0, 3.0), (4.0, length - 3, 3.0)),
        )
        for number, length in ((1, 20.0), (2, 9.0))
    ]
    lesions.append(LesionMeasurement(3, (0.0, 0.0, 0.0), {"WT": 0.1, "ET": 0.0}))
    return MeasurementReport(
        scheme="BraTS",
        region="ET",
        settings=settings,
        plane="axial",
        slice_mm=1.0,
        volumes_ml={"WT": 6.1, "ET": 2.0},
        lesions=judge(lesions, settings, "ET", 1.0),
    )


@pytest.fixture
def scan(scene: Any, addVolume: Callable[..., Any]) -> Any:
    """A scan in Subject Hierarchy, where Slicer puts every node."""
    node = addVolume("T1ce", np.ones(SHAPE), spacing=(0.7, 1.3, 2.9), origin=(10, -20, 30))
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    hierarchy.CreateItem(hierarchy.CreateStudyItem(hierarchy.GetSceneItemID(), "Study"), node)
    # As Slicer's module Markups does when it is loaded.
    scene.RegisterNodeClass(slicer.vtkMRMLMarkupsJsonStorageNode())
    return node


@pytest.fixture
def measured(scan: Any) -> Any:
    """A segmentation with its measurement."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[2:6, 2:6, 2:6] = 4
    node = importSegmentation(labels, {"t1ce": scan}, BRATS)
    nodes.keepMeasurement(node, report(), scan)
    return node


def ends(line: Any, world: bool = False) -> np.ndarray:
    return slicer.util.arrayFromMarkupsControlPoints(line, world)


def lines(scene: Any) -> list[Any]:
    return slicer.util.getNodesByClass("vtkMRMLMarkupsLineNode", scene)


def test_lines_lie_in_ras_under_the_transform_of_the_scan(
    scene: Any, scan: Any, addTransform: Callable[..., Any]
) -> None:
    matrix = np.array([[0, -1, 0, 5], [1, 0, 0, 6], [0, 0, 1, 7], [0, 0, 0, 1.0]])
    transform = addTransform(matrix, scan)
    node = importSegmentation(np.full(SHAPE, 4, np.uint8), {"t1ce": scan}, BRATS)
    nodes.keepMeasurement(node, report(), scan)
    line = nodes.lineNode(node, 1, nodes.LONGEST)
    np.testing.assert_allclose(ends(line), [[-1, -2, 3], [-21, -2, 3]])
    assert line.GetTransformNodeID() == transform.GetID()
    np.testing.assert_allclose(ends(line, world=True), [[7, 5, 10], [7, -15, 10]])
    assert [found.GetName() for found in lines(scene)] == [
        "Lesion 1 longest",
        "Lesion 1 perpendicular",
        "Lesion 2 longest",
        "Lesion 2 perpendicular",
    ]


def test_lines_lie_in_a_folder_beside_the_segmentation(scene: Any, measured: Any) -> None:
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    parents = {hierarchy.GetItemParent(hierarchy.GetItemByDataNode(line)) for line in lines(scene)}
    (folder,) = parents
    assert hierarchy.GetItemName(folder) == "T1ce segmentation lesions"
    item = hierarchy.GetItemByDataNode(measured)
    assert hierarchy.GetItemParent(folder) == hierarchy.GetItemParent(item)


def test_only_measurable_lesions_are_shown_at_first(measured: Any) -> None:
    shown = [
        nodes.lineNode(measured, number, which).GetDisplayNode().GetVisibility()
        for number in (1, 2)
        for which in (nodes.LONGEST, nodes.PERPENDICULAR)
    ]
    assert shown == [1, 1, 0, 0]
    nodes.showLesion(measured, 2)
    assert nodes.lineNode(measured, 2, nodes.LONGEST).GetDisplayNode().GetVisibility()


def test_what_is_not_touched_is_as_it_was_measured(measured: Any) -> None:
    assert nodes.currentMeasurement(measured) == nodes.keptMeasurement(measured) == report()


def test_a_corrected_line_changes_the_numbers_until_it_is_reset(measured: Any) -> None:
    line = nodes.lineNode(measured, 2, nodes.PERPENDICULAR)
    line.SetNthControlPointPosition(1, -4.0, -12.0, 3.0)
    longest = nodes.lineNode(measured, 2, nodes.LONGEST)
    longest.SetNthControlPointPosition(1, -16.0, -2.0, 3.0)
    current = nodes.currentMeasurement(measured)
    assert [lesion.corrected for lesion in current.lesions] == [False, True, False]
    assert current.lesions[1].longest.length_mm == pytest.approx(15)
    assert current.lesions[1].perpendicular.length_mm == pytest.approx(12)
    assert [lesion.target for lesion in current.lesions] == [True, True, False]
    assert current.sum_of_products_mm2 == pytest.approx(20 * 17 + 15 * 12)
    assert nodes.keptMeasurement(measured) == report()
    nodes.resetLines(measured, [1])
    assert nodes.currentMeasurement(measured) == current
    nodes.resetLines(measured, [2])
    assert nodes.currentMeasurement(measured) == report()


def test_color_says_whether_a_line_is_perpendicular(measured: Any) -> None:
    line = nodes.lineNode(measured, 1, nodes.PERPENDICULAR)
    # 17 mm up: 0.5 mm aside is 1.7 degrees, 1 mm is 3.4.
    for aside, color in ((0.0, nodes.GREEN), (0.5, nodes.GREEN), (1.0, nodes.RED)):
        line.SetNthControlPointPosition(1, -4.0 - aside, -17.0, 3.0)
        nodes.currentMeasurement(measured)
        assert line.GetDisplayNode().GetSelectedColor() == pytest.approx(color)


def test_lines_that_leave_their_slice_are_found(measured: Any) -> None:
    line = nodes.lineNode(measured, 1, nodes.PERPENDICULAR)
    # Slices are 1 mm apart: 0.4 mm is within one, 3 mm is not.
    for height, found in ((3.4, {}), (6.0, {1: 3.0})):
        line.SetNthControlPointPosition(1, -4.0, -17.0, height)
        current = nodes.currentMeasurement(measured)
        assert nodes.outOfPlaneMm(measured, current) == pytest.approx(found)
        color = nodes.RED if found else nodes.GREEN
        assert line.GetDisplayNode().GetSelectedColor() == pytest.approx(color)
    # Both lines in another slice lie in one.
    line.SetNthControlPointPosition(0, -4.0, 0.0, 6.0)
    longest = nodes.lineNode(measured, 1, nodes.LONGEST)
    for end, x in enumerate((-1.0, -21.0)):
        longest.SetNthControlPointPosition(end, x, -2.0, 6.0)
    assert nodes.outOfPlaneMm(measured, nodes.currentMeasurement(measured)) == {}


def test_a_deleted_line_counts_as_measured_and_comes_back_with_a_reset(
    scene: Any, measured: Any
) -> None:
    scene.RemoveNode(nodes.lineNode(measured, 1, nodes.LONGEST))
    nodes.lineNode(measured, 2, nodes.LONGEST).RemoveNthControlPoint(1)
    assert nodes.currentMeasurement(measured) == report()
    nodes.resetLines(measured)
    assert len(lines(scene)) == 4
    np.testing.assert_allclose(
        ends(nodes.lineNode(measured, 1, nodes.LONGEST)), [[-1, -2, 3], [-21, -2, 3]]
    )
    assert nodes.currentMeasurement(measured) == report()


def test_lines_that_were_all_deleted_come_back_where_the_scan_is(
    scene: Any, scan: Any, measured: Any, addTransform: Callable[..., Any]
) -> None:
    matrix = np.array([[0, -1, 0, 5], [1, 0, 0, 6], [0, 0, 1, 7], [0, 0, 0, 1.0]])
    addTransform(matrix, scan, measured)
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    for line in lines(scene):
        scene.RemoveNode(line)
    nodes.resetLines(measured)
    line = nodes.lineNode(measured, 1, nodes.LONGEST)
    np.testing.assert_allclose(ends(line, world=True), [[7, 5, 10], [7, -15, 10]])
    parents = {hierarchy.GetItemParent(hierarchy.GetItemByDataNode(line)) for line in lines(scene)}
    (folder,) = parents
    assert hierarchy.GetItemName(folder) == "T1ce segmentation lesions"
    names = [hierarchy.GetItemName(item) for item in beside(hierarchy, folder)]
    assert names.count("T1ce segmentation lesions") == 1


def beside(hierarchy: Any, folder: int) -> list[int]:
    """The items beside a folder, itself among them."""
    items = vtk.vtkIdList()
    hierarchy.GetItemChildren(hierarchy.GetItemParent(folder), items)
    return [items.GetId(index) for index in range(items.GetNumberOfIds())]


def test_measuring_again_replaces_the_lines(scene: Any, scan: Any, measured: Any) -> None:
    nodes.keepMeasurement(measured, report(), scan)
    assert len(lines(scene)) == 4
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    parents = {hierarchy.GetItemParent(hierarchy.GetItemByDataNode(line)) for line in lines(scene)}
    assert len(parents) == 1
    nodes.forgetMeasurement(measured)
    assert not lines(scene) and nodes.currentMeasurement(measured) is None
    assert not [item for item in parents if hierarchy.GetItemName(item)]


def test_measuring_a_clone_leaves_the_lines_of_the_original(
    scene: Any, scan: Any, measured: Any
) -> None:
    nodes.lineNode(measured, 1, nodes.LONGEST).SetNthControlPointPosition(1, -31.0, -2.0, 3.0)
    corrected = nodes.currentMeasurement(measured)
    # As the Data module clones a node.
    clone = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    clone.Copy(measured)
    clone.SetName("Second reading")
    nodes.keepMeasurement(clone, report(), scan)
    assert nodes.currentMeasurement(measured) == corrected
    assert nodes.currentMeasurement(clone) == report()
    assert len(lines(scene)) == 8
    nodes.forgetMeasurement(clone)
    assert len(lines(scene)) == 4


def test_targets_can_be_changed(measured: Any) -> None:
    nodes.lineNode(measured, 2, nodes.LONGEST).SetNthControlPointPosition(1, -31.0, -2.0, 3.0)
    nodes.lineNode(measured, 2, nodes.PERPENDICULAR).SetNthControlPointPosition(1, -4, -15, 3)
    nodes.setTargets(measured, 1)
    assert [lesion.target for lesion in nodes.currentMeasurement(measured).lesions] == [
        False,
        True,
        False,
    ]


def test_an_edit_while_it_was_measured_is_known(scan: Any, measured: Any) -> None:
    before = checksumOf(measured)
    measured.GetSegmentation().RemoveSegment("ET")
    nodes.keepMeasurement(measured, report(), scan, before)
    assert nodes.isEditedSince(measured)


def test_an_edit_is_known(measured: Any) -> None:
    assert not nodes.isEditedSince(measured)
    measured.GetSegmentation().RemoveSegment("ET")
    assert nodes.isEditedSince(measured)


def test_what_is_moved_with_its_scan_is_not_edited(
    scene: Any, scan: Any, measured: Any, addTransform: Callable[..., Any]
) -> None:
    matrix = np.array([[0, -1, 0, 5], [1, 0, 0, 6], [0, 0, 1, 7], [0, 0, 0, 1.0]])
    addTransform(matrix, scan, measured)
    assert not nodes.isEditedSince(measured)
    scan.HardenTransform()
    assert not nodes.isEditedSince(measured), "they lie on each other still"
    measured.HardenTransform()
    assert not nodes.isEditedSince(measured)
    addTransform(matrix, measured)
    measured.HardenTransform()
    assert nodes.isEditedSince(measured)


def test_who_deletes_the_scan_has_not_edited_the_segments(
    scene: Any, scan: Any, measured: Any
) -> None:
    scene.RemoveNode(scan)
    assert not nodes.isEditedSince(measured)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"report": 3}', '{"report": {}}'])
def test_what_others_wrote_is_no_measurement(scene: Any, scan: Any, text: str) -> None:
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    node.SetAttribute(nodes.MEASUREMENT_ATTRIBUTE, text)
    assert nodes.currentMeasurement(node) is None
    nodes.keepMeasurement(node, report(), scan)
    assert nodes.currentMeasurement(node) == report()


def test_corrections_survive_saving_and_loading(
    scene: Any, scan: Any, measured: Any, tmp_path: Path
) -> None:
    nodes.lineNode(measured, 1, nodes.PERPENDICULAR).SetNthControlPointPosition(1, -4, -15.5, 3)
    before = nodes.currentMeasurement(measured)
    assert before != report()
    for number, each in enumerate((scan, measured, *lines(scene))):
        each.AddDefaultStorageNode()
        endings = {scan: "nrrd", measured: "seg.nrrd"}
        name = f"{number}.{endings.get(each, 'mrk.json')}"
        each.GetStorageNode().SetFileName(str(tmp_path / name))
        assert each.GetStorageNode().WriteData(each)
    scene.SetURL(str(tmp_path / "scene.mrml"))
    assert scene.Commit()
    scene.Clear(True)
    assert scene.Connect()
    (loaded,) = slicer.util.getNodesByClass("vtkMRMLSegmentationNode", scene)
    after = nodes.currentMeasurement(loaded)
    assert [lesion.corrected for lesion in after.lesions] == [True, False, False]
    assert after.sum_of_products_mm2 == pytest.approx(before.sum_of_products_mm2)
    nodes.resetLines(loaded)
    assert nodes.currentMeasurement(loaded) == report()
    assert json.loads(loaded.GetAttribute(nodes.MEASUREMENT_ATTRIBUTE))["report"]
