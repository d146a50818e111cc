"""The table of lesions: volume, both diameters, angle, product, and measurability."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import qt
from slicer.i18n import tr as _

from MISSUCore.contract.measurement.lesions import LesionMeasurement, Line
from MISSUCore.contract.measurement.report import MeasurementReport

from ..Scene.MeasurementNodes import isPerpendicular
from .PanelHeight import fitHeight

ROWS_SHOWN = 6
ANGLE_COLUMN = 4
GREEN, RED = (27, 122, 43), (198, 40, 40)


class LesionTable:
    """Fills a QTableWidget with a row for every lesion; hides it while there is none.

    Args:
        table: the table to fill.
        onSelected: called with the numbers of the lesions that the user selects.
    """

    def __init__(self, table: qt.QTableWidget, onSelected: Callable[[list[int]], None]) -> None:
        self._table = table
        self._onSelected = onSelected
        self._numbers: list[int] = []
        table.verticalHeader().hide()
        table.itemSelectionChanged.connect(self._onSelectionChanged)

    def show(
        self, report: MeasurementReport | None, outOfPlaneMm: Mapping[int, float] | None = None
    ) -> None:
        """Show a measurement, or nothing.

        Args:
            report: the measurement; None hides the table.
            outOfPlaneMm: by lesion number, distance of its lines from a common slice.
        """
        leaning = outOfPlaneMm or {}
        lesions = report.lesions if report else ()
        region = report.region if report else ""
        # Titles in two lines, so that all columns fit.
        titles = [_("Lesion"), f"{region}\n" + _("(ml)"), _("Longest\n(mm)"), _("Across\n(mm)")]
        titles += [_("Angle"), _("Product\n(mm²)")]
        numbers = [lesion.number for lesion in lesions]
        if len(numbers) != len(self._numbers):
            # Otherwise the selection would pass to another lesion in the same row.
            self._table.clearSelection()
        self._numbers = numbers
        self._table.setColumnCount(len(titles))
        self._table.setHorizontalHeaderLabels(titles)
        self._table.setRowCount(len(lesions))
        for row, lesion in enumerate(lesions):
            aside = leaning.get(lesion.number)
            for column, text in enumerate(_texts(lesion, region, aside)):
                item = qt.QTableWidgetItem(text)
                item.setToolTip(_details(lesion, aside))
                if column:
                    item.setTextAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
                if column == ANGLE_COLUMN and lesion.longest:
                    color = GREEN if isPerpendicular(lesion) else RED
                    item.setForeground(qt.QBrush(qt.QColor(*color)))
                self._table.setItem(row, column, item)
        fitHeight(self._table, rowsShown=ROWS_SHOWN)

    def selected(self) -> list[int]:
        """Numbers of the lesions that the user has selected."""
        rows = sorted({item.row() for item in self._table.selectedItems()})
        return [self._numbers[row] for row in rows if row < len(self._numbers)]

    def _onSelectionChanged(self) -> None:
        self._onSelected(self.selected())


def _texts(lesion: LesionMeasurement, region: str, asideMm: float | None) -> list[str]:
    corrected = "✎ " if lesion.corrected else ""
    volumeMl = lesion.volumes_ml.get(region)
    return [
        f"{corrected}{lesion.number} {_judged(lesion)}",
        "-" if volumeMl is None else f"{volumeMl:.1f}",
        _millimeters(lesion.longest),
        _millimeters(lesion.perpendicular),
        "-" if lesion.angle_degrees is None else f"{lesion.angle_degrees:.0f}°",
        f"{'⚠ ' if asideMm else ''}{lesion.product_mm2:.0f}" if lesion.longest else "-",
    ]


def _judged(lesion: LesionMeasurement) -> str:
    if lesion.target:
        return _("target")
    return _("measurable") if lesion.measurable else _("not measurable")


def _details(lesion: LesionMeasurement, asideMm: float | None) -> str:
    lines = [f"{name}: {volume:.2f} ml" for name, volume in lesion.volumes_ml.items()]
    if lesion.maximum:
        lines.append(_("Largest extent in 3-D: {mm:.1f} mm").format(mm=lesion.maximum.length_mm))
    if lesion.longest and not isPerpendicular(lesion):
        lines.append(_("The two lines are not at a right angle."))
    if asideMm:
        lines.append(
            _("The two lines do not lie in one slice: {mm:.1f} mm apart.").format(mm=asideMm)
        )
    if lesion.corrected:
        lines.append(_("A line was corrected."))
    return "\n".join((*lines, *lesion.reasons))


def _millimeters(line: Line | None) -> str:
    return f"{line.length_mm:.1f}" if line else "-"
