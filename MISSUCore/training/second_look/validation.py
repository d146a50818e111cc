"""Validation of a fine model in the boxes, alone and together with the first model."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import torch
from torch import Tensor, nn

from ...evaluation.metrics import dice
from ...inference.postprocessing import outermost_regions
from ...inference.predictor import Predictor
from ...inference.second_look import CERTAIN, Odds, log_odds, unsupported
from ..config import TrainingConfig
from ..validation import Report, Scores, score_cases
from .cases import SeenCase, SeenCases

# Suffixes of the log columns after the region's name, in the order of the scores.
KINDS = ("", " alone", " both")


def box_scores(
    network: nn.Module,
    cases: SeenCases,
    membership: Tensor,
    config: TrainingConfig,
    device: torch.device,
    report: Report,
) -> Scores:
    """Dice (cases, 3, regions): as in use, of the fine model alone, and of both models' mean.

    Computed as in use, but without postprocessing, on the fine working grid: there is no tumor
    outside the boxes, nor a region inside that the first look was nowhere sure of.

    Args:
        network: not changed.
        cases: to segment.
        membership: (regions, classes): which class belongs to which region.
        config: settings of the training.
        device: where it computes.
        report: is called with the stage and the name of each case before it is segmented.
    """
    # A copy, since a predictor that runs out of memory moves its network to the CPU.
    predict = Predictor(deepcopy(network), membership, config.targets, device)
    names = cases.scheme.region_names
    answered = [name in config.first_look.averaged for name in names]
    averaged = np.array([answered, [False] * len(names), [True] * len(names)])
    outermost = outermost_regions(cases.scheme)

    def score(index: int) -> list[list[float]]:
        case = cases.seen(index)
        coarse = case.log_odds.float().numpy()
        sure = coarse[outermost].max(axis=0)
        alone, both = _answers(case, coarse, predict)
        truth = membership[:, case.classes.long()].numpy()
        rows = []
        for chosen in averaged:
            odds = np.where(chosen[:, None, None, None], both, alone)
            found = (odds > 0) & ~unsupported(odds, sure, config.first_look.support)
            rows.append([dice(f, t) for f, t in zip(found, truth)])
        return rows

    return score_cases(cases, score, averaged.shape, device, report)


def _answers(case: SeenCase, coarse: Odds, predict: Predictor) -> Odds:
    """Log-odds (2, regions, D, H, W) of the fine model alone, and of the mean of both models."""
    answers: Odds = np.full((2, *coarse.shape), -CERTAIN, dtype=np.float32)
    for z, y, x in case.box_slices():
        volume = case.volume[:, z, y, x].float().contiguous()
        fine = log_odds(predict(volume).numpy())
        answers[0, :, z, y, x] = fine
        answers[1, :, z, y, x] = (fine + coarse[:, z, y, x]) / 2
    return answers
