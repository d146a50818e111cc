"""The model card: what a model is, what it learned from, how good it is, where it fails."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from .labels import LabelScheme
from .network_config import NetworkConfig

RESEARCH_ONLY = "Research software, not a medical device. Check every result before using it."


@dataclass(frozen=True)
class ModelCard:
    """What a model is, what it was trained on, how good it is, and where it must not be trusted.

    Attributes:
        name: of the model and its files: letters, digits, dots, dashes, underscores.
        task: one sentence.
        modalities: what the network takes, in its order.
        may_miss: how many of them may be missing, by its training.
        scheme: labels and regions, as :meth:`LabelScheme.as_dict` writes them.
        targets: ``"labels"`` or ``"regions"``: what the network's outputs stand for.
        spacing_mm: working spacing (depth, height, width).
        network: the network's configuration.
        temperatures: by region: what log-odds are divided by to make probabilities frequencies;
            none: nothing is known.
        doubtful_below: expected Dice by region under which a result is called doubtful; none:
            the model's confidence was never held against the truth.
        unreliable_without: by modality: the regions whose expected Dice was found wrong on cases
            without it, so that none is given; without a modality that is not named it was never
            looked at, and none is given for any region.
        training_data: what it learned from, with terms and citations.
        metrics: measured figures, with what was measured and how.
        date: of the training, YYYY-MM-DD.
        limits: where it must not be trusted.
        history: how it was tuned, oldest first: date, base, cases, settings, gate, verdict.
        sha256: of the weight file.
    """

    name: str = ""
    task: str = ""
    modalities: tuple[str, ...] = ()
    may_miss: int = 0
    scheme: dict[str, Any] = field(default_factory=dict)
    targets: str = "labels"
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    temperatures: tuple[float, ...] = ()
    doubtful_below: tuple[float, ...] = ()
    unreliable_without: dict[str, Any] = field(default_factory=dict)
    training_data: str = ""
    metrics: dict[str, Any] = field(default_factory=dict)
    date: str = ""
    limits: str = RESEARCH_ONLY
    history: tuple[dict[str, Any], ...] = ()
    sha256: str = ""

    def label_scheme(self) -> LabelScheme:
        """Labels and regions of the model."""
        return LabelScheme.from_dict(self.scheme)

    def unreliable(self, missing: Iterable[str]) -> list[str]:
        """The regions for which no expected Dice is known where modalities are missing."""
        regions = self.label_scheme().region_names
        found = [set(self.unreliable_without.get(name, regions)) for name in missing]
        # Each was left out alone: what two cost together was never looked at.
        return [name for name in regions if len(found) > 1 or any(name in one for one in found)]
