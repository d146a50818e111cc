"""The BraTS cases that are held out, and the options of scripts that measure a model on them."""

from __future__ import annotations

import argparse
from pathlib import Path

import MISSUCore
from MISSUCore.training.brats import LabeledCase, find_brats_cases, read_names, split_cases

# The figures of the protocol are of this model where nothing else is said.
FAST_MODEL = "missu-brats-fast"
NAMES = Path(MISSUCore.__file__).with_name("training") / "validation_brats.txt"


def split(folder: Path, names: Path = NAMES) -> tuple[list[LabeledCase], list[LabeledCase]]:
    """The cases in a folder to train on, and those held out."""
    return split_cases(find_brats_cases(folder), read_names(names))


def measuring_parser(description: str | None) -> argparse.ArgumentParser:
    """Parser with the options folder, output, model and names."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("folder", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--model", default=FAST_MODEL)
    parser.add_argument("--names", type=Path, default=NAMES)
    return parser
