"""The checkpoint of a training run: everything needed to resume it exactly."""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from ..core.errors import InputError
from ..core.files import atomic_write

DAMAGE = (
    OSError,
    RuntimeError,
    EOFError,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    pickle.UnpicklingError,
)


class Learner(Protocol):
    """An object with state that training changes, such as a network or an optimizer."""

    def state_dict(self) -> Any:
        """The current state."""

    def load_state_dict(self, state_dict: Any, /) -> Any:
        """Restore a saved state."""


@dataclass(frozen=True)
class Checkpoint:
    """The file in which a run is saved.

    Args:
        path: of the file, in the folder of the run.
        config: settings of the run.
        setup: everything else the run depends on. If settings or setup change, it is another run.
        learners: the objects to save, by their names in the file.
    """

    path: Path
    config: Mapping[str, Any]
    setup: Mapping[str, Any]
    learners: Mapping[str, Learner]

    def save(self, reached: Mapping[str, Any]) -> None:
        """Write the state of the learners and the run's progress; replaces the file atomically.

        Raises:
            InputError: if it cannot be written.
            ResourceError: if the disk is full.
        """
        learned = {name: learner.state_dict() for name, learner in self.learners.items()}
        content = io.BytesIO()
        torch.save({"config": self.config, "setup": self.setup, **learned, **reached}, content)
        # Not by torch.save, which does not say why a file cannot be written.
        with atomic_write(self.path) as temporary:
            temporary.write_bytes(content.getbuffer())

    def restore(self, reached: Iterable[str], device: torch.device) -> Mapping[str, Any]:
        """Restore the state of the learners.

        Args:
            reached: names of the values that describe the run's progress.
            device: where tensors are loaded.

        Returns:
            The run's progress, by these names.

        Raises:
            InputError: if the file is damaged, or belongs to a run with other settings.
        """
        try:
            saved = torch.load(self.path, map_location=device, weights_only=True)
            self._check_same_run({**saved["config"], **saved["setup"]})
            for name, learner in self.learners.items():
                learner.load_state_dict(saved[name])
            saved.setdefault("unlogged", [])  # older checkpoints have none
            return {name: saved[name] for name in reached}
        except DAMAGE as error:
            raise InputError(
                f"{self.path}: is damaged, or no checkpoint of this version; move it away to "
                "start anew"
            ) from error

    def _check_same_run(self, known: Mapping[str, Any]) -> None:
        given = {**self.config, **self.setup}
        changed = [key for key, value in given.items() if known.get(key) != value]
        if changed:
            raise InputError(
                f"{self.path.parent}: holds a run with other settings ({', '.join(changed)}); "
                "give the same to resume it, or another folder"
            )
