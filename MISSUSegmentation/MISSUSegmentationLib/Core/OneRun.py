"""What all logics have in common that have one run of MISSUCore on at a time."""

from __future__ import annotations

from .CoreRun import CoreRun, SegmentationError


class OneRun:
    """One run at a time, started by a subclass.

    Without ``blocking``, somebody has to call :meth:`poll` a few times a second until
    :meth:`isRunning` is false: a QTimer in Slicer, a loop elsewhere. All callbacks are called from
    within ``poll``, ``cancel`` or the blocking call, in the caller's thread. Closing the scene
    cancels.
    """

    def __init__(self) -> None:
        self._run: CoreRun | None = None

    def isRunning(self) -> bool:
        """Whether a run is on."""
        return self._run is not None and self._run.isRunning()

    def error(self) -> SegmentationError | None:
        """What went wrong in the last run that was started; None if nothing did."""
        return self._run.error if self._run else None

    def poll(self) -> None:
        """Deliver what the process has written since the last call, and its end.

        While a scene is loaded nothing comes: Slicer shows how far it is, which lets timers go on,
        and what is added meanwhile would get in between nodes whose data is still to be read.
        """
        if self._run and not self._run.isSceneBusy():
            self._run.poll()

    def cancel(self) -> None:
        """Stop at once: the whole process tree is gone, and its files, when this returns."""
        if self._run:
            self._run.cancel()

    def _checkIdle(self) -> None:
        if self.isRunning():
            raise SegmentationError("Another run is on; wait for its end or cancel it.")
