"""The command ``missu``: everything the library does, from a shell, a script or a cluster job.

Exit codes: 0 done; 1 failed; 2 something given cannot be used (nothing was written); 3 out of
memory or disk space; 130 cancelled. Loads without torch; each command imports what it needs.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from . import __version__
from .errors import InputError, MISSUError
from .imaging.modalities import BRATS_MODALITIES
from .progress import JsonLines, Progress, TerminalBar

CANCELLED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code."""
    options = _parser().parse_args(arguments)
    # A cluster's or the Slicer module's request to end is a Ctrl-C: temporary files go.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    progress = Progress(JsonLines() if options.json_progress else TerminalBar())
    try:
        options.command(options, progress)
    except MISSUError as error:
        _complain(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        _complain("cancelled")
        return CANCELLED
    return 0


def _complain(message: str) -> None:
    start = "\n" if sys.stderr.isatty() else ""  # the progress bar stands in the line
    print(f"{start}missu: {message}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--json-progress", action="store_true", help="write progress as one JSON object a line"
    )
    parser = argparse.ArgumentParser(
        prog="missu",
        description="Brain-tumor segmentation in multimodal MRI. Research software, not a medical "
        "device.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(metavar="command", required=True)
    for add in (
        _add_segment,
        _add_explain,
        _add_train,
        _add_evaluate,
        _add_cost,
        _add_models,
        _add_demo,
    ):
        add(commands, common)
    return parser


Commands = argparse._SubParsersAction  # argparse has no public name for it


def _add_segment(commands: Commands, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser(
        "segment",
        parents=[common],
        help="segment a case",
        description="Segment one case: "
        "co-registered, skull-stripped scans, as files or as folders with one DICOM series each.",
    )
    _add_scans(parser)
    parser.add_argument("--output", type=Path, required=True, help="label map to write")
    parser.add_argument("--report", type=Path, help="JSON report to write")
    parser.add_argument(
        "--probabilities", action="store_true", help="also write a probability map per region"
    )
    _add_model(parser)
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
    parser.set_defaults(command=_segment)


def _add_scans(parser: argparse.ArgumentParser) -> None:
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


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", help="name of an installed model, or a .pt file")
    parser.add_argument("--device", default="auto", help="auto, cuda, mps or cpu")


def _scans(options: argparse.Namespace) -> dict[str, Path]:
    """The scans of :func:`_add_scans` by modality."""
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


def _segment(options: argparse.Namespace, progress: Progress) -> None:
    paths = _scans(options)
    from .inference.segmentation import SegmentationOptions, segment_files
    from .model_store import DEFAULT_MODEL

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
        _complain(f"warning: {warning}")
    if not options.json_progress:
        for region, volume_ml in report["volumes_ml"].items():
            expected = report["confidence"].get(region)
            doubt = "" if expected is None else f"  expected Dice {expected:.2f}"
            print(f"{region:>8} {volume_ml:8.1f} ml{doubt}")


def _add_explain(commands: Commands, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser(
        "explain",
        parents=[common],
        help="show what in the scans speaks for each region",
        description="Write a Grad-CAM map from 0 to 1 for each region, gradcam_REGION.nii.gz: what "
        "the network's last convolution saw that spoke for the region.",
    )
    _add_scans(parser)
    parser.add_argument("--output", type=Path, required=True, help="folder to write the maps to")
    _add_model(parser)
    parser.set_defaults(command=_explain)


def _explain(options: argparse.Namespace, progress: Progress) -> None:
    paths = _scans(options)
    from .inference.explanation import explain_files
    from .model_store import DEFAULT_MODEL

    files = explain_files(
        paths,
        options.output,
        model=options.model or DEFAULT_MODEL,
        reference=options.reference,
        device=options.device,
        overwrite=options.overwrite,
        progress=progress,
    )
    if not options.json_progress:
        for region, path in files.items():
            print(f"{region:>8} {path}")


def _add_train(commands: Commands, common: argparse.ArgumentParser) -> None:
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
        "--validation", type=Path, metavar="FILE", help="names of the cases held out, one a line"
    )
    parser.add_argument("--preset", help="paper-brats, paper-chaos or brats-fast")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="change a setting of the preset, as epochs=100 or network.layers=2",
    )
    parser.add_argument("--start", metavar="MODEL", help="model whose weights to begin with")
    parser.add_argument("--name", default="my-model", help="name of the model")
    parser.add_argument("--device", default="auto", help="auto, cuda, mps or cpu")
    parser.add_argument("--workers", type=int, default=0, help="processes that load cases")
    parser.set_defaults(command=_train)


def _train(options: argparse.Namespace, progress: Progress) -> None:
    from .model_store import load_model
    from .training.case_lists import find_brats_cases, read_case_list, read_names, split_cases
    from .training.chaos import find_chaos_cases
    from .training.config import training_config
    from .training.run import train

    changes = {}
    for text in options.set:
        name, found, value = text.partition("=")
        if not found:
            raise InputError(f"--set {text}: write NAME=VALUE")
        changes[name] = value
    if options.brats:
        cases, preset = find_brats_cases(options.brats), "paper-brats"
    elif options.chaos:
        cases, preset = find_chaos_cases(options.chaos), "paper-chaos"
    else:
        cases, preset = read_case_list(options.cases), "paper-brats"
        changes.setdefault("modalities", json.dumps(list(cases[0].images)))
    held_out = read_names(options.validation) if options.validation else []
    training, validation = split_cases(cases, held_out)
    card = train(
        training_config(options.preset or preset, changes),
        training,
        validation,
        options.output,
        options.name,
        options.device,
        options.workers,
        progress,
        load_model(options.start) if options.start else None,
    )
    if card and not options.json_progress:
        print(f"wrote {options.output / 'model' / card.name}.pt")


def _add_evaluate(commands: Commands, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser(
        "evaluate",
        parents=[common],
        help="compare segmentations with references",
        description="Dice, Hausdorff distances and more of a label map, or a folder of them, "
        "against a reference.",
    )
    parser.add_argument("prediction", type=Path)
    parser.add_argument("reference", type=Path)
    parser.add_argument("--scheme", default="brats", help="brats, brats2023, chaos-liver, a file")
    parser.add_argument("--csv", type=Path, help="write a row per case and region")
    parser.add_argument("--json", type=Path, help="write rows and summary")
    parser.set_defaults(command=_evaluate)


def _evaluate(options: argparse.Namespace, progress: Progress) -> None:
    from .evaluation.comparison import compare
    from .regions import label_scheme

    comparison = compare(
        options.prediction, options.reference, label_scheme(options.scheme), progress
    )
    if options.csv:
        comparison.write_csv(options.csv)
    if options.json:
        comparison.write_json(options.json)
    if not options.json_progress:
        print(comparison.format_table())


def _add_cost(commands: Commands, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser(
        "cost", parents=[common], help="parameters and multiply-adds of the network"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.set_defaults(command=_cost)


def _cost(options: argparse.Namespace, progress: Progress) -> None:
    from .network.cost import cost_report, cost_table

    report = cost_report()
    print(json.dumps(report, indent=2) if options.json else cost_table(report))


def _add_models(commands: Commands, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser("models", parents=[common], help="list the installed models")
    parser.add_argument("--json", action="store_true", help="print the model cards as JSON")
    parser.set_defaults(command=_models)


def _models(options: argparse.Namespace, progress: Progress) -> None:
    from .model_store import list_models, user_folder
    from .settings import settings_to_dict

    cards = list_models()
    if options.json:
        print(json.dumps([settings_to_dict(card) for card in cards], indent=2))
        return
    for card in cards:
        spacing = " x ".join(f"{length:g}" for length in card.spacing_mm)
        print(f"{card.name}\n  {card.task}\n  from {', '.join(card.modalities)} at {spacing} mm")
    print(f"Your own models belong in {user_folder()}")


def _add_demo(commands: Commands, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser(
        "demo",
        parents=[common],
        help="segment a simulated case",
        description="Simulate a case with a tumor of known extent, segment it, compare, and draw "
        "a picture. Downloads nothing.",
    )
    parser.add_argument("--output", type=Path, default=Path("missu-demo"), help="folder to write")
    parser.add_argument("--seed", type=int, default=0, help="another number is another patient")
    _add_model(parser)
    parser.set_defaults(command=_demo)


def _demo(options: argparse.Namespace, progress: Progress) -> None:
    from .demo import run_demo
    from .model_store import DEFAULT_MODEL

    result = run_demo(
        options.output, options.seed, options.model or DEFAULT_MODEL, options.device, progress
    )
    if not options.json_progress:
        print(result.comparison.format_table())
        print(f"picture: {result.picture}")
