"""The Result section of the panel: table, warnings, editing, comparing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from .Comparison import Scores
from .CoreRun import SegmentationError
from .ParameterNode import MISSUSegmentationParameterNode
from .ResultTable import ResultTable
from .SceneExchange import scanOf
from .Segmentation import SegmentationResult
from .SegmentationLogic import SegmentationLogic

# Where a segmentation keeps what its run said of it.
REPORT_ATTRIBUTE = "MISSU.Report"


class PanelResult:
    """Shows the chosen segmentation, and compares it with the chosen reference.

    Args:
        ui: widgets of the panel by name.
        logic: which compares.
        onStarted: is called when a comparison was started.
        onFailed: gets a sentence and the path of a log.

    Attributes:
        parameters: choices of the panel; None while it is not on display.
    """

    def __init__(
        self,
        ui: Any,
        logic: SegmentationLogic,
        onStarted: Callable[[], None],
        onFailed: Callable[[str, Path | None], None],
    ) -> None:
        self.parameters: MISSUSegmentationParameterNode | None = None
        self._ui = ui
        self._logic = logic
        self._onStarted = onStarted
        self._onFailed = onFailed
        self._table = ResultTable(ui.resultTable)
        self._scores: Scores = {}
        self._shown: tuple[Any, Any] = (None, None)
        ui.editButton.clicked.connect(self.onEditButton)
        ui.compareButton.clicked.connect(self.onCompareButton)

    def update(self) -> None:
        """Show the chosen segmentation if another one, or another reference, was chosen."""
        if self._shown != (self.parameters.result, self.parameters.reference):
            self._scores = {}
            self.show()
        self._updateButtons()

    def show(self) -> None:
        """Show the chosen segmentation as it is now."""
        node = self.parameters.result
        self._shown = (node, self.parameters.reference)
        report = _report(node)
        self._table.show(node, report["confidence"], self._scores)
        self._ui.warningsLabel.text = "\n".join(f"⚠ {text}" for text in report["warnings"])
        self._ui.warningsLabel.visible = bool(report["warnings"])
        self._ui.show3DButton.setSegmentationNode(node)
        self._ui.show3DButton.enabled = node is not None

    def _updateButtons(self) -> None:
        node = self.parameters.result
        self._ui.editButton.enabled = node is not None
        self._ui.editButton.toolTip = (
            _("Open Segment Editor with this segmentation and its scan.")
            if node
            else _("Select a segmentation.")
        )
        problem = self._comparisonProblem()
        self._ui.compareButton.enabled = not problem
        self._ui.compareButton.toolTip = problem or _(
            "Compute Dice and the 95 % Hausdorff distance of every region."
        )

    def remember(self, result: SegmentationResult) -> None:
        """Keep what the run said of its segmentation with it, in the scene."""
        report = {"confidence": result.confidence, "warnings": result.warnings}
        result.segmentationNode.SetAttribute(REPORT_ATTRIBUTE, json.dumps(report))

    def refresh(self) -> None:
        """Show the chosen segmentation anew: it may have been edited, and its scores be old."""
        self._scores = {}
        self.show()
        self._updateButtons()

    def onEditButton(self) -> None:
        node = self.parameters.result  # there are none once the user is in another module
        slicer.util.selectModule("SegmentEditor")
        editor = slicer.modules.segmenteditor.widgetRepresentation().self().editor
        editor.setSegmentationNode(node)
        editor.setSourceVolumeNode(scanOf(node))
        if node.GetSegmentation().GetNumberOfLayers() > 1:
            # Else what is painted into one region would be erased from the regions around it.
            parameters = editor.mrmlSegmentEditorNode()
            parameters.SetOverwriteMode(parameters.OverwriteNone)

    def onCompareButton(self) -> None:
        try:
            self._logic.compare(
                self.parameters.result,
                self.parameters.reference,
                onFinished=self._onCompared,
                onFailed=self._onFailed,
                blocking=False,
            )
        except SegmentationError as error:
            self._onFailed(str(error), error.logPath)
        else:
            self._onStarted()

    def _onCompared(self, scores: Scores) -> None:
        if self.parameters:  # else the user has left the panel
            self._scores = scores
            self.show()

    def _comparisonProblem(self) -> str:
        node, reference = self.parameters.result, self.parameters.reference
        if node is None or reference is None:
            return _("Select a segmentation and a reference.")
        if node is reference:
            return _("The segmentation is its own reference; select another.")
        return _("Wait for the end of the run.") if self._logic.isRunning() else ""


def showInViews(node: slicer.vtkMRMLSegmentationNode) -> None:
    """Show the scan under a segmentation in all slices, and bring the views to its middle."""
    slicer.util.setSliceViewerLayers(background=scanOf(node), fit=True)
    segmentIds = node.GetSegmentation().GetSegmentIDs()
    center = node.GetSegmentCenterRAS(segmentIds[0]) if segmentIds else None
    if center:
        slicer.vtkMRMLSliceNode.JumpAllSlices(slicer.mrmlScene, *center)
    if slicer.app.layoutManager():
        slicer.util.resetThreeDViews()


def _report(node: slicer.vtkMRMLSegmentationNode | None) -> dict[str, Any]:
    """What the run said of a segmentation; nothing for one that is not of MISSU."""
    report = {"confidence": {}, "warnings": []}
    return {**report, **json.loads((node and node.GetAttribute(REPORT_ATTRIBUTE)) or "{}")}
