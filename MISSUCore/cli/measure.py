"""``missu measure``: lesions, diameters and volumes of a segmentation."""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..contract.requests.commands import MeasureRequest
from ..contract.requests.exchange import request_of
from ..core.events import Progress
from .options import Commands, add_maps, add_measurement, named_files, tell_warnings

if TYPE_CHECKING:
    pass


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "measure",
        parents=[common],
        help="measure the lesions in a segmentation",
        description="Volumes, and for each lesion the longest diameter in a slice, the longest one "
        "across it, and their product, as RANO defines them. Takes any label map, also corrected "
        "ones and those of other programs.",
    )
    parser.add_argument("segmentation", type=Path, metavar="SEG", help="label map to measure")
    parser.add_argument(
        "--t1ce",
        type=Path,
        metavar="FILE",
        help="scan that it was drawn on, a file or DICOM folder",
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="JSON report to write")
    parser.add_argument(
        "--csv", type=Path, metavar="FILE", help="table to write, one row per lesion"
    )
    parser.add_argument(
        "--dicom-seg",
        type=Path,
        metavar="FILE",
        help="DICOM segmentation to write, a segment for each region of each lesion; --t1ce must "
        "be DICOM",
    )
    parser.add_argument(
        "--dicom-sr",
        type=Path,
        metavar="FILE",
        help="DICOM structured report to write (TID 1500), which refers to --dicom-seg",
    )
    parser.add_argument(
        "--secondary-capture",
        type=Path,
        metavar="FILE",
        help="DICOM picture to write, of the diameters and a table, for viewers that show neither "
        "of the above; --t1ce must be DICOM",
    )
    parser.add_argument(
        "--made-by",
        default="",
        metavar="WHO",
        help="for DICOM, who drew the segments: the report of missu segment (a JSON file), the "
        "name of another program, or 'manual'",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")
    add_maps(parser)
    _add_settings(parser)
    parser.set_defaults(command=run)


def _add_settings(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what is measured, and how."""
    parser.add_argument(
        "--region", default="", metavar="NAME", help="measure its diameters (default: ET)"
    )
    parser.add_argument(
        "--lesions-of",
        default="",
        metavar="NAME",
        help="its parts are the lesions (default: parts of all regions together)",
    )
    add_measurement(parser)


def run(options: argparse.Namespace, progress: Progress) -> None:
    """Measure, write the files that are asked for, and print the table."""
    maps = named_files("--map", "NAME", options.maps)
    request = request_of(MeasureRequest, {**vars(options), "maps": maps})
    perform(request, options.json_progress, progress)


def perform(request: MeasureRequest, as_events: bool, progress: Progress) -> None:
    """Measure, write the files, and print the table unless events are asked for."""
    from ..contract.labels import label_scheme
    from ..core.files import atomic_write, write_json
    from ..io.writing import check_outputs
    from ..measurement.case import measure_case
    from ..measurement.maps import measure_maps
    from ..measurement.tables import format_maps, format_table, write_csv
    from ..reporting.dicom_archive import DicomArchive, DicomOutputs

    dicom = DicomOutputs(request.dicom_seg, request.dicom_sr, request.secondary_capture)
    outputs = [path for path in (request.output, request.csv, *dicom.paths()) if path]
    check_outputs(outputs, _inputs(request), request.overwrite)
    scheme = label_scheme(request.scheme)
    archive = None
    if dicom.paths():
        archive = DicomArchive(dicom, request.t1ce, scheme, request.made_by)
    measured = measure_case(request.segmentation, request.t1ce, scheme, request.settings, progress)
    found = measure_maps(
        request.maps,
        measured.masks,
        measured.image,
        scheme.region_names,
        [request.t1ce] if request.t1ce else [],
    )
    report = replace(
        measured.report,
        maps=found.statistics,
        warnings=(*measured.report.warnings, *found.warnings),
    )
    with ExitStack() as stack:
        if archive:
            archive.write(stack, measured)
        if request.output:
            write_json(stack.enter_context(atomic_write(request.output)), report.to_dict())
        if request.csv:
            write_csv(report, stack.enter_context(atomic_write(request.csv)))
    tell_warnings(report.warnings, as_events)
    if not as_events:
        print(format_table(report))
        if report.maps:
            print(f"\n{format_maps(report.maps)}")


def _inputs(request: MeasureRequest) -> list[Path]:
    """All files that are read."""
    from ..io.dicom import source_files
    from ..reporting.dicom_archive import is_report

    scans = (request.t1ce, *request.maps.values())
    read = source_files(path for path in scans if path and path.exists())
    made_by = [Path(request.made_by)] if is_report(request.made_by) else []
    # JSON itself is not a file.
    scheme = [] if request.scheme.startswith("{") else [Path(request.scheme)]
    return [request.segmentation, *read, *made_by, *scheme]
