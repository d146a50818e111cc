"""What the panel does about skulls when nothing is installed that takes them off."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from ..Core.CoreInstallation import InstallationError, installDeepbet
from ..Logic.BrainMask import hdBetIsInstalled


def skullMessage() -> str:
    """What the user reads instead of :class:`.BrainExtractionMissing`."""
    return _("The scans show the skull; choose under Advanced how it is taken off.")


def offerDeepbet(
    showMessage: Callable[[str], None], showError: Callable[[str, Path | None], None]
) -> bool:
    """Offer to install the package that takes off skulls.

    Args:
        showMessage: shows a sentence to the user.
        showError: shows a sentence, with the path of a log.

    Returns:
        Whether it was installed.
    """
    question = _(
        "The scans show the skull. The package deepbet takes it off (MIT license, 10 MB and "
        "some small packages that it needs). Install it now, and go on?"
    )
    if hdBetIsInstalled():
        question += "\n\n" + _(
            "HD-BET, which is installed, can do it, too, but takes longer: choose it under "
            "Advanced."
        )
    if not slicer.util.confirmOkCancelDisplay(question):
        return False
    try:
        showMessage(_("Installing deepbet."))
        with slicer.util.WaitCursor():
            installDeepbet()
    except InstallationError as error:
        showError(str(error), None)
        return False
    return True
