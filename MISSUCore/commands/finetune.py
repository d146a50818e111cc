"""``missu finetune``: a model tuned on a few cases of the user's own."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from ..progress import Progress
from .options import Commands

if TYPE_CHECKING:
    from ..regions import LabelScheme
    from ..training.case_lists import LabeledCase


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "finetune",
        parents=[common],
        help="tune a model on your own corrected cases",
        description="Tune a model on three or more labeled cases, and compare it with its base on "
        "cases that it was not tuned on. Give the same command again to go on with a run that was "
        "stopped. Nothing is installed: see missu models --accept.",
    )
    data = parser.add_mutually_exclusive_group(required=True)
    data.add_argument("--library", type=Path, metavar="FOLDER", help="library of corrected cases")
    data.add_argument("--cases", type=Path, metavar="FILE", help="JSON list of cases")
    parser.add_argument("--output", type=Path, required=True, help="folder of the run")
    parser.add_argument("--base", metavar="MODEL", help="model to tune (default: the one in use)")
    parser.add_argument("--name", default="my-model", help="name of the tuned model")
    parser.add_argument(
        "--minutes", type=float, default=30.0, help="about how long it may take (default 30)"
    )
    parser.add_argument(
        "--rehearsal",
        default="auto",
        metavar="KIND",
        help="against forgetting: simulated cases, none, or a folder of BraTS data (default auto: "
        "simulated, where nilearn is installed)",
    )
    parser.add_argument("--scheme", help="what the labels mean: brats, chaos-liver, a JSON file")
    parser.add_argument("--modalities", nargs="+", help="those to use, of a new task")
    parser.add_argument(
        "--freeze", type=int, metavar="STAGES", help="leave the encoder's first stages as they are"
    )
    parser.add_argument(
        "--no-distillation", action="store_true", help="train without the teacher: faster"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="change any setting of training, as learning_rate=1e-4",
    )
    parser.add_argument("--device", default="auto", help="auto, cuda, mps or cpu")
    parser.set_defaults(command=run)


def run(options: argparse.Namespace, progress: Progress) -> None:
    from ..model_store import default_model, load_model
    from ..training.fine_tuning import fine_tune
    from ..training.gate import format_table
    from ..training.tuning_config import FineTuningOptions

    base = load_model(options.base or default_model())
    cases, scheme = _cases(options, base.card.label_scheme())
    changes = {}
    if options.no_distillation:
        changes["network.fusion"] = '"none"'
    if options.freeze:
        changes.update(early_stages=str(options.freeze), early_rate="0")
    for text in options.set:
        name, found, value = text.partition("=")
        if not found:
            raise InputError(f"--set {text}: write NAME=VALUE")
        changes[name] = value
    gate = fine_tune(
        cases,
        scheme,
        base,
        options.output,
        options.name,
        FineTuningOptions(options.minutes, options.rehearsal, changes, options.device),
        progress,
    )
    if not options.json_progress:
        print(format_table(gate))
        print(f"to install it: missu models --accept {options.output}")


def _cases(
    options: argparse.Namespace, base_scheme: LabelScheme
) -> tuple[list[LabeledCase], LabelScheme]:
    """The cases to tune on, with the modalities to use, and what their labels mean."""
    from ..regions import label_scheme
    from ..training.case_library import CaseLibrary
    from ..training.case_lists import LabeledCase, read_case_list

    scheme = label_scheme(options.scheme) if options.scheme else None
    if options.library:
        found = CaseLibrary(options.library).labeled_cases()
        schemes = [record.label_scheme() for record, _ in found]
        if found and any(other.regions != schemes[0].regions for other in schemes):
            raise InputError(
                f"{options.library}: holds cases of several tasks; exclude those of all but one"
            )
        scheme = scheme or (schemes[0] if schemes else base_scheme)
        cases = [case for _, case in found]
    else:
        cases = read_case_list(options.cases)
        scheme = scheme or base_scheme
    if options.modalities:
        for case in cases:
            missing = [name for name in options.modalities if name not in case.images]
            if missing:
                raise InputError(f"case {case.name}: has no {', '.join(missing)}")
        cases = [
            LabeledCase(case.name, {m: case.images[m] for m in options.modalities}, case.labels)
            for case in cases
        ]
    return cases, scheme
