"""Helpers for charts in Slicer's plot view, whose nodes are marked by an attribute."""

from __future__ import annotations

import slicer


def newChartNode(
    className: str, attribute: str, name: str, *, hidden: bool = False, saved: bool = False
) -> slicer.vtkMRMLNode:
    """Add a chart, one of its series, or a table with its data to the scene."""
    node = slicer.mrmlScene.CreateNodeByClass(className)
    node.UnRegister(None)
    node.SetName(name)
    node.SetAttribute(attribute, "1")
    node.SetHideFromEditors(hidden)
    node.SetSaveWithScene(saved)
    return slicer.mrmlScene.AddNode(node)


def chartNodes(className: str, attribute: str) -> list[slicer.vtkMRMLNode]:
    """All nodes of a class in the scene that have the attribute of a chart."""
    nodes = slicer.util.getNodesByClass(className)
    return [node for node in nodes if node.GetAttribute(attribute)]


def showChart(chart: slicer.vtkMRMLPlotChartNode) -> None:
    """Show a chart in a plot view; needs the Slicer application."""
    slicer.modules.plots.logic().ShowChartInLayout(chart)
