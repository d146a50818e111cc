"""Opens the panel in a separate process, and prints the CPU time and the slow imports.

    python -m Testing.Module.gui.opening

Prints the seconds of CPU time beyond loading what Slicer has loaded anyway, and which of the
slow-loading packages were loaded.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

# Slicer has already loaded these.
import numpy  # noqa: F401
import pytest
import slicer
import vtk.util.numpy_support  # noqa: F401
from PySide6 import QtWidgets

from .stand_in import application

SLOW_TO_LOAD = ("torch", "scipy", "SimpleITK")


def main() -> None:
    """Open the panel, and print the two lines."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    application_ = QtWidgets.QApplication([])  # noqa: F841
    sys.path.insert(0, str(Path(__file__).parents[3] / "MISSUSegmentation"))
    with tempfile.TemporaryDirectory() as temporary, pytest.MonkeyPatch.context() as patch:
        application.install(patch, Path(temporary))
        import qt

        parent = slicer.qMRMLWidget()
        parent.setLayout(qt.QVBoxLayout())
        began = time.process_time()
        import MISSUSegmentation

        MISSUSegmentation.MISSUSegmentationWidget(parent).setup()
        print(f"{time.process_time() - began:.2f} s")
        print("slow packages:", *(name for name in SLOW_TO_LOAD if name in sys.modules))


if __name__ == "__main__":
    main()
