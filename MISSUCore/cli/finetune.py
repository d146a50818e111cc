"""``missu finetune``: a model tuned on a few cases of the user's own."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..contract.options import FineTuningOptions
from ..contract.requests.commands import FineTuneRequest
from ..contract.requests.exchange import request_of
from ..core.errors import InputError
from ..core.events import Progress
from .options import Commands, add_settings, changed_settings, number, whole_number


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
        "--minutes",
        type=number(0.01, 100_000),
        default=FineTuningOptions.minutes,
        help="about how long it may take (default 30)",
    )
    parser.add_argument(
        "--rehearsal",
        default="auto",
        metavar="KIND",
        help="against forgetting: simulated cases, none, or a folder of BraTS data (default auto: "
        "simulated, where nilearn is installed)",
    )
    parser.add_argument("--scheme", help="what the labels mean: brats, chaos-liver, a JSON file")
    parser.add_argument("--modalities", nargs="+", help="modalities to use, for a new task")
    parser.add_argument(
        "--freeze",
        type=whole_number(0, 16),
        metavar="STAGES",
        help="leave the encoder's first stages as they are",
    )
    parser.add_argument(
        "--no-distillation", action="store_true", help="train without the teacher: faster"
    )
    add_settings(parser)
    parser.add_argument("--device", default="auto", help="auto, cuda, mps or cpu")
    parser.set_defaults(command=run)


def run(options: argparse.Namespace, progress: Progress) -> None:
    """Tune a model, and print the comparison with its base."""
    options.changes = {}
    if options.no_distillation:
        options.changes["network.fusion"] = '"none"'
    if options.freeze:
        options.changes.update(early_stages=str(options.freeze), early_rate="0")
    options.changes.update(changed_settings(options))
    perform(request_of(FineTuneRequest, vars(options)), options.json_progress, progress)


def perform(request: FineTuneRequest, as_events: bool, progress: Progress) -> None:
    """Tune a model, and print the comparison with its base unless events are asked for."""
    from ..contract.labels import label_scheme
    from ..finetuning.acceptance import format_table
    from ..finetuning.cases import tuning_cases
    from ..finetuning.library.store import CaseLibrary
    from ..finetuning.run import fine_tune
    from ..models.store import default_model, load_model

    source = CaseLibrary(request.library) if request.library else request.cases
    if source is None:
        raise InputError("no cases to tune on given; give --library or --cases")
    base = load_model(request.base or default_model())
    if not request.base and base.finder:  # what looks twice is not tuned, but what it goes by is
        base = base.finder
    cases, scheme = tuning_cases(
        source,
        base.card,
        label_scheme(request.scheme) if request.scheme else None,
        request.modalities,
    )
    test = fine_tune(cases, scheme, base, request.output, request.name, request.options, progress)
    if not as_events:
        print(format_table(test))
        if test.may_be_installed:
            print(f"to install it: missu models --accept {request.output}")
