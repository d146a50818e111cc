"""The curves of a fine-tuning as a chart in Slicer's plot view.

The chart and its hidden data nodes are not saved with the scene; the user may delete them.
"""

from __future__ import annotations

import numpy as np
import slicer

from MISSUCore.contract.tuning.tuning_curves import Curve

from .ChartNodes import chartNodes, newChartNode, showChart

# Colors of the Dice curves, distinguishable by the color-blind (Okabe and Ito 2008).
COLORS = ((0.0, 0.45, 0.70), (0.90, 0.62, 0.0), (0.0, 0.62, 0.45))
GRAY = (0.6, 0.6, 0.6)
OWN_ATTRIBUTE = "MISSU.FineTuning"


def showCurves() -> None:
    """Show the chart in a plot view; needs the Slicer application."""
    showChart(findChart())


def findChart() -> slicer.vtkMRMLPlotChartNode | None:
    """The chart in this scene; None if it was not drawn yet or was deleted."""
    return next(iter(_ownNodes("vtkMRMLPlotChartNode")), None)


def drawCurves(title: str, curves: list[Curve]) -> None:
    """Draw these curves in the scene's chart, replacing all others."""
    chart = findChart() or _newChart()
    chart.SetTitle(title)
    series, tables = _ownNodes("vtkMRMLPlotSeriesNode"), _ownNodes("vtkMRMLTableNode")
    if not len(series) == len(tables) == len(curves):
        chart.RemoveAllPlotSeriesNodeIDs()
        for node in (*series, *tables):
            slicer.mrmlScene.RemoveNode(node)
        tables = [_newNode("vtkMRMLTableNode", hidden=True) for _ in curves]
        series = [_newNode("vtkMRMLPlotSeriesNode", hidden=True) for _ in curves]
    for index, curve in enumerate(curves):
        series[index].SetAndObserveTableNodeID(tables[index].GetID())
        slicer.util.updateTableFromArray(
            tables[index],
            [np.array(curve.steps), np.array(curve.values)],
            ["Step", curveTitle(curve)],
        )
        _style(series[index], curve, COLORS[index % len(COLORS)])
        if not chart.HasPlotSeriesNodeID(series[index].GetID()):
            chart.AddAndObservePlotSeriesNodeID(series[index].GetID())
    # Otherwise the view stays empty when nodes are reused, see slicer.util.plot.
    chart.Modified()


def curveTitle(curve: Curve) -> str:
    """The name of a curve in the chart's legend."""
    kind = "Dice, unseen cases" if curve.kind == "dice" else "Loss, part"
    return f"{kind} {curve.part}"


def _style(
    series: slicer.vtkMRMLPlotSeriesNode, curve: Curve, color: tuple[float, float, float]
) -> None:
    isDice = curve.kind == "dice"
    series.SetName(curveTitle(curve))
    series.SetPlotType(series.PlotTypeScatter)
    series.SetXColumnName("Step")
    series.SetYColumnName(curveTitle(curve))
    series.SetColor(*(color if isDice else GRAY))
    series.SetLineWidth(3 if isDice else 1)
    series.SetMarkerStyle(series.MarkerStyleCircle if isDice else series.MarkerStyleNone)


def _newChart() -> slicer.vtkMRMLPlotChartNode:
    chart = _newNode("vtkMRMLPlotChartNode")
    chart.SetXAxisTitle("Step")
    chart.SetYAxisTitle("Dice, loss")
    return chart


def _newNode(className: str, hidden: bool = False) -> slicer.vtkMRMLNode:
    return newChartNode(className, OWN_ATTRIBUTE, "MISSU fine-tuning", hidden=hidden)


def _ownNodes(className: str) -> list[slicer.vtkMRMLNode]:
    return chartNodes(className, OWN_ATTRIBUTE)
