"""PySide6 with PythonQt's access: properties are attributes, signals connect by C++ signature.

In Slicer ``button.text`` is a string and ``button.text = "OK"`` sets it; in PySide6 ``text`` is a
method. The classes here only add PythonQt's access to PySide6's; classes that the panel does not
use are missing. PythonQt: https://mevislab.github.io/pythonqt/Features.html
"""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets


@functools.cache
def _properties(class_: type) -> frozenset[str]:
    meta = class_.staticMetaObject
    return frozenset(meta.property(i).name() for i in range(meta.propertyCount()))


class Access:
    """Qt properties as attributes; ``name`` stands for ``objectName``."""

    def __getattribute__(self, name: str) -> Any:
        if name == "connect":
            return functools.partial(_connect, self)
        name = "objectName" if name == "name" else name
        if name in _properties(type(self)):
            return QtCore.QObject.property(self, name)
        return super().__getattribute__(name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _properties(type(self)):
            assert QtCore.QObject.setProperty(self, name, value), f"{name} cannot be set"
        else:
            super().__setattr__(name, value)


def _connect(sender: Any, signal: str, slot: Any) -> None:
    """``sender.connect("clicked(bool)", slot)``; PythonQt knows signals by their full signature."""
    known = signal.replace("vtkMRMLNode*", "PyObject")  # for signals declared in widgets.py
    assert sender.metaObject().indexOfSignal(known) >= 0, f"there is no signal {signal}"
    getattr(sender, signal.partition("(")[0]).connect(slot)


def _shown(*classes: type) -> dict[str, type]:
    return {class_.__name__: type(class_.__name__, (Access, class_), {}) for class_ in classes}


OBJECTS = _shown(
    QtCore.QTimer,
    QtWidgets.QCheckBox,
    QtWidgets.QComboBox,
    QtWidgets.QDoubleSpinBox,
    QtWidgets.QHeaderView,
    QtWidgets.QLabel,
    QtWidgets.QLineEdit,
    QtWidgets.QProgressBar,
    QtWidgets.QPushButton,
    QtWidgets.QSpinBox,
    QtWidgets.QWidget,
)
VALUES = {
    class_.__name__: class_
    for class_ in (
        QtCore.QEvent,
        QtCore.QFile,
        QtCore.QObject,
        QtCore.QUrl,
        QtCore.Qt,
        QtGui.QBrush,
        QtGui.QColor,
        QtGui.QIcon,
        QtGui.QPixmap,
        QtWidgets.QApplication,
        QtWidgets.QMessageBox,
        QtWidgets.QTableWidgetItem,
        QtWidgets.QVBoxLayout,
    )
}


class QTableWidget(Access, QtWidgets.QTableWidget):
    """A table whose headers have PythonQt's access, too."""

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        header = OBJECTS["QHeaderView"]
        self.setHorizontalHeader(header(QtCore.Qt.Horizontal, self))
        self.setVerticalHeader(header(QtCore.Qt.Vertical, self))


class QSettings(QtCore.QSettings):
    """Settings in a file of the test run."""

    path = Path(tempfile.gettempdir()) / "missu-panel-test.ini"

    def __init__(self) -> None:
        super().__init__(str(self.path), QtCore.QSettings.IniFormat)


class QDesktopServices:
    """Remembers the URLs that would be opened."""

    opened: ClassVar[list[str]] = []

    @classmethod
    def openUrl(cls, url: QtCore.QUrl) -> bool:
        cls.opened.append(url.toLocalFile())
        return True


class QFileDialog:
    """Answers with the folder that the user of the test chooses."""

    folder: ClassVar[str] = ""

    @classmethod
    def getExistingDirectory(cls, parent: Any, caption: str) -> str:
        return cls.folder


class QUiLoader(QtUiTools.QUiLoader):
    """Makes widgets of the classes here and in :mod:`widgets`; an unknown class is an error."""

    classes: ClassVar[dict[str, type]] = {}

    def createWidget(
        self, className: str, parent: QtWidgets.QWidget | None = None, name: str = ""
    ) -> QtWidgets.QWidget:
        widget = self.classes[className](parent)
        widget.setObjectName(name)
        return widget


def module() -> ModuleType:
    """The module ``qt``."""
    qt = ModuleType("qt")
    own = (QTableWidget, QSettings, QDesktopServices, QFileDialog, QUiLoader)
    vars(qt).update(OBJECTS, **VALUES, **{class_.__name__: class_ for class_ in own})
    QUiLoader.classes.update(OBJECTS, QTableWidget=QTableWidget)
    return qt
