"""Keeps the panel as high as its texts need, whatever Slicer's module panel makes of it."""

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
