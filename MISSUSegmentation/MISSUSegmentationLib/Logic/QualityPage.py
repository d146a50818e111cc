"""The quality page of a run's result, kept until the scene or Slicer is closed."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from html import escape
from pathlib import Path

import slicer

from ..Core.CoreRun import CoreRun


def keepPage(run: CoreRun, page: Path, scene: slicer.vtkMRMLScene) -> Path:
    """Copy the quality page out of the run's temporary folder; returns the copy.

    It shows images of the patient: only the user can read it, and it is deleted with the scene.

    Args:
        run: its file names are replaced in the page by those the user knows.
        page: the page in the run's folder.
        scene: the page is deleted when this scene is closed.

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
    """Delete a page that :func:`keepPage` has made."""
    shutil.rmtree(page.parent, ignore_errors=True)
