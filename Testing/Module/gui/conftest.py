"""Fixtures that run the panel offscreen with PySide6 and stand-ins for Slicer's application."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike

from MISSUCore.contract.requests.exchange import read_request

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")


@pytest.fixture(scope="session")
def qtApplication() -> Any:
    """The only QApplication."""
    from PySide6 import QtWidgets

    return QtWidgets.QApplication.instance() or QtWidgets.QApplication([])


@pytest.fixture
def slicerApplication(qtApplication: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The stand-in for the Slicer application, with an empty scene and no user models."""
    from Testing.Module.gui.stand_in import application, python_qt

    monkeypatch.setenv("MISSU_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr(python_qt.QSettings, "path", tmp_path / "settings.ini")
    (tmp_path / "temporary").mkdir()
    application.install(monkeypatch, tmp_path / "temporary")
    import slicer

    yield slicer
    slicer.mrmlScene.Clear(True)


@pytest.fixture
def missu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The fake MISSUCore.

    ``behave(...)`` sets its behavior, ``request()`` returns the request it received, and ``go()``
    lets it continue if it hangs.
    """
    from Testing.Module.gui.user import putPythonOnPath

    folder = tmp_path / "fake"
    folder.mkdir()
    for file in ("fake_missu.py", "fake_fine_tuning.py"):
        shutil.copy(Path(__file__).with_name(file), folder)
    putPythonOnPath(monkeypatch, folder, str(folder / "fake_missu.py"))

    def behave(**behavior: Any) -> None:
        (folder / "behavior").write_text(json.dumps(behavior))

    behave()
    return SimpleNamespace(
        behave=behave,
        request=lambda: read_request(folder / "request.json"),
        go=(folder / "go").touch,
    )


@pytest.fixture
def panel(slicerApplication: Any, missu: SimpleNamespace) -> Iterator[Any]:
    """The displayed panel, connected to the fake MISSUCore."""
    from Testing.Module.gui.user import Panel

    panel = Panel()
    yield panel
    panel.close()


@pytest.fixture
def fromDicom(slicerApplication: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Function that makes a volume look loaded from DICOM, with these values by tag."""
    values: dict[str, dict[str, str]] = {}
    database = SimpleNamespace(instanceValue=lambda uid, tag: values[uid].get(tag, ""))
    monkeypatch.setattr(slicerApplication, "dicomDatabase", database, raising=False)

    def load(node: Any, **tags: str) -> None:
        uid = f"1.2.{len(values)}"
        values[uid] = {f"{name[1:5]},{name[5:]}": value for name, value in tags.items()}
        node.SetAttribute("DICOM.instanceUIDs", uid)

    return load


@pytest.fixture
def addVolume(slicerApplication: Any) -> Callable[..., Any]:
    """Function that adds a volume of voxels (k, j, i) of 2 mm to the scene."""

    def add(name: str, voxels: ArrayLike | None = None) -> Any:
        voxels = np.ones((4, 5, 6)) if voxels is None else voxels
        grid = np.diag([2.0, 2.0, 2.0, 1.0])
        return slicerApplication.util.addVolumeFromArray(np.asarray(voxels), grid, name)

    return add
