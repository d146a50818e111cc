"""The Result section of the panel: table, warnings, editing, comparing, and the history."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import slicer
from slicer.i18n import tr as _

from ..Core.CoreRun import SegmentationError
from ..Logic.Comparison import Scores
from ..Logic.ParameterNode import MISSUSegmentationParameterNode
from ..Logic.QualityPage import removePage
from ..Logic.Segmentation import SegmentationResult
from ..Logic.SegmentationLogic import SegmentationLogic
from ..Scene.SceneExchange import scanOf
from .PanelStatus import openFile
from .Provenance.PanelProvenance import PanelProvenance
from .ResultTable import ResultTable

# Node attribute with the expected Dice and the warnings of the run.
REPORT_ATTRIBUTE = "MISSU.Report"
# Margin factor: a 3D view centered on a tumor shows this many times its extent.
ROOM = 1.5


class Report(NamedTuple):
    """Expected Dice by region name, and warnings of the run that made a segmentation."""

    confidence: dict[str, float]
    warnings: list[str]


class PanelResult:
    """Shows the chosen segmentation, and compares it with the chosen reference.

    Args:
        ui: widgets of the panel by name.
        logic: does the comparison.
        onStarted: called when a comparison was started.
        onFailed: called with one sentence and the path of a log.

    Attributes:
        parameters: the panel's parameters; None while the user is in another module.
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
        self._provenance = PanelProvenance(ui)
        self._scores: Scores = {}
        # By segmentation ID. Not saved in the scene: a path from a foreign scene is unsafe to open.
        self._qualityPages: dict[str, Path] = {}
        self._shown: tuple[Any, Any] = (None, None)
        self._unseen: Any = None
        ui.editButton.clicked.connect(self.onEditButton)
        ui.qualityPageButton.clicked.connect(self.onQualityPageButton)
        ui.compareButton.clicked.connect(self.onCompareButton)

    def cleanup(self) -> None:
        """Clean up before the panel is deleted."""
        self._provenance.cleanup()

    def forget(self) -> None:
        """Forget the results of a closed scene."""
        self._unseen = None
        self._provenance.show(None)
        self._provenance.forgetReader()

    def update(self) -> None:
        """Show the chosen segmentation if it or the chosen reference has changed."""
        if self._shown != (self.parameters.result, self.parameters.reference):
            self._scores = {}
            self.show()
        self._updateButtons()

    def show(self) -> None:
        """Show the present state of the chosen segmentation."""
        node = self.parameters.result
        self._shown = (node, self.parameters.reference)
        report = _report(node)
        self._table.show(node, report.confidence, self._scores)
        self._ui.resultTable.toolTip = _exportHint(node)
        self._ui.warningsLabel.text = "\n".join(f"⚠ {text}" for text in report.warnings)
        self._ui.warningsLabel.visible = bool(report.warnings)
        self._provenance.show(node)
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
        page = self._qualityPage()
        self._ui.qualityPageButton.enabled = page is not None
        self._ui.qualityPageButton.toolTip = (
            _("Open pictures of the scans and the result in the browser.")
            if page
            else _("There is one for results of this session.")
        )
        problem = self._comparisonProblem()
        self._ui.compareButton.enabled = not problem
        self._ui.compareButton.toolTip = problem or _(
            "Compute Dice and the 95 % Hausdorff distance of every region."
        )

    def remember(self, result: SegmentationResult, isNew: bool) -> None:
        """Save the confidence and warnings of a run with its segmentation in the scene.

        A new segmentation is brought into view only when the user is in this module: the views must
        not move while somebody paints in another one.
        """
        self._unseen = result.segmentationNode if isNew else None
        report = Report(result.confidence, result.warnings)
        result.segmentationNode.SetAttribute(REPORT_ATTRIBUTE, json.dumps(report._asdict()))
        nodeId = result.segmentationNode.GetID()
        if nodeId in self._qualityPages:
            removePage(self._qualityPages.pop(nodeId))
        if result.qualityPage:
            self._qualityPages[nodeId] = result.qualityPage

    def refresh(self) -> None:
        """Show the chosen segmentation again, without scores: it may have been edited."""
        self._scores = {}
        self.show()
        self._updateButtons()
        if self._unseen and self._unseen is self.parameters.result:
            showInViews(self._unseen)
        self._unseen = None

    def onEditButton(self) -> None:
        node = self.parameters.result  # read first: None once the user is in another module
        slicer.util.selectModule("SegmentEditor")
        editor = slicer.modules.segmenteditor.widgetRepresentation().self().editor
        editor.setSegmentationNode(node)
        editor.setSourceVolumeNode(scanOf(node))
        if node.GetSegmentation().GetNumberOfLayers() > 1:
            # Otherwise painting into one region would erase the regions around it.
            parameters = editor.mrmlSegmentEditorNode()
            parameters.SetOverwriteMode(parameters.OverwriteNone)

    def onQualityPageButton(self) -> None:
        page = self._qualityPage()
        if page:  # missing if it was deleted since
            openFile(page)
        self._updateButtons()

    def _qualityPage(self) -> Path | None:
        node = self.parameters.result
        page = self._qualityPages.get(node.GetID()) if node else None
        return page if page and page.is_file() else None

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
        if self.parameters:  # None if the user has left the panel
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
    """Show the segmentation's scan in all slice views, and center all views on the segments."""
    slicer.util.setSliceViewerLayers(background=scanOf(node), fit=True)
    segmentIds = node.GetSegmentation().GetSegmentIDs()
    center = node.GetSegmentCenterRAS(segmentIds[0]) if segmentIds else None
    if center:
        slicer.vtkMRMLSliceNode.JumpAllSlices(slicer.mrmlScene, *center)
    if slicer.app.layoutManager():
        slicer.util.resetThreeDViews()
    bounds = np.zeros(6)
    node.GetRASBounds(bounds)
    for view in slicer.util.getNodesByClass("vtkMRMLViewNode"):
        camera = slicer.modules.cameras.logic().GetViewActiveCameraNode(view)
        if camera:
            _lookAt(camera, bounds)


def _lookAt(camera: slicer.vtkMRMLCameraNode, bounds: np.ndarray) -> None:
    """Center a 3D view on the bounds and zoom in, without rotating it."""
    direction = np.subtract(camera.GetPosition(), camera.GetFocalPoint())
    corners = bounds.reshape(3, 2)
    if (corners[:, 1] <= corners[:, 0]).any() or not direction.any():
        return  # nothing visible: the bounds are invalid (minimum above maximum)
    radius = np.linalg.norm(corners[:, 1] - corners[:, 0]) / 2
    center = corners.mean(axis=1)
    distance = ROOM * radius / np.sin(np.radians(camera.GetViewAngle()) / 2)
    camera.SetFocalPoint(*center)
    camera.SetPosition(*(center + distance * direction / np.linalg.norm(direction)))
    camera.SetParallelScale(ROOM * radius)
    camera.ResetClippingRange()


def _report(node: slicer.vtkMRMLSegmentationNode | None) -> Report:
    """The confidence and warnings saved with a segmentation; empty if MISSU did not make it."""
    try:
        report = json.loads((node and node.GetAttribute(REPORT_ATTRIBUTE)) or "{}")
        confidence = {name: float(dice) for name, dice in report.get("confidence", {}).items()}
        return Report(confidence, [str(warning) for warning in report.get("warnings", [])])
    except (AttributeError, TypeError, ValueError):  # malformed, e.g. edited by hand
        return Report({}, [])


def _exportHint(node: Any) -> str:
    """What prevents exporting as DICOM Segmentation; empty if nothing does."""
    scan = scanOf(node) if node else None
    if node is None or (scan is not None and scan.GetAttribute("DICOM.instanceUIDs")):
        return ""
    name = (
        scan.GetName() if scan is not None else _("its scan, which is not in the scene any more,")
    )
    return _(
        "To hand this over as a DICOM Segmentation that names the images it was made of, load T1ce "
        "from DICOM: {name} did not come from there."
    ).format(name=name)
