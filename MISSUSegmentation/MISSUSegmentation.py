"""MISSU in 3D Slicer: brain tumors in T1, T1ce, T2 and FLAIR, segmented at one click."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

from MISSUCore.core.errors import ErrorCode
from MISSUSegmentationLib.Core.CoreInstallation import (
    InstallationError,
    installTorch,
    torchIsInstalled,
)
from MISSUSegmentationLib.Core.CoreRun import BrainExtractionMissing, SegmentationError, TorchBroken
from MISSUSegmentationLib.Logic.ParameterNode import (
    BrainExtraction,
    PanelParameterNode,
    forgetUnknown,
)
from MISSUSegmentationLib.Logic.Segmentation import SegmentationResult, SegmentationSettings
from MISSUSegmentationLib.Logic.SegmentationLogic import SegmentationLogic
from MISSUSegmentationLib.Panel import PanelInstall
from MISSUSegmentationLib.Panel.PanelFineTuning import PanelFineTuning
from MISSUSegmentationLib.Panel.PanelHeight import PanelHeight
from MISSUSegmentationLib.Panel.PanelInputs import PanelInputs
from MISSUSegmentationLib.Panel.PanelMeasure import PanelMeasure
from MISSUSegmentationLib.Panel.PanelModels import PanelModels
from MISSUSegmentationLib.Panel.PanelResult import PanelResult
from MISSUSegmentationLib.Panel.PanelRun import PanelRun
from MISSUSegmentationLib.Panel.Visits.PanelVisits import PanelVisits
from MISSUSegmentationLib.SelfTest import MISSUSegmentationTest  # noqa: F401 (Slicer looks here)
from MISSUSegmentationLib.Startup import prepareSlicer, stopWatchingEdits

HOMEPAGE = "https://github.com/SlicerMISSU/SlicerMISSU"


class MISSUSegmentation(ScriptedLoadableModule):
    """The module, as Slicer lists it."""

    def __init__(self, parent) -> None:
        super().__init__(parent)
        parent.title = _("MISSU Brain Tumor Segmentation")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        parent.dependencies = [
            "Markups",
            "Segmentations",
            "SubjectHierarchy",
            "Terminologies",
            "Volumes",
        ]
        parent.contributors = ["MISSU contributors"]
        parent.helpText = _(
            "Segments gliomas in T1, T1ce, T2 and FLAIR MRI into whole tumor, tumor core and "
            "enhancing tumor. Takes scans as they are: on any grid, with skull or without, not yet "
            'registered. See the <a href="{homepage}">documentation</a>. Scans never leave '
            "this computer. Research software, not a medical device: check every result."
        ).format(homepage=HOMEPAGE)
        parent.acknowledgementText = _(
            "Method: Wang et al., MISSU: 3D Medical Image Segmentation via Self-distilling "
            "TransUNet, IEEE Transactions on Medical Imaging 2023. The bundled model was trained "
            "on BraTS data (Menze et al. 2015, Bakas et al. 2017 and 2018, Baid et al. 2021)."
        )
        slicer.app.connect("startupCompleted()", self.onStartupCompleted)

    def onStartupCompleted(self) -> None:
        """The modules that ours takes part in are loaded now."""
        prepareSlicer(self.resourcePath)


class MISSUSegmentationWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel: its life in Slicer, and its runs. The sections are in MISSUSegmentationLib."""

    def __init__(self, parent=None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic: MISSUSegmentationLogic | None = None
        self.parameters: PanelParameterNode | None = None
        self._warmedUpFor: list[str] = []

    def setup(self) -> None:
        """Build the panel."""
        ScriptedLoadableModuleWidget.setup(self)
        prepareSlicer(self.resourcePath)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/MISSUSegmentation.ui"))
        self.layout.addWidget(uiWidget)
        sections = uiWidget.layout()
        advanced = slicer.util.findChild(uiWidget, "advancedCollapsibleButton")
        for file in ("UI/Provenance.ui", "UI/Measure.ui", "UI/Visits.ui", "UI/FineTuning.ui"):
            section = slicer.util.loadUI(self.resourcePath(file))
            sections.insertWidget(sections.indexOf(advanced), section)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        named = {w.property("SlicerParameterName"): w for w in vars(self.ui).values()}
        self._widgets = {name: widget for name, widget in named.items() if name}
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self._height = PanelHeight(uiWidget)

        self.logic = MISSUSegmentationLogic()
        self.run = PanelRun(self.ui, self.logic, self.onParametersChanged)
        self.inputs = PanelInputs(self.ui, self.run.showMessage)
        self.result = PanelResult(self.ui, self.logic, self.onRunStarted, self.run.showError)
        self.measure = PanelMeasure(self.ui, self.logic, self.onRunStarted, self.run.showError)
        self.visits = PanelVisits(self.ui)
        self.models = PanelModels(self.ui, lambda model: setattr(self.parameters, "model", model))
        self.fineTuning = PanelFineTuning(
            self.ui, self.inputs, self.models, self.settings, self.onParametersChanged
        )
        self.ui.segmentButton.clicked.connect(self.onSegmentButton)

        scene = slicer.mrmlScene
        # While a scene is closed or loaded, nodes come and go: the panel waits for the end.
        self.addObserver(scene, scene.StartCloseEvent, self.onSceneClose)
        self.addObserver(scene, scene.StartImportEvent, lambda *_: self.exit())
        for event in (scene.EndCloseEvent, scene.EndImportEvent):
            self.addObserver(scene, event, self.onSceneEnd)
        self.addObserver(scene, scene.NodeAddedEvent, self.onNodeAdded)
        self.addObserver(scene, scene.NodeAboutToBeRemovedEvent, self.onNodeAboutToBeRemoved)
        self.initializeParameterNode()

    def onReload(self) -> None:
        """A developer reloads the module: with its library, not MISSUSegmentation.py alone."""
        stopWatchingEdits()
        for name in list(sys.modules):
            if name.partition(".")[0] in ("MISSUSegmentationLib", "MISSUCore"):
                del sys.modules[name]
        super().onReload()

    def cleanup(self) -> None:
        """Slicer exits, or the module is reloaded."""
        self.logic.cancel()
        self.fineTuning.cleanup()
        self.visits.cleanup()
        self.result.cleanup()
        self.run.stop()
        self.exit()
        self.removeObservers()
        self.logic = None  # what Qt has still to call finds nothing to do

    def enter(self) -> None:
        """The user comes to the panel."""
        self.initializeParameterNode()

    def exit(self) -> None:
        """The user leaves the panel; a run goes on."""
        self.setParameterNode(None)
        self._warmedUpFor = []
        self.logic.coolDown()

    def onSceneClose(self, caller, event) -> None:
        self.exit()
        self.result.forget()
        self.run.showMessage("")  # it told of the scene that goes

    def onSceneEnd(self, caller, event) -> None:
        self.inputs.forget()
        self.logic.forgetParameterNode()
        # The node selectors learn of the new nodes only after this.
        qt.QTimer.singleShot(0, self.onSceneSettled)

    def onSceneSettled(self) -> None:
        if self.logic and self.parent.isEntered and self.parameters is None:
            self.initializeParameterNode()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def onNodeAdded(self, caller, event, node) -> None:
        if node.IsA("vtkMRMLScalarVolumeNode"):
            # It may get its name and voxels only after this.
            qt.QTimer.singleShot(0, self.inputs.guess)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def onNodeAboutToBeRemoved(self, caller, event, node) -> None:
        # Else the node selectors, which hear of it later, would take its neighbor in their lists.
        if self.parameters:
            for name in self._widgets:
                if self.parameters.getValue(name) is node:
                    self.parameters.setValue(name, None)

    def initializeParameterNode(self) -> None:
        """Take up the choices that the scene holds."""
        self.setParameterNode(self.logic.getParameterNode())
        self.inputs.guess()

    def setParameterNode(self, parameters: PanelParameterNode | None) -> None:
        """Connect the panel to these choices, or to none."""
        if self.parameters:
            self.parameters.disconnect()
        self.parameters = self.inputs.parameters = self.result.parameters = parameters
        self.measure.setParameters(parameters)
        if self.parameters:
            self.parameters.connect(self._widgets, self.onParametersChanged)
            self.result.refresh()
            self.visits.refresh()
            self.onParametersChanged()

    def onParametersChanged(self, caller=None, event=None) -> None:
        """Show what the choices mean."""
        if self.parameters:
            card = self.models.show(self.parameters.model)
            problems = self.inputs.problems(card)
            self.run.showButton(problems)
            self.result.update()
            self.measure.update()
            self.fineTuning.update()
            self.ui.moveScansCheckBox.enabled = self.parameters.registration
            volumeIds = [node.GetID() for node in self.inputs.volumes().values()]
            if not problems and self._warmedUpFor != volumeIds:
                # These are about to be segmented.
                self._warmedUpFor = volumeIds
                self.logic.warmUp()

    def onSegmentButton(self) -> None:
        """Segment the selected volumes, or cancel the run."""
        if self.logic.isRunning():
            self.logic.cancel()
            self.run.poll()
        else:
            self.segment()

    def segment(self, **answers: bool) -> None:
        """Segment the selected volumes; ``answers`` are settings that the user has confirmed."""
        try:
            if not torchIsInstalled():
                self.run.showMessage(_("Installing PyTorch. This may take minutes."))
                with PanelInstall.panelWaits(self.ui):
                    installTorch()
                self.run.showMessage(_("PyTorch is installed."))
            if self.parameters is None:
                return  # the user has left the panel meanwhile
            volumes, settings = self.inputs.volumes(), replace(self.settings(), **answers)
            byHdBet = self.parameters.brainExtraction is BrainExtraction.HDBET
            if byHdBet:
                self.run.showMessage(_("HD-BET looks for the brain. Slicer waits for it."))
            with PanelInstall.panelWaits(self.ui, byHdBet):
                self.logic.segment(
                    **volumes,
                    settings=settings,
                    onProgress=self.run.showProgress,
                    onFinished=self.onFinished,
                    onFailed=self.onFailed,
                    onCancelled=lambda: self.run.showMessage(_("Cancelled.")),
                    blocking=False,
                )
        except (InstallationError, SegmentationError) as error:
            self.run.showError(str(error), getattr(error, "logPath", None))
            self.askAbout(error)
        else:
            self.onRunStarted()

    def settings(self) -> SegmentationSettings:
        """The settings that the panel shows."""
        settings = self.parameters.settings()
        return replace(settings, model=settings.model or self.models.default, qualityPage=True)

    def onRunStarted(self) -> None:
        self.run.follow()
        self.onParametersChanged()

    def onFinished(self, result: SegmentationResult) -> None:
        """Show the new segmentation; the user may be in another module meanwhile."""
        parameters = self.logic.getParameterNode()
        self.result.remember(result, parameters.result is not result.segmentationNode)
        parameters.result = result.segmentationNode
        self.run.showDone(result)
        if self.parameters:
            self.result.refresh()
            self.measure.refresh()

    def onFailed(self, message: str, logPath: Path | None) -> None:
        if isinstance(self.logic.error(), TorchBroken):
            message = PanelInstall.brokenMessage()
            repair = partial(self.segmentAgainAfter, PanelInstall.repair)
            self.run.showError(message, logPath, offer=_("Repair"), onOffer=repair)
            return
        if isinstance(self.logic.error(), BrainExtractionMissing):
            message = PanelInstall.skullMessage()
            # Once the run has come to its end: Qt goes on while a question is shown.
            qt.QTimer.singleShot(0, partial(self.segmentAgainAfter, PanelInstall.offerDeepbet))
        self.run.showError(message, logPath)
        self.askAbout(self.logic.error())

    def askAbout(self, error: Exception) -> None:
        """Ask whether scans that seem to be of two patients are of one all the same."""

        def ask() -> None:
            question = f"{error}\n\n" + _("Are they of one patient all the same?")
            isReady = self.parameters and not self.logic.isRunning()
            if isReady and slicer.util.confirmYesNoDisplay(question):
                self.segment(differentAnatomy=True)

        if getattr(error, "code", "") == ErrorCode.ANATOMY_DIFFERS:
            # Once the run has come to its end: Qt goes on while a question is shown.
            qt.QTimer.singleShot(0, ask)

    def segmentAgainAfter(self, mend: Callable[..., bool]) -> None:
        """Offer to mend what was in the way, and segment again."""
        if self.parameters is None or self.logic.isRunning():
            return  # the user is elsewhere, or has started anew
        self.logic.coolDown()  # on Windows, files in use cannot be replaced
        mended = mend(self.ui, self.run.showMessage, self.run.showError)
        if mended and self.parameters and not self.logic.isRunning():
            self.onSegmentButton()


class MISSUSegmentationLogic(SegmentationLogic, ScriptedLoadableModuleLogic):
    """Segment from a script: ``MISSUSegmentationLogic().segment(t1=node, flair=node, ...)``."""

    def __init__(self) -> None:
        SegmentationLogic.__init__(self)
        ScriptedLoadableModuleLogic.__init__(self)
        self._parameters: PanelParameterNode | None = None

    def getParameterNode(self) -> PanelParameterNode:
        """The panel's choices in this scene; the same object until it is forgotten."""
        node = super().getParameterNode()
        if self._parameters is None or self._parameters.parameterNode is not node:
            forgetUnknown(node)
            self._parameters = PanelParameterNode(node)
        return self._parameters

    def forgetParameterNode(self) -> None:
        """Another scene was loaded: read its choices anew, once all their nodes are there."""
        self._parameters = None
