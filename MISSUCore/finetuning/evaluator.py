"""Evaluation of weights on labeled cases, over whole volumes at the working spacing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..evaluation.metrics import dice
from ..inference.predictor import Predictor
from ..training.cases.labeled import LabeledCase
from .acceptance import Retention
from .context import TuningContext
from .transfer import interpolated


def dice_of_cases(
    context: TuningContext, weights: Mapping[str, Tensor], cases: Sequence[LabeledCase]
) -> dict[str, NDArray[np.float64]]:
    """Dice of each case by region: arrays (regions,), by the case's name."""
    truth = _truth(context, cases)
    return {name: _dice(mask, truth[name]) for name, mask in _answers(context, weights, cases)}


def retention(
    context: TuningContext, tuned: Mapping[str, Tensor], cases: Sequence[LabeledCase]
) -> list[Retention]:
    """Retention of the base's knowledge on other cases, for each interpolation weight.

    Args:
        context: of the run.
        tuned: weights of the tuned model.
        cases: that the model was not tuned on; may be empty.
    """
    if not cases:
        return []
    start = context.start.network.state_dict()
    truth = _truth(context, cases)
    base = dict(_answers(context, start, cases))
    answers = {
        mix: dict(_answers(context, interpolated(start, tuned, mix), cases))
        for mix in context.mixes
    }
    return [
        Retention(
            name,
            _dice(base[name], truth[name]),
            {mix: _dice(found[name], truth[name]) for mix, found in answers.items()},
            {mix: _dice(found[name], base[name]) for mix, found in answers.items()},
        )
        for name in base
    ]


def _answers(
    context: TuningContext, weights: Mapping[str, Tensor], cases: Sequence[LabeledCase]
) -> list[tuple[str, Tensor]]:
    """Name and masks (regions, D, H, W) of each case."""
    network = deepcopy(context.start.network)
    network.load_state_dict(dict(weights))
    config = context.config
    predictor = Predictor(
        network, context.membership, config.targets, context.device, config.patch_size
    )
    prepared = context.prepared(cases)
    return [(case.name, predictor(prepared[index][0]) >= 0.5) for index, case in enumerate(cases)]


def _truth(context: TuningContext, cases: Sequence[LabeledCase]) -> dict[str, Tensor]:
    """Masks (regions, D, H, W) of the labels, by case."""
    prepared = context.prepared(cases)
    return {
        case.name: context.membership[:, prepared[index][1].long()]
        for index, case in enumerate(cases)
    }


def _dice(mask: Tensor, truth: Tensor) -> NDArray[np.float64]:
    return np.array([dice(ours.numpy(), theirs.numpy()) for ours, theirs in zip(mask, truth)])
