"""The fields of the Visits section that the reader fills in; none is filled by a guess."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from slicer.i18n import tr as _

from MISSUCore.contract.visits.response import (
    CLINICAL,
    READER_CATEGORIES,
    STEROIDS,
    ReaderEntry,
    iso_date,
)

from ...Scene.VisitNodes import SceneVisit, VisitsEntry


class VisitFields:
    """Date, steroids, clinical state, category and comment of one visit.

    Args:
        ui: widgets of the panel by name.
        onChanged: called with the visit after the user has changed it.
    """

    def __init__(self, ui: Any, onChanged: Callable[[SceneVisit], None]) -> None:
        self._ui = ui
        self._onChanged = onChanged
        self._visit: SceneVisit | None = None
        for box, titles in (
            (ui.steroidsComboBox, map(steroidsTitle, STEROIDS)),
            (ui.clinicalComboBox, map(clinicalTitle, CLINICAL)),
            (ui.readerCategoryComboBox, (text or _("not entered") for text in READER_CATEGORIES)),
        ):
            box.addItems(list(titles))
            box.connect("activated(int)", self._onEdited)
        for line in (ui.visitDateLineEdit, ui.visitCommentLineEdit):
            line.connect("editingFinished()", self._onEdited)

    def show(self, visit: SceneVisit | None) -> None:
        """Show a visit; the fields are hidden while there is none."""
        isOther = visit is None or self._visit is None or visit.key != self._visit.key
        self._visit = visit
        self._ui.visitFields.visible = visit is not None
        if visit is None:
            return
        reader = visit.reader
        self._ui.steroidsComboBox.currentIndex = STEROIDS.index(reader.steroids)
        self._ui.clinicalComboBox.currentIndex = CLINICAL.index(reader.clinical)
        self._ui.readerCategoryComboBox.currentIndex = READER_CATEGORIES.index(reader.category)
        if isOther or not self.problem():  # an invalid date stays, for the user to correct
            self._ui.visitDateLineEdit.text = visit.date
        self._ui.visitCommentLineEdit.text = reader.comment

    def problem(self) -> str:
        """What is wrong with the date; empty if it is valid."""
        text = self._ui.visitDateLineEdit.text.strip()
        return _dateProblem([text] if self._visit and text else [])

    def _onEdited(self, *_: object) -> None:
        if self._visit is None:
            return
        ui = self._ui
        reader = ReaderEntry(
            STEROIDS[ui.steroidsComboBox.currentIndex],
            CLINICAL[ui.clinicalComboBox.currentIndex],
            READER_CATEGORIES[ui.readerCategoryComboBox.currentIndex],
            ui.visitCommentLineEdit.text.strip(),
        )
        text = ui.visitDateLineEdit.text.strip()
        date = self._visit.date if self.problem() else text and iso_date(text)
        self._onChanged(replace(self._visit, date=date, reader=reader))


class PatientFields:
    """Baseline, targets, and the dates of operations and radiotherapies.

    Args:
        ui: widgets of the panel by name.
        onChanged: called when the user has changed something.
    """

    def __init__(self, ui: Any, onChanged: Callable[[], None]) -> None:
        self._ui = ui
        self._keys: list[int] = []
        self._onChanged = onChanged
        ui.baselineComboBox.connect("activated(int)", self._onEdited)
        ui.visitTargetsSpinBox.connect("valueChanged(int)", self._onEdited)
        for line in (ui.surgeryLineEdit, ui.radiotherapyLineEdit):
            line.connect("editingFinished()", self._onEdited)

    def show(self, entry: VisitsEntry) -> None:
        """Show the values stored in the scene."""
        ui = self._ui
        self._keys = [visit.key for visit in entry.visits[:-1]]
        ui.baselineComboBox.clear()
        ui.baselineComboBox.addItems([v.date or v.name for v in entry.visits[:-1]])
        number = entry.baselineNumber()
        ui.baselineComboBox.currentIndex = number - 1 if number <= len(self._keys) else -1
        before = ui.visitTargetsSpinBox.blockSignals(True)
        ui.visitTargetsSpinBox.value = entry.targets
        ui.visitTargetsSpinBox.blockSignals(before)
        lines = ((ui.surgeryLineEdit, entry.surgery), (ui.radiotherapyLineEdit, entry.radiotherapy))
        for line, dates in lines:
            if not _dateProblem(_dates(line.text)):  # invalid dates stay, for the user to correct
                line.text = ", ".join(dates)

    def clear(self) -> None:
        """Clear the fields, including invalid dates, for another scene."""
        self._ui.surgeryLineEdit.text = self._ui.radiotherapyLineEdit.text = ""

    def entered(self, entry: VisitsEntry) -> VisitsEntry:
        """The stored entry, updated with the values of the fields."""
        index = self._ui.baselineComboBox.currentIndex
        dates = {}
        for name in ("surgery", "radiotherapy"):
            found = _dates(getattr(self._ui, f"{name}LineEdit").text)
            if not _dateProblem(found):
                dates[name] = tuple(sorted(set(map(iso_date, found))))
        return replace(
            entry,
            baseline=self._keys[index] if 0 <= index < len(self._keys) else entry.baseline,
            targets=self._ui.visitTargetsSpinBox.value,
            **dates,
        )

    def problem(self) -> str:
        """What is wrong with the dates; empty if they are valid."""
        lines = (self._ui.surgeryLineEdit, self._ui.radiotherapyLineEdit)
        return _dateProblem([text for line in lines for text in _dates(line.text)])

    def _onEdited(self, *_: object) -> None:
        self._onChanged()


def steroidsTitle(value: str) -> str:
    """A value of STEROIDS as shown to the user."""
    return {
        "": _("not entered"),
        "none": _("none"),
        "less": _("less"),
        "same": _("same dose"),
        "more": _("more"),
    }[value]


def clinicalTitle(value: str) -> str:
    """A value of CLINICAL as shown to the user."""
    return {
        "": _("not entered"),
        "better": _("better"),
        "same": _("same"),
        "worse": _("worse"),
    }[value]


def _dates(text: str) -> list[str]:
    return [part.strip() for part in text.replace(";", ",").split(",") if part.strip()]


def _dateProblem(texts: Sequence[str]) -> str:
    for text in texts:
        try:
            iso_date(text)
        except ValueError:
            return _("{text} is not a date; write YYYY-MM-DD.").format(text=text)
    return ""
