"""How well a fine model does in the boxes, alone and together with the model that looked first."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...core.events import Stage
from ...evaluation.metrics import dice
from ...inference.predictor import Predictor
from ...inference.second_look import CERTAIN, log_odds
from ..config import TrainingConfig
from ..distributed import rank_in_group, sum_over_ranks
from ..validation import Report
from .cases import SeenCase, SeenCases

# The answers, in the order of the scores.
ALONE, BOTH = 0, 1


def box_scores(
    network: nn.Module,
    cases: SeenCases,
    membership: Tensor,
    config: TrainingConfig,
    device: torch.device,
    report: Report,
) -> NDArray[np.float64]:
    """Dice (cases, 2, regions) of the fine model alone, and of the mean of both models' log-odds.

    Without clean-up, on the fine working grid; outside the boxes there is no tumor. The processes
    of a group share the cases, and all get the scores of all.

    Args:
        network: stays as it is.
        cases: to segment.
        membership: (regions, classes): which class belongs to which region.
        config: settings of the training.
        device: where it computes.
        report: is called with the stage and the name of each case before it is segmented.
    """
    # A copy, since a predictor short of memory moves its network to the CPU.
    predict = Predictor(deepcopy(network), membership, config.targets, device)
    scores = np.zeros((len(cases), 2, len(membership)))
    rank, ranks = rank_in_group()
    for index in range(rank, len(cases), ranks):
        report(Stage.VALIDATE, cases.cases[index].name)
        scores[index] = _scores_of(cases.seen(index), predict, membership)
    return sum_over_ranks(torch.from_numpy(scores), device).numpy()


def _scores_of(case: SeenCase, predict: Predictor, membership: Tensor) -> NDArray[np.float64]:
    answers = np.full((2, *case.log_odds.shape), -CERTAIN, dtype=np.float32)
    for z, y, x in case.box_slices():
        volume = case.volume[:, z, y, x].float().contiguous()
        fine = log_odds(predict(volume).numpy())
        coarse = case.log_odds[:, z, y, x].float().numpy()
        answers[ALONE, :, z, y, x] = fine
        answers[BOTH, :, z, y, x] = (fine + coarse) / 2
    truth = membership[:, case.classes.long()].numpy()
    return np.array([[dice(p > 0, t) for p, t in zip(answer, truth)] for answer in answers])
