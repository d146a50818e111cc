"""``missu export``: a model for programs that have no MISSUCore."""

from __future__ import annotations

import argparse
from pathlib import Path

from ...core.events import JsonLines, Progress, ResultEvent
from ..options import Commands

FORMATS = ("torchscript", "onnx")


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "export",
        parents=[common],
        help="write a model as TorchScript or ONNX, with a JSON file of how to use it",
        description="Write a model for other programs: the network in single precision as OUTPUT, "
        "that of the first look, if the model looks twice, as OUTPUT with -finder in its name, "
        "and a JSON file, OUTPUT.json, that says what to do before and after.",
    )
    parser.add_argument("model", help="name of an installed model, or a .pt file")
    parser.add_argument("output", type=Path, help="file to write, .ts or .pt, or .onnx")
    parser.add_argument("--format", choices=FORMATS, required=True, help="of the networks")
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")
    parser.set_defaults(command=run)


def run(options: argparse.Namespace, progress: Progress) -> None:
    """Write the files, and print their names."""
    from ...export.files import export_model

    files = export_model(options.model, options.format, options.output, options.overwrite, progress)
    if options.json_progress:
        JsonLines()(ResultEvent({"output": str(files[0]), "description": str(files[-1])}))
        return
    for path in files:
        print(path)
