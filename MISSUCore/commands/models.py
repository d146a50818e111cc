"""``missu models``: what is installed."""

from __future__ import annotations

import argparse
import json

from ..progress import Progress
from .options import Commands


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("models", parents=[common], help="list the installed models")
    parser.add_argument("--json", action="store_true", help="print the model cards as JSON")
    parser.set_defaults(command=run)


def run(options: argparse.Namespace, progress: Progress) -> None:
    from ..model_store import list_models, user_folder
    from ..settings import settings_to_dict

    cards = list_models()
    if options.json:
        print(json.dumps([settings_to_dict(card) for card in cards], indent=2))
        return
    for card in cards:
        spacing = " x ".join(f"{length:g}" for length in card.spacing_mm)
        print(f"{card.name}\n  {card.task}\n  from {', '.join(card.modalities)} at {spacing} mm")
    print(f"Your own models belong in {user_folder()}")
