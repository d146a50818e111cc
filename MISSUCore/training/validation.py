"""Validation of a network on cases held out from training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from ..core.events import Stage
from ..evaluation.metrics import dice
from ..inference.predictor import Predictor
from .config import TrainingConfig
from .datasets import PreparedCases
from .distributed import rank_in_group, sum_over_ranks

Report = Callable[[str, str], None]
Scores = NDArray[np.float64]


def validation_scores(
    network: nn.Module,
    cases: PreparedCases,
    membership: Tensor,
    config: TrainingConfig,
    device: torch.device,
    report: Report,
) -> Scores:
    """Dice (cases, regions) over whole volumes, at the working spacing.

    Args:
        network: not changed.
        cases: to segment.
        membership: (regions, classes): which class belongs to which region.
        config: settings of the training.
        device: where it computes.
        report: is called with the stage and the name of each case before it is segmented.
    """
    # A copy, since a predictor that runs out of memory moves its network to the CPU.
    predictor = Predictor(deepcopy(network), membership, config.targets, device, config.patch_size)

    def score(index: int) -> list[float]:
        volume, classes = cases[index]
        predicted = predictor(volume) >= 0.5
        truth = membership[:, classes.long()]
        return [dice(p.numpy(), t.numpy()) for p, t in zip(predicted, truth)]

    return score_cases(cases, score, (len(membership),), device, report)


def score_cases(
    cases: PreparedCases,
    score: Callable[[int], ArrayLike],
    shape: tuple[int, ...],
    device: torch.device,
    report: Report,
) -> Scores:
    """Scores (cases, *shape); the processes share the work, and each gets all scores.

    Args:
        cases: to score.
        score: gives the scores of a case, by its number.
        shape: of one case's scores.
        device: of this process.
        report: is called with the stage and the name of each case before it is scored.
    """
    scores = np.zeros((len(cases), *shape))
    rank, ranks = rank_in_group()
    for index in range(rank, len(cases), ranks):
        report(Stage.VALIDATE, cases.cases[index].name)
        scores[index] = score(index)
    # In all processes but one, a case's scores are 0, so that the sum is the score.
    return sum_over_ranks(torch.from_numpy(scores), device).numpy()


def groups_of(cases: PreparedCases) -> list[str] | None:
    """The group of each case; None if there is only one group."""
    groups = [case.group for case in cases.cases]
    return groups if len(set(groups)) > 1 else None


def log_of(
    scores: Mapping[str, Scores], regions: Sequence[str], groups: Sequence[str] | None
) -> tuple[dict[str, float], str]:
    """Mean scores of all cases, and of each group if there are several: as log columns and text.

    Args:
        scores: (cases,) by name of the column.
        regions: columns that are also given for each group.
        groups: of each case, see :func:`groups_of`.
    """
    row = {column: float(values.mean()) for column, values in scores.items()}
    texts = [_named(row)]
    of_case = np.array(groups or [])
    for name in np.unique(of_case).tolist():
        own = of_case == name
        means = {region: float(scores[region][own].mean()) for region in regions}
        row |= {f"{name} {region}": mean for region, mean in means.items()}
        texts.append(f"{name}: {_named(means)}")
    return row, "; ".join(texts)


def _named(means: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {mean:.3f}" for name, mean in means.items())
