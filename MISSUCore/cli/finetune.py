"""``missu finetune``: a model tuned on a few cases of the user's own."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.errors import InputError
from ..core.events import Progress
from .options import Commands, add_settings, changed_settings, number, whole_number

if TYPE_CHECKING:
    from ..contract.labels import LabelScheme
    from ..contract.model_card import ModelCard
    from ..training.brats import LabeledCase


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
        default=30.0,
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
    parser.add_argument("--modalities", nargs="+", help="those to use, of a new task")
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
    from ..finetuning.config import FineTuningOptions
    from ..finetuning.run import fine_tune
    from ..finetuning.verdict import format_table
    from ..models.store import default_model, load_model

    base = load_model(options.base or default_model())
    cases, scheme = _cases(options, base.card)
    changes = {}
    if options.no_distillation:
        changes["network.fusion"] = '"none"'
    if options.freeze:
        changes.update(early_stages=str(options.freeze), early_rate="0")
    changes.update(changed_settings(options))
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
        try:
            table = format_table(gate)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                f"{options.output / 'gate.json'}: is damaged; delete it, and give the command again"
            ) from error
        print(table)
        if gate["verdict"] in ("better", "new task"):
            print(f"to install it: missu models --accept {options.output}")


def _cases(options: argparse.Namespace, base: ModelCard) -> tuple[list[LabeledCase], LabelScheme]:
    """The cases to tune on, with the modalities to use, and what their labels mean."""
    from ..contract.labels import label_scheme, same_task
    from ..training.brats import LabeledCase, read_case_list

    base_scheme = base.label_scheme()
    given = label_scheme(options.scheme) if options.scheme else None
    if options.library:
        cases, scheme = _library_cases(options.library, given or base_scheme)
        if given and not same_task(given, scheme):
            raise InputError(
                f"{options.library}: its labels mean {scheme.name}, not {given.name}; leave out "
                "--scheme"
            )
    else:
        cases, scheme = read_case_list(options.cases), given or base_scheme
    wanted = options.modalities
    if not wanted and same_task(scheme, base_scheme):
        wanted = base.modalities
    for case in cases:
        missing = [name for name in wanted or () if name not in case.images]
        if missing:
            # Not without being asked to: a model of the others would be another, with no base.
            raise InputError(
                f"case {case.name}: has no {', '.join(missing)}; leave it out, or say with "
                "--modalities which scans the model shall take"
            )
    if wanted:
        cases = [
            LabeledCase(case.name, {m: case.images[m] for m in wanted}, case.labels)
            for case in cases
        ]
    return cases, scheme


def _library_cases(
    folder: Path, scheme_if_empty: LabelScheme
) -> tuple[list[LabeledCase], LabelScheme]:
    """The cases of a library, which must be of one task, and what their labels mean."""
    from ..contract.labels import same_task
    from ..finetuning.library.store import CaseLibrary

    found = CaseLibrary(folder).labeled_cases()
    schemes = [record.label_scheme() for record, _ in found] or [scheme_if_empty]
    if not all(same_task(scheme, schemes[0]) for scheme in schemes):
        raise InputError(f"{folder}: holds cases of several tasks; exclude those of all but one")
    return [case for _, case in found], schemes[0]
