"""``missu verify``: is a segmentation as the model computed it, edited since, or signed off?"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from ..core.errors import MISSUError
from ..core.events import Progress
from ..core.messages import a_file
from .options import Commands


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "verify",
        parents=[common],
        help="is a segmentation as computed, edited since, or signed off?",
        description="Compare a segmentation with what was recorded of it, voxel by voxel, and tell "
        "what computed it, who edited it and who signed it off. The exit code is 0 if it is as "
        "computed, or a sign-off holds for it as it is; else 1.",
    )
    parser.add_argument(
        "segmentation",
        type=Path,
        metavar="SEG",
        help="label map, or a segmentation that 3D Slicer has saved (.seg.nrrd)",
    )
    parser.add_argument(
        "--report",
        type=Path,
        metavar="FILE",
        help="JSON report that missu segment wrote of the label map",
    )
    parser.add_argument("--scheme", default="brats", help="brats, brats2023, chaos-liver, a file")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(command=run)


def run(options: argparse.Namespace, progress: Progress) -> None:
    """Compare, and print what is known.

    Raises:
        MISSUError: if it is neither as computed nor signed off.
    """
    from ..contract.labels import label_scheme
    from ..evaluation.verification import verify

    found = verify(options.segmentation, options.report, label_scheme(options.scheme))
    print(json.dumps(found.to_dict(), indent=2) if options.json else "\n".join(found.sentences()))
    if found.status == "changed":
        raise MISSUError(
            a_file(options.segmentation),
            ": is not as the model computed it, and no sign-off holds for it as it is",
        )
