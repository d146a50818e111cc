"""``missu evaluate``: segmentations against references."""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from pathlib import Path

from ..contract.requests.commands import EvaluateRequest
from ..contract.requests.exchange import request_of
from ..core.events import Progress
from .options import Commands


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "evaluate",
        parents=[common],
        help="compare segmentations with references",
        description="Dice, NSD and Hausdorff distances of a label map, or a folder of them, "
        "against a reference: by region, and by lesion as the BraTS challenges of 2023 and 2026 "
        "count them.",
    )
    parser.add_argument(
        "prediction", type=Path, help="label map to judge, or a folder with one per case"
    )
    parser.add_argument(
        "reference", type=Path, help="true label map, or a folder of them, with the same names"
    )
    parser.add_argument("--scheme", default="brats", help="brats, brats2023, chaos-liver, a file")
    parser.add_argument("--csv", type=Path, help="write a row per case and region")
    parser.add_argument("--json", type=Path, help="write rows and summary")
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")
    parser.set_defaults(command=run)


def run(options: argparse.Namespace, progress: Progress) -> None:
    """Compare, write the tables that are asked for, and print the summary."""
    perform(request_of(EvaluateRequest, vars(options)), options.json_progress, progress)


def perform(request: EvaluateRequest, as_events: bool, progress: Progress) -> None:
    """Compare, write the tables, and print the summary unless events are asked for."""
    from ..contract.labels import label_scheme
    from ..core.files import atomic_write
    from ..evaluation.comparison import compare
    from ..evaluation.pairs import find_pairs
    from ..io.writing import check_outputs

    pairs = find_pairs(request.prediction, request.reference)
    inputs = [path for pair in pairs for path in (pair.prediction, pair.reference)]
    if not request.scheme.startswith("{"):  # JSON itself is not a file
        inputs.append(Path(request.scheme))
    outputs = [path for path in (request.csv, request.json) if path]
    check_outputs(outputs, inputs, request.overwrite)
    comparison = compare(
        request.prediction, request.reference, label_scheme(request.scheme), progress
    )
    with ExitStack() as stack:  # both appear, or neither
        if request.csv:
            comparison.write_csv(stack.enter_context(atomic_write(request.csv)))
        if request.json:
            comparison.write_json(stack.enter_context(atomic_write(request.json)))
    if not as_events:
        print(comparison.format_table())
