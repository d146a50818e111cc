"""``missu info``: what is installed, and what it runs on."""

from __future__ import annotations

import argparse
import json

from ...core.events import Progress
from ..options import Commands


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "info",
        parents=[common],
        help="what is installed, and what it runs on: for bug reports and pipelines",
        description="Print versions, device, memory, models, folders, exit codes. Nothing is sent "
        "anywhere. Paths may hold your name: read it before you pass it on.",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(command=run)


def run(options: argparse.Namespace, progress: Progress) -> None:
    """Print the facts."""
    from ...inference.installation import installation_facts

    facts = installation_facts()
    if options.json:
        print(json.dumps(facts, indent=2))
        return
    for name, value in facts.items():
        if name not in ("schema_version", "exit_codes", "error_codes"):
            print(f"{name.replace('_', ' ')}: {_text(value)}")


def _text(value: object) -> str:
    """A fact in a line; a model by its name."""
    if isinstance(value, dict):
        if "name" in value:
            return str(value["name"])
        return ", ".join(f"{name} {_text(inner)}" for name, inner in value.items())
    if isinstance(value, list):
        return " and ".join(map(_text, value)) or "none"
    return "-" if value is None else str(value)
