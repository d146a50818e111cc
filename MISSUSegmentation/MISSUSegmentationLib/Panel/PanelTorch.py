"""What the panel does about a PyTorch that is installed, but cannot be loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from ..Core.CoreInstallation import InstallationError, repairTorch, torchRequirement


def brokenMessage() -> str:
    """What the user reads instead of :class:`.TorchBroken`, beside *Repair* and the log."""
    return _("PyTorch is installed, but cannot be loaded.")


def repair(
    showMessage: Callable[[str], None], showError: Callable[[str, Path | None], None]
) -> bool:
    """Remove PyTorch and install it again, if the user agrees.

    Args:
        showMessage: shows a sentence to the user.
        showError: shows a sentence, with the path of a log.

    Returns:
        Whether it works now.
    """
    question = _(
        "Remove PyTorch from Slicer, and install a version that works ({versions})? Other modules "
        "that use PyTorch get it, too. This may take minutes."
    ).format(versions=f"torch{torchRequirement()}")
    if not slicer.util.confirmOkCancelDisplay(question):
        return False
    try:
        showMessage(_("Repairing PyTorch. This may take minutes."))
        with slicer.util.WaitCursor():
            repairTorch()
    except InstallationError as error:
        showError(str(error), None)
        return False
    showMessage(_("PyTorch works again."))
    return True
