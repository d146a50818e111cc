"""Stand-ins for Slicer's and CTK's widgets: same names, properties, methods and signals.

They imitate qMRMLWidget.h and qMRMLNodeComboBox.h (Slicer, Libs/MRML/Widgets),
qMRMLSegmentationShow3DButton.h (Modules/Loadable/Segmentations/Widgets), and
ctkCollapsibleButton.h and ctkPathLineEdit.h (CTK, Libs/Widgets).
"""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import shiboken6
import slicer
from PySide6 import QtCore, QtGui, QtWidgets

from .python_qt import Access, QUiLoader


class qMRMLWidget(Access, QtWidgets.QWidget):
    """Passes the scene on to the widgets that the .ui file connects."""

    mrmlSceneChanged = QtCore.Signal(object)

    def setMRMLScene(self, scene: Any) -> None:
        self.mrmlSceneChanged.emit(scene)


class ctkCollapsibleButton(Access, QtWidgets.QAbstractButton):
    """A header that shows and hides what is below it."""

    contentsCollapsed = QtCore.Signal(bool)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self.setCheckable(True)
        self.setChecked(True)
        self.toggled.connect(self._onToggled)
        self.setSizePolicy(QtWidgets.QSizePolicy.Minimum, QtWidgets.QSizePolicy.Preferred)
        self.setContentsMargins(0, self._headerHeight(), 0, 0)

    def _headerHeight(self) -> int:
        return self.fontMetrics().height() + 8

    @QtCore.Property(bool)
    def collapsed(self) -> bool:
        return not self.isChecked()

    @collapsed.setter
    def collapsed(self, value: bool) -> None:
        self.setChecked(not value)

    def _onToggled(self, expanded: bool) -> None:
        self.setMaximumHeight(16777215 if expanded else self._headerHeight())
        for child in self.findChildren(QtWidgets.QWidget, options=QtCore.Qt.FindDirectChildrenOnly):
            if not expanded:
                self._conceal(child, not child.isHidden())
                child.installEventFilter(self)
            elif child.property("visibilityToParent") is not None:
                child.removeEventFilter(self)
                child.setVisible(child.property("visibilityToParent"))
        self.contentsCollapsed.emit(not expanded)

    def _conceal(self, child: QtWidgets.QWidget, visibleOnceExpanded: bool) -> None:
        child.hide()
        child.setAttribute(QtCore.Qt.WA_WState_ExplicitShowHide, False)  # or hide() sends no event
        child.setProperty("visibilityToParent", visibleOnceExpanded)

    def eventFilter(self, child: QtCore.QObject, event: QtCore.QEvent) -> bool:
        """Remember when a widget is shown or hidden while the section is collapsed."""
        if event.type() == QtCore.QEvent.ShowToParent:
            self._conceal(child, True)
        elif event.type() == QtCore.QEvent.HideToParent:
            child.setProperty("visibilityToParent", False)
        return False

    def hitButton(self, position: QtCore.QPoint) -> bool:
        return position.y() < self._headerHeight()

    def sizeHint(self) -> QtCore.QSize:
        layout = self.layout()
        if self.isChecked() and layout:
            return layout.sizeHint()
        return QtCore.QSize(100, self._headerHeight())

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:
        painter = QtGui.QPainter(self)
        height = self._headerHeight()
        painter.fillRect(0, 0, QtWidgets.QWidget.width(self), height, QtGui.QColor(222, 224, 228))
        middle = height // 2
        arrow = [(0, -2), (8, -2), (4, 4)] if self.isChecked() else [(0, -4), (6, 0), (0, 4)]
        painter.setRenderHint(QtGui.QPainter.Antialiasing)
        painter.setBrush(QtGui.QColor(70, 70, 70))
        painter.setPen(QtCore.Qt.NoPen)
        painter.drawPolygon([QtCore.QPoint(8 + x, middle + y) for x, y in arrow])
        painter.setPen(QtGui.QColor(20, 20, 20))
        painter.drawText(
            24, 0, 400, height, QtCore.Qt.AlignVCenter, QtWidgets.QAbstractButton.text(self)
        )


class qMRMLNodeComboBox(Access, QtWidgets.QWidget):
    """A combo box with the scene's nodes of certain types."""

    currentNodeChanged = QtCore.Signal(object)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self.comboBox = QtWidgets.QComboBox(self)
        self.comboBox.setSizePolicy(
            QtWidgets.QSizePolicy.Expanding, QtWidgets.QSizePolicy.Expanding
        )
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.comboBox)
        self.setSizePolicy(QtWidgets.QSizePolicy.Preferred, QtWidgets.QSizePolicy.Fixed)
        self.comboBox.currentIndexChanged.connect(self._onIndexChanged)
        self._scene: Any = None
        self._settings: dict[str, Any] = {"noneDisplay": "None", "showChildNodeTypes": True}
        self._currentId = ""

    def _setting(name: str, type_: Any) -> Any:
        def write(self: qMRMLNodeComboBox, value: Any) -> None:
            self._settings[name] = value
            self._populate()

        return QtCore.Property(type_, lambda self: self._settings.get(name), write)

    nodeTypes = _setting("nodeTypes", "QStringList")
    noneDisplay = _setting("noneDisplay", str)
    noneEnabled = _setting("noneEnabled", bool)
    showChildNodeTypes = _setting("showChildNodeTypes", bool)
    addEnabled = _setting("addEnabled", bool)
    removeEnabled = _setting("removeEnabled", bool)
    renameEnabled = _setting("renameEnabled", bool)

    def setSizeAdjustPolicy(self, policy: QtWidgets.QComboBox.SizeAdjustPolicy) -> None:
        self.comboBox.setSizeAdjustPolicy(policy)

    def setMRMLScene(self, scene: Any) -> None:
        self._scene = scene
        for event in (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndBatchProcessEvent):
            scene.AddObserver(event, self._onSceneChanged)
        self._populate()

    def _onSceneChanged(self, caller: Any, event: str) -> None:
        if shiboken6.isValid(self):
            self._populate()

    def currentNode(self) -> Any:
        return self._scene.GetNodeByID(self._currentId) if self._currentId else None

    def setCurrentNode(self, node: Any) -> None:
        self._populate()
        self.comboBox.setCurrentIndex(self.comboBox.findData(node.GetID() if node else ""))

    def _nodes(self) -> list[Any]:
        types = self._settings.get("nodeTypes") or []
        found = [node for type_ in types for node in slicer.util.getNodesByClass(type_)]
        if not self._settings["showChildNodeTypes"]:
            found = [node for node in found if node.GetClassName() in types]
        return [node for node in found if not node.GetHideFromEditors()]

    def _populate(self) -> None:
        # As in qMRMLSceneModel, there are no updates while the scene is closed or loaded.
        if self._scene is None or self._scene.IsBatchProcessing():
            return
        before = self.comboBox.currentIndex()
        self.comboBox.blockSignals(True)
        self.comboBox.clear()
        if self._settings.get("noneEnabled"):
            self.comboBox.addItem(self._settings["noneDisplay"], "")
        for node in self._nodes():
            self.comboBox.addItem(node.GetName(), node.GetID())
        index = self.comboBox.findData(self._currentId)
        # As QComboBox does when its current row is removed.
        self.comboBox.setCurrentIndex(index if index >= 0 else max(0, before - 1))
        self.comboBox.blockSignals(False)
        self._onIndexChanged()

    def _onIndexChanged(self) -> None:
        currentId = self.comboBox.currentData() or ""
        if currentId != self._currentId:
            self._currentId = currentId
            self.currentNodeChanged.emit(self.currentNode())


class qMRMLSegmentationShow3DButton(Access, QtWidgets.QPushButton):
    """Shows and hides the surface of a segmentation."""

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__("Show 3D", parent)
        self._node: Any = None

    def segmentationNode(self) -> Any:
        return self._node

    def setSegmentationNode(self, node: Any) -> None:
        self._node = node


class ctkPathLineEdit(Access, QtWidgets.QWidget):
    """A line for the path of a file or folder, with a button to browse."""

    currentPathChanged = QtCore.Signal(str)
    validInputChanged = QtCore.Signal(bool)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self.line = QtWidgets.QLineEdit(self)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self.line)
        layout.addWidget(QtWidgets.QToolButton(self, text="..."))
        self.line.textChanged.connect(self._onTextChanged)
        self._isValid = False

    def _onTextChanged(self, path: str) -> None:
        # An empty path is invalid, and the first signal is not emitted for it.
        wasValid, self._isValid = self._isValid, bool(path)
        if path:
            self.currentPathChanged.emit(path)
        if wasValid != self._isValid:
            self.validInputChanged.emit(self._isValid)

    def setCurrentPath(self, path: str) -> None:
        self.line.setText(path)

    currentPath = QtCore.Property(str, lambda self: self.line.text(), setCurrentPath)
    showHistoryButton = QtCore.Property(bool, lambda self: False, lambda self, show: None)


CLASSES = (
    qMRMLWidget,
    ctkCollapsibleButton,
    ctkPathLineEdit,
    qMRMLNodeComboBox,
    qMRMLSegmentationShow3DButton,
)


def _takePolicies(tree: Any) -> dict[str, Any]:
    """Size adjust policies of the node selectors, by name: PySide6 cannot set these either."""
    policies = {}
    for selector in tree.iterfind(".//widget[@class='qMRMLNodeComboBox']"):
        found = selector.find("property[@name='sizeAdjustPolicy']")
        if found is not None:
            selector.remove(found)
            name = found.findtext("enum").rpartition("::")[2]
            policies[selector.get("name")] = getattr(QtWidgets.QComboBox, name)
    return policies


def loadUI(path: str) -> QtWidgets.QWidget:
    """``slicer.util.loadUI``, with connections that PySide6 cannot make by their C++ signatures."""
    QUiLoader.classes.update({class_.__name__: class_ for class_ in CLASSES})
    tree = ElementTree.parse(path)  # noqa: S314
    connections = tree.find("connections")
    tree.getroot().remove(connections)
    for lineEdit in tree.iterfind(".//widget[@class='ctkPathLineEdit']"):
        # PySide6 cannot read flags of a class written in Python.
        lineEdit.remove(lineEdit.find("property[@name='filters']"))
    policies = _takePolicies(tree)
    buffer = QtCore.QBuffer()
    buffer.setData(ElementTree.tostring(tree.getroot()))
    widget = QUiLoader().load(buffer)
    assert widget, f"{path} cannot be loaded"

    def named(tag: str, connection: ElementTree.Element) -> Any:
        name = connection.findtext(tag)
        return widget if widget.name == name else widget.findChild(QtCore.QObject, name)

    for name, policy in policies.items():
        widget.findChild(QtCore.QObject, name).setSizeAdjustPolicy(policy)
    for connection in connections:
        signal = connection.findtext("signal").partition("(")[0]
        slot = connection.findtext("slot").partition("(")[0]
        receiver = named("receiver", connection)
        getattr(named("sender", connection), signal).connect(getattr(receiver, slot))
    return widget
