"""The Visits section of the panel: a list of visits, their comparison, its table and plot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from MISSUCore.contract.visits.report import VisitsReport
from MISSUCore.contract.visits.response import ReaderEntry

from ...Core.Errors import ExchangeError
from ...Logic.VisitsLogic import loadResultFolder
from ...Scene.ChartNodes import showChart
from ...Scene.SceneExchange import scanOf
from ...Scene.SegmentationNodes import inputRole
from ...Scene.VisitNodes import (
    SceneVisit,
    VisitsEntry,
    acquisitionDate,
    currentResult,
    editProblem,
    keepVisits,
    keptVisits,
    listProblem,
)
from ...Scene.VisitsChart import drawVisits
from ..PanelStatus import PanelStatus
from .VisitFields import PatientFields, VisitFields
from .VisitsRun import VisitsRun
from .VisitTables import EntryTable, ResultOfVisitsTable, summaryOf


class PanelVisits(VTKObservationMixin):
    """Collects the visits of a patient, and compares them in a separate process.

    Entries are stored in the scene immediately. A comparison continues when the user leaves the
    panel; closing the scene cancels it.

    Args:
        ui: widgets of the panel by name.
    """

    def __init__(self, ui: Any) -> None:
        VTKObservationMixin.__init__(self)
        self._ui = ui
        self._edited = ""
        self._status = PanelStatus(ui.visitsStatusLabel, ui.visitsCollapsibleButton)
        self._run = VisitsRun(ui, self._status, self.refresh)
        self._table = EntryTable(ui.visitsTable, self._onVisitSelected)
        self._result = ResultOfVisitsTable(ui.visitsResultTable)
        self._fields = VisitFields(ui, self._onVisitChanged)
        self._patient = PatientFields(ui, self._onPatientChanged)
        for selector in (ui.visitSegmentationSelector, ui.visitScanSelector):
            selector.setMRMLScene(slicer.mrmlScene)
        ui.visitSegmentationSelector.connect(
            "currentNodeChanged(vtkMRMLNode*)", self._onSegmentationChosen
        )
        ui.visitScanSelector.connect(
            "currentNodeChanged(vtkMRMLNode*)", lambda _: self._updateButtons()
        )
        clicks: dict[str, Callable[[], None]] = {
            "addVisitButton": self.onAddButton,
            "addVisitFolderButton": self.onAddFolderButton,
            "removeVisitButton": self.onRemoveButton,
            "compareVisitsButton": self._run.toggle,
            "visitsPlotButton": self.onPlotButton,
            "visitsPageButton": self.onPageButton,
        }
        for name, onClicked in clicks.items():
            getattr(ui, name).clicked.connect(onClicked)
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self.onSceneClose)
        self.addObserver(scene, scene.NodeAboutToBeRemovedEvent, self.onNodeAboutToBeRemoved)
        ui.visitsCollapsibleButton.connect("contentsCollapsed(bool)", lambda _: self.refresh())

    def cleanup(self) -> None:
        """Clean up before Slicer exits or the module is reloaded."""
        self._run.cleanup()
        self.removeObservers()

    def onSceneClose(self, caller: Any, event: str) -> None:
        """Clear the section when the scene is closed."""
        self._patient.clear()
        self._status.show("")

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def onNodeAboutToBeRemoved(self, caller: Any, event: str, node: Any) -> None:
        """Clear a selector whose node is removed: it would select the next node in its list."""
        for selector in (self._ui.visitSegmentationSelector, self._ui.visitScanSelector):
            if selector.currentNode() is node:
                selector.setCurrentNode(None)

    def refresh(self) -> None:
        """Show the visits stored in the scene; segments may have been edited."""
        if not self._ui.visitsCollapsibleButton.collapsed:
            self._edited = editProblem(slicer.mrmlScene)
            self._show()

    def _show(self) -> None:
        entry = keptVisits(slicer.mrmlScene)
        self._table.show(entry)
        self._fields.show(self._selected(entry))
        self._patient.show(entry)
        report = currentResult(slicer.mrmlScene)
        self._result.show(report)
        problem = listProblem(slicer.mrmlScene) or self._edited
        summary = summaryOf(report, problem) if report else ""
        self._ui.visitsSummaryLabel.text = summary
        self._ui.visitsSummaryLabel.visible = bool(summary)
        self._updateButtons(report)

    def _updateButtons(self, report: VisitsReport | None = None) -> None:
        ui = self._ui
        report = report or currentResult(slicer.mrmlScene)
        isRunning = self._run.logic.isRunning()
        chosen = ui.visitSegmentationSelector.currentNode() and ui.visitScanSelector.currentNode()
        ui.addVisitButton.enabled = bool(chosen)
        ui.addVisitButton.toolTip = (
            _("Add them to the visits, which are in the order of their dates.")
            if chosen
            else _("Select a segmentation, and the T1ce that it was drawn on.")
        )
        problem = self._problem()
        ui.compareVisitsButton.text = _("Cancel") if isRunning else _("Compare visits")
        ui.compareVisitsButton.enabled = isRunning or not problem
        ui.compareVisitsButton.toolTip = (
            _("Stop the comparison.")
            if isRunning
            else problem
            or _(
                "Lay the scans on each other, follow each lesion, and propose a response by "
                "volume and by diameters (RANO)."
            )
        )
        ui.visitsHintLabel.text = problem
        ui.visitsHintLabel.visible = bool(problem) and not isRunning
        for name in ("visitsPlotButton", "visitsPageButton"):
            getattr(ui, name).visible = report is not None
        hasPage = self._run.page(report) is not None
        ui.visitsPageButton.enabled = hasPage
        ui.visitsPageButton.toolTip = (
            _("Open plots, and a slice of each visit with its diameters, in the browser.")
            if hasPage
            else _("There is one for what was compared in this session; compare again.")
        )

    def _problem(self) -> str:
        """Why the visits cannot be compared; empty if they can."""
        wrong = self._fields.problem() or self._patient.problem()
        if wrong:
            return wrong
        visits = keptVisits(slicer.mrmlScene).visits
        if len(visits) < 2:
            return _("Add two visits or more.")
        undated = [visit.name for visit in visits if not visit.date]
        if undated:
            return _("Select {name} in the list, and enter its date.").format(name=undated[0])
        return ""

    def _selected(self, entry: VisitsEntry) -> SceneVisit | None:
        key = self._table.selected()
        return next((visit for visit in entry.visits if visit.key == key), None)

    def _onVisitSelected(self) -> None:
        self._fields.show(self._selected(keptVisits(slicer.mrmlScene)))
        self._updateButtons()

    def _onSegmentationChosen(self, node: Any) -> None:
        if node:
            scan = node.GetNodeReference(inputRole("t1ce")) or scanOf(node)
            self._ui.visitScanSelector.setCurrentNode(scan)
        self._updateButtons()

    def _onVisitChanged(self, visit: SceneVisit) -> None:
        entry = keptVisits(slicer.mrmlScene)
        visits = tuple(visit if one.key == visit.key else one for one in entry.visits)
        self._keep(replace(entry, visits=visits))

    def _onPatientChanged(self) -> None:
        self._keep(self._patient.entered(keptVisits(slicer.mrmlScene)))

    def _keep(self, entry: VisitsEntry) -> None:
        before = keptVisits(slicer.mrmlScene)
        if entry != before:
            keepVisits(slicer.mrmlScene, entry)
            report = currentResult(slicer.mrmlScene)
            if report:
                drawVisits(report)
        self._show()

    def onAddButton(self) -> None:
        ui = self._ui
        scan = ui.visitScanSelector.currentNode()
        segmentation = ui.visitSegmentationSelector.currentNode()
        self._add(SceneVisit(segmentation, scan, acquisitionDate(scan)))

    def onAddFolderButton(self) -> None:
        """Load a result folder of ``missu segment --cases``, and add it as a visit."""
        folder = qt.QFileDialog.getExistingDirectory(
            slicer.util.mainWindow(), _("Folder of a result")
        )
        if not folder:
            return
        try:
            with slicer.util.WaitCursor():
                visit = loadResultFolder(Path(folder))
        except ExchangeError as error:
            self._status.showError(str(error))
            return
        self._add(visit)

    def _add(self, visit: SceneVisit) -> None:
        """Add a visit and select it, since the user may have to enter its date."""
        entry = keptVisits(slicer.mrmlScene)
        for one in entry.visits:
            if visit.segmentation is one.segmentation or visit.scan is one.scan:
                self._status.showError(
                    _("{name} is in the list already; each visit has its own scan.").format(
                        name=visit.name
                    )
                )
                return
        self._status.show("")
        key = entry.nextKey
        self._keep(replace(entry, visits=(*entry.visits, visit)))
        self._table.select(key)

    def onRemoveButton(self) -> None:
        entry, key = keptVisits(slicer.mrmlScene), self._table.selected()
        visit = self._selected(entry)
        question = _("Remove {name}, with what you have entered for it? Its nodes stay.")
        if visit and visit.reader != ReaderEntry():
            if not slicer.util.confirmOkCancelDisplay(question.format(name=visit.name)):
                return
            entry = keptVisits(slicer.mrmlScene)  # read again: may have changed during the question
        kept = tuple(visit for visit in entry.visits if visit.key != key)
        self._table.select(0)
        self._keep(replace(entry, visits=kept))

    def onPlotButton(self) -> None:
        report = currentResult(slicer.mrmlScene)
        if report:
            showChart(drawVisits(report))

    def onPageButton(self) -> None:
        self._run.openPage(currentResult(slicer.mrmlScene))
