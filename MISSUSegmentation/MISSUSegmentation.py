"""MISSU in 3D Slicer: segment brain tumors in T1, T1ce, T2 and FLAIR with one click."""

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
    """The module's entry in Slicer: title, category, contributors and help."""

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
        """Register with other modules, which are all loaded by now."""
        prepareSlicer(self.resourcePath)


class MISSUSegmentationWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The module panel: its life cycle and its runs. Its sections are in MISSUSegmentationLib."""

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
        # Nodes come and go while a scene is closed or loaded: the panel waits until that is done.
        self.addObserver(scene, scene.StartCloseEvent, self.onSceneClose)
        self.addObserver(scene, scene.StartImportEvent, lambda *_: self.exit())
        for event in (scene.EndCloseEvent, scene.EndImportEvent):
            self.addObserver(scene, event, self.onSceneEnd)
        self.addObserver(scene, scene.NodeAddedEvent, self.onNodeAdded)
        self.addObserver(scene, scene.NodeAboutToBeRemovedEvent, self.onNodeAboutToBeRemoved)
        self.initializeParameterNode()

    def onReload(self) -> None:
        """Reload the module together with its library, not only MISSUSegmentation.py."""
        stopWatchingEdits()
        for name in list(sys.modules):
            if name.partition(".")[0] in ("MISSUSegmentationLib", "MISSUCore"):
                del sys.modules[name]
        super().onReload()

    def cleanup(self) -> None:
        """Release everything before Slicer exits or the module is reloaded."""
        self.logic.cancel()
        self.fineTuning.cleanup()
        self.visits.cleanup()
        self.result.cleanup()
        self.run.stop()
        self.exit()
        self.removeObservers()
        self.logic = None  # pending Qt callbacks check this and do nothing

    def enter(self) -> None:
        """Connect the panel when the user opens the module."""
        self.initializeParameterNode()

    def exit(self) -> None:
        """Disconnect the panel when the user leaves the module; a run continues."""
        self.setParameterNode(None)
        self._warmedUpFor = []
        self.logic.coolDown()

    def onSceneClose(self, caller, event) -> None:
        self.exit()
        self.result.forget()
        self.run.showMessage("")  # it was about the scene being closed

    def onSceneEnd(self, caller, event) -> None:
        self.inputs.forget()
        self.logic.forgetParameterNode()
        # The node selectors are updated only after this event.
        qt.QTimer.singleShot(0, self.onSceneSettled)

    def onSceneSettled(self) -> None:
        if self.logic and self.parent.isEntered and self.parameters is None:
            self.initializeParameterNode()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def onNodeAdded(self, caller, event, node) -> None:
        if node.IsA("vtkMRMLScalarVolumeNode"):
            # The node may get its name and voxels only after this event.
            qt.QTimer.singleShot(0, self.inputs.guess)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def onNodeAboutToBeRemoved(self, caller, event, node) -> None:
        # The node selectors are notified later and would select the next volume in their list.
        if self.parameters:
            for name in self._widgets:
                if self.parameters.getValue(name) is node:
                    self.parameters.setValue(name, None)

    def initializeParameterNode(self) -> None:
        """Connect the panel to the parameter node of the scene."""
        self.setParameterNode(self.logic.getParameterNode())
        self.inputs.guess()

    def setParameterNode(self, parameters: PanelParameterNode | None) -> None:
        """Connect the panel to a parameter node, or disconnect it (None)."""
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
        """Update the panel after a parameter has changed."""
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
                # The user will probably segment these next.
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
                return  # the user has left the panel in the meantime
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
        """The settings currently chosen in the panel."""
        settings = self.parameters.settings()
        return replace(settings, model=settings.model or self.models.default, qualityPage=True)

    def onRunStarted(self) -> None:
        self.run.follow()
        self.onParametersChanged()

    def onFinished(self, result: SegmentationResult) -> None:
        """Show the new segmentation; the user may be in another module by now."""
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
            # Ask only after the run has ended: Qt keeps processing events during a dialog.
            qt.QTimer.singleShot(0, partial(self.segmentAgainAfter, PanelInstall.offerDeepbet))
        self.run.showError(message, logPath)
        self.askAbout(self.logic.error())

    def askAbout(self, error: Exception) -> None:
        """Ask whether scans that seem to show two patients do show the same patient."""

        def ask() -> None:
            question = f"{error}\n\n" + _("Are they of one patient all the same?")
            isReady = self.parameters and not self.logic.isRunning()
            if isReady and slicer.util.confirmYesNoDisplay(question):
                self.segment(differentAnatomy=True)

        if getattr(error, "code", "") == ErrorCode.ANATOMY_DIFFERS:
            # Ask only after the run has ended: Qt keeps processing events during a dialog.
            qt.QTimer.singleShot(0, ask)

    def segmentAgainAfter(self, mend: Callable[..., bool]) -> None:
        """Offer to fix the problem that stopped the run, then segment again."""
        if self.parameters is None or self.logic.isRunning():
            return  # the user has left the panel or started another run
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
        """The scene's parameter node, wrapped; cached until :meth:`forgetParameterNode`."""
        node = super().getParameterNode()
        if self._parameters is None or self._parameters.parameterNode is not node:
            forgetUnknown(node)
            self._parameters = PanelParameterNode(node)
        return self._parameters

    def forgetParameterNode(self) -> None:
        """Drop the cached parameter node: a newly loaded scene has its own."""
        self._parameters = None
