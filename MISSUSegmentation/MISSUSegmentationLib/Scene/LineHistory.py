"""Lines that are followed while a reader corrects them, so that each correction can be undone.

An own stack, since Slicer's undo of a scene is off unless a user turns it on, and takes back what
was done to all other nodes, too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import slicer

# Places (n, 3) of the control points of each line, before its parent transform.
State = dict[slicer.vtkMRMLMarkupsLineNode, np.ndarray]


class LineHistory:
    """Follows lines, and takes corrections back one by one.

    Moving a point with the mouse is one correction, however many places it comes through; so is all
    that was changed while nobody followed.

    Args:
        onChanged: is called when a line has changed.
    """

    def __init__(self, onChanged: Callable[[], None]) -> None:
        self._onChanged = onChanged
        self._observed: list[tuple[slicer.vtkMRMLMarkupsLineNode, int]] = []
        self._steps: list[State] = []
        self._settled: State = {}
        self._isMoving = False

    def follow(self, lines: Sequence[slicer.vtkMRMLMarkupsLineNode]) -> None:
        """Follow these lines from now on; others' corrections are forgotten."""
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
        """Follow no line for a while; :meth:`follow` goes on."""
        for line, tag in self._observed:
            line.RemoveObserver(tag)
        self._observed, self._isMoving = [], False

    def canUndo(self) -> bool:
        """Whether there is a correction to be undone."""
        return bool(self._steps)

    def undo(self) -> None:
        """Take the last correction back."""
        if not self._steps:
            return
        before = self._steps.pop()
        self._isMoving = True  # so that it is not a correction itself
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
        """What the lines are now is a correction if it is another place than before."""
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
