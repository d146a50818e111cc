"""``missu measure``: lesions, diameters and volumes of a segmentation."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..contract.measurement_report import PLANES, MeasurementSettings
from ..core.events import Progress
from .options import Commands, number, tell_warnings, whole_number

LARGEST_MM = 1000.0


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add the command to the parser."""
    defaults = MeasurementSettings()
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
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")
    parser.add_argument("--scheme", default="brats", help="brats, brats2023, chaos-liver, a file")
    parser.add_argument(
        "--region", default="", metavar="NAME", help="measure its diameters (default: ET)"
    )
    parser.add_argument(
        "--lesions-of",
        default="",
        metavar="NAME",
        help="its parts are the lesions (default: parts of all regions together)",
    )
    parser.add_argument(
        "--join",
        type=number(0, LARGEST_MM),
        default=defaults.join_mm,
        metavar="MM",
        help=f"parts this close are one lesion (default {defaults.join_mm:g})",
    )
    parser.add_argument(
        "--minimum",
        type=number(0, LARGEST_MM),
        default=defaults.minimum_mm,
        metavar="MM",
        help=f"least diameter of a measurable lesion (default {defaults.minimum_mm:g})",
    )
    parser.add_argument(
        "--targets",
        type=whole_number(1, 100),
        default=defaults.targets,
        metavar="N",
        help=f"most lesions in the sum of products (default {defaults.targets}; RANO 2010: 5)",
    )
    parser.add_argument(
        "--plane",
        choices=PLANES,
        default=defaults.plane,
        help="of the diameters: that of thick slices, or axial (auto), or one of the grid's others",
    )
    parser.set_defaults(command=run)


def run(options: argparse.Namespace, progress: Progress) -> None:
    """Measure what the options name."""
    from ..contract.labels import label_scheme
    from ..core.files import write_json
    from ..inference.outputs import check_outputs
    from ..measurement.case import measure
    from ..measurement.tables import format_table, write_csv

    inputs = [path for path in (options.segmentation, options.t1ce) if path]
    outputs = [path for path in (options.output, options.csv) if path]
    check_outputs(outputs, [*inputs, Path(options.scheme)], options.overwrite)
    report = measure(
        options.segmentation,
        options.t1ce,
        label_scheme(options.scheme),
        MeasurementSettings(
            region=options.region,
            lesions_of=options.lesions_of,
            join_mm=options.join,
            minimum_mm=options.minimum,
            targets=options.targets,
            plane=options.plane,
        ),
        progress,
    )
    if options.output:
        write_json(options.output, report.to_dict())
    if options.csv:
        write_csv(report, options.csv)
    tell_warnings(report.warnings, options.json_progress)
    if not options.json_progress:
        print(format_table(report))
