"""The table of a library's training cases."""

from __future__ import annotations

from collections.abc import Callable

import qt
from slicer.i18n import tr as _

from MISSUCore.contract.modalities import BRATS_MODALITIES, TITLES

from ..Logic.CaseLibrary import TrainingCase
from .PanelHeight import fitHeight

ROWS_SHOWN = 6
CASE_COLUMN = 1
DATE = "%Y-%m-%d %H:%M"


class CaseTable:
    """Fills a QTableWidget with a row for every case; hides it while there is none.

    Args:
        table: the table to fill.
        onUseChanged: called with the row of a case that the user checks or unchecks, and whether
            the case is to be used.
    """

    def __init__(self, table: qt.QTableWidget, onUseChanged: Callable[[int, bool], None]) -> None:
        self._table = table
        self._onUseChanged = onUseChanged
        self._filling = False
        self._ids: list[str] = []
        table.verticalHeader().hide()
        table.itemChanged.connect(self._onItemChanged)

    def show(self, cases: list[TrainingCase]) -> None:
        """Show these cases."""
        self._filling = True
        titles = [_("Use"), _("Case"), _("Scans"), _("Tumor (ml)"), _("Corrected (ml)")]
        self._table.setColumnCount(len(titles))
        self._table.setHorizontalHeaderLabels(titles)
        tip = _("What you have added to, and removed from, the region that you corrected most.")
        self._table.horizontalHeaderItem(len(titles) - 1).setToolTip(tip)
        ids = [case.id for case in cases]
        if ids != self._ids:
            # Otherwise the selection of a removed case would pass to another one.
            self._table.clearSelection()
            self._ids = ids
        self._table.setRowCount(len(cases))
        for row, case in enumerate(cases):
            for column, text in enumerate(("", *_texts(case))):
                item = qt.QTableWidgetItem(text)
                item.setToolTip(_details(case))
                if column > CASE_COLUMN:
                    item.setTextAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
                self._table.setItem(row, column, item)
            state = qt.Qt.Unchecked if case.record.excluded else qt.Qt.Checked
            self._table.item(row, 0).setCheckState(state)
        self._filling = False
        fitHeight(self._table, stretched=CASE_COLUMN, rowsShown=ROWS_SHOWN)

    def selectedRows(self) -> list[int]:
        """The rows that the user has selected."""
        return sorted({item.row() for item in self._table.selectedItems()})

    def _onItemChanged(self, item: qt.QTableWidgetItem) -> None:
        if not self._filling and item.column() == 0:
            row, use = item.row(), item.checkState() == qt.Qt.Checked
            # Deferred: the item may be replaced, which must wait until Qt has finished with it.
            qt.QTimer.singleShot(0, lambda: self._onUseChanged(row, use))


def _texts(case: TrainingCase) -> list[str]:
    """Cell texts of a case: title, scans, volume, and how much was corrected."""
    names = [TITLES.get(modality, modality) for modality in case.record.modalities]
    complete = set(case.record.modalities) == set(BRATS_MODALITIES)
    warning = "⚠ " if case.record.warnings else ""
    return [
        f"{warning}{case.title}",
        _("all 4") if complete else ", ".join(names),
        f"{case.record.volumes_ml[case.scheme.region_names[0]]:.1f}",
        _correction(case),
    ]


def _correction(case: TrainingCase) -> str:
    """The region that was corrected most, and by how much, as text."""
    changes = case.record.changes
    if not changes:
        return _("unknown")
    most = max(changes, key=lambda name: changes[name].amount_ml)
    if changes[most].amount_ml == 0:
        return _("nothing")
    return f"{most} +{changes[most].added_ml:.1f} -{changes[most].removed_ml:.1f}"


def _details(case: TrainingCase) -> str:
    record = case.record
    lines = [record.id, case.added.strftime(DATE), record.note]
    lines += [f"{name}: {volume:.2f} ml" for name, volume in record.volumes_ml.items()]
    lines += [
        _("{region}: +{added:.2f} ml, -{removed:.2f} ml, Dice with the model's {dice:.3f}").format(
            region=name,
            added=change.added_ml,
            removed=change.removed_ml,
            dice=change.dice,
        )
        for name, change in record.changes.items()
    ]
    return "\n".join(filter(None, (*lines, *record.warnings)))
