"""The volumes of a patient's visits as a table and a chart of Slicer, saved with the scene."""

from __future__ import annotations

from collections.abc import Sequence

import slicer
import vtk

from MISSUCore.contract.visits.report import VisitsReport
from MISSUCore.contract.visits.response import ResponseRule

from .ChartNodes import chartNodes, newChartNode

OWN_ATTRIBUTE = "MISSU.VisitsChart"
NAME = "MISSU visits"
DAY, DATE = "Day", "Date"
# Distinguishable by the color-blind (Okabe and Ito 2008).
BLUE, ORANGE, GREEN = (0.0, 0.45, 0.70), (0.90, 0.62, 0.0), (0.0, 0.62, 0.45)


def findVisitsChart() -> slicer.vtkMRMLPlotChartNode | None:
    """The chart in this scene; None if it was not drawn yet or was deleted."""
    return next(iter(chartNodes("vtkMRMLPlotChartNode", OWN_ATTRIBUTE)), None)


def drawVisits(report: VisitsReport) -> slicer.vtkMRMLPlotChartNode:
    """Draw the volume of the followed region, with the thresholds of its response rule.

    The table contains all regions and the sum of products.
    """
    region, rule = report.region, report.settings.volume
    followed = f"{region} (ml)"
    response = f"PR ({rule.partial_percent:+.0f} % of baseline)"
    progression = f"PD ({rule.progression_percent:+.0f} % of nadir)"
    table = _one("vtkMRMLTableNode")
    _fill(table, _columns(report, followed, response, progression))
    chart = _one("vtkMRMLPlotChartNode")
    chart.SetTitle(f"Volume of {region}")
    chart.SetXAxisTitle("Days since the first visit")
    chart.SetYAxisTitle("Volume (ml)")
    chart.RemoveAllPlotSeriesNodeIDs()
    columns = {followed: BLUE, response: GREEN, progression: ORANGE}
    for series, (column, color) in zip(_series(len(columns)), columns.items()):
        series.SetName(column)
        series.SetAndObserveTableNodeID(table.GetID())
        series.SetPlotType(series.PlotTypeScatter)
        series.SetXColumnName(DAY)
        series.SetYColumnName(column)
        series.SetLabelColumnName(DATE)
        series.SetColor(*color)
        isMeasured = column == followed
        series.SetLineWidth(3 if isMeasured else 1)
        series.SetLineStyle(series.LineStyleSolid if isMeasured else series.LineStyleDash)
        series.SetMarkerStyle(series.MarkerStyleCircle if isMeasured else series.MarkerStyleNone)
        chart.AddAndObservePlotSeriesNodeID(series.GetID())
    # Otherwise the view stays empty when nodes are reused, see slicer.util.plot.
    chart.Modified()
    return chart


def forgetVisitsChart() -> None:
    """Remove the chart and its table from the scene."""
    for className in ("vtkMRMLPlotChartNode", "vtkMRMLPlotSeriesNode", "vtkMRMLTableNode"):
        for node in chartNodes(className, OWN_ATTRIBUTE):
            slicer.mrmlScene.RemoveNode(node)


def _columns(
    report: VisitsReport, followed: str, response: str, progression: str
) -> dict[str, Sequence[object]]:
    """Columns of the table by title; NaN where a threshold is not defined yet."""
    visits, rule = report.visits, report.settings.volume
    volumes = [visit.volume.value for visit in visits]
    start = report.settings.baseline - 1
    nadirs = [
        volumes[start] if number == start else visit.volume.nadir
        for number, visit in enumerate(visits)
    ]
    columns: dict[str, Sequence[object]] = {
        DATE: [visit.date for visit in visits],
        DAY: [float((visit.day - visits[0].day).days) for visit in visits],
        followed: volumes,
        response: [
            _NONE if nadir is None else volumes[start] * (1 + rule.partial_percent / 100)
            for nadir in nadirs
        ],
        progression: [_NONE if nadir is None else _progression(nadir, rule) for nadir in nadirs],
    }
    for name in visits[0].measurement.volumes_ml:
        if name != report.region:
            columns[f"{name} (ml)"] = [v.measurement.volumes_ml.get(name, _NONE) for v in visits]
    columns["Sum of products (mm2)"] = [visit.two_d.value for visit in visits]
    columns["Category by volume"] = [str(visit.volume.category) for visit in visits]
    columns["Category by diameters"] = [str(visit.two_d.category) for visit in visits]
    return columns


_NONE = float("nan")


def _progression(nadir: float, rule: ResponseRule) -> float:
    """The smallest volume that counts as progression."""
    return max(nadir * (1 + rule.progression_percent / 100), rule.least)


def _fill(node: slicer.vtkMRMLTableNode, columns: dict[str, Sequence[object]]) -> None:
    table = vtk.vtkTable()
    for title, values in columns.items():
        isText = isinstance(values[0], str)
        array = vtk.vtkStringArray() if isText else vtk.vtkDoubleArray()
        array.SetName(title)
        for value in values:
            array.InsertNextValue(value)
        table.AddColumn(array)
    node.SetAndObserveTable(table)
    node.SetUseColumnTitleAsColumnHeader(True)


def _one(className: str) -> slicer.vtkMRMLNode:
    """Our existing node of a class, or a new one."""
    found = chartNodes(className, OWN_ATTRIBUTE)
    return found[0] if found else newChartNode(className, OWN_ATTRIBUTE, NAME, saved=True)


def _series(count: int) -> list[slicer.vtkMRMLPlotSeriesNode]:
    found = chartNodes("vtkMRMLPlotSeriesNode", OWN_ATTRIBUTE)
    while len(found) < count:
        found.append(
            newChartNode("vtkMRMLPlotSeriesNode", OWN_ATTRIBUTE, NAME, hidden=True, saved=True)
        )
    return found
