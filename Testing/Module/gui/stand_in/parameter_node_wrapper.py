"""Stand-in for ``slicer.parameterNodeWrapper``, limited to the panel's types and widgets.

Imitates Slicer's Base/Python/slicer/parameterNodeWrapper: how values are written to the node
(serializers.py), how widgets are found and read (guiConnectors.py), and how node and widgets update
each other (wrapper.py).
"""

from __future__ import annotations

import enum
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import slicer
import vtk


@dataclass(frozen=True)
class Default:
    value: Any


@dataclass(frozen=True)
class WithinRange:
    minimum: float
    maximum: float

    def validate(self, value: float) -> None:
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"Value must be within {self}, is {value}")


class Parameter:
    """A typed value in a parameter node."""

    def __init__(self, name: str, hint: Any, default: Any) -> None:
        self.name = name
        self.type, *self.annotations = (
            typing.get_args(hint) if typing.get_origin(hint) is typing.Annotated else [hint]
        )
        stated = self.annotation(Default)
        implicit = {str: "", bool: False, float: 0.0}.get(self.type)
        self.default = stated.value if stated else implicit if default is None else default

    def annotation(self, type_: type) -> Any:
        return next((one for one in self.annotations if isinstance(one, type_)), None)

    def isNode(self) -> bool:
        return issubclass(self.type, slicer.vtkMRMLNode)

    def write(self, node: Any, value: Any) -> None:
        expected = (float, int) if self.type is float else self.type
        if not isinstance(value, expected) and not (self.isNode() and value is None):
            raise TypeError(f"{self.name} must be of type {expected}, is {value!r}")
        if self.annotation(WithinRange):
            self.annotation(WithinRange).validate(value)
        with slicer.util.NodeModify(node):
            if self.isNode():
                node.SetParameter(self.name, "")
                node.SetNodeReferenceID(self.name, value.GetID() if value else None)
            else:
                node.SetParameter(
                    self.name, value.name if isinstance(value, enum.Enum) else str(value)
                )

    def read(self, node: Any) -> Any:
        if not node.HasParameter(self.name):
            self.write(node, self.default)
        if self.isNode():
            return node.GetNodeReference(self.name)
        text = node.GetParameter(self.name)
        if self.type is bool:
            return text == "True"
        return self.type[text] if issubclass(self.type, enum.Enum) else self.type(text)


class Connector:
    """Reads and writes the widget of a parameter; as in Slicer, the types must fit exactly."""

    def __init__(self, widget: Any, parameter: Parameter) -> None:
        import qt

        self.widget = widget
        self.callback: Callable[[], None] | None = None
        kind = (type(widget), parameter.type)
        if kind == (qt.QCheckBox, bool):
            self.read, self.write = lambda: widget.checked, lambda v: setattr(widget, "checked", v)
            self.signal = widget.stateChanged
        elif kind == (qt.QDoubleSpinBox, float):
            self.read, self.write = lambda: widget.value, lambda v: setattr(widget, "value", v)
            self.signal = widget.valueChanged
            widget.minimum = parameter.annotation(WithinRange).minimum
            widget.maximum = parameter.annotation(WithinRange).maximum
        elif type(widget) is slicer.qMRMLNodeComboBox and parameter.isNode():
            self.read, self.write = widget.currentNode, widget.setCurrentNode
            self.signal = widget.currentNodeChanged
            widget.nodeTypes = [parameter.type().GetClassName()]
        elif type(widget) is qt.QComboBox and issubclass(parameter.type, enum.Enum):
            members = list(parameter.type)
            self.read = lambda: members[widget.currentIndex]
            self.write = lambda value: setattr(widget, "currentIndex", members.index(value))
            self.signal = widget.currentIndexChanged
            widget.clear()
            for member in members:
                widget.addItem(parameter.type.label(member))
        else:
            raise RuntimeError(f"Unable to create GUI connector for {kind}")

    def connect(self, callback: Callable[[], None] | None) -> None:
        if callback:
            self.signal.connect(self._changed)
        else:
            self.signal.disconnect(self._changed)
        self.callback = callback

    def _changed(self) -> None:
        if self.callback:
            self.callback()


def parameterNodeWrapper(class_: type) -> type:
    """Class decorator: its annotations become the values of a vtkMRMLScriptedModuleNode."""
    parameters = {
        name: Parameter(name, hint, getattr(class_, name, None))
        for name, hint in typing.get_type_hints(class_, include_extras=True).items()
    }
    class_.allParameters = parameters
    for name in parameters:
        setattr(
            class_,
            name,
            property(
                lambda self, name=name: self.getValue(name),
                lambda self, value, name=name: self.setValue(name, value),
            ),
        )
    for method in (
        _init, getValue, setValue, connectParametersToGui, disconnectGui,
        AddObserver, RemoveObserver, StartModify, EndModify, Modified,
    ):  # fmt: skip
        setattr(class_, "__init__" if method is _init else method.__name__, method)
    return class_


def _init(self: Any, parameterNode: Any) -> None:
    self.parameterNode = parameterNode
    self._guis: dict[int, dict[str, Connector]] = {}
    self._updatingGui = False
    for parameter in self.allParameters.values():
        parameter.read(parameterNode)


def getValue(self: Any, name: str) -> Any:
    return self.allParameters[name].read(self.parameterNode)


def setValue(self: Any, name: str, value: Any) -> None:
    self.allParameters[name].write(self.parameterNode, value)


def connectParametersToGui(self: Any, mapping: dict[str, Any]) -> int:
    connectors = {
        name: Connector(widget, self.allParameters[name]) for name, widget in mapping.items()
    }
    tag = len(self._guis)
    self._guis[tag] = connectors
    for name, connector in connectors.items():
        connector.write(self.getValue(name))

        def onWidgetChanged(name: str = name, connector: Connector = connector) -> None:
            with slicer.util.NodeModify(self):
                if not self._updatingGui:
                    self.setValue(name, connector.read())

        connector.connect(onWidgetChanged)
    self.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: _updateGui(self))
    return tag


def _updateGui(self: Any) -> None:
    if self._updatingGui:
        return
    self._updatingGui = True
    try:
        for connectors in self._guis.values():
            for name, connector in connectors.items():
                connector.write(self.getValue(name))
    finally:
        self._updatingGui = False


def disconnectGui(self: Any, tag: int) -> None:
    for connector in self._guis.pop(tag).values():
        connector.connect(None)


def AddObserver(self: Any, event: Any, callback: Callable, priority: float = 0.0) -> int:
    return self.parameterNode.AddObserver(event, callback, priority)


def RemoveObserver(self: Any, tag: int) -> None:
    self.parameterNode.RemoveObserver(tag)


def StartModify(self: Any) -> int:
    return self.parameterNode.StartModify()


def EndModify(self: Any, wasModified: int) -> None:
    self.parameterNode.EndModify(wasModified)


def Modified(self: Any) -> None:
    self.parameterNode.Modified()
