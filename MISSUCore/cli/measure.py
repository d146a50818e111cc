"""``missu measure``: lesions, diameters and volumes of a segmentation."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..contract.requests.commands import MeasureRequest
from ..contract.requests.exchange import request_of
from ..core.errors import InputError
from ..core.events import Progress
from ..core.messages import a_file
from .options import Commands, add_maps, add_measurement, named_files, tell_warnings

if TYPE_CHECKING:
    from ..contract.labels import LabelScheme
    from ..contract.segmentation_report import SegmentationReport
    from ..measurement.case import MeasuredCase
    from ..reporting.dicom_scan import DicomScan
    from ..reporting.dicom_seg import Algorithm

_MAKERS = (
    "the report of missu segment (a JSON file), the name of another program (up to 64 letters), or "
    "'manual'"
)


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "measure",
        parents=[common],
        help="measure the lesions in a segmentation",
        description="Volumes, and for each lesion the longest diameter in a slice, the longest one "
        "across it, and their product, as RANO has them. Takes any label map, corrected ones and "
        "those of other programs, too.",
    )
    parser.add_argument("segmentation", type=Path, metavar="SEG", help="label map to measure")
    parser.add_argument(
        "--t1ce",
        type=Path,
        metavar="FILE",
        help="scan that it was drawn on, a file or DICOM folder",
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="JSON report to write")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="table to write, a row a lesion")
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

    dicom = [request.dicom_seg, request.dicom_sr, request.secondary_capture]
    outputs = [path for path in (request.output, request.csv, *dicom) if path]
    check_outputs(outputs, _inputs(request), request.overwrite)
    scheme = label_scheme(request.scheme)
    to_archive = _archive(request, scheme) if any(dicom) else None
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
        if to_archive:
            to_archive(stack, measured)
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

    scans = (request.t1ce, *request.maps.values())
    read = source_files(path for path in scans if path and path.exists())
    made_by = [Path(request.made_by)] if _is_report(request.made_by) else []
    # JSON itself is no file.
    scheme = [] if request.scheme.startswith("{") else [Path(request.scheme)]
    return [request.segmentation, *read, *made_by, *scheme]


def _is_report(made_by: str) -> bool:
    return made_by.casefold().endswith(".json")


def _told(made_by: str) -> tuple[Algorithm, SegmentationReport | None]:
    """Who is said to have drawn the segments, and the report that says it, if one does.

    Raises:
        InputError: if it is neither a report nor the name of a program.
    """
    from ..contract.segmentation_report import read_report
    from ..reporting.dicom_seg import AUTOMATIC, LONGEST_TEXT, MANUAL, Algorithm

    if made_by.casefold() == MANUAL.casefold():
        return Algorithm(MANUAL), None
    if _is_report(made_by):
        return Algorithm(AUTOMATIC), read_report(Path(made_by))
    plain = len(made_by) <= LONGEST_TEXT and made_by.isprintable() and not set(made_by) & set("/\\")
    if not plain or Path(made_by).is_file():
        raise InputError(
            a_file(made_by),
            f": is neither a report nor the name of a program; give --made-by with {_MAKERS}",
        )
    return Algorithm(AUTOMATIC, made_by, "unknown"), None


def _archive(
    request: MeasureRequest, scheme: LabelScheme
) -> Callable[[ExitStack, MeasuredCase], None]:
    """Function that writes the DICOM objects; what can be wrong is found out before.

    Raises:
        InputError: if something is missing, or cannot be referred to.
    """
    from ..reporting.dicom_scan import read_dicom_scan
    from ..reporting.dicom_seg import check_dicom_seg
    from ..reporting.dicom_sr import algorithm_of

    if request.dicom_sr and not request.dicom_seg:
        raise InputError("--dicom-sr refers to a segmentation; give --dicom-seg FILE, too")
    if not request.t1ce:
        raise InputError("a DICOM object refers to the scan; give --t1ce with a DICOM series")
    if request.dicom_seg and not request.made_by:
        raise InputError(f"DICOM asks who drew the segments; give --made-by with {_MAKERS}")
    told, facts = _told(request.made_by)
    scan = read_dicom_scan(request.t1ce)
    if request.dicom_seg:
        check_dicom_seg(scan, scheme, told)

    def write(stack: ExitStack, measured: MeasuredCase) -> None:
        algorithm = algorithm_of(facts, measured) if facts else told
        if request.dicom_seg:
            _write_segments(stack, request, measured, scheme, scan, algorithm)
        if request.secondary_capture:
            drawn_by = algorithm if request.made_by else None
            _write_capture(stack, request.secondary_capture, measured, scan, drawn_by)

    return write


def _write_segments(
    stack: ExitStack,
    request: MeasureRequest,
    measured: MeasuredCase,
    scheme: LabelScheme,
    scan: DicomScan,
    algorithm: Algorithm,
) -> None:
    """Write the segmentation, and the report that refers to it."""
    from ..core.files import atomic_write
    from ..reporting.dicom_seg import write_dicom_seg
    from ..reporting.dicom_sr import lesion_segments, write_dicom_sr

    if not request.dicom_seg:
        return
    segments = lesion_segments(measured, scheme)
    temporary = stack.enter_context(atomic_write(request.dicom_seg))
    made = write_dicom_seg(temporary, scan, segments, algorithm)
    if request.dicom_sr:
        temporary = stack.enter_context(atomic_write(request.dicom_sr))
        write_dicom_sr(temporary, scan, made, segments, measured, scheme)


def _write_capture(
    stack: ExitStack,
    path: Path,
    measured: MeasuredCase,
    scan: DicomScan,
    drawn_by: Algorithm | None,
) -> None:
    """Write the picture."""
    from ..core.files import atomic_write
    from ..reporting.capture.drawing import draw_measurements
    from ..reporting.capture.secondary_capture import write_secondary_capture

    picture = draw_measurements(measured, drawn_by)
    temporary = stack.enter_context(atomic_write(path))
    write_secondary_capture(temporary, scan, picture, measured.report.plane)
