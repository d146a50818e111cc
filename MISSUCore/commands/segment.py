"""``missu segment``: the tumor in a case."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from ..progress import Progress
from .options import Commands, add_model, add_scans, complain, scans


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "segment",
        parents=[common],
        help="segment a case",
        description="Segment one case: "
        "co-registered, skull-stripped scans, as files or as folders with one DICOM series each.",
    )
    add_scans(parser)
    parser.add_argument("--output", type=Path, required=True, help="label map to write")
    parser.add_argument("--report", type=Path, help="JSON report to write")
    parser.add_argument(
        "--probabilities", action="store_true", help="also write a probability map per region"
    )
    add_model(parser)
    parser.add_argument(
        "--mirror", action="store_true", help="average over mirror images (8 times slower)"
    )
    parser.add_argument(
        "--sliding",
        action=argparse.BooleanOptionalAction,
        help="force a sliding window or a single pass; by default the memory decides",
    )
    parser.add_argument(
        "--minimum-island",
        type=float,
        metavar="MM3",
        help="remove smaller parts of the tumor (default 100)",
    )
    parser.add_argument(
        "--minimum-enhancing",
        type=float,
        default=0.0,
        metavar="MM3",
        help="take less enhancing tumor than this for none (default 0: off)",
    )
    parser.set_defaults(command=run)


def run(options: argparse.Namespace, progress: Progress) -> None:
    paths = scans(options)
    from ..inference.segmentation import SegmentationOptions, segment_files
    from ..model_store import DEFAULT_MODEL

    defaults = SegmentationOptions()
    island = options.minimum_island
    report = segment_files(
        paths,
        options.output,
        model=options.model or DEFAULT_MODEL,
        reference=options.reference,
        report=options.report,
        probabilities=options.probabilities,
        overwrite=options.overwrite,
        options=SegmentationOptions(
            device=options.device,
            mirror=options.mirror,
            sliding=options.sliding,
            cleanup=replace(
                defaults.cleanup,
                minimum_island_mm3=(
                    defaults.cleanup.minimum_island_mm3 if island is None else island
                ),
                minimum_innermost_mm3=options.minimum_enhancing,
            ),
        ),
        progress=progress,
    )
    for warning in report["warnings"]:
        complain(f"warning: {warning}")
    if not options.json_progress:
        for region, volume_ml in report["volumes_ml"].items():
            expected = report["confidence"].get(region)
            doubt = "" if expected is None else f"  expected Dice {expected:.2f}"
            print(f"{region:>8} {volume_ml:8.1f} ml{doubt}")
