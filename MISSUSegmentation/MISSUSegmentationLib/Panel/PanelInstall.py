"""Offers to install or repair what MISSUCore needs: deepbet and PyTorch."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from ..Core.CoreInstallation import (
    InstallationError,
    installDeepbet,
    repairTorch,
    torchRequirement,
)
from ..Logic.BrainMask import hdBetIsInstalled

ShowMessage = Callable[[str], None]
ShowError = Callable[[str, "Path | None"], None]


@contextlib.contextmanager
def panelWaits(ui: Any, waits: bool = True) -> Iterator[None]:
    """Disable the panel while Slicer waits for pip or HD-BET.

    Both let Qt process events, so a second click would start them again. The user can still leave
    the panel or close the scene.

    Args:
        ui: widgets of the panel by name.
        waits: False does nothing.
    """
    panel = ui.segmentButton.parent()
    panel.enabled = not waits
    try:
        with slicer.util.WaitCursor(waits):
            if waits:
                slicer.app.processEvents()  # so that the message is displayed before waiting
            yield
    finally:
        panel.enabled = True


def skullMessage() -> str:
    """The message shown for :class:`.BrainExtractionMissing`."""
    return _("The scans show the skull; choose under Advanced how it is taken off.")


def offerDeepbet(ui: Any, showMessage: ShowMessage, showError: ShowError) -> bool:
    """Offer to install deepbet for skull stripping; returns whether it was installed."""
    question = _(
        "The scans show the skull. The package deepbet takes it off (MIT license, 10 MB and "
        "some small packages that it needs). Install it now, and go on?"
    )
    if hdBetIsInstalled():
        question += "\n\n" + _(
            "HD-BET, which is installed, can do it, too, but takes longer: choose it under "
            "Advanced."
        )
    return _mend(ui, question, _("Installing deepbet."), installDeepbet, showMessage, showError)


def brokenMessage() -> str:
    """The message shown for :class:`.TorchBroken`, next to the links *Repair* and the log."""
    return _("PyTorch is installed, but cannot be loaded.")


def repair(ui: Any, showMessage: ShowMessage, showError: ShowError) -> bool:
    """Offer to reinstall PyTorch; returns whether it works now."""
    question = _(
        "Remove PyTorch from Slicer, and install a version that works ({versions})? Other modules "
        "that use PyTorch get it, too. This may take minutes."
    ).format(versions=f"torch{torchRequirement()}")
    doing = _("Repairing PyTorch. This may take minutes.")
    works = _mend(ui, question, doing, repairTorch, showMessage, showError)
    if works:
        showMessage(_("PyTorch works again."))
    return works


def _mend(
    ui: Any,
    question: str,
    doing: str,
    install: Callable[[], None],
    showMessage: ShowMessage,
    showError: ShowError,
) -> bool:
    """Ask the user, install, and show the outcome.

    Args:
        ui: widgets of the panel by name.
        question: question to the user.
        doing: message shown during the installation.
        install: raises InstallationError if it fails.
        showMessage: shows a sentence to the user.
        showError: shows a sentence, with the path of a log.

    Returns:
        Whether the user agreed and the installation succeeded.
    """
    isWaiting = not ui.segmentButton.parent().enabled  # for something else
    if isWaiting or not slicer.util.confirmOkCancelDisplay(question):
        return False
    try:
        showMessage(doing)
        with panelWaits(ui):
            install()
    except InstallationError as error:
        showError(str(error), None)
        return False
    return True
