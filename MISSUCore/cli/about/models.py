"""``missu models``: what is installed, and what becomes of tuned models."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from ...contract.requests.commands import ModelRequest
from ...contract.requests.exchange import request_of
from ...core.errors import InputError
from ...core.events import JsonLines, Progress, ResultEvent
from ..options import Commands, tell_warnings

if TYPE_CHECKING:
    from ...contract.model_card import ModelCard


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "models",
        parents=[common],
        help="list the installed models, accept tuned ones",
        description="List the installed models; accept or discard what missu finetune made; choose "
        "the model that is used where none is named.",
    )
    parser.add_argument("--json", action="store_true", help="print the model cards as JSON")
    action = parser.add_mutually_exclusive_group()
    action.add_argument(
        "--accept",
        type=Path,
        metavar="RUN",
        help="install a run's candidate as a new version; none is overwritten",
    )
    action.add_argument(
        "--discard", type=Path, metavar="RUN", help="delete a run's candidate and checkpoints"
    )
    action.add_argument("--use", metavar="NAME", help="make an installed model the default")
    action.add_argument("--remove", metavar="NAME", help="delete one of your own models")
    parser.add_argument(
        "--force", action="store_true", help="accept a model that is not better than its base"
    )
    parser.set_defaults(command=run)


def run(options: argparse.Namespace, progress: Progress) -> None:
    """Do what is asked for, or print the cards of the installed models."""
    from ...inference.installation import model_facts
    from ...models.store import list_models, unusable_models

    request = request_of(ModelRequest, vars(options))
    card = None
    if request != ModelRequest():
        card = perform(request, options.json_progress, progress)
        if card is None and not options.json:
            return
    if card is None:
        tell_warnings(unusable_models(), options.json_progress)
    if options.json:
        facts = model_facts(card) if card else [model_facts(one) for one in list_models()]
        print(json.dumps(facts, indent=2))
    elif card:
        print(f"installed {card.name}")
    else:
        _print_models()


def _print_models() -> None:
    """A paragraph for each installed model, and where the user's own belong."""
    from ...models.store import default_model, list_models, user_folder

    default = default_model()
    for card in list_models():
        spacing = " x ".join(f"{length:g}" for length in card.spacing_mm)
        print(f"{card.name}{'  (default)' if card.name == default else ''}")
        print(f"  {card.task}\n  from {', '.join(card.modalities)} at {spacing} mm")
        if card.first_look.model:
            print(f"  looks closely where {card.first_look.model} finds something")
        if dice := card.dice_by_region():
            print(f"  mean Dice {', '.join(f'{name} {value:.2f}' for name, value in dice.items())}")
        for tuning in card.history:
            print(
                f"  tuned {tuning.date} from {tuning.base.name} on {len(tuning.cases)} cases: "
                f"{tuning.verdict}"
            )
    try:
        print(f"Your own models belong in {user_folder()}")
    except InputError as error:
        print(error)


def perform(request: ModelRequest, as_events: bool, progress: Progress) -> ModelCard | None:
    """Change which models there are; returns the card of the one that was installed."""
    from ...models import versions

    if request.force and not request.accept:
        raise InputError("--force belongs to --accept RUN")
    card = None
    if request.accept:
        card = versions.accept(request.accept, request.force)
        if as_events:
            JsonLines()(ResultEvent({"model": card.name}))
    elif request.discard:
        versions.discard(request.discard)
    elif request.use:
        versions.use(request.use)
    elif request.remove:
        versions.remove(request.remove)
    return card
