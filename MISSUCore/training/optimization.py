"""Initial weights, optimizer and weight averaging of a training."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..contract.labels import label_scheme
from ..core.errors import InputError
from ..models.store import Model
from ..network.transunet import SelfDistillingTransUNet
from .config import TrainingConfig
from .losses import MISSULoss, SegmentationLoss


def start_from(start: Model, model: SelfDistillingTransUNet, config: TrainingConfig) -> None:
    """Initialize the network with the weights of a trained model.

    Raises:
        InputError: if the model does not fit.
    """
    card = start.card
    given = (card.modalities, card.label_scheme().regions, card.targets)
    wanted = (config.modalities, label_scheme(config.scheme).regions, config.targets)
    if given != wanted:
        raise InputError(f"model {card.name} segments from other modalities, or other regions")
    try:
        model.network.load_state_dict(start.network.state_dict())
    except RuntimeError as error:
        raise InputError(
            f"model {card.name} is a network of another shape than the settings ask for"
        ) from error


def new_loss(membership: Tensor, config: TrainingConfig) -> MISSULoss:
    """The training loss; ``membership`` (regions, classes) says which classes form a region."""
    segmentation = SegmentationLoss(
        membership, config.targets, config.loss, config.cross_entropy_weight
    )
    return MISSULoss(segmentation, config.teacher_weight, config.distillation_weight)


def new_optimizer(model: SelfDistillingTransUNet, config: TrainingConfig) -> torch.optim.Optimizer:
    """The optimizer, with the weights in the groups of :func:`parameter_groups`."""
    groups = parameter_groups(model, config)
    if config.decoupled_weight_decay:
        return torch.optim.AdamW(groups, weight_decay=config.weight_decay)
    return torch.optim.Adam(groups, weight_decay=config.weight_decay, amsgrad=True)


def parameter_groups(
    model: SelfDistillingTransUNet, config: TrainingConfig
) -> list[dict[str, Any]]:
    """Groups of weights with the same learning-rate factor and start.

    ``rate`` of a group is its factor of the learning rate; ``waits`` says that its weights are
    frozen until the teacher has learned.
    """
    network = model.network
    stages = network.encoder[: config.early_stages] if config.early_stages else ()
    early = {id(weight) for stage in stages for weight in stage.parameters()}
    students = {id(weight) for weight in network.parameters()}
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for weight in model.parameters():
        rate = config.early_rate if id(weight) in early else 1.0
        waits = config.teacher_start > 0 and id(weight) in students
        groups.setdefault((rate, waits), []).append(weight)
    return [
        {"params": weights, "rate": rate, "waits": waits}
        for (rate, waits), weights in groups.items()
    ]


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, decay: float, step: int) -> None:
    """Update the exponential moving average of the weights after a step."""
    # Follow quickly at first, when the weights still change much.
    decay = min(decay, (1 + step) / (10 + step))
    current = network.state_dict().values()
    for mean, value in zip(average.state_dict().values(), current):
        if mean.is_floating_point():
            mean.lerp_(value, 1 - decay)
        else:
            mean.copy_(value)
