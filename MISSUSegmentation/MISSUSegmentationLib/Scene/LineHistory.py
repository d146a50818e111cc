"""Observes measurement lines while a reader corrects them, so that corrections can be undone.

It has its own undo stack: Slicer's scene undo is off by default, and would also undo changes of all
other nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import slicer

# Positions (n, 3) of the control points of each line, before its parent transform.
State = dict[slicer.vtkMRMLMarkupsLineNode, np.ndarray]


class LineHistory:
    """Observes lines, and undoes corrections one by one.

    Dragging a point with the mouse is one correction; so are all changes together that were made
    while the lines were not observed.

    Args:
        onChanged: called when a line has changed.
    """

    def __init__(self, onChanged: Callable[[], None]) -> None:
        self._onChanged = onChanged
        self._observed: list[tuple[slicer.vtkMRMLMarkupsLineNode, int]] = []
        self._steps: list[State] = []
        self._settled: State = {}
        self._isMoving = False

    def follow(self, lines: Sequence[slicer.vtkMRMLMarkupsLineNode]) -> None:
        """Observe these lines from now on, and forget the corrections of others."""
        self.release()
        if set(lines) != set(self._settled):
            self._steps, self._settled = [], _state(lines)
        self._settle()
        for line in lines:
            for event, onEvent in (
                (line.PointModifiedEvent, self._onModified),
                (line.PointRemovedEvent, self._onModified),
                (line.PointStartInteractionEvent, self._onStart),
                (line.PointEndInteractionEvent, self._onEnd),
            ):
                self._observed.append((line, line.AddObserver(event, onEvent)))

    def release(self) -> None:
        """Stop observing until :meth:`follow` is called again."""
        for line, tag in self._observed:
            line.RemoveObserver(tag)
        self._observed, self._isMoving = [], False

    def canUndo(self) -> bool:
        """Whether there is a correction to undo."""
        return bool(self._steps)

    def undo(self) -> None:
        """Undo the last correction."""
        if not self._steps:
            return
        before = self._steps.pop()
        self._isMoving = True  # so that undoing is not recorded as a correction
        try:
            for line, places in before.items():
                if line.GetScene() and not _equal(places, _places(line)):
                    slicer.util.updateMarkupsControlPointsFromArray(line, places)
        finally:
            self._isMoving = False
        self._settled = _state(list(before))
        self._onChanged()

    def _onModified(self, caller: object, event: str) -> None:
        if not self._isMoving:
            self._settle()
        self._onChanged()

    def _onStart(self, caller: object, event: str) -> None:
        self._isMoving = True

    def _onEnd(self, caller: object, event: str) -> None:
        self._isMoving = False
        self._settle()
        self._onChanged()

    def _settle(self) -> None:
        """Record the present positions as a correction if they differ from the last ones."""
        now = _state(list(self._settled))
        if any(not _equal(now[line], places) for line, places in self._settled.items()):
            self._steps.append(self._settled)
            self._settled = now


def _state(lines: Sequence[slicer.vtkMRMLMarkupsLineNode]) -> State:
    return {line: _places(line) for line in lines}


def _places(line: slicer.vtkMRMLMarkupsLineNode) -> np.ndarray:
    return slicer.util.arrayFromMarkupsControlPoints(line)


def _equal(one: np.ndarray, other: np.ndarray) -> bool:
    return one.shape == other.shape and bool(np.allclose(one, other))
