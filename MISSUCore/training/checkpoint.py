"""The checkpoint of a training run: what it needs to go on as if it had never been stopped."""

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
    """What learns and can be saved: a network, an optimizer."""

    def state_dict(self) -> Any:
        """All that it has learned."""

    def load_state_dict(self, state_dict: Any, /) -> Any:
        """Take over what was learned."""


@dataclass(frozen=True)
class Checkpoint:
    """The file in which a run is saved.

    Args:
        path: of the file, in the folder of the run.
        config: settings of the run.
        setup: what it depends on besides; a change of either would make it another run.
        learners: what learns, by the names that they have in the file.
    """

    path: Path
    config: Mapping[str, Any]
    setup: Mapping[str, Any]
    learners: Mapping[str, Learner]

    def save(self, reached: Mapping[str, Any]) -> None:
        """Write the state of the learners, and how far the run is; replaces the file at once.

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
        """Give the learners their state back.

        Args:
            reached: names of what tells how far the run is.
            device: where tensors are loaded.

        Returns:
            How far the run is, by these names.

        Raises:
            InputError: if the file is damaged, or of a run with other settings.
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
