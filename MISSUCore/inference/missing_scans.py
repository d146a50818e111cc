"""Missing scans: which ones a model accepts, how they are estimated, and warnings about them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import SimpleITK as sitk

from ..contract.model_card import FewScans, ModelCard, ScanEstimate
from ..core.errors import InputError
from ..core.messages import Text, a_modality, modalities
from ..models.store import Model
from ..preprocessing.scan_estimate import estimated_scan
from ..preprocessing.working_grid import NetworkInput, prepare


def network_input(images: Mapping[str, sitk.Image], card: ModelCard) -> NetworkInput:
    """Network input of a case; a missing scan is estimated if the model can do so.

    Args:
        images: as for :func:`.prepare`.
        card: of the model.

    Raises:
        InputError: as :func:`.prepare` does.
    """
    prepared = prepare(images, card.modalities, card.spacing_mm)
    estimate = _estimate(card, images)
    if estimate:
        places = [card.modalities.index(name) for name in estimate.scans]
        prepared.volume[card.modalities.index(estimate.modality)] = estimated_scan(
            prepared.volume[places], card.spacing_mm, estimate
        )
    return prepared


def _estimate(card: ModelCard, given: Iterable[str]) -> ScanEstimate | None:
    """The estimate of a missing scan from exactly the given ones; None if the card has none."""
    scans = set(given)
    return next((one for one in card.estimates if set(one.scans) == scans), None)


def answering_model(given: list[str], model: Model) -> tuple[Model, list[str]]:
    """The model to use for these scans, and warnings about those that are missing.

    If a model that looks twice was never measured without a missing scan, its finder is used alone:
    in a simulated healthy brain without T1ce the model found 11 ml of tumor.

    Raises:
        InputError: as :func:`check_modalities` does.
    """
    missing = [name for name in model.card.modalities if name not in given]
    # Cards are measured with a single scan left out.
    known = model.card.unreliable_without if len(missing) == 1 else {}
    unknown = [name for name in missing if name not in known]
    if model.finder is None or not unknown:
        return model, check_modalities(given, model)
    finder = model.finder
    alone = Text(
        f"model {model.card.name} was never measured without ",
        modalities(unknown),
        f", so {finder.card.name} answers alone",
    )
    return finder, [*check_modalities(given, finder), alone]


def check_modalities(given: list[str], model: Model) -> list[str]:
    """Warnings about missing modalities that the model can do without.

    Raises:
        InputError: if a modality is unknown to the model, or too many are missing.
    """
    card = model.card
    foreign = [name for name in given if name not in card.modalities]
    missing = [name for name in card.modalities if name not in given]
    needs = Text(f"model {card.name} takes ", modalities(card.modalities))
    if foreign:
        raise InputError(needs, ", but not ", modalities(foreign))
    if not card.accepts(given):
        raise InputError(needs, _allowed(card), "; missing: ", modalities(missing))
    few = card.sufficing(given)
    if few and len(missing) > card.may_miss:
        return [_few_scans(few)]
    estimated = Text(", and the network sees an estimate of it") if _estimate(card, given) else ""
    return [
        Text(
            a_modality(name),
            " is missing",
            estimated,
            f": the result is less reliable{_without(card, name)}",
            _guesses(card, name),
        )
        for name in missing
    ]


def _allowed(card: ModelCard) -> Text:
    """Text on which scans a model can do without."""
    parts: list[object] = []
    if card.may_miss:
        parts.append(f", and works with {card.may_miss} of them missing")
    for few in card.few_scans:
        parts += [", or with ", _and(few.scans), " alone"]
    return Text(*parts)


def _and(names: Sequence[str]) -> Text:
    parts: list[object] = []
    for name in names:
        parts += [" and ", a_modality(name)] if parts else [a_modality(name)]
    return Text(*parts)


def _few_scans(few: FewScans) -> Text:
    """Warning about the quality of the result with so few scans."""
    figures = ", ".join(f"{name} {dice:.2f}" for name, dice in few.dice.items())
    guesses = f"; do not rely on {', '.join(few.guesses)}: this is a guess" if few.guesses else ""
    return Text(
        _and(few.scans),
        f" alone are given: the result is less reliable (mean Dice with them {figures}), and no "
        f"expected Dice is given{guesses}",
    )


def _without(card: ModelCard, modality: str) -> str:
    """Text on the Dice without a modality, as far as the model card has it."""
    figures = card.metrics.get("without_one_modality_dice")
    dice = figures.get(modality) if isinstance(figures, dict) else None
    if not isinstance(dice, dict):
        return ""
    return f" (Dice without it: {', '.join(f'{name} {value}' for name, value in dice.items())})"


def _guesses(card: ModelCard, modality: str) -> Text:
    """Text on regions that are unreliable without a modality, or that this was never measured."""
    if card.temperatures and modality not in card.unreliable_without:
        return Text("; how good it is then was never measured, and no expected Dice is given")
    regions = ", ".join(card.unreliable_without.get(modality, ()))
    if not regions:
        return Text()
    return Text(
        f"; do not rely on {regions}: without ",
        a_modality(modality),
        " this is a guess, and no expected Dice is given for it",
    )
