"""Where MISSUCore, its Python, its models and PyTorch are; loads none of them."""

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
# Fresh installs of it and of newer ones break on Windows, where their paths become too long, and
# leave a folder "torch" that looks like an installation (Slicer/light-the-torch issue 176).
BROKEN_ON_WINDOWS = "2.13"
# Without the folder that Python is started in, which may hold anything.
IMPORT_TORCH = "import sys; sys.path.pop(0); import torch; torch.zeros(1)"
IMPORT_SECONDS = 120.0


class InstallationError(RuntimeError):
    """Something MISSU needs is missing. The message is one sentence that says how to get it."""


def coreFolder() -> Path:
    """The folder in which the package MISSUCore lies."""
    specification = importlib.util.find_spec("MISSUCore")
    return Path(specification.origin).parents[1]


def corePython() -> list[str]:
    """The Python that has PyTorch and everything else MISSUCore needs, as start of a command.

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
    """Environment for that Python: as Slicer was started, since PythonSlicer sets up its own."""
    environment = slicer.util.startupEnvironment() if isInSlicer() else dict(os.environ)
    return {**environment, "PYTHONUTF8": "1"}


def isInSlicer() -> bool:
    """Whether this is the Slicer application, not the package slicer-core."""
    return hasattr(slicer, "app")


def torchIsInstalled() -> bool:
    """Whether PyTorch is there, or what is left of it: it is not imported, see torchProblem."""
    return importlib.util.find_spec("torch") is not None


def torchProblem() -> str:
    """What Python prints when it fails to import PyTorch, in a process; empty if it succeeds.

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
        return ""  # nothing was learned of PyTorch
    ended = f"Python ended with code {done.returncode} when it imported PyTorch."
    return (done.stdout.strip() or ended) if done.returncode else ""


def torchRequirement() -> str:
    """Versions of PyTorch that work here, as pip writes it."""
    newest = f",<{BROKEN_ON_WINDOWS}" if sys.platform == "win32" else ""
    return f">={MINIMUM_TORCH}{newest}"


def repairTorch() -> None:
    """Remove a PyTorch that cannot be loaded, and install one that can be; nobody is asked.

    Raises:
        InstallationError: if it cannot be removed, or as for :func:`installTorch`.
    """
    if not isInSlicer():
        raise InstallationError("PyTorch cannot be loaded; install it again with pip.")
    try:
        with contextlib.suppress(subprocess.CalledProcessError):
            slicer.util.pip_uninstall(["torch", "torchvision"])
        _removeLeftTorch()
    except Exception as error:  # of any kind: pip, or a file that is in use
        raise InstallationError(
            f"PyTorch could not be removed ({error}); restart Slicer, and repair it before "
            "anything else uses it."
        ) from error
    installTorch(askConfirmation=False)


def _removeLeftTorch() -> None:
    """Delete what an installation that broke off leaves, and pip does not know how to remove.

    Only within Slicer's own folder.
    """
    packages = Path(sysconfig.get_paths()["purelib"]).resolve()
    if packages.is_relative_to(Path(slicer.app.slicerHome).resolve()):
        for folder in (packages / "torch", *packages.glob("torch-*.dist-info")):
            if folder.is_dir():
                shutil.rmtree(folder)


def installTorch(askConfirmation: bool = True) -> None:
    """Install PyTorch through the PyTorch extension, and try it.

    Args:
        askConfirmation: ask the user first.

    Raises:
        InstallationError: if the extension is missing, the user declines, the download fails, or
            what was installed cannot be loaded.
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
    """Install the package that takes off skulls; PyTorch stays the one that is there.

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
    """Where the user's own models are kept."""
    return Path(os.environ.get("MISSU_MODELS") or "~/.missu/models").expanduser()


def modelCards() -> dict[str, ModelCard]:
    """The model cards by name, the bundled ones first, and of these one that looks twice.

    Read from the files, for ``missu models`` loads PyTorch and takes seconds.
    """
    cards: dict[str, ModelCard] = {}
    for folder in _modelFolders():
        for card in sorted(read_cards(folder)[0], key=lambda card: not card.first_look.model):
            cards.setdefault(card.name, card)
    return cards


def unusableModels() -> list[Text]:
    """What is wrong with each model that is there but has no card that can be used."""
    return [problem for folder in _modelFolders() for problem in read_cards(folder)[1]]


def _modelFolders() -> tuple[Path, Path]:
    """Where the bundled models lie, and the user's own."""
    return coreFolder() / "MISSUCore" / "weights", modelFolder()


def defaultModel() -> str:
    """The model that ``missu models --use`` has made the default; empty for the bundled one."""
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
