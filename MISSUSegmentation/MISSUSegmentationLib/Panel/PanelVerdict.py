"""The result of a fine-tuning in the panel: Dice before and after, verdict, accept or discard."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from MISSUCore.contract.tuning.finetuning_run import FineTuningRun
from MISSUCore.contract.tuning.verdict import AcceptanceTest, Dice, Verdict

from ..Core.CoreRun import SegmentationError
from ..Logic.CaseLibrary import readCases, usedCases
from ..Logic.FineTuningLogic import FineTuningLogic
from ..Logic.TuningRun import acceptanceOf, installedAs, readRuns
from ..Scene.TuningChart import drawCurves, findChart, showCurves
from .PanelHeight import fitHeight
from .PanelStatus import PanelStatus

ROWS_SHOWN = 8
# Smallest change of Dice that the table shows in color.
NOTABLE = 0.01


class PanelVerdict:
    """Shows the runs of a library, and the result of the chosen one.

    Args:
        ui: widgets of the panel by name.
        logic: accepts and discards models.
        status: shows messages.
        onStarted: called when a command was started.
        onModelsChanged: called when the installed models or the default model change.
    """

    def __init__(
        self,
        ui: Any,
        logic: FineTuningLogic,
        status: PanelStatus,
        onStarted: Callable[[], None],
        onModelsChanged: Callable[[], None],
    ) -> None:
        self._ui = ui
        self._logic = logic
        self._show = status.show
        self._showError = status.showError
        self._onStarted = onStarted
        self._onModelsChanged = onModelsChanged
        self._runs: list[FineTuningRun] = []
        self._test: AcceptanceTest | None = None
        self._resumeProblem = ""
        ui.gateTable.verticalHeader().hide()
        ui.runComboBox.connect("activated(int)", lambda _: self.showRun())
        ui.curvesButton.clicked.connect(self.onCurvesButton)
        ui.acceptButton.clicked.connect(self.onAcceptButton)
        ui.discardButton.clicked.connect(self.onDiscardButton)

    def run(self) -> FineTuningRun | None:
        """The chosen run."""
        index = self._ui.runComboBox.currentIndex
        return self._runs[index] if 0 <= index < len(self._runs) else None

    def read(self, library: Path | None, choose: FineTuningRun | None = None) -> None:
        """Show the runs of a library and choose one; by default, keep the current choice."""
        choose = choose or self.run()
        self._runs = readRuns(library) if library else []
        box = self._ui.runComboBox
        box.clear()
        for run in self._runs:
            state = _("running") if self._isOn(run) else _state(run)
            box.addItem(f"{run.folder.name} · {state}")
        box.setCurrentIndex(self._runs.index(choose) if choose in self._runs else 0)
        for name in ("runHeadingLabel", "runLabel", "runComboBox", "curvesButton"):
            getattr(self._ui, name).visible = bool(self._runs)
        self.showRun()

    def _isOn(self, run: FineTuningRun | None) -> bool:
        return self._logic.isTuning() and run == self._logic.run

    def showRun(self) -> None:
        """Show the result of the chosen run."""
        run = self.run()
        self._test = acceptanceOf(run) if run else None
        isOpen = bool(self._test and run.candidate() and not installedAs(run))
        isOn = self._isOn(run)
        self._resumeProblem = _resumeProblem(run) if run else ""
        self._fillTable(self._test)
        self._ui.verdictLabel.text = _verdict(run, self._test, self._resumeProblem) if run else ""
        self._ui.verdictLabel.visible = run is not None and not isOn
        self._ui.acceptButton.visible = self._ui.discardButton.visible = isOpen
        self._ui.resumeButton.visible = run is not None and not self._test and not isOn
        better = bool(self._test and self._test.recommended)
        self._ui.acceptButton.text = _("Accept") if better else _("Accept anyway")
        self._ui.acceptButton.toolTip = (
            _("Install the tuned model beside the others; none is overwritten.")
            if better
            else _("The tuned model is not recommended; you will be asked again.")
        )
        self.update()
        if findChart():
            self.drawCurves()

    def update(self) -> None:
        """Enable and disable the buttons."""
        idle = not self._logic.isBusy() and not self._logic.isTuning()
        self._ui.acceptButton.enabled = self._ui.discardButton.enabled = idle
        self._ui.resumeButton.enabled = idle and not self._resumeProblem

    def drawCurves(self) -> None:
        """Draw the present curves of the chosen run."""
        run = self.run()
        if run:
            drawCurves(run.folder.name, run.curves())

    def onCurvesButton(self) -> None:
        self.drawCurves()
        showCurves()

    def onAcceptButton(self) -> None:
        run = self.run()
        better = self._test.recommended
        question = _("{reason}\n\nInstall the tuned model anyway?")
        question = question.format(reason=self._test.reason)
        if better or slicer.util.confirmYesNoDisplay(question):
            self._start(
                lambda: self._logic.accept(
                    run,
                    force=not better,
                    onFinished=lambda name: self._onAccepted(name, better),
                    onFailed=self._showError,
                    blocking=False,
                )
            )

    def _onAccepted(self, name: str, better: bool) -> None:
        self._onModelsChanged()
        self._show(_("{name} is installed: choose it under Advanced.").format(name=name))
        question = _(
            "Use {name} from now on, where no other model is chosen?\n\nYou can go back at any "
            "time: choose another model under Advanced, and make it the default."
        ).format(name=name)
        if better and slicer.util.confirmYesNoDisplay(question):
            self._show(_("{name} is in use.").format(name=name))
            self.use(name)

    def use(self, model: str) -> None:
        """Make a model the default."""
        self._start(
            lambda: self._logic.use(
                model,
                onFinished=lambda _: self._onModelsChanged(),
                onFailed=self._showError,
                blocking=False,
            )
        )

    def onDiscardButton(self) -> None:
        run = self.run()
        question = _("Delete the tuned model of {run}? The training cases stay.")
        if slicer.util.confirmOkCancelDisplay(question.format(run=run.folder.name)):
            self._start(
                lambda: self._logic.discard(
                    run,
                    onFinished=lambda _: self._onModelsChanged(),
                    onFailed=self._showError,
                    blocking=False,
                )
            )

    def _start(self, start: Callable[[], Any]) -> None:
        try:
            start()
        except SegmentationError as error:
            self._showError(str(error), error.logPath)
        else:
            self._onStarted()

    def _fillTable(self, test: AcceptanceTest | None) -> None:
        run = self.run()
        cases = readCases(run.library) if run else []
        rows = _tableRows(test, {case.id: case.title for case in cases}) if test else []
        table = self._ui.gateTable
        titles = [_("Mean Dice"), *(test.regions if test else [])]
        table.setColumnCount(len(titles))
        table.setHorizontalHeaderLabels(titles)
        regions = {region.name: region.title for case in cases for region in case.scheme.regions}
        for column, title in enumerate(titles):
            table.horizontalHeaderItem(column).setToolTip(regions.get(title, ""))
        table.setRowCount(len(rows))
        for index, (title, tip, base, tuned) in enumerate(rows):
            item = qt.QTableWidgetItem(title)
            item.setToolTip(tip)
            table.setItem(index, 0, item)
            for column, region in enumerate(test.regions, start=1):
                table.setItem(index, column, _cell(base and base[region], tuned[region]))
        fitHeight(table, rowsShown=ROWS_SHOWN)


def _tableRows(
    test: AcceptanceTest, caseTitles: dict[str, str]
) -> list[tuple[str, str, Dice | None, Dice]]:
    """Rows of the table, means first: title, tooltip, Dice by region of the base and tuned model.

    The base's Dice is None if it cannot segment these labels.
    """
    unseen = _("Base model → tuned model. Each case is judged by a model that was not tuned on it.")
    rows = [(_("Your cases"), unseen, test.mean.base, test.mean.tuned)]
    if test.forgetting:
        mean = test.forgetting.mean
        tip = _("Base model → tuned model, on cases that are not yours: was anything forgotten?")
        rows.append((_("Control cases"), tip, mean.base, mean.tuned))
    for row in test.cases:
        title = caseTitles.get(row.case, row.case)
        rows.append((title, f"{row.case}\n{unseen}", row.base, row.tuned))
    return rows


def _cell(base: float | None, tuned: float) -> qt.QTableWidgetItem:
    item = qt.QTableWidgetItem(f"{tuned:.2f}" if base is None else f"{base:.2f} → {tuned:.2f}")
    item.setTextAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
    if base is not None and abs(tuned - base) >= NOTABLE:
        item.setForeground(qt.QBrush(qt.QColor("#2e7d32" if tuned > base else "#c62828")))
    return item


def _state(run: FineTuningRun) -> str:
    test = acceptanceOf(run)
    if test is None:
        return _("not finished")
    if installedAs(run):
        return _("installed")
    return _verdictTitle(test.verdict) if run.candidate() else _("discarded")


def _verdictTitle(verdict: Verdict) -> str:
    return {
        Verdict.BETTER: _("better"),
        Verdict.NOT_BETTER: _("not better"),
        Verdict.FORGETS: _("forgets"),
        Verdict.NEW_TASK: _("new task"),
    }[verdict]


def _resumeProblem(run: FineTuningRun) -> str:
    """Why a run without a verdict cannot be resumed; empty if it can."""
    if run.settings() is None:
        return _("It was started on the command line; resume it there.")
    used = {case.id for case in usedCases(run.library)}
    if run.case_names() not in (set(), used):
        return _(
            "It was stopped before its end, and the library holds other cases now: check the same "
            "as before to resume it, or start anew."
        )
    return ""


def _verdict(run: FineTuningRun, test: AcceptanceTest | None, resumeProblem: str) -> str:
    """The verdict in words, or what to do if the run has none."""
    if test is None:
        goesOn = _("It was stopped before its end; Resume goes on from its last checkpoint.")
        return escape(resumeProblem or goesOn)
    color = "#2e7d32" if test.recommended else "#c62828"
    title = _verdictTitle(test.verdict)
    lines = [
        f'<b style="color: {color}">{escape(title[:1].upper() + title[1:])}:</b> '
        f"{escape(test.reason)}."
    ]
    name = installedAs(run)
    if name:
        lines.append(_("Installed as {name}.").format(name=f"<b>{escape(name)}</b>"))
    elif run.candidate() is None:
        lines.append(_("The tuned model was discarded."))
    return "<br>".join(lines)
