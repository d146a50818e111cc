"""The tables of the Visits section: the entered visits, and the result of the comparison."""

from __future__ import annotations

from collections.abc import Callable

import qt
from slicer.i18n import tr as _

from MISSUCore.contract.visits.report import Visit, VisitsReport
from MISSUCore.contract.visits.response import Assessment, Category, lies_in_future

from ...Scene.VisitNodes import SceneVisit, VisitsEntry
from ..PanelHeight import fitHeight
from .VisitFields import clinicalTitle, steroidsTitle

ROWS_SHOWN = 6
NAME_COLUMN = 1
GREEN, RED = (27, 122, 43), (198, 40, 40)


class EntryTable:
    """Fills a QTableWidget with a row for every visit; hides it while there is none.

    Args:
        table: the table to fill.
        onSelected: called when the user selects another visit or none.
    """

    def __init__(self, table: qt.QTableWidget, onSelected: Callable[[], None]) -> None:
        self._table = table
        self._onSelected = onSelected
        self._keys: list[int] = []
        self._filling = False
        table.verticalHeader().hide()
        table.itemSelectionChanged.connect(self._onSelectionChanged)

    def show(self, entry: VisitsEntry) -> None:
        """Show the visits; the selected visit stays selected even if its row changes."""
        selected = self.selected()
        self._filling = True
        titles = [_("Date"), _("Segmentation"), _("Steroids"), _("Clinical")]
        self._table.setColumnCount(len(titles))
        self._table.setHorizontalHeaderLabels(titles)
        self._table.setRowCount(len(entry.visits))
        self._keys = [visit.key for visit in entry.visits]
        for row, visit in enumerate(entry.visits):
            for column, text in enumerate(_entered(visit)):
                item = qt.QTableWidgetItem(text)
                item.setToolTip(_entryDetails(visit))
                self._table.setItem(row, column, item)
        fitHeight(self._table, stretched=NAME_COLUMN, rowsShown=ROWS_SHOWN)
        self.select(selected)
        self._filling = False

    def selected(self) -> int:
        """Key of the selected visit; 0 if none is."""
        rows = {item.row() for item in self._table.selectedItems()}
        return next((self._keys[row] for row in rows if row < len(self._keys)), 0)

    def select(self, key: int) -> None:
        """Select a visit by its key; 0 selects none."""
        self._table.clearSelection()
        if key in self._keys:
            self._table.selectRow(self._keys.index(key))

    def _onSelectionChanged(self) -> None:
        if not self._filling:
            self._onSelected()


def _entered(visit: SceneVisit) -> list[str]:
    isWhole = visit.segmentation and visit.scan
    return [
        "⚠ " + visit.date if _isInFuture(visit) else visit.date or _("⚠ enter it"),
        visit.name if isWhole else "⚠ " + visit.name,
        steroidsTitle(visit.reader.steroids) if visit.reader.steroids else "",
        clinicalTitle(visit.reader.clinical) if visit.reader.clinical else "",
    ]


def _isInFuture(visit: SceneVisit) -> bool:
    return bool(visit.date) and lies_in_future(visit.date)


def _entryDetails(visit: SceneVisit) -> str:
    scan = visit.scan.GetName() if visit.scan else _("deleted")
    segmentation = visit.segmentation.GetName() if visit.segmentation else _("deleted")
    lines = [
        _("Segmentation: {name}").format(name=segmentation),
        _("T1ce: {name}").format(name=scan),
        _("The date lies in the future.") if _isInFuture(visit) else "",
        visit.reader.comment,
    ]
    return "\n".join(filter(None, lines))


class ResultOfVisitsTable:
    """Fills a QTableWidget with the result of a comparison, one row per visit."""

    def __init__(self, table: qt.QTableWidget) -> None:
        self._table = table
        table.verticalHeader().hide()

    def show(self, report: VisitsReport | None) -> None:
        """Show a comparison, or nothing."""
        visits = report.visits if report else ()
        region = report.region if report else ""
        # Titles in two lines, so that all columns fit.
        titles = [
            _("Date"),
            f"{region}\n" + _("(ml)"),
            _("Change\n(%)"),
            _("By\nvolume"),
            _("Products\n(mm²)"),
            _("Change\n(%)"),
            _("By\n2-D"),
        ]
        # Only if there is an entry, to save width.
        titles += [_("Yours")] if any(visit.reader.category for visit in visits) else []
        self._table.setColumnCount(len(titles))
        self._table.setHorizontalHeaderLabels(titles)
        for column in (2, 5):
            self._table.horizontalHeaderItem(column).setToolTip(
                _("Against the baseline / against the nadir, the smallest value before.")
            )
        self._table.setRowCount(len(visits))
        for row, visit in enumerate(visits):
            for column, text in enumerate(_found(visit)[: len(titles)]):
                item = qt.QTableWidgetItem(text)
                item.setToolTip(_resultDetails(visit))
                if column:
                    item.setTextAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
                color = COLORS.get(text)
                if color:
                    item.setForeground(qt.QBrush(qt.QColor(*color)))
                self._table.setItem(row, column, item)
        fitHeight(self._table)
        # In a narrow panel, numbers are not cut off: a scroll bar appears, which needs space, too.
        self._table.horizontalHeader().setSectionResizeMode(qt.QHeaderView.ResizeToContents)
        room = self._table.verticalHeader().defaultSectionSize
        self._table.setFixedHeight(self._table.minimumHeight + room)


COLORS = {
    Category.COMPLETE.value: GREEN,
    Category.PARTIAL.value: GREEN,
    Category.MINOR.value: GREEN,
    Category.PROGRESSION.value: RED,
}


def _found(visit: Visit) -> list[str]:
    return [
        visit.date,
        f"{visit.volume.value:.1f}",
        _changes(visit.volume),
        _category(visit.volume),
        f"{visit.two_d.value:.0f}",
        _changes(visit.two_d),
        _category(visit.two_d),
        visit.reader.category,
    ]


def _category(made: Assessment) -> str:
    short = {Category.BASELINE: _("base"), Category.UNKNOWN: "-"}
    return short.get(made.category, made.category.value)


def _changes(made: Assessment) -> str:
    """Change since baseline and since nadir; without a percentage if that volume is zero."""
    if made.nadir is None:
        return ""
    percents = (made.baseline_percent, made.nadir_percent)
    return " / ".join("-" if value is None else f"{value:+.0f}" for value in percents)


def _resultDetails(visit: Visit) -> str:
    lines = [visit.name]
    lines += [f"{name}: {ml:.2f} ml" for name, ml in visit.measurement.volumes_ml.items()]
    for title, made in ((_("By volume"), visit.volume), (_("By diameters"), visit.two_d)):
        if made.reason:
            lines.append(f"{title}: {made.category.value} ({made.reason})")
    return "\n".join((*lines, *visit.notes))


def summaryOf(report: VisitsReport, problem: str) -> str:
    """Summary of the lesions, the limits of the numbers, and the warnings."""
    lines = [f"⚠ {problem}"] if problem else []
    for number, visit in enumerate(report.visits):
        events = [
            _("lesion {number}: {event}").format(number=lesion.number, event=lesion.events[number])
            for lesion in report.lesions
            if lesion.events[number]
        ]
        lines += [f"{visit.date}: {text}" for text in (*events, *visit.notes)]
    targets = sum(lesion.target for lesion in report.lesions)
    lines.append(
        _("Lesions of {region}: {count}, of which {targets} are in the sum of products.").format(
            count=len(report.lesions), region=report.region, targets=targets
        )
    )
    return "\n".join((*lines, *(f"⚠ {warning}" for warning in report.warnings)))
