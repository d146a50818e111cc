"""``missu library``: the user's own corrected cases."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..imaging.modalities import BRATS_MODALITIES
from ..progress import Progress
from .options import Commands, complain

if TYPE_CHECKING:
    from ..training.case_library import CaseLibrary, CaseRecord


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "library",
        help="keep corrected cases to fine-tune on",
        description="A folder of corrected cases to fine-tune on. Nothing of a file but voxels and "
        "geometry is stored: no patient name, no DICOM header, no path.",
    )
    parser.add_argument("library", type=Path, help="folder of the library")
    actions = parser.add_subparsers(metavar="action", required=True)
    _add_add(actions, common)
    listing = actions.add_parser("list", parents=[common], help="list the cases")
    listing.add_argument("--json", action="store_true", help="print their records as JSON")
    listing.set_defaults(command=run_list)
    for name, text, command in (
        ("exclude", "leave cases out of fine-tuning", run_exclude),
        ("include", "take cases in again", run_include),
        ("remove", "delete cases for good", run_remove),
    ):
        action = actions.add_parser(name, parents=[common], help=text)
        action.add_argument("ids", nargs="+", metavar="ID", help="as missu library list shows it")
        action.set_defaults(command=command)


def _add_add(actions: Commands, common: argparse.ArgumentParser) -> None:
    parser = actions.add_parser(
        "add", parents=[common], help="add a corrected case, skull-stripped and co-registered"
    )
    for modality in BRATS_MODALITIES:
        parser.add_argument(f"--{modality}", type=Path, metavar="FILE", help=f"{modality} scan")
    parser.add_argument(
        "--image",
        action="append",
        default=[],
        metavar="MODALITY=FILE",
        help="scan of another modality; may be repeated",
    )
    parser.add_argument(
        "--labels", type=Path, required=True, metavar="FILE", help="corrected label map"
    )
    parser.add_argument("--result", type=Path, metavar="FILE", help="label map the model gave")
    parser.add_argument("--model", help="that model: its name, or its .pt file")
    parser.add_argument("--scheme", default="brats", help="brats, brats2023, chaos-liver, a file")
    parser.add_argument("--scene", default="", metavar="TEXT", help="where the case comes from")
    parser.add_argument("--note", default="", metavar="TEXT", help="any text")
    parser.add_argument(
        "--no-tumor", action="store_true", help="the label map is empty because there is none"
    )
    parser.add_argument(
        "--replace", action="store_true", help="take new labels for scans that are there already"
    )
    parser.add_argument("--json", action="store_true", help="print the record as JSON")
    parser.set_defaults(command=run_add)


def run_add(options: argparse.Namespace, progress: Progress) -> None:
    from ..imaging.case import read_case
    from ..model_store import find_model, read_card
    from ..regions import label_scheme

    paths = _scans(options)
    library = _library(options)
    card = read_card(find_model(options.model)) if options.model else None
    progress("read", 0.0, "reading the scans")
    case = read_case(paths)
    progress("add", 0.4, "checking and storing")
    record = library.add(
        case,
        options.labels,
        label_scheme(options.scheme),
        result=options.result,
        model={"name": card.name, "sha256": card.sha256} if card else None,
        scene=options.scene,
        note=options.note,
        tumor=not options.no_tumor,
        replacing=options.replace,
    )
    progress("done", 1.0, f"added {record.id}")
    for warning in record.warnings:
        complain(f"warning: {warning}")
    if options.json:
        print(json.dumps(_printed(library, record)))
    elif not options.json_progress:
        print(f"added {record.id}")


def _scans(options: argparse.Namespace) -> dict[str, Path]:
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


def run_list(options: argparse.Namespace, progress: Progress) -> None:
    library = _library(options)
    records = library.records()
    if options.json:
        cases = [_printed(library, record) for record in records]
        print(json.dumps({"library": str(options.library), "cases": cases}, indent=2))
        return
    for record in records:
        volumes = ", ".join(f"{name} {volume:.1f} ml" for name, volume in record.volumes_ml.items())
        left_out = "  (excluded)" if record.excluded else ""
        print(f"{record.id}  {record.added[:10]}  {volumes}  {record.note}{left_out}".rstrip())
    print(f"{len(records)} cases, {sum(not record.excluded for record in records)} to tune on")


def run_exclude(options: argparse.Namespace, progress: Progress) -> None:
    for case_id in options.ids:
        _library(options).exclude(case_id)


def run_include(options: argparse.Namespace, progress: Progress) -> None:
    for case_id in options.ids:
        _library(options).exclude(case_id, excluded=False)


def run_remove(options: argparse.Namespace, progress: Progress) -> None:
    for case_id in options.ids:
        _library(options).remove(case_id)


def _library(options: argparse.Namespace) -> CaseLibrary:
    from ..training.case_library import CaseLibrary

    return CaseLibrary(options.library)


def _printed(library: CaseLibrary, record: CaseRecord) -> dict[str, Any]:
    from ..settings import settings_to_dict

    return {**settings_to_dict(record), "folder": str(library.case_folder(record.id))}
