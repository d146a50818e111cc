"""Stand-ins for ``slicer.app``, ``slicer.modules``, and the base classes of scripted modules.

Imitates Slicer's Base/Python/slicer/ScriptedLoadableModule.py and i18n.py, and
Modules/Scripted/SegmentEditor/SegmentEditor.py for what the Edit button needs.
"""

from __future__ import annotations

import sys
import unittest
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import pytest
import slicer
from PySide6 import QtCore, QtWidgets

from . import parameter_node_wrapper, python_qt, widgets

MODULE_FOLDER = Path(__file__).parents[4] / "MISSUSegmentation"


class Application:
    """Stand-in for ``slicer.app`` in testing mode: logs message boxes and answers them with OK."""

    applicationName = "Slicer"

    def __init__(self, temporaryPath: Path) -> None:
        self.temporaryPath = str(temporaryPath)
        self.startup: list[Callable[[], None]] = []
        self.selector = SimpleNamespace(selected="", selectModule=self._selectModule)
        self.entered: Any = None

    def _selectModule(self, name: str) -> None:
        """Exit the displayed module widget immediately, as Slicer does."""
        if self.entered:
            self.entered.exit()
        self.entered, self.selector.selected = None, name

    def connect(self, signal: str, slot: Callable[[], None]) -> None:
        assert signal == "startupCompleted()"
        self.startup.append(slot)

    def moduleManager(self) -> Any:
        return SimpleNamespace(connect=lambda *_: None, disconnect=lambda *_: None)

    def topLevelWidgets(self) -> list[Any]:
        return [
            SimpleNamespace(objectName="qSlicerMainWindow", moduleSelector=lambda: self.selector)
        ]

    def layoutManager(self) -> None:
        """No layout manager and thus no views, as with --no-main-window."""

    def processEvents(self) -> None:
        QtWidgets.QApplication.processEvents()

    def testingEnabled(self) -> bool:
        return True

    def translate(self, context: str, text: str) -> str:
        return text

    def startupEnvironment(self) -> QtCore.QProcessEnvironment:
        return QtCore.QProcessEnvironment.systemEnvironment()

    def setOverrideCursor(self, cursor: Any) -> None:
        QtWidgets.QApplication.setOverrideCursor(cursor)

    def restoreOverrideCursor(self) -> None:
        QtWidgets.QApplication.restoreOverrideCursor()


class ScriptedLoadableModule:
    def __init__(self, parent: Any) -> None:
        self.parent = parent

    def resourcePath(self, filename: str) -> str:
        return str(Path(self.parent.path).parent / "Resources" / filename)


class ScriptedLoadableModuleWidget:
    def __init__(self, parent: Any = None) -> None:
        super().__init__()
        self.parent = parent
        self.layout = parent.layout()

    def setup(self) -> None:
        pass

    def onReload(self) -> None:
        pass

    def resourcePath(self, filename: str) -> str:
        return str(MODULE_FOLDER / "Resources" / filename)


class ScriptedLoadableModuleLogic:
    def __init__(self, parent: Any = None) -> None:
        super().__init__()
        self.moduleName = type(self).__name__.removesuffix("Logic")

    def getParameterNode(self) -> Any:
        node = slicer.mrmlScene.GetSingletonNode(self.moduleName, "vtkMRMLScriptedModuleNode")
        if node is None:
            node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
            node.UnRegister(None)
            node.SetSingletonTag(self.moduleName)
            node.SetAttribute("ModuleName", self.moduleName)
            node.SetName(slicer.mrmlScene.GenerateUniqueName(self.moduleName))
            node = slicer.mrmlScene.AddNode(node)
        return node


class ScriptedLoadableModuleTest(unittest.TestCase):
    def delayDisplay(self, message: str) -> None:
        slicer.util.delayDisplay(message, 0)


class SegmentEditor:
    """Remembers the nodes and settings that Segment Editor was given."""

    segmentationNode: Any = None
    sourceVolumeNode: Any = None

    def __init__(self) -> None:
        self.parameters = slicer.vtkMRMLSegmentEditorNode()

    def mrmlSegmentEditorNode(self) -> Any:
        return self.parameters

    def setSegmentationNode(self, node: Any) -> None:
        self.segmentationNode = node

    def setSourceVolumeNode(self, node: Any) -> None:
        self.sourceVolumeNode = node


class PlotsLogic:
    """Remembers the chart that was to be shown."""

    shown: ClassVar[list[Any]] = []

    def ShowChartInLayout(self, chart: Any) -> None:
        self.shown.append(chart.GetTitle())


class SampleDataLogic:
    """Remembers what was registered."""

    registered: ClassVar[list[dict[str, Any]]] = []

    @classmethod
    def registerCustomSampleDataSource(cls, **source: Any) -> None:
        cls.registered.append(source)


def _module(name: str, **content: Any) -> ModuleType:
    module = ModuleType(name)
    vars(module).update(content)
    return module


def _logics(scene: Any) -> SimpleNamespace:
    """``slicer.modules`` with the real logics that slicer.util and the panel use."""
    application = slicer.vtkMRMLApplicationLogic()
    application.SetMRMLScene(scene)
    modules = {}
    for name, class_ in {
        "terminologies": slicer.vtkSlicerTerminologiesModuleLogic,
        "segmentations": slicer.vtkSlicerSegmentationsModuleLogic,
        "volumes": slicer.vtkSlicerVolumesLogic,
        "cameras": slicer.vtkSlicerCamerasModuleLogic,
    }.items():
        logic = class_()
        logic.SetMRMLApplicationLogic(application)
        logic.SetMRMLScene(scene)
        modules[name] = SimpleNamespace(logic=lambda logic=logic: logic)
    editor = SimpleNamespace(editor=SegmentEditor())
    modules["segmenteditor"] = SimpleNamespace(
        widgetRepresentation=lambda: SimpleNamespace(self=lambda: editor)
    )
    modules["plots"] = SimpleNamespace(logic=PlotsLogic)
    return SimpleNamespace(**modules, keepAlive=application)


def install(patch: pytest.MonkeyPatch, temporaryPath: Path) -> None:
    """Make slicer look like the Slicer application with an empty scene; ``patch`` undoes it."""
    scene = slicer.vtkMRMLScene()
    slicer.vtkMRMLSubjectHierarchyNode.ResolveSubjectHierarchy(scene)
    attributes = {
        "app": Application(temporaryPath),
        "mrmlScene": scene,
        "modules": _logics(scene),
        **{class_.__name__: class_ for class_ in widgets.CLASSES},
    }
    for name, value in attributes.items():
        patch.setattr(slicer, name, value, raising=False)
    patch.setattr(slicer.util, "loadUI", widgets.loadUI)
    bases = (
        ScriptedLoadableModule,
        ScriptedLoadableModuleWidget,
        ScriptedLoadableModuleLogic,
        ScriptedLoadableModuleTest,
    )
    for module in (
        python_qt.module(),
        _module("SampleData", SampleDataLogic=SampleDataLogic),
        _module("slicer.i18n", tr=lambda text: text, translate=lambda context, text: text),
        _module("slicer.ScriptedLoadableModule", **{base.__name__: base for base in bases}),
    ):
        patch.setitem(sys.modules, module.__name__, module)
    patch.setitem(sys.modules, "slicer.parameterNodeWrapper", parameter_node_wrapper)
    patch.syspath_prepend(str(MODULE_FOLDER))
