"""Facts about the installation and the machine, for bug reports and pipelines.

They are available even if PyTorch cannot be loaded, which is when they are needed most.
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from .. import __version__
from ..contract.model_card import ModelCard
from ..core.errors import EXIT_CODES, ErrorCode
from ..core.memory import free_main_memory_bytes, limited_bytes
from ..core.serialization import JsonObject, settings_to_dict

SCHEMA_VERSION = 1
NEEDED = ("torch", "numpy", "scipy", "SimpleITK", "pydicom", "jinja2")
OPTIONAL = ("deepbet", "highdicom", "nilearn", "matplotlib", "onnx", "onnxruntime")
VARIABLES = ("MISSU_MODELS", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES")


def installation_facts() -> JsonObject:
    """Versions, device, memory, models, folders and exit codes, in plain JSON types.

    Paths may contain the user's name. A fact that cannot be determined is ``{"error": ...}``,
    something that does not exist is null.
    """
    return {
        "schema_version": SCHEMA_VERSION,
        "missu": __version__,
        "package": str(Path(__file__).parents[1]),
        "python": {"version": platform.python_version(), "executable": sys.executable},
        "system": {"platform": platform.platform(), "machine": platform.machine()},
        "packages": {name: _version(name) for name in NEEDED},
        "optional_packages": {name: _version(name) for name in OPTIONAL},
        "device": _told(_device),
        "memory_bytes": {"free": free_main_memory_bytes(), "limit_leaves": limited_bytes()},
        "models": _told(_models),
        "folders": {"temporary": tempfile.gettempdir(), **_told(_folders)},
        "environment": {name: os.environ.get(name) for name in VARIABLES},
        "exit_codes": {str(code): meaning for code, meaning in EXIT_CODES.items()},
        "error_codes": [code.value for code in ErrorCode],
    }


def model_facts(card: ModelCard) -> JsonObject:
    """A model card in JSON types, with its role and weight file in this installation."""
    from ..models.store import BUNDLED_FOLDER, default_model, find_model

    path = find_model(card.name)
    return {
        **settings_to_dict(card),
        "default": card.name == default_model(),
        "bundled": path.parent == BUNDLED_FOLDER,
        "file": str(path.with_suffix(".pt")),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _told(find: Callable[[], JsonObject]) -> JsonObject:
    """Result of a function, or its error, so that one failure does not hide the other facts."""
    try:
        return find()
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


def _device() -> JsonObject:
    import torch

    from .predictor import choose_device, has_bfloat16

    chosen = choose_device("auto")
    return {
        "chosen": str(chosen),
        "gpus": [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())],
        "cuda": torch.version.cuda,
        "mps": torch.backends.mps.is_available(),
        "bfloat16": has_bfloat16(chosen),
        "threads": torch.get_num_threads(),
        "processors": os.cpu_count(),
    }


def _models() -> JsonObject:
    from ..models.store import default_model, list_models, unusable_models

    return {
        "default": default_model(),
        "installed": [_short(card) for card in list_models()],
        "unusable": [str(problem) for problem in unusable_models()],
    }


def _short(card: ModelCard) -> JsonObject:
    """The main facts of a model: its identity, inputs, regions and mean Dice."""
    facts = model_facts(card)
    names = ("name", "modalities", "may_miss", "spacing_mm", "date", "sha256", "bundled", "file")
    return {
        **{name: facts[name] for name in names},
        "first_look": card.first_look.model or None,
        "regions": list(card.label_scheme().region_names),
        "mean_dice": card.dice_by_region(),
    }


def _folders() -> JsonObject:
    from ..models.store import BUNDLED_FOLDER, user_folder

    return {"bundled_models": str(BUNDLED_FOLDER), "own_models": str(user_folder())}
