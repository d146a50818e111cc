"""Charts in Slicer's plot view: their nodes are found by an attribute of their own."""

from __future__ import annotations

import slicer


def newChartNode(
    className: str, attribute: str, name: str, *, hidden: bool = False, saved: bool = False
) -> slicer.vtkMRMLNode:
    """Add a node of a chart to the scene: the chart itself, a series, or a table behind it."""
    node = slicer.mrmlScene.CreateNodeByClass(className)
    node.UnRegister(None)
    node.SetName(name)
    node.SetAttribute(attribute, "1")
    node.SetHideFromEditors(hidden)
    node.SetSaveWithScene(saved)
    return slicer.mrmlScene.AddNode(node)


def chartNodes(className: str, attribute: str) -> list[slicer.vtkMRMLNode]:
    """The nodes of a chart that are in this scene."""
    nodes = slicer.util.getNodesByClass(className)
    return [node for node in nodes if node.GetAttribute(attribute)]


def showChart(chart: slicer.vtkMRMLPlotChartNode) -> None:
    """Bring a chart into a view; needs Slicer's application."""
    slicer.modules.plots.logic().ShowChartInLayout(chart)
