"""``missu demo``: a simulated case, segmented."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..core.events import Progress
from .options import Commands, add_model, whole_number


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "demo",
        parents=[common],
        help="segment a simulated case",
        description="Simulate a case with a tumor of known extent, segment it, compare, and write "
        "a page that shows both. Downloads nothing.",
    )
    parser.add_argument("--output", type=Path, default=Path("missu-demo"), help="folder to write")
    parser.add_argument(
        "--seed",
        type=whole_number(0, 2**32 - 1),
        default=0,
        help="another number is another patient",
    )
    add_model(parser)
    parser.set_defaults(command=run)


def run(options: argparse.Namespace, progress: Progress) -> None:
    """Simulate a case, segment it, and print the comparison."""
    from ..models.store import default_model
    from ..simulation.demo import run_demo

    result = run_demo(
        options.output, options.seed, options.model or default_model(), options.device, progress
    )
    if not options.json_progress:
        print(result.comparison.format_table())
        print(f"page: {result.page}")
