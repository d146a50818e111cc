"""Locates MISSUCore, its Python, its models and PyTorch, without loading any of them."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import slicer

from MISSUCore.contract.model_card import ModelCard, read_card, read_cards
from MISSUCore.core.errors import InputError
from MISSUCore.core.messages import Text

MINIMUM_TORCH = "2.2"
# On Windows, installing this or a newer version fails because paths become too long, and leaves a
# folder "torch" that looks like an installation (Slicer/light-the-torch issue 176).
BROKEN_ON_WINDOWS = "2.13"
# Removes the working directory from the path: it may contain modules that shadow others.
IMPORT_TORCH = "import sys; sys.path.pop(0); import torch; torch.zeros(1)"
IMPORT_SECONDS = 120.0


class InstallationError(RuntimeError):
    """Something that MISSU needs is missing. The message says in one sentence how to get it."""


def coreFolder() -> Path:
    """The folder that contains the package MISSUCore."""
    specification = importlib.util.find_spec("MISSUCore")
    return Path(specification.origin).parents[1]


def corePython() -> list[str]:
    """The beginning of a command that runs Python with everything MISSUCore needs.

    Raises:
        InstallationError: if Slicer's Python is not found.
    """
    if not isInSlicer():
        return [sys.executable]
    python = shutil.which("PythonSlicer")
    if python is None:
        raise InstallationError("PythonSlicer is not found; install Slicer again.")
    return [python]


def coreEnvironment() -> dict[str, str]:
    """Environment variables for that Python: those before Slicer's launcher changed them."""
    environment = slicer.util.startupEnvironment() if isInSlicer() else dict(os.environ)
    return {**environment, "PYTHONUTF8": "1"}


def isInSlicer() -> bool:
    """Whether this runs in the Slicer application rather than with the package slicer-core."""
    return hasattr(slicer, "app")


def torchIsInstalled() -> bool:
    """Whether PyTorch is found, working or broken; it is not imported, see torchProblem."""
    return importlib.util.find_spec("torch") is not None


def torchProblem() -> str:
    """Import PyTorch in another process; returns the error output, empty if it succeeds.

    Raises:
        InstallationError: if Slicer's Python is not found.
    """
    hidden = {"creationflags": subprocess.CREATE_NO_WINDOW} if os.name == "nt" else {}
    try:
        done = subprocess.run(
            [*corePython(), "-c", IMPORT_TORCH],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=coreEnvironment(),
            encoding="utf-8",
            errors="replace",
            timeout=IMPORT_SECONDS,
            check=False,
            **hidden,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""  # says nothing about PyTorch
    ended = f"Python ended with code {done.returncode} when it imported PyTorch."
    return (done.stdout.strip() or ended) if done.returncode else ""


def torchRequirement() -> str:
    """The versions of PyTorch that work here, as a pip version specifier."""
    newest = f",<{BROKEN_ON_WINDOWS}" if sys.platform == "win32" else ""
    return f">={MINIMUM_TORCH}{newest}"


def repairTorch() -> None:
    """Remove a PyTorch that cannot be loaded, and reinstall it without asking the user.

    Raises:
        InstallationError: if it cannot be removed, or as for :func:`installTorch`.
    """
    if not isInSlicer():
        raise InstallationError("PyTorch cannot be loaded; install it again with pip.")
    try:
        with contextlib.suppress(subprocess.CalledProcessError):
            slicer.util.pip_uninstall(["torch", "torchvision"])
        _removeLeftTorch()
    except Exception as error:  # any exception: pip, or a file in use
        raise InstallationError(
            f"PyTorch could not be removed ({error}); restart Slicer, and repair it before "
            "anything else uses it."
        ) from error
    installTorch(askConfirmation=False)


def _removeLeftTorch() -> None:
    """Delete what an interrupted installation left behind and pip cannot remove.

    Deletes only within Slicer's own folder.
    """
    packages = Path(sysconfig.get_paths()["purelib"]).resolve()
    if packages.is_relative_to(Path(slicer.app.slicerHome).resolve()):
        for folder in (packages / "torch", *packages.glob("torch-*.dist-info")):
            if folder.is_dir():
                shutil.rmtree(folder)


def installTorch(askConfirmation: bool = True) -> None:
    """Install PyTorch through the PyTorch extension, and check that it can be imported.

    Args:
        askConfirmation: ask the user first.

    Raises:
        InstallationError: if the extension is missing, the user declines, the download fails, or
            the installed PyTorch cannot be loaded.
    """
    if not isInSlicer():
        raise InstallationError("PyTorch is not installed; install it with pip install torch.")
    try:
        import PyTorchUtils
    except ModuleNotFoundError as error:
        raise InstallationError(
            "The PyTorch extension is missing; install it in the Extensions Manager and restart "
            "Slicer."
        ) from error
    try:
        torch = PyTorchUtils.PyTorchUtilsLogic().installTorch(
            askConfirmation=askConfirmation, torchVersionRequirement=torchRequirement()
        )
    except Exception as error:  # of any kind: pip, the network, an index
        raise InstallationError(
            f"PyTorch could not be installed ({error}); try again in the module PyTorch Utils."
        ) from error
    if torch is None:
        raise InstallationError("PyTorch is needed to segment, and was not installed.")
    problem = torchProblem()
    if problem:
        raise InstallationError(
            f"PyTorch was installed, but cannot be loaded ({problem.splitlines()[-1]}); restart "
            "Slicer and try again."
        )


def installDeepbet() -> None:
    """Install deepbet (skull stripping), without replacing the installed PyTorch.

    Raises:
        InstallationError: if it cannot be installed.
    """
    if not isInSlicer():
        raise InstallationError("deepbet is not installed; install it with pip install deepbet.")
    try:
        torch = f"torch=={importlib.metadata.version('torch')}"
        slicer.util.pip_install(["deepbet", torch])
    except Exception as error:  # of any kind: pip, the network, an index
        raise InstallationError(
            f"deepbet could not be installed ({error}); try again, or choose another skull "
            "stripping under Advanced."
        ) from error


def modelFolder() -> Path:
    """The folder of the user's own models."""
    return Path(os.environ.get("MISSU_MODELS") or "~/.missu/models").expanduser()


def modelCards() -> dict[str, ModelCard]:
    """The model cards by name: bundled models first, those that look twice before the others.

    Read directly from the files, since ``missu models`` loads PyTorch, which takes seconds.
    """
    cards: dict[str, ModelCard] = {}
    for folder in _modelFolders():
        for card in sorted(read_cards(folder)[0], key=lambda card: not card.first_look.model):
            cards.setdefault(card.name, card)
    return cards


def unusableModels() -> list[Text]:
    """One sentence per installed model without a usable card: what is wrong with it."""
    return [problem for folder in _modelFolders() for problem in read_cards(folder)[1]]


def _modelFolders() -> tuple[Path, Path]:
    """The folders of the bundled models and of the user's own models."""
    return coreFolder() / "MISSUCore" / "weights", modelFolder()


def defaultModel() -> str:
    """The default model set by ``missu models --use``; empty for the bundled default."""
    try:
        return (modelFolder() / "default.txt").read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def findCard(model: str) -> ModelCard:
    """The card of an installed model, or of a .pt file.

    Raises:
        InstallationError: if there is no such model.
    """
    if Path(model).suffix == ".pt":
        try:
            return read_card(Path(model).with_suffix(".json"))
        except InputError as error:
            raise InstallationError(f"{error}; install the model again.") from error
    cards = modelCards()
    if model not in cards:
        found = "; ".join((f"installed are {', '.join(cards)}", *unusableModels()))
        raise InstallationError(f"There is no model {model}; {found}.")
    return cards[model]
