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
    repairTorch,
    torchProblem,
    unusableModels,
)

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def inSlicer(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the application: its object is there, and the environment it was started in."""
    application = SimpleNamespace(temporaryPath=None, slicerHome="/slicer")
    monkeypatch.setattr(slicer, "app", application, raising=False)
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
    (file.parent / "broken.pt").write_bytes(b"weights")
    monkeypatch.setenv("MISSU_MODELS", str(file.parent))
    assert modelFolder() == file.parent
    names = [name for name in modelCards() if name != "missu-brats-precise"]
    assert names == ["missu-brats-fast", "bright"]
    (problem,) = unusableModels()
    assert problem.startswith(f"{file.parent / 'broken.json'}: is not a model card")
    assert findCard("bright") == findCard(str(file))
    assert findCard("missu-brats-fast").modalities == ("t1", "t1ce", "t2", "flair")
    with pytest.raises(InstallationError, match=r"no model other; installed are .*brats-fast"):
        findCard("other")
    with pytest.raises(
        InstallationError, match=r"no model broken; .*broken\.json: is not a model card"
    ):
        findCard("broken")
    with pytest.raises(InstallationError, match="is not a model card"):
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
    monkeypatch.setattr(CoreInstallation, "torchProblem", lambda: "")
    installTorch()
    assert asked == [{"askConfirmation": True, "torchVersionRequirement": ">=2.2"}]
    with pytest.raises(InstallationError, match="was not installed"):
        installTorch()
    with pytest.raises(InstallationError, match="no network"):
        installTorch()
    monkeypatch.setitem(sys.modules, "PyTorchUtils", None)
    with pytest.raises(InstallationError, match="Extensions Manager"):
        installTorch()


@pytest.fixture
def extension(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The PyTorch extension, with what it was asked for."""
    asked: list[dict[str, Any]] = []
    module = ModuleType("PyTorchUtils")
    logic = SimpleNamespace(installTorch=lambda **options: not asked.append(options))
    module.PyTorchUtilsLogic = lambda: logic
    monkeypatch.setitem(sys.modules, "PyTorchUtils", module)
    return asked


@pytest.mark.parametrize(
    ("platform", "version"), [("win32", ">=2.2,<2.13"), ("linux", ">=2.2"), ("darwin", ">=2.2")]
)
def test_a_version_is_asked_for_that_works(
    inSlicer: None,
    extension: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    platform: str,
    version: str,
) -> None:
    monkeypatch.setattr(CoreInstallation, "torchProblem", lambda: "")
    monkeypatch.setattr(CoreInstallation.sys, "platform", platform)
    installTorch()
    assert [options["torchVersionRequirement"] for options in extension] == [version]


@pytest.mark.usefixtures("inSlicer", "extension")
def test_what_was_installed_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CoreInstallation, "torchProblem", lambda: "Traceback\nOSError: no DLL")
    with pytest.raises(InstallationError, match=r"cannot be loaded .OSError: no DLL.*restart"):
        installTorch()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "AttributeError"),  # a folder is left, and nothing in it
        ("raise OSError('[WinError 126] no DLL')", "WinError 126"),
        ("import os; os._exit(3)", "ended with code 3"),
        ("zeros = list", ""),
    ],
)
def test_torch_is_really_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None, problem: str
) -> None:
    (tmp_path / "torch").mkdir()
    if content is not None:
        content = content.replace("list", "lambda size: size")
        (tmp_path / "torch" / "__init__.py").write_text(content)
    # Before the folders of this Python, and without the PyTorch that is there.
    script = tmp_path / "python"
    script.write_text(f'#!/bin/sh\nPYTHONPATH="{tmp_path}" exec "{sys.executable}" -S "$@"\n')
    script.chmod(0o755)
    monkeypatch.setattr(CoreInstallation, "corePython", lambda: [str(script)])
    found = torchProblem()
    assert problem in found if problem else found == ""


def test_a_torch_in_the_current_folder_is_none_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torch.py").write_text("raise OSError('not this one')")
    monkeypatch.chdir(tmp_path)
    assert torchProblem() == ""


@pytest.mark.usefixtures("inSlicer")
def test_a_broken_torch_is_removed_and_installed_again(
    extension: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also what pip does not know of, but nothing of others."""
    packages = tmp_path / "Slicer" / "site-packages"
    for name in ("torch", "torch-2.13.0.dist-info", "torchio"):
        (packages / name).mkdir(parents=True)
    monkeypatch.setattr(CoreInstallation.sysconfig, "get_paths", lambda: {"purelib": packages})
    monkeypatch.setattr(CoreInstallation, "torchProblem", lambda: "")
    removed: list[list[str]] = []

    def uninstall(requirements: list[str]) -> None:
        removed.append(requirements)
        raise subprocess.CalledProcessError(1, "pip")  # there is no RECORD file

    monkeypatch.setattr(slicer.util, "pip_uninstall", uninstall)
    repairTorch()
    assert len(list(packages.iterdir())) == 3, "outside Slicer's folder everything stays"
    monkeypatch.setattr(slicer.app, "slicerHome", str(tmp_path / "Slicer"))
    repairTorch()
    assert [path.name for path in packages.iterdir()] == ["torchio"]
    assert removed == 2 * [["torch", "torchvision"]]
    assert [options["askConfirmation"] for options in extension] == [False, False]


@pytest.mark.usefixtures("inSlicer")
def test_a_torch_in_use_cannot_be_repaired(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(requirements: list[str]) -> None:
        raise PermissionError("torch_cpu.dll is in use")

    monkeypatch.setattr(slicer.util, "pip_uninstall", fail)
    with pytest.raises(InstallationError, match=r"torch_cpu.dll is in use.*restart Slicer"):
        repairTorch()


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
