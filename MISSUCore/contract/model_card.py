"""The model card: what a model is, what it learned from, how good it is, where it fails."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ..core.errors import InputError
from ..core.files import NAME, read_json, write_json
from ..core.messages import Text, a_file
from ..core.serialization import JsonObject, many, settings_from_dict, settings_to_dict
from .labels import TARGETS, LabelScheme
from .model_identity import ModelIdentity
from .network_config import NetworkConfig
from .tuning.verdict import Dice, MeanDice

RESEARCH_ONLY = "Research software, not a medical device. Check every result before using it."
# Finer, and a head fills no memory; coarser, and no tumor is seen.
SPACINGS_MM = (0.1, 50.0)
MOST_MARGIN = 100  # voxels: beyond, a box is the whole brain


@dataclass(frozen=True)
class TuningOutcome:
    """What a model's card keeps of an acceptance test, see :class:`.AcceptanceTest`."""

    folds: int = 0
    steps: int = 0
    mix: float = 1.0
    rule: str = ""
    reason: str = ""
    mean: MeanDice = field(default_factory=MeanDice)


@dataclass(frozen=True)
class Tuning:
    """A fine-tuning in the history of a model.

    Attributes:
        date: YYYY-MM-DD.
        base: model that it began with.
        cases: names of those it was tuned on.
        scans_sha256: checksum of a scan of each; none in a card that lacks them.
        settings: of the training.
        gate: what came of the acceptance test.
        verdict: of the same, in a word.
    """

    date: str = ""
    base: ModelIdentity = field(default_factory=ModelIdentity)
    cases: tuple[str, ...] = many(str)
    scans_sha256: tuple[str, ...] = many(str)
    settings: JsonObject = field(default_factory=dict)
    gate: TuningOutcome = field(default_factory=TuningOutcome)
    verdict: str = ""


@dataclass(frozen=True)
class FirstLook:
    """Where a fine model looks: only where the finder, another model, finds something.

    Attributes:
        model: name of that model, of the same modalities and regions; empty: the fine model looks
            at the whole case itself.
        threshold: log-odds of a tumor above which the fine model looks closer.
        margin: voxels of the fine model around what was found.
        averaged: regions whose log-odds are the mean of both models'; those of the others are
            the fine model's alone.
        support: log-odds that the first look must reach in some voxel of what the fine model
            found; a part of the answer without such a voxel is ruled out. The fine model hardly
            ever saw a brain without a tumor, and finds one too easily wherever it looks. Not
            asked where a scan is missing without which the first look is not reliable.
    """

    model: str = ""
    threshold: float = -1.0
    margin: int = 10
    averaged: tuple[str, ...] = many(str)
    support: float = 2.0


@dataclass(frozen=True)
class ScanEstimate:
    """How a network's input is made up where a scan is missing, from the others.

    Attributes:
        modality: of the scan that is missing.
        scans: modalities that it is estimated from.
        coefficients: of the quadratic polynomial in their z-scores, in the order of
            :mod:`.scan_estimate`.
    """

    modality: str = ""
    scans: tuple[str, ...] = many(str)
    coefficients: tuple[float, ...] = many(float)


@dataclass(frozen=True)
class FewScans:
    """Scans that suffice although more are missing than usually may be, as it was measured.

    Attributes:
        scans: modalities.
        dice: mean by region with these scans alone.
        guesses: regions that are not to be relied on with them.
    """

    scans: tuple[str, ...] = many(str)
    dice: dict[str, float] = field(default_factory=dict)
    guesses: tuple[str, ...] = many(str)


@dataclass(frozen=True)
class ModelCard:
    """What a model is, what it was trained on, how good it is, and where it must not be trusted.

    Attributes:
        name: of the model and its files: letters, digits, dots, dashes, underscores.
        task: one sentence.
        modalities: what the network takes, in its order.
        may_miss: how many of them may be missing, by its training.
        few_scans: combinations of fewer scans that suffice; all others are refused.
        estimates: scans that are estimated from all others where they alone are missing.
        scheme: labels and regions, as :meth:`LabelScheme.as_dict` writes them.
        targets: ``"labels"`` or ``"regions"``: what the network's outputs stand for.
        spacing_mm: working spacing (depth, height, width).
        network: the network's configuration.
        first_look: the model that finds where this one looks, if one does.
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
        history: how it was tuned, oldest first.
        sha256: of the weight file.
    """

    name: str = ""
    task: str = ""
    modalities: tuple[str, ...] = ()
    may_miss: int = 0
    few_scans: tuple[FewScans, ...] = many(FewScans)
    estimates: tuple[ScanEstimate, ...] = many(ScanEstimate)
    scheme: JsonObject = field(default_factory=dict)
    targets: str = "labels"
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    first_look: FirstLook = field(default_factory=FirstLook)
    temperatures: tuple[float, ...] = ()
    doubtful_below: tuple[float, ...] = ()
    unreliable_without: dict[str, list[str]] = field(default_factory=dict)
    training_data: str = ""
    metrics: JsonObject = field(default_factory=dict)
    date: str = ""
    limits: str = RESEARCH_ONLY
    history: tuple[Tuning, ...] = many(Tuning)
    sha256: str = ""

    def label_scheme(self) -> LabelScheme:
        """Labels and regions of the model."""
        return LabelScheme.from_dict(self.scheme)

    def sufficing(self, given: Iterable[str]) -> FewScans | None:
        """What is known of scans of which more are missing than may be; None: they do not do."""
        scans = set(given)
        return next((few for few in self.few_scans if set(few.scans) == scans), None)

    def accepts(self, given: Iterable[str]) -> bool:
        """Whether the model works with these of its modalities."""
        scans = set(given)
        missing = sum(name not in scans for name in self.modalities)
        return missing <= self.may_miss or self.sufficing(scans) is not None

    def unreliable(self, missing: Iterable[str]) -> list[str]:
        """The regions for which no expected Dice is known where modalities are missing."""
        regions = self.label_scheme().region_names
        found = [set(self.unreliable_without.get(name, regions)) for name in missing]
        # Each was left out alone: what two cost together was never looked at.
        return [name for name in regions if len(found) > 1 or any(name in one for one in found)]

    def dice_by_region(self) -> Dice:
        """Mean Dice by region as it was measured; empty if the card has none by region.

        Raises:
            InputError: if the metrics hold something else in its place.
        """
        means = self.metrics.get("mean_by_region", self.metrics.get("mean_dice"))
        if not isinstance(means, dict):  # one figure for all regions, or none
            return {}
        found: Dice = {}
        for name, score in means.items():
            dice = score.get("dice") if isinstance(score, dict) else score
            if isinstance(dice, bool) or not isinstance(dice, (int, float)):
                raise InputError(f"metrics hold no mean Dice by region, but {means}")
            found[name] = dice
        return found


def read_card(path: Path) -> ModelCard:
    """The model card in a JSON file.

    Raises:
        InputError: if it cannot be read, or is not the card of a model that this version can use.
    """
    try:
        card = settings_from_dict(ModelCard, read_json(path))
        check_card(card)
    except (OSError, ValueError, InputError) as error:
        raise InputError(a_file(path), f": is not a model card: {error}") from error
    if card.name != path.stem:
        raise InputError(a_file(path), f": is the card of a model named {card.name!r}")
    return card


def read_cards(folder: Path) -> tuple[list[ModelCard], list[Text]]:
    """The model cards in a folder by name, and what is wrong with those that cannot be used.

    A JSON file that is not a card, without weights of its name beside it, belongs to no model.
    It is passed over.
    """
    cards, problems = [], []
    for path in sorted(folder.glob("[!.]*.json")):
        try:
            cards.append(read_card(path))
        except InputError as error:
            if path.with_suffix(".pt").exists():
                advice = "; install this model again, or take its files out of the folder"
                problems.append(Text(error.text, advice))
    return cards, problems


def write_card(path: Path, card: ModelCard) -> None:
    """Write a model card to a JSON file, of the name of the model.

    Raises:
        InputError: if it cannot be written.
        ResourceError: if the disk is full.
    """
    write_json(path, settings_to_dict(card))


def check_card(card: ModelCard) -> None:
    """Make sure that a card makes sense.

    Raises:
        InputError: naming what does not.
    """
    if not re.fullmatch(NAME, card.name):
        raise InputError(f"a model cannot be named {card.name!r}; take letters, digits, - and _")
    for name in card.modalities:
        if not isinstance(name, str) or not re.fullmatch(NAME, name):
            raise InputError(f"modalities have names of letters, digits, - and _, not {name!r}")
    if not 0 <= card.may_miss < len(set(card.modalities)) == len(card.modalities):
        raise InputError(f"{card.may_miss} of the modalities {card.modalities} cannot be missing")
    if card.targets not in TARGETS:
        raise InputError(f"targets must be 'labels' or 'regions', not {card.targets!r}")
    if len(card.spacing_mm) != 3 or not all(
        SPACINGS_MM[0] <= step <= SPACINGS_MM[1] for step in card.spacing_mm
    ):
        raise InputError(
            "spacing_mm must be three positive numbers from "
            f"{SPACINGS_MM[0]} to {SPACINGS_MM[1]}, not {card.spacing_mm}"
        )
    scheme = card.label_scheme()
    for name in ("temperatures", "doubtful_below"):
        numbers = getattr(card, name)
        if len(numbers) not in (0, len(scheme.regions)) or not all(
            isinstance(number, (int, float)) and 0 < number < math.inf for number in numbers
        ):
            raise InputError(f"{name} must be a positive number for each region, not {numbers}")
    for few in card.few_scans:
        named = {*few.dice, *few.guesses}
        if not few.scans or not set(few.scans) <= set(card.modalities):
            raise InputError(f"few_scans names scans that are not the model's: {few.scans}")
        if not named <= set(scheme.region_names):
            raise InputError(f"few_scans names regions that are not the model's: {sorted(named)}")
    for modality, regions in card.unreliable_without.items():
        if (
            modality not in card.modalities
            or not isinstance(regions, list)
            or not set(map(str, regions)) <= set(scheme.region_names)
        ):
            raise InputError(
                "unreliable_without names modalities and lists of regions of the model, not "
                f"{modality!r}: {regions!r}"
            )
    _check_estimates(card)
    _check_first_look(card)
    card.dice_by_region()
    outputs = scheme.outputs(card.targets)
    if (card.network.modalities, card.network.outputs) != (len(card.modalities), outputs):
        raise InputError("its network does not fit its modalities and regions")


def _check_estimates(card: ModelCard) -> None:
    for estimate in card.estimates:
        if {estimate.modality, *estimate.scans} != set(card.modalities) or (
            estimate.modality in estimate.scans
        ):
            raise InputError("estimates are of one of the model's scans, from all others")
        count = 2 * len(estimate.scans)  # in the voxel, and around it
        terms = 1 + count + count * (count + 1) // 2
        if len(estimate.coefficients) != terms or not all(
            map(math.isfinite, estimate.coefficients)
        ):
            raise InputError(f"an estimate from {estimate.scans} needs {terms} finite coefficients")


def _check_first_look(card: ModelCard) -> None:
    first = card.first_look
    if not first.model:
        return
    if not re.fullmatch(NAME, first.model):
        raise InputError(f"a model cannot be named {first.model!r}; take letters, digits, - and _")
    if first.model == card.name:
        raise InputError("first_look names the model itself; name one that looks at whole cases")
    for name, value in (("threshold", first.threshold), ("support", first.support)):
        if not math.isfinite(value):
            raise InputError(f"the {name} of first_look must be a number, not {value}")
    if not 0 <= first.margin <= MOST_MARGIN:
        raise InputError(f"the margin of first_look must be 0 to {MOST_MARGIN}, not {first.margin}")
    if not set(first.averaged) <= set(card.label_scheme().region_names):
        raise InputError(f"averaged of first_look names regions of the model, not {first.averaged}")
