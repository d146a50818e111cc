"""A measurement in the scene: the report, and two lines for each lesion.

The report is an attribute of the segmentation and the lines are its node references, so both are
saved and loaded with the scene. A line that a reader has moved replaces the measured one; the
report keeps the measured line, and only the markups node has the moved one.
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
# Lines drawn by hand cannot be more exact than this.
PERPENDICULAR_WITHIN_DEGREES = 2.0
MOVED_MM = 1e-3
YELLOW, GREEN, RED = (1.0, 0.85, 0.2), (0.3, 0.9, 0.4), (1.0, 0.35, 0.3)


def keepMeasurement(
    node: slicer.vtkMRMLSegmentationNode,
    report: MeasurementReport,
    grid: slicer.vtkMRMLVolumeNode,
    checksum: str = "",
) -> None:
    """Save a report with its segmentation, and show its lines instead of earlier ones.

    Args:
        node: the segmentation that was measured.
        report: the report in the grid's coordinates, before its parent transform.
        grid: volume on whose grid the segmentation was measured.
        checksum: checksum of the measured segments; empty for that of the present segments.
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
    """The report as measured; None if the segmentation was not measured."""
    try:
        return MeasurementReport.from_dict(_kept(node)["report"])
    except (KeyError, TypeError, ValueError):  # missing or malformed, e.g. edited by hand
        return None


def currentMeasurement(node: slicer.vtkMRMLSegmentationNode) -> MeasurementReport | None:
    """The report with the present lines; None if the segmentation was not measured."""
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
    """Whether the segments have changed since they were measured."""
    return not isAsKept(node, _kept(node).get("checksum"))


def setTargets(node: slicer.vtkMRMLSegmentationNode, targets: int) -> None:
    """Set the maximum number of lesions in the sum of products."""
    report = keptMeasurement(node)
    if report is None:
        return
    kept = {**_kept(node), "report": report.with_targets(targets).to_dict()}
    node.SetAttribute(MEASUREMENT_ATTRIBUTE, json.dumps(kept))


def resetLines(node: slicer.vtkMRMLSegmentationNode, numbers: list[int] | None = None) -> None:
    """Restore the measured positions of lines, and recreate deleted lines.

    Args:
        node: the segmentation that was measured.
        numbers: numbers of the lesions; None for all.
    """
    report = keptMeasurement(node)
    for lesion in report.lesions if report else ():
        for which in (LONGEST, PERPENDICULAR):
            line = getattr(lesion, which)
            if line and (numbers is None or lesion.number in numbers):
                drawn = lineNode(node, lesion.number, which)
                if drawn is None:
                    # Same transform as the other line, else as a new measurement would use.
                    under = lineNode(node, lesion.number, _OTHER[which]) or scanOf(node) or node
                    drawn = _addLine(node, lesion, which, under, _folderBeside(node))
                _setEnds(drawn, line)
    currentMeasurement(node)


def forgetMeasurement(node: slicer.vtkMRMLSegmentationNode) -> None:
    """Remove a segmentation's report and lines, except lines that another segmentation uses.

    A segmentation cloned in the Data module shares the lines of the original.
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
    """Node reference role of a lesion's line; ``which`` is LONGEST or PERPENDICULAR."""
    return f"MISSU.Lesion.{number}.{which}"


def lineNode(
    node: slicer.vtkMRMLSegmentationNode, number: int, which: str
) -> slicer.vtkMRMLMarkupsLineNode | None:
    """A line of a lesion; None if it was deleted or never created."""
    return node.GetNodeReference(lineRole(number, which))


def lineNodes(node: slicer.vtkMRMLSegmentationNode) -> list[slicer.vtkMRMLMarkupsLineNode]:
    """All existing lines of a segmentation."""
    report = keptMeasurement(node)
    found = [
        lineNode(node, lesion.number, which)
        for lesion in (report.lesions if report else ())
        for which in (LONGEST, PERPENDICULAR)
    ]
    return [line for line in found if line is not None]


def showLesion(node: slicer.vtkMRMLSegmentationNode, number: int) -> None:
    """Show the lines of a lesion, and move the slice views to its longest diameter."""
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
    # Lines of small, non-measurable lesions would hide the tumor.
    line.GetDisplayNode().SetVisibility(lesion.measurable)
    node.SetNodeReferenceID(lineRole(lesion.number, which), line.GetID())
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    if hierarchy and folder:
        hierarchy.CreateItem(folder, line)
    return line


def _folderBeside(node: slicer.vtkMRMLSegmentationNode) -> int:
    """Subject hierarchy folder for the lines: the existing one, or a new one next to ``node``."""
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
    """A line as drawn in the scene, or as measured if it was deleted there."""
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
    """Color each perpendicular green if it is one and in the same slice, otherwise red."""
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
    """Distance of the lines of each lesion from a common slice of the scan.

    Args:
        node: the segmentation that was measured; measured lines lie in a slice.
        report: the report with the present lines.

    Returns:
        Distance in mm by lesion number, only where it exceeds half a slice.
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
    """Whether the two diameters are perpendicular, within the accuracy of drawing by hand."""
    degrees = lesion.angle_degrees
    return degrees is None or degrees >= 90 - PERPENDICULAR_WITHIN_DEGREES
