"""``missu visits``: a tumor over several visits."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..contract.measurement.lesions import MeasurementSettings
from ..core.errors import InputError
from ..core.events import Progress
from .options import Commands, add_measurement, tell_warnings, whole_number

if TYPE_CHECKING:
    from ..contract.requests.commands import VisitsRequest
    from ..contract.visits.report import VisitsSettings
    from ..contract.visits.response import GivenVisit
    from ..visits.comparison import ComparedVisits

MOST_VISITS = 1000


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "visits",
        parents=[common],
        help="compare a tumor over several visits",
        description="Register the T1ce scans of all visits, follow the lesions, and "
        "propose a response by the sum of products and by volume (RANO). A proposal: steroids, "
        "clinical state and the dates of treatment must be entered by the reader.",
    )
    parser.add_argument(
        "visits",
        nargs="*",
        metavar="VISIT",
        help="in the order of their dates: the folder of a result, or SEGMENTATION,T1CE",
    )
    parser.add_argument(
        "--list",
        type=Path,
        metavar="FILE",
        help="CSV with one visit per line, in place of VISIT: visit, segmentation, t1ce, date, "
        "steroids (none, less, same, more), clinical (better, same, worse), category, comment",
    )
    parser.add_argument(
        "--dates",
        nargs="+",
        default=[],
        metavar="DATE",
        help="of the visits, YYYY-MM-DD; by default what DICOM says",
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="JSON report to write")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="table to write")
    parser.add_argument("--page", type=Path, metavar="FILE", help="HTML page to write")
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")
    _add_rules(parser)
    parser.add_argument(
        "--surgery", action="append", default=[], metavar="DATE", help="of an operation"
    )
    parser.add_argument(
        "--radiotherapy",
        action="append",
        default=[],
        metavar="DATE",
        help="on which a radiotherapy ended",
    )
    parser.add_argument(
        "--allow-empty",
        action="store_true",
        help="take an empty segmentation for a tumor that is gone",
    )
    parser.add_argument(
        "--allow-different-anatomy",
        action="store_true",
        help="compare also scans that seem to be of two patients",
    )
    parser.set_defaults(command=run)


def _add_rules(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how lesions are measured, and against what."""
    parser.add_argument(
        "--baseline",
        type=whole_number(1, MOST_VISITS),
        default=1,
        metavar="N",
        help="number of the visit that changes count from, as the first after radiotherapy",
    )
    parser.add_argument(
        "--region", default="", metavar="NAME", help="follow this region (default: ET)"
    )
    add_measurement(parser)


def run(options: argparse.Namespace, progress: Progress) -> None:
    """Compare the visits that the options name."""
    from ..contract.labels import label_scheme
    from ..contract.requests.commands import VisitsRequest
    from ..contract.requests.exchange import request_of

    given = {
        **vars(options),
        "visits": _visits(options),
        "settings": _settings(options, label_scheme(options.scheme).region_names[-1]),
        "different_anatomy": options.allow_different_anatomy,
    }
    inputs = [options.list] if options.list else []
    perform(request_of(VisitsRequest, given), options.json_progress, progress, inputs)


def perform(
    request: VisitsRequest, as_events: bool, progress: Progress, read: Sequence[Path] = ()
) -> None:
    """Compare, write the files, and print the table unless events are asked for.

    Args:
        request: what to do.
        as_events: for a program.
        progress: reports the stages.
        read: files that were read before, which no result may replace.
    """
    from ..contract.labels import label_scheme
    from ..io.dicom import source_files
    from ..io.writing import check_outputs
    from ..visits.comparison import compare_visits
    from ..visits.tables import format_table

    outputs = [path for path in (request.output, request.csv, request.page) if path]
    inputs = [visit.segmentation for visit in request.visits if visit.segmentation.exists()]
    if all(visit.t1ce.exists() for visit in request.visits):
        inputs += source_files(visit.t1ce for visit in request.visits)
    check_outputs(outputs, [*inputs, *read], request.overwrite)
    _dates([visit.date for visit in request.visits if visit.date], "--dates")
    compared = compare_visits(
        request.visits,
        label_scheme(request.scheme),
        request.settings,
        surgery=_dates(request.surgery, "--surgery"),
        radiotherapy=_dates(request.radiotherapy, "--radiotherapy"),
        different_anatomy=request.different_anatomy,
        allow_empty=request.allow_empty,
        progress=progress,
    )
    report = compared.report
    _write(request, compared)
    tell_warnings(report.warnings, as_events)
    if not as_events:
        print(format_table(report))


def _write(request: VisitsRequest, compared: ComparedVisits) -> None:
    """Write the files that are asked for; they appear together, once all of them are whole."""
    from ..core.files import atomic_write, write_json
    from ..reporting.visits_page import write_visits_page
    from ..visits.pictures import visit_rows
    from ..visits.tables import write_csv

    with ExitStack() as stack:
        if request.page:
            page = stack.enter_context(atomic_write(request.page))
            write_visits_page(page, compared.report, visit_rows(compared))
        if request.csv:
            write_csv(compared.report, stack.enter_context(atomic_write(request.csv)))
        if request.output:
            output = stack.enter_context(atomic_write(request.output))
            write_json(output, compared.report.to_dict())


def _visits(options: argparse.Namespace) -> list[GivenVisit]:
    """What is given, with the dates that are."""
    from ..visits.files import read_visits, visit_of

    if options.list and options.visits:
        raise InputError("give the visits one by one, or by --list, not both")
    visits = (
        read_visits(options.list) if options.list else [visit_of(text) for text in options.visits]
    )
    if not options.dates:
        return visits
    if not visits and not options.list:
        raise InputError("--dates: takes all that stands behind it; give the visits before it")
    if len(options.dates) != len(visits):
        raise InputError(
            f"--dates: {len(options.dates)} dates are given for {len(visits)} visits; give one each"
        )
    dates = _dates(options.dates, "--dates")
    return [replace(visit, date=day) for visit, day in zip(visits, dates)]


def _dates(texts: Sequence[str], option: str) -> list[str]:
    from ..contract.visits.response import iso_date

    try:
        return [iso_date(text) for text in texts]
    except ValueError as error:
        raise InputError(f"{option}: {error}") from error


def _settings(options: argparse.Namespace, innermost: str) -> VisitsSettings:
    from ..contract.visits.report import VisitsSettings

    return VisitsSettings(
        MeasurementSettings(
            region=options.region,
            join_mm=options.join_mm,
            minimum_mm=options.minimum_mm,
            targets=options.targets,
            plane=options.plane,
        ),
        baseline=options.baseline,
        enhancing=not options.region or options.region == innermost,
    )
