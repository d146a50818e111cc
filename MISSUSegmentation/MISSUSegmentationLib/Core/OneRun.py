"""Base class of the logics that allow one run of MISSUCore at a time."""

from __future__ import annotations

from .CoreRun import CoreRun, SegmentationError


class OneRun:
    """One run at a time, started by a subclass.

    Without ``blocking``, the caller has to call :meth:`poll` a few times a second until
    :meth:`isRunning` is false: with a QTimer in Slicer, in a loop elsewhere. All callbacks are
    called from within ``poll``, ``cancel`` or the blocking call, in the caller's thread. Closing
    the scene cancels the run.
    """

    def __init__(self) -> None:
        self._run: CoreRun | None = None

    def isRunning(self) -> bool:
        """Whether a run is in progress."""
        return self._run is not None and self._run.isRunning()

    def error(self) -> SegmentationError | None:
        """The error of the last run that was started; None if it did not fail."""
        return self._run.error if self._run else None

    def poll(self) -> None:
        """Handle what the process has written since the last call, and its end.

        Does nothing while a scene is being loaded: Slicer's progress display lets timers fire, and
        nodes added then would mix with nodes whose data is not yet read.
        """
        if self._run and not self._run.isSceneBusy():
            self._run.poll()

    def cancel(self) -> None:
        """Stop at once: when this returns, all processes have ended and the files are deleted."""
        if self._run:
            self._run.cancel()

    def _checkIdle(self) -> None:
        if self.isRunning():
            raise SegmentationError("Another run is on; wait for its end or cancel it.")
