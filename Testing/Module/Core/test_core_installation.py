"""Finding MISSUCore, its Python, its models and PyTorch, in Slicer and without it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

slicer = pytest.importorskip("slicer", reason="needs the package slicer-core")
from MISSUSegmentationLib.Core import CoreInstallation
from MISSUSegmentationLib.Core.CoreInstallation import (
    InstallationError,
    coreEnvironment,
    coreFolder,
    corePython,
    findCard,
    installDeepbet,
    installTorch,
    modelCards,
    modelFolder,
)

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def inSlicer(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the application: its object is there, and the environment it was started in."""
    monkeypatch.setattr(slicer, "app", SimpleNamespace(temporaryPath=None), raising=False)
    monkeypatch.setattr(slicer.util, "startupEnvironment", lambda: {"HOME": "/home/user"})


@pytest.mark.parametrize("installed", [True, False])
def test_the_core_is_found_beside_the_module_or_in_the_repository(
    tmp_path: Path, installed: bool
) -> None:
    """As the Extension Manager installs it, and as the folder is added by hand."""
    module = tmp_path / "lib" if installed else tmp_path / "repository" / "MISSUSegmentation"
    ignore = shutil.ignore_patterns("__pycache__", "weights")
    shutil.copytree(
        REPOSITORY / "MISSUSegmentation" / "MISSUSegmentationLib",
        module / "MISSUSegmentationLib",
        ignore=ignore,
    )
    core = (module if installed else module.parent) / "MISSUCore"
    shutil.copytree(REPOSITORY / "MISSUCore", core, ignore=ignore)
    code = (
        "import sys; sys.path[:] = [p for p in sys.path if 'MISSU' not in p and p != ROOT]\n"
        "sys.meta_path[:] = [f for f in sys.meta_path if '__editable__' not in repr(f)]\n"
        f"sys.path.insert(0, {str(module)!r})\n"
        "from MISSUSegmentationLib.Core.CoreInstallation import coreFolder; print(coreFolder())"
    ).replace("ROOT", repr(str(REPOSITORY)))
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == str(core.parent), done.stderr


def test_without_slicer_this_python_runs_the_core() -> None:
    assert corePython() == [sys.executable]
    assert coreFolder() == REPOSITORY
    assert coreEnvironment()["PYTHONUTF8"] == "1"


@pytest.mark.usefixtures("inSlicer")
def test_in_slicer_its_own_python_runs_the_core_in_the_environment_slicer_was_started_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/slicer/bin/{name}")
    assert corePython() == ["/slicer/bin/PythonSlicer"]
    assert coreEnvironment() == {"HOME": "/home/user", "PYTHONUTF8": "1"}
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(InstallationError, match="install Slicer again"):
        corePython()


def test_the_bundled_model_comes_first_and_the_users_follow(
    bright_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = bright_model()
    (file.parent / "notes.json").write_text('{"name": "notes"}')
    (file.parent / "broken.json").write_text("{")
    monkeypatch.setenv("MISSU_MODELS", str(file.parent))
    assert modelFolder() == file.parent
    assert list(modelCards()) == ["missu-brats-fast", "bright"]
    assert findCard("bright") == findCard(str(file))
    assert findCard("missu-brats-fast")["modalities"] == ["t1", "t1ce", "t2", "flair"]
    with pytest.raises(InstallationError, match="no model other; installed are missu-brats-fast"):
        findCard("other")
    with pytest.raises(InstallationError, match="is no model card"):
        findCard(str(file.with_name("broken.pt")))


def test_torch_is_installed_through_its_extension_and_with_consent(
    inSlicer: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []
    extension = ModuleType("PyTorchUtils")
    answers: list[Any] = ["torch", None, OSError("no network")]

    class PyTorchUtilsLogic:
        def installTorch(self, **options: Any) -> Any:
            asked.append(options)
            answer = answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

    extension.PyTorchUtilsLogic = PyTorchUtilsLogic
    monkeypatch.setitem(sys.modules, "PyTorchUtils", extension)
    installTorch()
    assert asked == [{"askConfirmation": True, "torchVersionRequirement": ">=2.2"}]
    with pytest.raises(InstallationError, match="was not installed"):
        installTorch()
    with pytest.raises(InstallationError, match="no network"):
        installTorch()
    monkeypatch.setitem(sys.modules, "PyTorchUtils", None)
    with pytest.raises(InstallationError, match="Extensions Manager"):
        installTorch()


def test_deepbet_is_installed_beside_the_torch_that_is_there(
    inSlicer: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []
    monkeypatch.setattr(slicer.util, "pip_install", asked.append)
    installDeepbet()
    assert asked == [["deepbet", f"torch=={version('torch')}"]]

    def fail(requirements: list[str]) -> None:
        raise subprocess.CalledProcessError(1, "pip")

    monkeypatch.setattr(slicer.util, "pip_install", fail)
    with pytest.raises(InstallationError, match="another skull stripping"):
        installDeepbet()


def test_without_slicer_deepbet_is_the_users_to_install() -> None:
    with pytest.raises(InstallationError, match="pip install deepbet"):
        installDeepbet()


def test_without_slicer_torch_is_the_users_to_install() -> None:
    assert CoreInstallation.torchIsInstalled()
    with pytest.raises(InstallationError, match="pip install torch"):
        installTorch()
