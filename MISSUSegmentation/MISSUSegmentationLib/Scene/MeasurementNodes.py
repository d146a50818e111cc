"""A measurement in the scene: its report kept with the segmentation, two lines for each lesion.

The report is an attribute of the segmentation, the lines are its node references: so both are saved
and loaded with the scene. A line that a reader has moved counts instead of the measured one, and
only the line itself knows that it was moved.
"""

from __future__ import annotations

import json
import math

import numpy as np
import slicer

from MISSUCore.contract.measurement.lesions import LesionMeasurement, Line
from MISSUCore.contract.measurement.report import MeasurementReport

from .SceneExchange import LPS_TO_RAS, scanOf
from .SegmentationNodes import checksumOf, isAsKept

MEASUREMENT_ATTRIBUTE = "MISSU.Measurement"
LONGEST, PERPENDICULAR = "longest", "perpendicular"
# What was drawn by hand cannot be more exact.
PERPENDICULAR_WITHIN_DEGREES = 2.0
MOVED_MM = 1e-3
YELLOW, GREEN, RED = (1.0, 0.85, 0.2), (0.3, 0.9, 0.4), (1.0, 0.35, 0.3)


def keepMeasurement(
    node: slicer.vtkMRMLSegmentationNode,
    report: MeasurementReport,
    grid: slicer.vtkMRMLVolumeNode,
    checksum: str = "",
) -> None:
    """Keep a report with its segmentation, and show its lines; those of an earlier one go.

    Args:
        node: that was measured.
        report: in the coordinates of the grid, before its parent transform.
        grid: volume on whose voxels it was measured.
        checksum: of the segments that were measured; empty: as they are now.
    """
    forgetMeasurement(node)
    kept = {"report": report.to_dict(), "checksum": checksum or checksumOf(node)}
    node.SetAttribute(MEASUREMENT_ATTRIBUTE, json.dumps(kept))
    folder = 0
    for lesion in report.lesions:
        for which in (LONGEST, PERPENDICULAR):
            line = getattr(lesion, which)
            if line:
                folder = folder or _folderBeside(node)
                _addLine(node, lesion, which, grid, folder)
    _color(node, report)


def keptMeasurement(node: slicer.vtkMRMLSegmentationNode) -> MeasurementReport | None:
    """The report as it was measured; None if the segmentation was not."""
    try:
        return MeasurementReport.from_dict(_kept(node)["report"])
    except (KeyError, TypeError, ValueError):  # none, or written by hand, and not well
        return None


def currentMeasurement(node: slicer.vtkMRMLSegmentationNode) -> MeasurementReport | None:
    """The report with the lines as they are now; None if the segmentation was not measured."""
    report = keptMeasurement(node)
    if report is None:
        return None
    for lesion in report.lesions:
        now = [_drawn(node, lesion, which) for which in (LONGEST, PERPENDICULAR)]
        if any(
            _isMoved(line, was) for line, was in zip(now, (lesion.longest, lesion.perpendicular))
        ):
            longest, perpendicular = now
            report = report.corrected(lesion.number, longest, perpendicular)
    _color(node, report)
    return report


def isEditedSince(node: slicer.vtkMRMLSegmentationNode) -> bool:
    """Whether the segments are others than those that were measured."""
    return not isAsKept(node, _kept(node).get("checksum"))


def setTargets(node: slicer.vtkMRMLSegmentationNode, targets: int) -> None:
    """Make the sum of products of at most this many lesions."""
    report = keptMeasurement(node)
    if report is None:
        return
    kept = {**_kept(node), "report": report.with_targets(targets).to_dict()}
    node.SetAttribute(MEASUREMENT_ATTRIBUTE, json.dumps(kept))


def resetLines(node: slicer.vtkMRMLSegmentationNode, numbers: list[int] | None = None) -> None:
    """Move lines back to where they were measured, and make those again that were deleted.

    Args:
        node: that was measured.
        numbers: of the lesions; None for all.
    """
    report = keptMeasurement(node)
    for lesion in report.lesions if report else ():
        for which in (LONGEST, PERPENDICULAR):
            line = getattr(lesion, which)
            if line and (numbers is None or lesion.number in numbers):
                drawn = lineNode(node, lesion.number, which)
                if drawn is None:
                    # Where the other line is; else where a measurement would draw it now.
                    under = lineNode(node, lesion.number, _OTHER[which]) or scanOf(node) or node
                    drawn = _addLine(node, lesion, which, under, _folderBeside(node))
                _setEnds(drawn, line)
    currentMeasurement(node)


def forgetMeasurement(node: slicer.vtkMRMLSegmentationNode) -> None:
    """Take a segmentation's report and lines out of the scene, but for lines of another, too.

    A segmentation that was cloned in the Data module has the lines of the original.
    """
    report = keptMeasurement(node)
    scene = node.GetScene()
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    nodes = slicer.util.getNodesByClass("vtkMRMLSegmentationNode", scene)
    others = {line for other in nodes if other is not node for line in lineNodes(other)}
    for line in set(lineNodes(node)) - others:
        item = hierarchy.GetItemByDataNode(line) if hierarchy else 0
        folder = hierarchy.GetItemParent(item) if item else 0
        if item:
            hierarchy.RemoveItem(item, False, False)
        scene.RemoveNode(line)
        if folder and _isOurs(hierarchy, folder) and not hierarchy.GetNumberOfItemChildren(folder):
            hierarchy.RemoveItem(folder)
    for lesion in report.lesions if report else ():
        for which in (LONGEST, PERPENDICULAR):
            node.SetNodeReferenceID(lineRole(lesion.number, which), None)
    node.RemoveAttribute(MEASUREMENT_ATTRIBUTE)


def lineRole(number: int, which: str) -> str:
    """Reference of a segmentation to a line of a lesion; ``which`` is LONGEST or PERPENDICULAR."""
    return f"MISSU.Lesion.{number}.{which}"


def lineNode(
    node: slicer.vtkMRMLSegmentationNode, number: int, which: str
) -> slicer.vtkMRMLMarkupsLineNode | None:
    """A line of a lesion; None if it was deleted, or never was."""
    return node.GetNodeReference(lineRole(number, which))


def lineNodes(node: slicer.vtkMRMLSegmentationNode) -> list[slicer.vtkMRMLMarkupsLineNode]:
    """All lines of a segmentation that are there."""
    report = keptMeasurement(node)
    found = [
        lineNode(node, lesion.number, which)
        for lesion in (report.lesions if report else ())
        for which in (LONGEST, PERPENDICULAR)
    ]
    return [line for line in found if line is not None]


def showLesion(node: slicer.vtkMRMLSegmentationNode, number: int) -> None:
    """Show the lines of a lesion, and bring the slice views to its longest one."""
    for which in (LONGEST, PERPENDICULAR):
        line = lineNode(node, number, which)
        if line:
            line.GetDisplayNode().SetVisibility(True)
    line = lineNode(node, number, LONGEST)
    if line and line.GetNumberOfControlPoints() == 2:
        middle = slicer.util.arrayFromMarkupsControlPoints(line, world=True).mean(axis=0)
        slicer.vtkMRMLSliceNode.JumpAllSlices(node.GetScene(), *middle)


_OTHER = {LONGEST: PERPENDICULAR, PERPENDICULAR: LONGEST}


def _kept(node: slicer.vtkMRMLSegmentationNode) -> dict:
    try:
        kept = json.loads(node.GetAttribute(MEASUREMENT_ATTRIBUTE) or "{}")
    except (ValueError, RecursionError):
        return {}
    return kept if isinstance(kept, dict) else {}


def _addLine(
    node: slicer.vtkMRMLSegmentationNode,
    lesion: LesionMeasurement,
    which: str,
    under: slicer.vtkMRMLTransformableNode,
    folder: int,
) -> slicer.vtkMRMLMarkupsLineNode:
    """Add a line of a lesion, under the same transform as another node."""
    scene = node.GetScene()
    name = f"Lesion {lesion.number} {which}"
    line = scene.AddNewNodeByClass("vtkMRMLMarkupsLineNode", scene.GenerateUniqueName(name))
    line.SetAndObserveTransformNodeID(under.GetTransformNodeID())
    line.CreateDefaultDisplayNodes()
    _setEnds(line, getattr(lesion, which))
    # Specks would hide the tumor behind lines.
    line.GetDisplayNode().SetVisibility(lesion.measurable)
    node.SetNodeReferenceID(lineRole(lesion.number, which), line.GetID())
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    if hierarchy and folder:
        hierarchy.CreateItem(folder, line)
    return line


def _folderBeside(node: slicer.vtkMRMLSegmentationNode) -> int:
    """Folder for the lines in Subject Hierarchy: theirs, or one beside the segmentation."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(node.GetScene())
    item = hierarchy.GetItemByDataNode(node) if hierarchy else 0
    if not item:
        return 0
    parent, name = hierarchy.GetItemParent(item), f"{node.GetName()} lesions"
    lines = map(hierarchy.GetItemByDataNode, lineNodes(node))
    known = [*map(hierarchy.GetItemParent, lines), hierarchy.GetItemChildWithName(parent, name)]
    ours = [folder for folder in known if folder and _isOurs(hierarchy, folder)]
    folder = ours[0] if ours else hierarchy.CreateFolderItem(parent, name)
    hierarchy.SetItemAttribute(folder, MEASUREMENT_ATTRIBUTE, "lines")
    return folder


def _isOurs(hierarchy: slicer.vtkMRMLSubjectHierarchyNode, folder: int) -> bool:
    return hierarchy.GetItemAttribute(folder, MEASUREMENT_ATTRIBUTE) == "lines"


def _setEnds(node: slicer.vtkMRMLMarkupsLineNode, line: Line) -> None:
    ends = np.array([line.start, line.end]) @ LPS_TO_RAS[:3, :3]
    slicer.util.updateMarkupsControlPointsFromArray(node, ends)


def _drawn(
    node: slicer.vtkMRMLSegmentationNode, lesion: LesionMeasurement, which: str
) -> Line | None:
    """A line as it is in the scene; as it was measured if it was deleted there."""
    drawn = lineNode(node, lesion.number, which)
    if drawn is None or drawn.GetNumberOfDefinedControlPoints() != 2:
        return getattr(lesion, which)
    start, end = slicer.util.arrayFromMarkupsControlPoints(drawn) @ LPS_TO_RAS[:3, :3]
    return Line(tuple(start.tolist()), tuple(end.tolist()))


def _isMoved(line: Line | None, was: Line | None) -> bool:
    if line is None or was is None:
        return False
    return max(math.dist(line.start, was.start), math.dist(line.end, was.end)) > MOVED_MM


def _color(node: slicer.vtkMRMLSegmentationNode, report: MeasurementReport) -> None:
    """The perpendicular of each lesion is green if it is one, in the same slice, else red."""
    leaning = outOfPlaneMm(node, report)
    for lesion in report.lesions:
        isGood = isPerpendicular(lesion) and lesion.number not in leaning
        for which, color in ((LONGEST, YELLOW), (PERPENDICULAR, GREEN if isGood else RED)):
            line = lineNode(node, lesion.number, which)
            display = line.GetDisplayNode() if line else None
            if display and display.GetSelectedColor() != color:
                display.SetSelectedColor(*color)


def outOfPlaneMm(
    node: slicer.vtkMRMLSegmentationNode, report: MeasurementReport
) -> dict[int, float]:
    """How far a lesion's lines, as a report has them, are from lying in one slice of the scan.

    Args:
        node: that was measured; the lines that were measured lie in a slice.
        report: with the lines as they are now.

    Returns:
        Distance in mm, by lesion number, where it is more than half of a slice.
    """
    kept = keptMeasurement(node)
    measured = {lesion.number: lesion for lesion in kept.lesions} if kept else {}
    found = {}
    for lesion in report.lesions:
        was = measured.get(lesion.number)
        lines = [line for line in (lesion.longest, lesion.perpendicular) if line]
        if was is None or was.longest is None or was.perpendicular is None or not lines:
            continue
        across = np.cross(*(np.subtract(x.end, x.start) for x in (was.longest, was.perpendicular)))
        length = float(np.linalg.norm(across)) or 1.0
        heights = [float(np.dot(end, across)) for line in lines for end in (line.start, line.end)]
        distance = (max(heights) - min(heights)) / length
        if distance > report.slice_mm / 2:
            found[lesion.number] = distance
    return found


def isPerpendicular(lesion: LesionMeasurement) -> bool:
    """Whether the two diameters are at a right angle, as well as a hand can draw it."""
    degrees = lesion.angle_degrees
    return degrees is None or degrees >= 90 - PERPENDICULAR_WITHIN_DEGREES
