"""Sets the heights of the panel and its tables, which Slicer's module panel gets wrong."""

from __future__ import annotations

from typing import Any

import qt


class PanelHeight(qt.QObject):
    """An event filter that gives a widget the height that its layout needs at its width.

    When a module is entered again, Slicer (qSlicerModulePanel, up to 5.13) keeps an outdated
    height: labels with wrapped text are cut off, and buttons overlap tables. Setting minimum
    heights of the labels does not help; setting that of the whole panel does.

    Args:
        widget: a widget with a layout. It holds no reference to this object; the caller must.
    """

    def __init__(self, widget: Any) -> None:
        qt.QObject.__init__(self)
        self._widget = widget
        widget.installEventFilter(self)

    def eventFilter(self, widget: Any, event: Any) -> bool:
        """Update the height when the layout or the width has changed."""
        if event.type() in (qt.QEvent.LayoutRequest, qt.QEvent.Resize):
            height = self._widget.layout().totalHeightForWidth(self._widget.width)
            self._widget.minimumHeight = height
        return False


def fitHeight(table: qt.QTableWidget, stretched: int = 0, rowsShown: int | None = None) -> None:
    """Make a table as high as its rows, and hide it if it has none.

    Args:
        table: the filled table.
        stretched: index of the column that takes up the remaining width.
        rowsShown: maximum number of rows shown without scrolling; None shows all.
    """
    header = table.horizontalHeader()
    header.setSectionResizeMode(qt.QHeaderView.ResizeToContents)
    header.setSectionResizeMode(stretched, qt.QHeaderView.Stretch)
    rows = table.rowCount if rowsShown is None else min(table.rowCount, rowsShown)
    rowsHeight = rows * table.verticalHeader().defaultSectionSize
    table.setFixedHeight(header.sizeHint.height() + rowsHeight + 2 * table.frameWidth)
    table.visible = table.rowCount > 0
