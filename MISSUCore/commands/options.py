"""Options that several commands share, and how they speak to the user."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..errors import InputError
from ..imaging.modalities import BRATS_MODALITIES

Commands = argparse._SubParsersAction  # argparse has no public name for it


def complain(message: str) -> None:
    """Tell the user something that is no result."""
    start = "\n" if sys.stderr.isatty() else ""  # the progress bar stands in the line
    print(f"{start}missu: {message}", file=sys.stderr)


def add_scans(parser: argparse.ArgumentParser) -> None:
    for modality in BRATS_MODALITIES:
        parser.add_argument(f"--{modality}", type=Path, metavar="FILE", help=f"{modality} scan")
    parser.add_argument(
        "--image",
        action="append",
        default=[],
        metavar="MODALITY=FILE",
        help="scan of another modality, for models of other tasks; may be repeated",
    )
    parser.add_argument("--reference", type=Path, help="image whose grid the result has")
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")


def add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", help="name of an installed model, or a .pt file")
    parser.add_argument("--device", default="auto", help="auto, cuda, mps or cpu")


def scans(options: argparse.Namespace) -> dict[str, Path]:
    """The scans of :func:`add_scans` by modality."""
    paths = {name: getattr(options, name) for name in BRATS_MODALITIES if getattr(options, name)}
    for text in options.image:
        name, found, file = text.partition("=")
        if not (name and found and file):
            raise InputError(f"--image {text}: write MODALITY=FILE")
        if name in paths:
            raise InputError(f"--image {text}: {name} is given twice")
        paths[name] = Path(file)
    if not paths:
        raise InputError("no scan given; give --t1, --t1ce, --t2 and --flair")
    return paths
