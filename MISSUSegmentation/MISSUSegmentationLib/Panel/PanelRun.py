"""Displays a run in the panel: the Segment button, the progress bar, the message below."""

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
    """Polls the logic's run with a timer.

    Args:
        ui: widgets of the panel by name.
        logic: the logic whose runs are shown.
        onEnded: called when a run has ended, for whatever reason.

    Attributes:
        logPath: log of the last run; None before the first.
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
        """Start polling a run that was started."""
        self.showMessage("")
        self._ui.progressBar.value = 0
        self._ui.progressBar.setFormat(_("Starting"))
        self._ui.progressBar.show()
        self._timer.start()

    def poll(self) -> None:
        """Poll the logic, and notice when the run has ended."""
        try:
            self._logic.poll()
        finally:
            if not self._logic.isRunning():
                self.stop()

    def stop(self) -> None:
        """Stop polling and hide the progress bar."""
        if self._timer.active:
            self._timer.stop()
            self._ui.progressBar.hide()
            self._onEnded()

    def showButton(self, problems: list[str]) -> None:
        """Set the text of the button, and enable it or show the problems."""
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
        """Show the stage, the progress and the remaining time."""
        left = ""
        if event.seconds_left is not None:
            left = _("{time} left").format(time=formatTime(event.seconds_left))
        parts = [stageTitle(event.stage), "%p %", left]
        self._ui.progressBar.setFormat("  ·  ".join(filter(None, parts)))
        self._ui.progressBar.value = round(1000 * event.fraction)

    def showMessage(self, message: str) -> None:
        """Show a sentence below the button; an empty one hides the previous one."""
        self._status.show(message)

    def showDone(self, result: SegmentationResult) -> None:
        """Show that the segmentation is done, and which scans were not aligned with it."""
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
        """Show an error with a link to the log; see PanelStatus for ``offer``."""
        if logPath:
            self.showLog(logPath)
        self._status.showError(message, logPath, **offer)

    def showLog(self, logPath: Path) -> None:
        """Offer to open this log."""
        self.logPath = logPath
        self._ui.logButton.enabled = True

    def openLog(self) -> None:
        """Open the last run's log in the system's text viewer."""
        if self.logPath:
            openFile(self.logPath)


def stageTitle(stage: str) -> str:
    """The name of a stage as shown to the user."""
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
