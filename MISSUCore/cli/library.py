"""``missu library``: the user's own corrected cases."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from ..contract.requests.commands import AddCaseRequest, ChangeCasesRequest
from ..contract.requests.exchange import request_of
from ..core.errors import InputError
from ..core.events import JsonLines, Progress, ResultEvent
from ..core.messages import a_file
from ..core.serialization import JsonObject
from .options import Commands, add_scans, chosen_scans, scan_inputs, tell_warnings

if TYPE_CHECKING:
    from ..contract.case_record import CaseRecord
    from ..contract.model_identity import ModelIdentity
    from ..contract.provenance.record import Provenance
    from ..finetuning.library.store import CaseLibrary


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "library",
        help="keep corrected cases to fine-tune on",
        description="A folder of corrected cases to fine-tune on. Nothing of a file but voxels and "
        "geometry is stored: no patient name, no DICOM header, no path.",
    )
    parser.add_argument("library", type=Path, metavar="FOLDER", help="folder of the library")
    actions = parser.add_subparsers(metavar="action", required=True, prog="missu library FOLDER")
    _add_add(actions, common)
    listing = actions.add_parser("list", parents=[common], help="list the cases")
    listing.add_argument("--json", action="store_true", help="print their records as JSON")
    listing.set_defaults(command=run_list)
    for name, text in (
        ("exclude", "leave cases out of fine-tuning"),
        ("include", "take cases in again"),
        ("remove", "delete cases for good"),
    ):
        action = actions.add_parser(name, parents=[common], help=text)
        action.add_argument("ids", nargs="+", metavar="ID", help="as missu library list shows it")
        action.set_defaults(command=run_change, action=name)


def _add_add(actions: Commands, common: argparse.ArgumentParser) -> None:
    parser = actions.add_parser("add", parents=[common], help="add a corrected case")
    add_scans(parser)
    parser.add_argument(
        "--reference",
        metavar="SCAN",
        help="modality or image that the labels were drawn on (default t1ce)",
    )
    parser.add_argument(
        "--labels", type=Path, required=True, metavar="FILE", help="corrected label map"
    )
    parser.add_argument(
        "--result", type=Path, metavar="FILE", help="label map that the model produced"
    )
    parser.add_argument(
        "--report",
        type=Path,
        metavar="FILE",
        help="JSON report of that label map: the case keeps what computed it, and what was changed",
    )
    parser.add_argument("--model", help="name or .pt file of that model, if no report names it")
    parser.add_argument("--scheme", default="brats", help="brats, brats2023, chaos-liver, a file")
    parser.add_argument("--scene", default="", metavar="TEXT", help="where the case comes from")
    parser.add_argument("--note", default="", metavar="TEXT", help="any text")
    parser.add_argument(
        "--no-tumor", action="store_true", help="the label map is empty because there is none"
    )
    parser.add_argument(
        "--replace", action="store_true", help="replace the labels of scans that are there already"
    )
    parser.add_argument("--json", action="store_true", help="print the record as JSON")
    parser.set_defaults(command=run_add)


def run_add(options: argparse.Namespace, progress: Progress) -> None:
    """Add a case, and print its identifier or record."""
    values = {
        **vars(options),
        "scans": scan_inputs(options),
        "provenance": _provenance(options) if options.report else None,
    }
    request = request_of(AddCaseRequest, values)
    record = perform_add(request, options.json_progress, progress)
    if options.json:
        print(json.dumps(_printed(_library(request.library), record)))
    elif options.json_progress:
        tell_added(record)
    else:
        print(f"added {record.id}")


def _provenance(options: argparse.Namespace) -> Provenance:
    """What the report tells of the labels."""
    from ..contract.labels import label_scheme
    from ..evaluation.verification import verify

    return verify(options.labels, options.report, label_scheme(options.scheme)).record


def perform_add(request: AddCaseRequest, as_events: bool, progress: Progress) -> CaseRecord:
    """Add a case; returns its record."""
    from ..contract.labels import label_scheme
    from ..finetuning.library.adding import add_case
    from ..finetuning.library.details import CaseDetails

    scans = request.scans
    record, warnings = add_case(
        _library(request.library),
        chosen_scans(scans, progress.part(0, 0.03)).paths,
        request.labels,
        label_scheme(request.scheme),
        CaseDetails(
            result=request.result,
            model=_model(request),
            scene=request.scene,
            note=request.note,
            tumor=not request.no_tumor,
            replacing=request.replace,
            provenance=request.provenance,
        ),
        reference=scans.reference or None,
        brain_mask=scans.brain_mask,
        preprocessing=scans.preprocessing,
        progress=progress.part(0.03, 1.0),
    )
    tell_warnings(warnings, as_events)
    return record


def tell_added(record: CaseRecord) -> None:
    """Tell a program which case was added."""
    JsonLines()(ResultEvent({"case": record.id}))


def _model(request: AddCaseRequest) -> ModelIdentity:
    """The model named in the request, else the one of the report, else none."""
    from ..contract.model_card import read_card
    from ..contract.model_identity import ModelIdentity
    from ..models.store import find_model

    if request.model:
        card = read_card(find_model(request.model))
        return ModelIdentity(card.name, card.sha256)
    return request.provenance.computed.model if request.provenance else ModelIdentity()


def run_list(options: argparse.Namespace, progress: Progress) -> None:
    """Print the cases of a library."""
    if not options.library.is_dir():
        raise InputError(
            a_file(options.library), ": no such folder; missu library FOLDER add makes one"
        )
    library = _library(options.library)
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


def run_change(options: argparse.Namespace, progress: Progress) -> None:
    """Leave cases out of fine-tuning, take them in again, or delete them."""
    perform_change(request_of(ChangeCasesRequest, vars(options)), options.json_progress, progress)


def perform_change(request: ChangeCasesRequest, as_events: bool, progress: Progress) -> None:
    """Leave cases out of fine-tuning, take them in again, or delete them."""
    library = _library(request.library)
    changes = {
        "exclude": library.exclude,
        "include": lambda case_id: library.exclude(case_id, excluded=False),
        "remove": library.remove,
    }
    if request.action not in changes:
        raise InputError(f"no change {request.action!r}; there are {', '.join(changes)}")
    for case_id in request.ids:
        changes[request.action](case_id)


def _library(folder: Path) -> CaseLibrary:
    from ..finetuning.library.store import CaseLibrary

    return CaseLibrary(folder)


def _printed(library: CaseLibrary, record: CaseRecord) -> JsonObject:
    from ..core.serialization import settings_to_dict

    return {**settings_to_dict(record), "folder": str(library.case_folder(record.id))}
