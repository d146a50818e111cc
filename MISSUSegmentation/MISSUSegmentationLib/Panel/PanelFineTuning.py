"""The Fine-tune section of the panel: starts, follows and cancels runs.

The other parts of the section are in PanelLibrary and PanelVerdict.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import qt
from slicer.i18n import tr as _

from MISSUCore.contract.tuning.finetuning_run import MINIMUM_CASES, FineTuningRun, TuningSettings
from MISSUCore.core.events import ProgressEvent, Stage

from ..Core.CoreRun import SegmentationError
from ..Logic.FineTuningLogic import FineTuningLogic
from ..Logic.Segmentation import SegmentationSettings
from ..Scene.TuningChart import findChart
from .PanelInputs import PanelInputs
from .PanelLibrary import PanelLibrary
from .PanelModels import PanelModels
from .PanelRun import formatTime
from .PanelStatus import PanelStatus
from .PanelVerdict import PanelVerdict

POLL_MILLISECONDS = 200
CURVES_MILLISECONDS = 3000
NAME = r"\w[\w.-]*"


class PanelFineTuning:
    """Tunes a model on the cases of the library, and follows the run with timers.

    A run continues when the user leaves the panel or closes the scene. Closing Slicer stops it; it
    can be resumed later.

    Args:
        ui: widgets of the panel by name.
        inputs: the Inputs section, which knows the selected volumes.
        models: the list of installed models.
        settings: returns the settings chosen in the panel.
        onModelsChanged: called when the installed models or the default model change.
    """

    def __init__(
        self,
        ui: Any,
        inputs: PanelInputs,
        models: PanelModels,
        settings: Callable[[], SegmentationSettings],
        onModelsChanged: Callable[[], None],
    ) -> None:
        self.logic = FineTuningLogic()
        self._ui = ui
        self._models = models
        self._settings = settings
        self._onModelsChanged = onModelsChanged
        self._status = PanelStatus(ui.tuningStatusLabel, ui.fineTuningCollapsibleButton)
        self.library = PanelLibrary(ui, self.logic, self._follow, self.refresh, inputs, settings)
        self.verdict = PanelVerdict(
            ui, self.logic, self._status, self._follow, self.onModelsChanged
        )
        self._timer = _timer(POLL_MILLISECONDS, self.poll)
        self._curvesTimer = _timer(CURVES_MILLISECONDS, self._onCurvesTimer)
        ui.tuneButton.clicked.connect(self.onTuneButton)
        ui.resumeButton.clicked.connect(self.onResumeButton)
        ui.tunedNameLineEdit.connect("textChanged(QString)", lambda _: self._updateButtons())
        ui.defaultModelButton.clicked.connect(self.onDefaultButton)
        ui.fineTuningCollapsibleButton.connect("contentsCollapsed(bool)", self.onCollapsed)

    def cleanup(self) -> None:
        """Stop before Slicer exits or the module is reloaded; a run can be resumed."""
        self._timer.stop()
        self._curvesTimer.stop()
        self.logic.cancel()
        self.logic.cancelCommand()

    def onCollapsed(self, collapsed: bool) -> None:
        if not collapsed:
            self.refresh()

    def refresh(self) -> None:
        """Reload the library, its runs and the models from their files."""
        if self._ui.fineTuningCollapsibleButton.collapsed:
            return
        self.library.read()
        self.verdict.read(self.library.folder(), self.logic.run if self.logic.isTuning() else None)
        box = self._ui.baseComboBox
        chosen = box.currentText
        box.clear()
        for name, card in self._models.cards.items():
            if not card.first_look.model:  # models that look twice cannot be tuned
                box.addItem(name)
        box.setCurrentIndex(max(0, box.findText(chosen or self._models.default)))
        self.update()

    def update(self) -> None:
        """Enable and disable the buttons after a change in the panel."""
        if not self._ui.fineTuningCollapsibleButton.collapsed:
            self.library.update()
            self.verdict.update()
            self._updateButtons()

    def _updateButtons(self) -> None:
        tuning = self.logic.isTuning()
        self._ui.tuningProgressBar.visible = tuning
        problem = self._problem()
        button = self._ui.tuneButton
        button.text = _("Cancel") if tuning else _("Start fine-tuning")
        button.enabled = tuning or not problem
        if tuning:
            button.toolTip = _("Stop the run; it can be resumed.")
        else:
            button.toolTip = problem or _("Tune the base model on the cases that are checked.")
        for widget in (
            self._ui.baseComboBox,
            self._ui.tunedNameLineEdit,
            self._ui.minutesSpinBox,
            self._ui.libraryPathLineEdit,
            self._ui.runComboBox,
        ):
            widget.enabled = not tuning

    def _problem(self) -> str:
        """Why no run can be started; empty if one can."""
        if self.library.folder() is None:
            return _("Choose a folder for your training cases.")
        if sum(not case.record.excluded for case in self.library.cases) < MINIMUM_CASES:
            return _("Fine-tuning needs {count} cases that are checked, or more.").format(
                count=MINIMUM_CASES
            )
        if not re.fullmatch(NAME, self._ui.tunedNameLineEdit.text, re.ASCII):
            return _("Name the new model with letters, digits, dots, dashes and underscores.")
        return ""

    def onTuneButton(self) -> None:
        """Start a run, or cancel it."""
        if self.logic.isTuning():
            self.logic.cancel()
            self.poll()
            return
        settings = TuningSettings(
            base=self._ui.baseComboBox.currentText,
            name=self._ui.tunedNameLineEdit.text,
            minutes=self._ui.minutesSpinBox.value,
            device=self._settings().device,
        )
        self._tune(
            lambda **callbacks: self.logic.fineTune(self.library.folder(), settings, **callbacks)
        )

    def onResumeButton(self) -> None:
        run = self.verdict.run()
        self._tune(lambda **callbacks: self.logic.resume(run, **callbacks))

    def _tune(self, start: Any) -> None:
        try:
            start(
                onProgress=self.showProgress,
                onFinished=self._onFinished,
                onFailed=self._status.showError,
                onCancelled=self._onCancelled,
                blocking=False,
            )
        except SegmentationError as error:
            self._status.showError(str(error), error.logPath)
            return
        self._ui.tuningProgressBar.value = 0
        self._ui.tuningProgressBar.setFormat(_("Starting"))
        self._status.show(
            _("You can go on working, and segment, while it runs; both take longer meanwhile.")
        )
        self._curvesTimer.start()
        self._follow()
        self.refresh()

    def _follow(self) -> None:
        """Start polling after a process was started."""
        self._timer.start()
        self.update()

    def poll(self) -> None:
        """Poll the logic, and notice when a process has ended."""
        before = (self.logic.isTuning(), self.logic.isBusy())
        try:
            self.logic.poll()
        finally:
            after = (self.logic.isTuning(), self.logic.isBusy())
            if not after[0] and self._curvesTimer.active:
                self._curvesTimer.stop()
                self.refresh()
            elif before != after:
                self.update()
            if not any(after):
                self._timer.stop()
                self.update()

    def _onCurvesTimer(self) -> None:
        if findChart():
            self.verdict.drawCurves()

    def showProgress(self, event: ProgressEvent) -> None:
        """Show the current step, the progress and the remaining time."""
        titles = {
            Stage.PREPARE: _("Preparing the cases"),
            Stage.GATE: _("Comparing with the base"),
        }
        title = titles.get(event.stage, _("Tuning"))
        if event.part is not None:
            title = _("Tuning, part {number} of {count}").format(
                number=event.part, count=event.parts
            )
        left = ""
        if event.seconds_left is not None:
            left = _("{time} left").format(time=formatTime(event.seconds_left))
        parts = [title, "%p %", left]
        self._ui.tuningProgressBar.setFormat("  ·  ".join(filter(None, parts)))
        self._ui.tuningProgressBar.value = round(1000 * event.fraction)

    def _onCancelled(self) -> None:
        begun = self.logic.run.has_begun()
        goesOn = _("Cancelled; Resume goes on from the last checkpoint.")
        self._status.show(goesOn if begun else _("Cancelled before it had begun."))

    def _onFinished(self, run: FineTuningRun) -> None:
        self._status.show(_("Done. Look at the table before you accept the tuned model."))
        self.verdict.read(self.library.folder(), run)

    def onModelsChanged(self) -> None:
        self._models.readCards()
        self._onModelsChanged()
        self.refresh()

    def onDefaultButton(self) -> None:
        """Make the model chosen in the Advanced section the default."""
        self.verdict.use(self._models.chosen())


def _timer(milliseconds: int, onTimeout: Any) -> qt.QTimer:
    timer = qt.QTimer()
    timer.setInterval(milliseconds)
    timer.timeout.connect(onTimeout)
    return timer
