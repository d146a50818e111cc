"""What the panel shows of a run: the Segment button, the progress bar, the sentence below."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
from slicer.i18n import tr as _

from MISSUCore.contract.modalities import TITLES
from MISSUCore.core.events import ProgressEvent, Stage

from ..Logic.SegmentationLogic import SegmentationLogic, SegmentationResult
from .PanelStatus import PanelStatus, openFile

POLL_MILLISECONDS = 100


class PanelRun:
    """Follows the logic's run with a timer.

    Args:
        ui: widgets of the panel by name.
        logic: whose runs are shown.
        onEnded: is called when a run has ended in any way.

    Attributes:
        logPath: of the last run; None before the first.
    """

    def __init__(self, ui: Any, logic: SegmentationLogic, onEnded: Callable[[], None]) -> None:
        self.logPath: Path | None = None
        self._ui = ui
        self._logic = logic
        self._onEnded = onEnded
        self._timer = qt.QTimer()
        self._timer.setInterval(POLL_MILLISECONDS)
        self._timer.timeout.connect(self.poll)
        self._status = PanelStatus(ui.statusLabel)
        ui.progressBar.hide()
        ui.logButton.clicked.connect(self.openLog)

    def follow(self) -> None:
        """A run was started."""
        self.showMessage("")
        self._ui.progressBar.value = 0
        self._ui.progressBar.setFormat(_("Starting"))
        self._ui.progressBar.show()
        self._timer.start()

    def poll(self) -> None:
        """Let the logic deliver what is new, and notice the end."""
        try:
            self._logic.poll()
        finally:
            if not self._logic.isRunning():
                self.stop()

    def stop(self) -> None:
        """No run is on any more."""
        if self._timer.active:
            self._timer.stop()
            self._ui.progressBar.hide()
            self._onEnded()

    def showButton(self, problems: list[str]) -> None:
        """Name the button after what it does, or tell why it does nothing."""
        button = self._ui.segmentButton
        running = self._logic.isRunning()
        button.text = _("Cancel") if running else _("Segment")
        button.enabled = running or not problems
        if running:
            button.toolTip = _("Stop the run.")
        else:
            button.toolTip = "\n".join(problems) or _("Segment the tumor in the selected volumes.")
        self._ui.hintLabel.text = "\n".join(problems)
        self._ui.hintLabel.visible = bool(problems) and not running

    def showProgress(self, event: ProgressEvent) -> None:
        """Show the stage, how much is done, and the time left."""
        left = ""
        if event.seconds_left is not None:
            left = _("{time} left").format(time=formatTime(event.seconds_left))
        parts = [stageTitle(event.stage), "%p %", left]
        self._ui.progressBar.setFormat("  ·  ".join(filter(None, parts)))
        self._ui.progressBar.value = round(1000 * event.fraction)

    def showMessage(self, message: str) -> None:
        """Show a sentence below the button; an empty one hides the last."""
        self._status.show(message)

    def showDone(self, result: SegmentationResult) -> None:
        """Show that a segmentation is there, and which scans did not lie on it."""
        sentences = [_("Done in {seconds:.0f} s.").format(seconds=result.seconds["total"])]
        for modality, distanceMm in result.movedMm.items():
            sentence = _("{scan} was moved by {distance:.1f} mm onto the result.")
            if modality not in result.transformNodes:
                sentence = _("{scan} lies {distance:.1f} mm away from the result, and stays there.")
            sentences.append(sentence.format(scan=TITLES[modality], distance=distanceMm))
        sentences.append(_("Check the result before you use it."))
        self.showMessage(" ".join(sentences))
        self.showLog(result.logPath)

    def showError(self, message: str, logPath: Path | None, **offer: Any) -> None:
        """Show what went wrong, with the log one click away; see PanelStatus for the offer."""
        if logPath:
            self.showLog(logPath)
        self._status.showError(message, logPath, **offer)

    def showLog(self, logPath: Path) -> None:
        """Offer this log to be opened."""
        self.logPath = logPath
        self._ui.logButton.enabled = True

    def openLog(self) -> None:
        """Open the last run's log in the system's text viewer."""
        if self.logPath:
            openFile(self.logPath)


def stageTitle(stage: str) -> str:
    """What the user reads of a stage of the protocol."""
    titles = {
        Stage.EXPORT: _("Writing the volumes"),
        Stage.READ: _("Reading the volumes"),
        Stage.REGISTER: _("Aligning the scans"),
        Stage.BRAIN: _("Looking for the brain"),
        Stage.BIAS: _("Correcting the bias field"),
        Stage.PREPARE: _("Preparing"),
        Stage.SEGMENT: _("Segmenting"),
        Stage.RESTORE: _("Back to the scan's grid"),
        Stage.WRITE: _("Writing the result"),
        Stage.IMPORT: _("Making the segments"),
        Stage.EVALUATION: _("Comparing"),
        Stage.MEASURE: _("Measuring the lesions"),
        Stage.DONE: _("Done"),
    }
    return titles.get(stage, stage)


def formatTime(seconds: float) -> str:
    """``1:05`` for 65 seconds."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
