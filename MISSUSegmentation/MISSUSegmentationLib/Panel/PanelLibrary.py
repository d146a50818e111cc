"""The library of training cases in the Fine-tune section of the panel."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from MISSUCore.contract.tuning.finetuning_run import MINIMUM_CASES
from MISSUCore.core.errors import ErrorCode
from MISSUCore.core.events import ProgressEvent, Stage

from ..Core.CoreRun import SegmentationError
from ..Core.Errors import ExchangeError
from ..Logic.CaseExchange import loadTrainingCase
from ..Logic.CaseLibrary import TrainingCase, readCases
from ..Logic.FineTuningLogic import FineTuningLogic
from ..Logic.Segmentation import SegmentationSettings
from .PanelCaseTable import CaseTable
from .PanelInputs import PanelInputs
from .PanelInstall import offerDeepbet, panelWaits, skullMessage
from .PanelRun import stageTitle
from .PanelStatus import PanelStatus, openFile

FOLDER_SETTING = "MISSU/TrainingCases"
# The argument of FineTuningLogic.add that is set when the user says yes, by error code.
ANSWERS = {
    ErrorCode.SCANS_KNOWN: "replace",
    ErrorCode.LABELS_EMPTY: "noTumor",
    ErrorCode.ANATOMY_DIFFERS: "differentAnatomy",
}


class PanelLibrary:
    """Shows the cases of the library folder, and adds the case in the scene.

    Args:
        ui: widgets of the panel by name.
        logic: changes the library.
        onStarted: called when a change was started.
        onChanged: called when the content of the library has changed.
        inputs: the Inputs section, which knows the selected volumes.
        settings: returns the settings chosen in the panel.

    Attributes:
        cases: cases of the library, in the order of the table.
    """

    def __init__(
        self,
        ui: Any,
        logic: FineTuningLogic,
        onStarted: Callable[[], None],
        onChanged: Callable[[], None],
        inputs: PanelInputs,
        settings: Callable[[], SegmentationSettings],
    ) -> None:
        self.cases: list[TrainingCase] = []
        self._ui = ui
        self._logic = logic
        status = PanelStatus(ui.libraryStatusLabel, ui.fineTuningCollapsibleButton)
        self._show = status.show
        self._showError = status.showError
        self._onStarted = onStarted
        self._onChanged = onChanged
        self._inputs = inputs
        self._settings = settings
        self._isAdding = False
        self._isMissing = False
        self._table = CaseTable(ui.casesTable, self.onUseChanged)
        ui.libraryPathLineEdit.setCurrentPath(qt.QSettings().value(FOLDER_SETTING) or "")
        ui.libraryPathLineEdit.connect("currentPathChanged(QString)", self.onFolderChosen)
        # currentPathChanged is not emitted when the line is cleared.
        ui.libraryPathLineEdit.connect("validInputChanged(bool)", self.onFolderChosen)
        ui.casesTable.itemSelectionChanged.connect(self.update)
        ui.addCaseButton.clicked.connect(self.onAddButton)
        ui.loadCaseButton.clicked.connect(self.onLoadButton)
        ui.removeCaseButton.clicked.connect(self.onRemoveButton)
        ui.openLibraryButton.clicked.connect(self.onOpenButton)

    def folder(self) -> Path | None:
        """The library's folder; None until the user has chosen one."""
        path = self._ui.libraryPathLineEdit.currentPath
        return Path(path) if path and Path(path).is_absolute() else None

    def onFolderChosen(self) -> None:
        qt.QSettings().setValue(FOLDER_SETTING, self._ui.libraryPathLineEdit.currentPath)
        self._onChanged()

    def read(self) -> None:
        """Read the library again and show its cases."""
        folder = self.folder()
        self.cases = readCases(folder) if folder else []
        # Path.is_dir would raise an error for a folder that cannot be accessed.
        self._isMissing = folder is not None and not os.path.isdir(folder)  # noqa: PTH112
        self._table.show(self.cases)
        self.update()

    def update(self) -> None:
        """Enable and disable the widgets."""
        busy = self._logic.isBusy()
        selected = self._selected()
        problem = self._problem()
        button = self._ui.addCaseButton
        button.text = _("Cancel adding") if self._isAdding else _("Add to training cases")
        button.enabled = self._isAdding or (not problem and not busy)
        if self._isAdding:
            button.toolTip = _("Stop; the library stays as it is.")
        else:
            button.toolTip = problem or _(
                "Store the volumes selected under Inputs and the segmentation under Result."
            )
        self._ui.casesTable.enabled = not busy
        self._ui.loadCaseButton.enabled = len(selected) == 1
        # A running fine-tuning needs the files.
        self._ui.removeCaseButton.enabled = (
            bool(selected) and not busy and not self._logic.isTuning()
        )
        for name in ("loadCaseButton", "removeCaseButton", "openLibraryButton"):
            getattr(self._ui, name).visible = bool(self.cases)
        warnings = [f"⚠ {warning}" for case in selected for warning in case.record.warnings]
        missing = _("There is no such folder; the first case makes it.") if self._isMissing else ""
        hint = "\n".join(warnings or filter(None, (missing, problem or self._summary())))
        self._ui.libraryHintLabel.text = hint
        self._ui.libraryHintLabel.visible = bool(hint)

    def _summary(self) -> str:
        used = sum(not case.record.excluded for case in self.cases)
        if used >= MINIMUM_CASES:
            return ""
        return _("Correct and add {count} more to fine-tune; 5 to 20 are better.").format(
            count=MINIMUM_CASES - used
        )

    def _problem(self) -> str:
        """Why no case can be added; empty if one can."""
        if self.folder() is None:
            return _("Choose a folder for your training cases.")
        parameters = self._inputs.parameters
        if parameters is None or not self._inputs.volumes():
            return _("To add a case, select its volumes under Inputs.")
        if parameters.result is None:
            return _("To add a case, select its corrected segmentation under Result.")
        return ""

    def _selected(self) -> list[TrainingCase]:
        return [self.cases[row] for row in self._table.selectedRows()]

    def onAddButton(self) -> None:
        """Add the case in the scene to the library, or cancel adding it."""
        if self._isAdding:
            self._logic.cancelCommand()
        else:
            self.add()

    def add(self, **answers: bool) -> None:
        """Add the case in the scene to the library; the user has confirmed ``answers``."""
        settings = self._settings()
        byHdBet = settings.brainExtraction == "hdbet"
        if byHdBet:
            self._show(_("HD-BET looks for the brain. Slicer waits for it."))
        with panelWaits(self._ui, byHdBet):
            self._isAdding = self._start(
                lambda: self._logic.add(
                    self.folder(),
                    self._inputs.volumes(),
                    self._inputs.parameters.result,
                    settings=settings,
                    note=self._ui.noteLineEdit.text.strip(),
                    **answers,
                    onProgress=self._onAdding,
                    onFinished=self._onAdded,
                    onFailed=lambda *_: self._onNotAdded(answers, self._logic.error()),
                    onCancelled=self._onCancelled,
                    blocking=False,
                ),
                lambda error: self._onRefused(answers, error),
            )
        if self._isAdding:
            self._show(_("Adding the case."))
        self.update()

    def _onAdding(self, event: ProgressEvent) -> None:
        stage = _("Checking and storing") if event.stage == Stage.ADD else stageTitle(event.stage)
        self._show(
            _("Adding the case: {stage}, {percent} %").format(
                stage=stage, percent=round(100 * event.fraction)
            )
        )

    def _onCancelled(self) -> None:
        self._isAdding = False
        self._show(_("Cancelled; the library is as it was."))
        self.update()

    def _onRefused(self, answers: dict[str, bool], error: SegmentationError) -> None:
        if error.code:  # ask only after the wait cursor is gone
            qt.QTimer.singleShot(0, lambda: self._onNotAdded(answers, error))
        else:
            self._tell(error)

    def _onNotAdded(self, answers: dict[str, bool], error: SegmentationError) -> None:
        self._isAdding = False
        self._show("")
        self.update()  # now, since the question may stay open for a while
        code, logPath = error.code, error.logPath
        question = _question(error)
        # False if the user has left the panel or deleted a selected node.
        canGoOn = not self._problem()
        if code == ErrorCode.BRAIN_EXTRACTION_MISSING:
            self._showError(skullMessage(), logPath)
            mended = canGoOn and offerDeepbet(self._ui, self._show, self._showError)
            if mended and not self._problem():  # check again: installing takes a while
                self.add(**answers)
        elif not question or not canGoOn:
            self._showError(str(error), logPath)
        elif slicer.util.confirmYesNoDisplay(question):
            self.add(**{**answers, ANSWERS[code]: True})

    def _onAdded(self, case: TrainingCase) -> None:
        self._isAdding = False
        self._ui.noteLineEdit.clear()
        self._show("\n".join((_("The case was added."), *case.record.warnings)))
        self._onChanged()

    def onUseChanged(self, row: int, use: bool) -> None:
        """Include or exclude a case that the user has checked or unchecked."""
        ids = [self.cases[row].id]
        self._change(
            lambda **callbacks: self._logic.exclude(self.folder(), ids, not use, **callbacks)
        )

    def onRemoveButton(self) -> None:
        cases = self._selected()
        question = _("Delete these training cases for good?")
        question += "\n\n" + "\n".join(case.title for case in cases)
        if slicer.util.confirmOkCancelDisplay(question):
            ids = [case.id for case in cases]
            self._change(lambda **callbacks: self._logic.remove(self.folder(), ids, **callbacks))

    def onLoadButton(self) -> None:
        (case,) = self._selected()
        try:
            with slicer.util.WaitCursor():
                volumes, segmentation = loadTrainingCase(case)
        except ExchangeError as error:
            self._showError(str(error))
            return
        self._inputs.select(volumes)
        self._inputs.parameters.result = segmentation
        slicer.util.setSliceViewerLayers(background=next(iter(volumes.values())), fit=True)

    def onOpenButton(self) -> None:
        openFile(self.folder())

    def _change(self, start: Callable[..., None]) -> None:
        def failed(message: str, logPath: Path | None) -> None:
            self._showError(message, logPath)
            self._onChanged()

        self._start(
            lambda: start(onFinished=lambda _: self._onChanged(), onFailed=failed, blocking=False)
        )

    def _start(
        self,
        start: Callable[[], Any],
        onRefused: Callable[[SegmentationError], None] | None = None,
    ) -> bool:
        """Start a command; returns whether it could be started."""
        try:
            start()
        except SegmentationError as error:
            (onRefused or self._tell)(error)
            return False
        self._onStarted()
        return True

    def _tell(self, error: SegmentationError) -> None:
        self._showError(str(error), error.logPath)
        self._onChanged()


def _question(error: SegmentationError) -> str:
    """The question to ask after an error of ``missu library add``; empty if there is none."""
    return {
        ErrorCode.SCANS_KNOWN: _(
            "These scans are in the library already. Take the new segmentation instead?"
        ),
        ErrorCode.LABELS_EMPTY: _(
            "The segmentation is empty. Is there really nothing to find in these scans?"
        ),
        ErrorCode.ANATOMY_DIFFERS: f"{error}\n\n" + _("Are they of one patient all the same?"),
    }.get(error.code, "")
