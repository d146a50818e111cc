"""A line of the panel for status and error messages."""

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
        label: the label to fill.
        section: collapsible section that contains the label; while it is collapsed, errors are
            also shown in a dialog. None for a label that is always visible.
    """

    def __init__(self, label: Any, section: Any = None) -> None:
        self._label = label
        self._section = section
        self._logPath: Path | None = None
        self._onOffer: Callable[[], None] | None = None
        label.hide()
        label.linkActivated.connect(self._onLink)

    def show(self, message: str) -> None:
        """Show a message; an empty one hides the label."""
        self._label.text = escape(message).replace("\n", "<br>")
        self._label.visible = bool(message)

    def showError(
        self,
        message: str,
        logPath: Path | None = None,
        offer: str = "",
        onOffer: Callable[[], None] | None = None,
    ) -> None:
        """Show an error with a link to the log.

        Args:
            message: one sentence.
            logPath: path of the log.
            offer: text of a link that offers a remedy, e.g. Repair.
            onOffer: called when the user clicks that link.
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
    """Open a file or folder with the system's default program."""
    qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(path)))
