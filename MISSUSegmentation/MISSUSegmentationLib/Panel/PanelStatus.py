"""A line of the panel that says what is going on, or what went wrong."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _


class PanelStatus:
    """Fills a rich-text QLabel, which is hidden while it is empty.

    Args:
        label: to fill.
        section: that can be collapsed, with the label in it: then errors are shown in a dialog,
            too. None for a label that is always in sight.
    """

    def __init__(self, label: Any, section: Any = None) -> None:
        self._label = label
        self._section = section
        self._logPath: Path | None = None
        self._onOffer: Callable[[], None] | None = None
        label.hide()
        label.linkActivated.connect(self._onLink)

    def show(self, message: str) -> None:
        """Show sentences; an empty text hides the last."""
        self._label.text = escape(message).replace("\n", "<br>")
        self._label.visible = bool(message)

    def showError(
        self,
        message: str,
        logPath: Path | None = None,
        offer: str = "",
        onOffer: Callable[[], None] | None = None,
    ) -> None:
        """Show what went wrong, with the log one click away.

        Args:
            message: one sentence.
            logPath: of the log.
            offer: name of what can be done about it.
            onOffer: does it.
        """
        self._logPath, self._onOffer = logPath, onOffer
        texts = {"offer": offer, "log": _("Open log") if logPath else ""}
        links = [f'<a href="{name}">{escape(text)}</a>' for name, text in texts.items() if text]
        sentence = escape(message[:1].upper() + message[1:])
        colored = f'<span style="color: #c62828">{sentence}</span>'
        self._label.text = " ".join([colored, " · ".join(links)]).rstrip()
        self._label.visible = True
        if self._section and self._section.collapsed:
            slicer.util.errorDisplay(message)

    def _onLink(self, name: str) -> None:
        if name == "log":
            openFile(self._logPath)
        elif self._onOffer:
            self._onOffer()


def openFile(path: Path) -> None:
    """Open a file or folder with the program that the system has for it."""
    qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(path)))
