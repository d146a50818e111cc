"""The Lesions section of the panel: measures the chosen segmentation, and observes its lines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from MISSUCore.contract.measurement.lesions import MeasurementSettings
from MISSUCore.contract.measurement.report import MeasurementReport

from ..Core.CoreRun import SegmentationError
from ..Logic.ParameterNode import MISSUSegmentationParameterNode
from ..Logic.SegmentationLogic import SegmentationLogic
from ..Scene.LineHistory import LineHistory
from ..Scene.MeasurementNodes import (
    currentMeasurement,
    isEditedSince,
    lineNodes,
    outOfPlaneMm,
    resetLines,
    setTargets,
    showLesion,
)
from .LesionTable import LesionTable


class PanelMeasure:
    """Measures the chosen segmentation, shows its lesions, and updates them with the lines.

    Args:
        ui: widgets of the panel by name.
        logic: does the measurement.
        onStarted: called when a measurement was started.
        onFailed: called with one sentence and the path of a log.
    """

    def __init__(
        self,
        ui: Any,
        logic: SegmentationLogic,
        onStarted: Callable[[], None],
        onFailed: Callable[[str, Path | None], None],
    ) -> None:
        self._parameters: MISSUSegmentationParameterNode | None = None
        self._ui = ui
        self._logic = logic
        self._onStarted = onStarted
        self._onFailed = onFailed
        self._shown: Any = None
        self._isEdited = False
        self._history = LineHistory(self._onLinesChanged)
        self._table = LesionTable(ui.lesionsTable, self._onSelected)
        ui.measureButton.clicked.connect(self.onMeasureButton)
        ui.undoLineButton.clicked.connect(self._history.undo)
        ui.resetLinesButton.clicked.connect(self.onResetButton)
        ui.targetsSpinBox.connect("valueChanged(int)", self.onTargetsChanged)

    def setParameters(self, parameters: MISSUSegmentationParameterNode | None) -> None:
        """Connect to the panel's parameters; None while the user is in another module."""
        self._history.release()
        self._parameters = parameters
        if parameters:
            self.refresh()

    def update(self) -> None:
        """Show the chosen segmentation if the choice has changed."""
        if self._shown is not self._parameters.result:
            self.refresh()
        self._updateButtons()

    def refresh(self) -> None:
        """Show the chosen segmentation in its present state, and observe its lines."""
        node = self._shown = self._parameters.result
        self._isEdited = False
        if node:
            report = self._fill()
            self._isEdited = report is not None and isEditedSince(node)
        self._history.follow(lineNodes(node) if node else [])
        self._fill()
        self._updateButtons()

    def onMeasureButton(self) -> None:
        node = self._parameters.result
        report = currentMeasurement(node)
        if report and any(lesion.corrected for lesion in report.lesions):
            question = _("Lines that you have corrected are replaced. Measure again?")
            if not slicer.util.confirmOkCancelDisplay(question):
                return
        settings = MeasurementSettings(targets=self._ui.targetsSpinBox.value)
        self._history.release()
        try:
            self._logic.measure(
                node,
                settings=settings,
                onFinished=self._onMeasured,
                onFailed=self._onNotMeasured,
                blocking=False,
            )
        except SegmentationError as error:
            self._onNotMeasured(str(error), error.logPath)
        else:
            self._onStarted()

    def onResetButton(self) -> None:
        self._history.release()  # so that undo treats it as one step
        resetLines(self._shown, self._table.selected() or None)
        self.refresh()  # observes newly created lines, too

    def onTargetsChanged(self, targets: int) -> None:
        if self._shown and self._parameters:
            setTargets(self._shown, targets)
            self._fill()

    def _onMeasured(self, report: MeasurementReport) -> None:
        if self._parameters:  # None if the user has left the panel
            self.refresh()

    def _onNotMeasured(self, message: str, logPath: Path | None) -> None:
        if self._parameters:
            self.refresh()
        self._onFailed(message, logPath)

    def _onLinesChanged(self) -> None:
        self._fill()
        self._updateButtons()

    def _onSelected(self, numbers: list[int]) -> None:
        if self._shown and len(numbers) == 1:
            showLesion(self._shown, numbers[0])

    def _fill(self) -> MeasurementReport | None:
        """Fill the table from the present lines; returns the report."""
        report = currentMeasurement(self._shown) if self._shown else None
        self._table.show(report, outOfPlaneMm(self._shown, report) if report else None)
        if report:
            spinBox = self._ui.targetsSpinBox
            before = spinBox.blockSignals(True)
            spinBox.value = report.settings.targets
            spinBox.blockSignals(before)
        self._ui.measureSummaryLabel.text = self._summary(report) if report else ""
        self._ui.measureSummaryLabel.visible = report is not None
        return report

    def _summary(self, report: MeasurementReport) -> str:
        targets = sum(lesion.target for lesion in report.lesions)
        sentences = [
            _("Sum of products over the targets ({count}): {sum:.0f} mm²").format(
                count=targets, sum=report.sum_of_products_mm2
            ),
            _("Diameters of {region}, in {plane} slices {mm:g} mm apart").format(
                region=report.region, plane=report.plane, mm=report.slice_mm
            ),
        ]
        if self._isEdited:
            sentences.append("⚠ " + _("The segments were edited since; measure again."))
        return "\n".join([*sentences, *(f"⚠ {warning}" for warning in report.warnings)])

    def _updateButtons(self) -> None:
        node = self._parameters.result
        problem = "" if node else _("Select a segmentation.")
        if not problem and self._logic.isRunning():
            problem = _("Wait for the end of the run.")
        self._ui.measureButton.enabled = not problem
        self._ui.measureButton.toolTip = problem or _(
            "Measure each lesion: its volume, the longest diameter in a slice, and the longest one "
            "across it. Both are lines that can be corrected in the views."
        )
        self._ui.undoLineButton.enabled = self._history.canUndo()
        self._ui.resetLinesButton.enabled = bool(node and currentMeasurement(node))
