"""``missu train``: a model from labeled cases."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from ..core.events import Progress
from .options import Commands, add_settings, changed_settings, tell_user, whole_number

CPU_WARNING = (
    "no GPU is used: with the paper's presets, training on a CPU hardly ends; try --preset "
    "brats-fast or brats-precise, fewer --set epochs=N, or missu finetune"
)


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "train",
        parents=[common],
        help="train a model",
        description="Train a model, or go on with a run that was stopped: give the same command "
        "again. Start it with torchrun to use several GPUs or nodes.",
    )
    data = parser.add_mutually_exclusive_group(required=True)
    data.add_argument("--brats", type=Path, metavar="FOLDER", help="BraTS 2018-2023 training data")
    data.add_argument("--chaos", type=Path, metavar="FOLDER", help="CHAOS training data")
    data.add_argument("--cases", type=Path, metavar="FILE", help="JSON list of cases")
    parser.add_argument("--output", type=Path, required=True, help="folder of the run")
    parser.add_argument(
        "--validation",
        type=Path,
        metavar="FILE",
        action="append",
        default=[],
        help="names of the cases held out, one per line; may be repeated, the Dice of each file's "
        "cases is then reported apart, too",
    )
    parser.add_argument(
        "--preset",
        help="paper-brats, paper-chaos, brats-fast or brats-precise (default: paper-chaos with "
        "--chaos, else paper-brats: the paper's recipe, for large GPUs; brats-fast needs far less "
        "time; brats-precise is for the second look, at 1 mm, where brats-fast finds something)",
    )
    parser.add_argument(
        "--crops", type=Path, metavar="FILE", help="lesion crops to learn from, with brats-precise"
    )
    add_settings(parser)
    parser.add_argument("--start", metavar="MODEL", help="model whose weights to begin with")
    parser.add_argument("--name", default="my-model", help="name of the model")
    parser.add_argument("--device", default="auto", help="auto, cuda, mps or cpu")
    parser.add_argument(
        "--workers",
        type=whole_number(0, 256),
        default=0,
        help="processes that load cases (default 0)",
    )
    parser.set_defaults(command=run)


def run(options: argparse.Namespace, progress: Progress) -> None:
    """Train a model, or go on with a run that was stopped."""
    from ..inference.predictor import choose_device
    from ..models.store import load_model
    from ..training.cases.brats import find_brats_cases
    from ..training.cases.chaos import find_chaos_cases
    from ..training.cases.labeled import read_case_list, read_groups, split_cases
    from ..training.presets import training_config
    from ..training.run import train

    changes = changed_settings(options)
    if options.brats:
        cases, preset = find_brats_cases(options.brats), "paper-brats"
    elif options.chaos:
        cases, preset = find_chaos_cases(options.chaos), "paper-chaos"
    else:
        cases, preset = read_case_list(options.cases), "paper-brats"
        changes.setdefault("modalities", json.dumps(list(cases[0].images)))
    training, validation = split_cases(cases, read_groups(options.validation))
    preset = options.preset or preset
    if choose_device(options.device).type == "cpu" and preset.startswith("paper"):
        tell_user(f"warning: {CPU_WARNING}")
    card = train(
        training_config(preset, changes),
        training,
        validation,
        options.output,
        options.name,
        options.device,
        options.workers,
        progress,
        load_model(options.start) if options.start else None,
        options.crops,
    )
    if card and not options.json_progress:
        print(f"wrote {options.output / 'model' / card.name}.pt")
