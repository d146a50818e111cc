"""``missu cost``: parameters and multiply-adds of the network."""

from __future__ import annotations

import argparse
import json

from ...core.events import Progress
from ..options import Commands


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "cost",
        parents=[common],
        help="parameters and multiply-adds of the network",
        description="Parameters and multiply-adds of the paper's network for one volume of "
        "128 x 128 x 128 voxels and four scans: as it segments, and as it would be with the "
        "multi-scale fusion that only trains.",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.set_defaults(command=run)


def run(options: argparse.Namespace, progress: Progress) -> None:
    """Print what the network costs."""
    from ...network.cost import cost_report, cost_table

    report = cost_report()
    print(json.dumps(report, indent=2) if options.json else cost_table(report))
