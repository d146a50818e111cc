"""How well a network does on the cases held out from its training."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import numpy as np
import torch
from torch import Tensor, nn

from ..core.events import Stage
from ..evaluation.metrics import dice
from ..inference.predictor import Predictor
from .config import TrainingConfig
from .datasets import PreparedCases
from .distributed import rank_in_group, sum_over_ranks

Report = Callable[[str, str], None]


def validation_scores(
    network: nn.Module,
    cases: PreparedCases,
    membership: Tensor,
    config: TrainingConfig,
    device: torch.device,
    report: Report,
) -> np.ndarray:
    """Dice (cases, regions) over whole volumes, at the working spacing.

    The processes of a group share the cases, and all get the scores of all.

    Args:
        network: stays as it is.
        cases: to segment.
        membership: (regions, classes): which class belongs to which region.
        config: settings of the training.
        device: where it computes.
        report: is called with the stage and the name of each case before it is segmented.
    """
    # A copy, since a predictor short of memory moves its network to the CPU.
    predictor = Predictor(deepcopy(network), membership, config.targets, device, config.patch_size)
    scores = np.zeros((len(cases), len(membership)))
    rank, ranks = rank_in_group()
    for index in range(rank, len(cases), ranks):
        volume, classes = cases[index]
        report(Stage.VALIDATE, cases.cases[index].name)
        predicted = predictor(volume) >= 0.5
        truth = membership[:, classes.long()]
        scores[index] = [dice(p.numpy(), t.numpy()) for p, t in zip(predicted, truth)]
    # Each case is 0 in all processes but one.
    return sum_over_ranks(torch.from_numpy(scores), device).numpy()
