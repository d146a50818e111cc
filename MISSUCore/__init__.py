"""MISSUCore: brain-tumor segmentation in multimodal MRI with a self-distilling TransUNet.

These names are the public API. Each is loaded on first use, so that importing the package is
cheap: torch is imported only by the functions that compute with it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .cohorts.cohort import segment_cohort as segment_cohort
    from .contract.labels import BRATS as BRATS
    from .contract.network_config import NetworkConfig as NetworkConfig
    from .evaluation.comparison import compare as compare
    from .finetuning.library.adding import add_case as add_case
    from .finetuning.library.store import CaseLibrary as CaseLibrary
    from .finetuning.run import fine_tune as fine_tune
    from .inference.case_files import segment_files as segment_files
    from .inference.segmentation import segment_case as segment_case
    from .io.bids.dataset import read_bids as read_bids
    from .io.reading import read_case as read_case
    from .measurement.case import measure as measure
    from .models.store import list_models as list_models
    from .models.store import load_model as load_model
    from .network.transunet import TransUNet as TransUNet
    from .sequences.case_folder import find_case as find_case
    from .training.run import train as train

_MODULES = {
    "BRATS": "contract.labels",
    "CaseLibrary": "finetuning.library.store",
    "NetworkConfig": "contract.network_config",
    "TransUNet": "network.transunet",
    "add_case": "finetuning.library.adding",
    "compare": "evaluation.comparison",
    "find_case": "sequences.case_folder",
    "fine_tune": "finetuning.run",
    "list_models": "models.store",
    "load_model": "models.store",
    "measure": "measurement.case",
    "read_bids": "io.bids.dataset",
    "read_case": "io.reading",
    "segment_case": "inference.segmentation",
    "segment_cohort": "cohorts.cohort",
    "segment_files": "inference.case_files",
    "train": "training.run",
}
__all__ = [*_MODULES, "__version__"]


def __getattr__(name: str) -> object:
    """Load a public name on first use (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_MODULES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
