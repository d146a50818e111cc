"""How high the panel and its tables are, whatever Slicer's module panel makes of it."""

from __future__ import annotations

from typing import Any

import qt


class PanelHeight(qt.QObject):
    """An event filter that gives a widget the height that its layout needs at its width.

    From the second visit to a module on, Slicer (qSlicerModulePanel, up to 5.13) keeps an old
    height for the width it has: labels whose text is wrapped are cut, and buttons lie over tables.
    Minimum heights of the labels do not help; that of the whole panel does.

    Args:
        widget: with a layout; it keeps no reference, so somebody has to hold this object.
    """

    def __init__(self, widget: Any) -> None:
        qt.QObject.__init__(self)
        self._widget = widget
        widget.installEventFilter(self)

    def eventFilter(self, widget: Any, event: Any) -> bool:
        """Another text or section is shown, or the panel has another width."""
        if event.type() in (qt.QEvent.LayoutRequest, qt.QEvent.Resize):
            height = self._widget.layout().totalHeightForWidth(self._widget.width)
            self._widget.minimumHeight = height
        return False


def fitHeight(table: qt.QTableWidget, stretched: int = 0, rowsShown: int | None = None) -> None:
    """Make a table as high as its rows, and hide one that has none.

    Args:
        table: that was filled.
        stretched: column that takes the width that the others leave.
        rowsShown: if there are more, they scroll; None shows all.
    """
    header = table.horizontalHeader()
    header.setSectionResizeMode(qt.QHeaderView.ResizeToContents)
    header.setSectionResizeMode(stretched, qt.QHeaderView.Stretch)
    rows = table.rowCount if rowsShown is None else min(table.rowCount, rowsShown)
    rowsHeight = rows * table.verticalHeader().defaultSectionSize
    table.setFixedHeight(header.sizeHint.height() + rowsHeight + 2 * table.frameWidth)
    table.visible = table.rowCount > 0
