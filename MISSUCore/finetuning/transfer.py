"""Initial weights from another model, for the same or a new task, and weight interpolation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ..contract.labels import LabelScheme
from ..models.store import Model
from ..network.transunet import TransUNet


def fits(base: Model, modalities: Sequence[str], scheme: LabelScheme) -> bool:
    """Whether a model was trained for this task."""
    card = base.card
    return card.modalities == tuple(modalities) and card.label_scheme().regions == scheme.regions


def transfer(base: Model, modalities: Sequence[str], scheme: LabelScheme) -> Model:
    """The model adapted to a task; the model itself if it was trained for that task.

    The weights of the first convolution are copied by the modality's name; an unknown modality
    gets the mean of all. The head is new if the regions are; all other weights are copied.

    Args:
        base: model to start from.
        modalities: of the new task, in their order.
        scheme: its labels and regions.
    """
    if fits(base, modalities, scheme):
        return base
    card = base.card
    same_regions = card.label_scheme().regions == scheme.regions
    network = TransUNet(
        replace(card.network, modalities=len(modalities), outputs=scheme.outputs(card.targets))
    )
    weights = dict(base.network.state_dict())
    first = "encoder.0.entry.0.weight"
    weights[first] = _channels(weights[first], card.modalities, modalities)
    if not same_regions:
        weights.update({f"head.{name}": value for name, value in network.head.state_dict().items()})
    network.load_state_dict(weights)
    regions = ", ".join(region.title.lower() for region in scheme.regions)
    return Model(
        network.eval(),
        replace(
            card,
            task=f"Segments {regions}",
            modalities=tuple(modalities),
            may_miss=min(card.may_miss, len(modalities) - 1),
            scheme=scheme.as_dict(),
            network=network.config,
            temperatures=(),
            doubtful_below=(),
            unreliable_without={},
            few_scans=(),
            metrics={},
        ),
    )


def _channels(weight: Tensor, known: Sequence[str], wanted: Sequence[str]) -> Tensor:
    """A convolution's weight (outputs, modalities, 3, 3, 3), adapted to other modalities."""
    mean = weight.mean(dim=1)
    channels = [weight[:, known.index(name)] if name in known else mean for name in wanted]
    return torch.stack(channels, dim=1)


def interpolated(
    base: Mapping[str, Tensor], tuned: Mapping[str, Tensor], weight: float
) -> dict[str, Tensor]:
    """Weights between those of a base and a tuned model (WiSE-FT, Wortsman et al. 2022).

    An intermediate weight keeps most of the old knowledge and most of the gain.

    Args:
        base: state of the network before.
        tuned: after.
        weight: interpolation weight of the tuned model, 0 to 1.
    """
    return {
        name: torch.lerp(value, tuned[name].to(value), weight)
        if value.is_floating_point()
        else tuned[name]
        for name, value in base.items()
    }
