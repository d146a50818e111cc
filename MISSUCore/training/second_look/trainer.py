"""The training loop of a fine model for the second look."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..datasets import usable_workers
from ..trainer import Trainer
from ..validation import Scores
from .batches import Batches, BatchStream
from .cases import SeenCases
from .crops import LesionCrops
from .validation import KINDS, box_scores


@dataclass
class SecondLookTrainer(Trainer):
    """A trainer whose patches and validation depend on the first look's predictions.

    Args:
        training: cases to learn from, :class:`.SeenCases`.
        validation: of the same kind; each region is scored as in use: from the fine model alone,
            or averaged with the first look.
        crops: lesion crops to learn from as well.

    Raises:
        InputError: as the trainer.
    """

    training: SeenCases
    validation: SeenCases
    crops: LesionCrops | None = None

    def scores(self) -> dict[str, Scores]:
        """Dice of the averaged weights: as in use, of the fine model alone, and of the mean."""
        scores = box_scores(
            self.average, self.validation, self.membership, self.config, self.device, self._report
        )
        return {
            f"{name}{kind}": scores[:, answer, region]
            for answer, kind in enumerate(KINDS)
            for region, name in enumerate(self.region_names)
        }

    def setup(self) -> dict[str, Any]:
        """Everything besides the settings that identifies the run."""
        return {
            **super().setup(),
            "first look": self.training.finder.card.sha256,
            "lesion crops": self.crops.sha256 if self.crops else None,
        }

    def _loader(self) -> Iterable[tuple[Tensor, Tensor]]:
        config = self.config
        batches = Batches(
            self.training, self.crops, config, self.steps * config.accumulation * self.ranks
        )
        steps = range(self.step, self.steps)
        workers = usable_workers(self.workers, batches, self._tell)
        return BatchStream(batches, steps, self.device, self.layout, workers)
