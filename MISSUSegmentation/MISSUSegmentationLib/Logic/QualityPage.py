"""The page of a run to judge its result by, kept until the scene or Slicer is closed."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from html import escape
from pathlib import Path

import slicer

from ..Core.CoreRun import CoreRun


def keepPage(run: CoreRun, page: Path, scene: slicer.vtkMRMLScene) -> Path:
    """Copy the page of a run to a place that outlives it; returns the copy.

    It shows images of the patient: only the user can read it, and it goes with the scene.

    Args:
        run: whose names for files the page shall use.
        page: in the run's folder.
        scene: with which the page ends.

    Raises:
        OSError: if it cannot be copied.
    """
    text = page.read_text(encoding="utf-8")
    for path, name in run.names.items():
        for shown in (path, Path(run.folder.name, path.name)):
            text = text.replace(escape(str(shown)), escape(name))
    copy = Path(tempfile.mkdtemp(prefix="missu-page-", dir=run.folder.parent)) / "quality.html"
    atexit.register(removePage, copy)
    scene.AddObserver(slicer.vtkMRMLScene.EndCloseEvent, lambda *_: removePage(copy))
    copy.write_text(text, encoding="utf-8")
    return copy


def removePage(page: Path) -> None:
    """Delete a page of :func:`keepPage`."""
    shutil.rmtree(page.parent, ignore_errors=True)
