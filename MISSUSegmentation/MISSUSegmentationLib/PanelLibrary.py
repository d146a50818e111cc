"""The library of training cases in the Fine-tune section of the panel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from MISSUCore.imaging.modalities import BRATS_MODALITIES

from .CaseLibrary import MINIMUM_CASES, TrainingCase, readCases
from .CoreRun import SegmentationError
from .FineTuningLogic import FineTuningLogic
from .PanelCaseTable import CaseTable
from .ParameterNode import MISSUSegmentationParameterNode
from .SceneExchange import ExchangeError
from .TrainingCase import loadTrainingCase

FOLDER_SETTING = "MISSU/TrainingCases"


class PanelLibrary:
    """Shows the cases in the folder that the user chose, and adds the one in the scene.

    Args:
        ui: widgets of the panel by name.
        logic: which changes the library.
        show: shows a sentence to the user.
        showError: shows a sentence, with the path of a log.
        onStarted: is called when a change was started.
        onChanged: is called when the library holds something else.

    Attributes:
        parameters: choices of the panel; None while it is not on display.
        cases: of the library, in the order of the table.
    """

    def __init__(
        self,
        ui: Any,
        logic: FineTuningLogic,
        show: Callable[[str], None],
        showError: Callable[[str, Path | None], None],
        onStarted: Callable[[], None],
        onChanged: Callable[[], None],
    ) -> None:
        self.parameters: MISSUSegmentationParameterNode | None = None
        self.cases: list[TrainingCase] = []
        self._ui = ui
        self._logic = logic
        self._show = show
        self._showError = showError
        self._onStarted = onStarted
        self._onChanged = onChanged
        self._table = CaseTable(ui.casesTable, self.onUseChanged)
        ui.libraryPathLineEdit.setCurrentPath(qt.QSettings().value(FOLDER_SETTING) or "")
        ui.libraryPathLineEdit.connect("currentPathChanged(QString)", self.onFolderChosen)
        ui.casesTable.itemSelectionChanged.connect(self.update)
        ui.addCaseButton.clicked.connect(lambda: self.add())
        ui.loadCaseButton.clicked.connect(self.onLoadButton)
        ui.removeCaseButton.clicked.connect(self.onRemoveButton)
        ui.openLibraryButton.clicked.connect(self.onOpenButton)

    def folder(self) -> Path | None:
        """The library's folder; None before the user has chosen one."""
        path = self._ui.libraryPathLineEdit.currentPath
        return Path(path) if path and Path(path).is_absolute() else None

    def onFolderChosen(self, path: str) -> None:
        qt.QSettings().setValue(FOLDER_SETTING, path)
        self._onChanged()

    def read(self) -> None:
        """Show what the library holds now."""
        folder = self.folder()
        self.cases = readCases(folder) if folder else []
        self._table.show(self.cases)
        self.update()

    def update(self) -> None:
        """Tell what can be done now."""
        busy = self._logic.isBusy()
        selected = self._selected()
        problem = self._problem()
        self._ui.addCaseButton.enabled = not problem and not busy
        self._ui.addCaseButton.toolTip = problem or _(
            "Store the volumes selected under Inputs and the segmentation under Result."
        )
        self._ui.loadCaseButton.enabled = len(selected) == 1
        # The files of a running fine-tuning must stay.
        self._ui.removeCaseButton.enabled = (
            bool(selected) and not busy and not self._logic.isTuning()
        )
        self._ui.openLibraryButton.enabled = bool(self.cases)
        warnings = [f"⚠ {warning}" for case in selected for warning in case.warnings]
        hint = "\n".join(warnings) or problem or self._summary()
        self._ui.libraryHintLabel.text = hint
        self._ui.libraryHintLabel.visible = bool(hint)

    def _summary(self) -> str:
        used = sum(not case.excluded for case in self.cases)
        if used >= MINIMUM_CASES:
            return ""
        return _("Correct and add {count} more to fine-tune; 5 to 20 are better.").format(
            count=MINIMUM_CASES - used
        )

    def _problem(self) -> str:
        """Why nothing can be added; empty if it can."""
        if self.folder() is None:
            return _("Choose a folder for your training cases.")
        if self.parameters is None or not self._volumes():
            return _("Select the volumes under Inputs.")
        if self.parameters.result is None:
            return _("Select the corrected segmentation under Result.")
        return ""

    def _volumes(self) -> dict[str, slicer.vtkMRMLScalarVolumeNode]:
        chosen = {m: self.parameters.getValue(m) for m in BRATS_MODALITIES}
        return {modality: node for modality, node in chosen.items() if node}

    def _selected(self) -> list[TrainingCase]:
        return [self.cases[row] for row in self._table.selectedRows()]

    def add(self, **answers: bool) -> None:
        """Store the case in the scene; ``answers`` are what the user has confirmed meanwhile."""
        volumes, segmentation = self._volumes(), self.parameters.result
        note = self._ui.noteLineEdit.text.strip()

        def failed(message: str, logPath: Path | None) -> None:
            question = _question(message)
            if not question:
                self._showError(message, logPath)
            elif self._problem():  # the user has left the panel, or deleted what was selected
                self._showError(message, None)
            elif slicer.util.confirmYesNoDisplay(question):
                self.add(**{**answers, _answer(message): True})

        self._show(_("Adding the case."))
        self._start(
            lambda: self._logic.add(
                self.folder(),
                volumes,
                segmentation,
                note=note,
                **answers,
                onFinished=self._onAdded,
                onFailed=failed,
                blocking=False,
            )
        )

    def _onAdded(self, case: TrainingCase) -> None:
        self._ui.noteLineEdit.clear()
        self._show("\n".join((_("The case was added."), *case.warnings)))
        self._onChanged()

    def onUseChanged(self, row: int, use: bool) -> None:
        """The user has checked or unchecked a case."""
        ids = [self.cases[row].id]
        self._change(
            lambda **callbacks: self._logic.exclude(self.folder(), ids, not use, **callbacks)
        )

    def onRemoveButton(self) -> None:
        cases = self._selected()
        question = _("Delete {count} training case(s) for good?").format(count=len(cases))
        if slicer.util.confirmOkCancelDisplay(question):
            ids = [case.id for case in cases]
            self._change(lambda **callbacks: self._logic.remove(self.folder(), ids, **callbacks))

    def onLoadButton(self) -> None:
        (case,) = self._selected()
        try:
            with slicer.util.WaitCursor():
                volumes, segmentation = loadTrainingCase(case)
        except ExchangeError as error:
            self._showError(str(error), None)
            return
        with slicer.util.NodeModify(self.parameters):
            for modality in BRATS_MODALITIES:
                self.parameters.setValue(modality, volumes.get(modality))
            self.parameters.result = segmentation
        slicer.util.setSliceViewerLayers(background=next(iter(volumes.values())), fit=True)

    def onOpenButton(self) -> None:
        qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(self.folder())))

    def _change(self, start: Callable[..., None]) -> None:
        def failed(message: str, logPath: Path | None) -> None:
            self._showError(message, logPath)
            self._onChanged()

        self._start(
            lambda: start(onFinished=lambda _: self._onChanged(), onFailed=failed, blocking=False)
        )

    def _start(self, start: Callable[[], Any]) -> None:
        try:
            start()
        except SegmentationError as error:
            self._showError(str(error), error.logPath)
            self._onChanged()
        else:
            self._onStarted()


def _question(message: str) -> str:
    """What to ask the user about a message of ``missu library add``; empty for a plain error."""
    return {
        "replace": _("These scans are in the library already. Take the new segmentation instead?"),
        "noTumor": _("The segmentation is empty. Is there really nothing to find in these scans?"),
    }.get(_answer(message), "")


def _answer(message: str) -> str:
    """The argument of FineTuningLogic.add that a message asks for."""
    if "--replace" in message:
        return "replace"
    return "noTumor" if "with --no-tumor" in message else ""
