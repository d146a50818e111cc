"""How the panel's tables fit into it."""

from __future__ import annotations

import qt


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
