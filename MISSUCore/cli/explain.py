"""``missu explain``: what in the scans speaks for each region."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..core.events import Progress
from .options import (
    Commands,
    add_model,
    add_result,
    add_scans,
    chosen_scans,
    scan_inputs,
    tell_warnings,
)


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "explain",
        parents=[common],
        help="show what in the scans speaks for each region",
        description="Write a Grad-CAM map from 0 to 1 for each region, gradcam_REGION.nii.gz: what "
        "the network's last convolution saw that spoke for the region.",
    )
    add_scans(parser)
    add_result(parser)
    parser.add_argument("--output", type=Path, required=True, help="folder to write the maps to")
    add_model(parser)
    parser.set_defaults(command=run)


def run(options: argparse.Namespace, progress: Progress) -> None:
    """Explain the case that the options name."""
    inputs = scan_inputs(options)
    given = chosen_scans(inputs, progress.part(0.0, 0.03))
    from ..inference.explanation import explain_files

    explained = explain_files(
        given.paths,
        options.output,
        model=options.model,
        reference=options.reference,
        brain_mask=options.brain_mask,
        preprocessing=inputs.preprocessing,
        device=options.device,
        overwrite=options.overwrite,
        progress=progress.part(0.03, 1.0),
    )
    tell_warnings(explained.warnings, options.json_progress)
    if not options.json_progress:
        for region, path in explained.files.items():
            print(f"{region:>8} {path}")
