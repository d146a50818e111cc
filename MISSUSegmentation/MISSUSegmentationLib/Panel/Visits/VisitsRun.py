"""Runs the comparison of the Visits section: starts, follows and cancels it, opens its page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from MISSUCore.contract.visits.report import VisitsReport
from MISSUCore.core.errors import ErrorCode
from MISSUCore.core.events import ProgressEvent

from ...Core.CoreRun import SegmentationError
from ...Logic.VisitsLogic import VisitsLogic, VisitsResult
from ...Scene.VisitChecks import emptyVisits
from ...Scene.VisitNodes import keptVisits
from ...Scene.VisitsChart import drawVisits
from ..PanelRun import formatTime, stageTitle
from ..PanelStatus import PanelStatus, openFile

POLL_MILLISECONDS = 100


class VisitsRun:
    """Polls the logic's run with a timer.

    Args:
        ui: widgets of the panel by name.
        status: shows messages.
        onChanged: called when a run has started or ended.
    """

    def __init__(self, ui: Any, status: PanelStatus, onChanged: Callable[[], None]) -> None:
        self.logic = VisitsLogic()
        self._ui = ui
        self._status = status
        self._onChanged = onChanged
        self._page: tuple[Path, VisitsReport] | None = None
        self._timer = qt.QTimer()
        self._timer.setInterval(POLL_MILLISECONDS)
        self._timer.timeout.connect(self.poll)
        ui.visitsProgressBar.hide()

    def cleanup(self) -> None:
        """Cancel before Slicer exits or the module is reloaded."""
        self._timer.stop()
        self.logic.cancel()

    def toggle(self) -> None:
        """Compare the visits of the scene, or cancel the running comparison."""
        if self.logic.isRunning():
            self.logic.cancel()
            self.poll()
            return
        empty = emptyVisits(keptVisits(slicer.mrmlScene))
        if empty:
            names = ", ".join(visit.name for visit in empty)
            question = _("{names}: the segmentation is empty. Is the tumor gone there?")
            if not slicer.util.confirmYesNoDisplay(question.format(names=names)):
                advice = _("Segment {names} again, or remove the visit.")
                self._status.showError(advice.format(names=names))
                return
        self._compare(allowEmpty=bool(empty))

    def _compare(self, **answers: bool) -> None:
        """Start a comparison; ``answers`` are arguments that the user has confirmed."""
        try:
            with slicer.util.WaitCursor():
                self.logic.compare(
                    keptVisits(slicer.mrmlScene),
                    **answers,
                    onProgress=self._onProgress,
                    onFinished=self._onFinished,
                    onFailed=lambda *failure: self._onFailed(answers, *failure),
                    onCancelled=lambda: self._status.show(_("Cancelled.")),
                    blocking=False,
                )
        except SegmentationError as error:
            self._status.showError(str(error), error.logPath)
            return
        self._status.show("")
        self._ui.visitsProgressBar.value = 0
        self._ui.visitsProgressBar.setFormat(_("Starting"))
        self._ui.visitsProgressBar.show()
        self._timer.start()
        self._onChanged()

    def poll(self) -> None:
        """Poll the logic, and notice when the run has ended."""
        try:
            self.logic.poll()
        finally:
            if not self.logic.isRunning():
                self._timer.stop()
                self._ui.visitsProgressBar.hide()
                self._onChanged()

    def openPage(self, report: VisitsReport | None) -> None:
        """Open the page of a comparison in the browser."""
        page = self.page(report)
        if page:  # missing if it was deleted since
            openFile(page)
        self._onChanged()

    def page(self, report: VisitsReport | None) -> Path | None:
        """The page, if it shows this comparison; None if entries have changed since."""
        page, shown = self._page or (None, None)
        return page if page and shown == report and page.is_file() else None

    def _onProgress(self, event: ProgressEvent) -> None:
        left = ""
        if event.seconds_left is not None:
            left = _("{time} left").format(time=formatTime(event.seconds_left))
        parts = [stageTitle(event.stage), "%p %", left]
        self._ui.visitsProgressBar.setFormat("  ·  ".join(filter(None, parts)))
        self._ui.visitsProgressBar.value = round(1000 * event.fraction)

    def _onFinished(self, result: VisitsResult) -> None:
        self._page = (result.page, result.report)
        drawVisits(result.report)
        self._status.show(_("Done. It is a proposal: look at each lesion on the page."))

    def _onFailed(self, answers: dict[str, bool], message: str, logPath: Path | None) -> None:
        self._status.showError(message, logPath)
        error = self.logic.error()
        if error and error.code == ErrorCode.ANATOMY_DIFFERS:
            # Ask only after the run has ended: Qt keeps processing events during a dialog.
            qt.QTimer.singleShot(0, lambda: self._askForAnatomy(answers, message))

    def _askForAnatomy(self, answers: dict[str, bool], message: str) -> None:
        question = f"{message}\n\n" + _("Are they of one patient all the same?")
        if not self.logic.isRunning() and slicer.util.confirmYesNoDisplay(question):
            self._compare(**answers, differentAnatomy=True)
