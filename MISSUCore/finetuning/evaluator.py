"""Weights tried on labeled cases, over whole volumes at the working spacing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..evaluation.metrics import dice
from ..inference.predictor import Predictor
from ..network.transunet import TransUNet
from ..training.brats import LabeledCase
from ..training.config import TrainingConfig
from ..training.datasets import PreparedCases
from .transfer import mixed
from .verdict import Forgetting


@dataclass(frozen=True)
class Trial:
    """Tries weights on cases.

    Args:
        network: the base, with its weights.
        prepare: brings cases to the working grid.
        membership: (regions, classes): which class belongs to which region.
        config: settings of the training.
        device: where it computes.
    """

    network: TransUNet
    prepare: Callable[[list[LabeledCase]], PreparedCases]
    membership: Tensor
    config: TrainingConfig
    device: torch.device

    def scores(
        self, weights: Mapping[str, Tensor], cases: list[LabeledCase]
    ) -> dict[str, NDArray[np.float64]]:
        """Dice of each case by region: arrays (regions,)."""
        truth = self._truth(cases)
        return {name: _dice(mask, truth[name]) for name, mask in self._answers(weights, cases)}

    def forgetting(
        self, cases: list[LabeledCase], tuned: Mapping[str, Tensor], mixes: Sequence[float]
    ) -> list[Forgetting]:
        """What of the base is lost on cases that were not tuned on.

        Args:
            cases: may be none.
            tuned: weights.
            mixes: shares of them to try.
        """
        if not cases:
            return []
        start = self.network.state_dict()
        truth = self._truth(cases)
        base = dict(self._answers(start, cases))
        answers = {mix: dict(self._answers(mixed(start, tuned, mix), cases)) for mix in mixes}
        return [
            Forgetting(
                name,
                _dice(base[name], truth[name]),
                {mix: _dice(found[name], truth[name]) for mix, found in answers.items()},
                {mix: _dice(found[name], base[name]) for mix, found in answers.items()},
            )
            for name in base
        ]

    def _answers(
        self, weights: Mapping[str, Tensor], cases: list[LabeledCase]
    ) -> list[tuple[str, Tensor]]:
        """Name and masks (regions, D, H, W) of each case."""
        network = deepcopy(self.network)
        network.load_state_dict(dict(weights))
        predictor = Predictor(
            network, self.membership, self.config.targets, self.device, self.config.patch_size
        )
        prepared = self.prepare(cases)
        return [
            (case.name, predictor(prepared[index][0]) >= 0.5) for index, case in enumerate(cases)
        ]

    def _truth(self, cases: list[LabeledCase]) -> dict[str, Tensor]:
        """Masks (regions, D, H, W) of the labels, by case."""
        prepared = self.prepare(cases)
        return {
            case.name: self.membership[:, prepared[index][1].long()]
            for index, case in enumerate(cases)
        }


def _dice(mask: Tensor, truth: Tensor) -> NDArray[np.float64]:
    return np.array([dice(ours.numpy(), theirs.numpy()) for ours, theirs in zip(mask, truth)])
