"""``missu segment``: the tumor in a case, or in many."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..contract.modalities import BRATS_MODALITIES
from ..contract.options import PreprocessingOptions, SegmentationOptions
from ..contract.requests.commands import SegmentRequest
from ..contract.requests.exchange import request_of
from ..core.errors import InputError, MISSUError
from ..core.events import Progress
from .options import (
    Commands,
    add_maps,
    add_model,
    add_result,
    add_scans,
    chosen_scans,
    named_files,
    number,
    scan_inputs,
    tell_user,
    tell_warnings,
)

if TYPE_CHECKING:
    from ..contract.segmentation_report import SegmentationReport
    from ..inference.radiomics.files import RadiomicsFiles

LARGEST_PART_MM3 = 1_000_000  # more than any tumor has


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "segment",
        parents=[common],
        help="segment a case, or many",
        description="Segment the scans of a case as they are: files or DICOM folders, on any "
        "grid, aligned or not, with skull or without.",
    )
    add_scans(parser)
    add_result(parser)
    add_maps(parser)
    _add_files(parser)
    parser.add_argument(
        "--cases",
        type=Path,
        metavar="LIST",
        help="many cases: a CSV or JSON list, or a folder with one folder per case",
    )
    parser.add_argument(
        "--bids",
        type=Path,
        metavar="DATASET",
        help="many cases: all of a raw BIDS dataset; the results are a BIDS derivative dataset; "
        "with --map NAME=SUFFIX, as ADC=ADC, maps of the dataset are measured",
    )
    parser.add_argument(
        "--participants",
        nargs="+",
        default=[],
        metavar="LABEL",
        help="only these of --bids, as 01 or sub-01",
    )
    parser.add_argument(
        "--output-folder",
        type=Path,
        metavar="FOLDER",
        help="where the results of --cases or --bids go",
    )
    _add_network_options(parser)
    parser.set_defaults(command=run)


def _add_network_options(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
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
        dest="minimum_island_mm3",
        type=number(0, LARGEST_PART_MM3),
        metavar="MM3",
        help="remove smaller parts of the tumor (default 100)",
    )
    parser.add_argument(
        "--minimum-enhancing",
        dest="minimum_innermost_mm3",
        type=number(0, LARGEST_PART_MM3),
        default=0.0,
        metavar="MM3",
        help="treat less enhancing tumor than this as none (default 0: off)",
    )


def _add_files(parser: argparse.ArgumentParser) -> None:
    """Add the options of what is written."""
    parser.add_argument("--output", type=Path, help="label map to write")
    parser.add_argument("--report", type=Path, help="JSON report to write")
    parser.add_argument(
        "--quality-page",
        nargs="?",
        type=Path,
        const=True,
        metavar="FILE",
        help="HTML page to write, with pictures to judge the result by (many cases: one each)",
    )
    parser.add_argument(
        "--dicom-seg",
        type=Path,
        metavar="FILE",
        help="DICOM segmentation to write for the archive; the reference must be DICOM",
    )
    parser.add_argument(
        "--probabilities", action="store_true", help="also write a probability map per region"
    )
    parser.add_argument(
        "--radiomics",
        nargs="?",
        type=Path,
        const=True,
        metavar="FOLDER",
        help="folder to write with images and masks on one grid, and their list for pyradiomics "
        "(many cases: a folder radiomics in each)",
    )
    parser.add_argument(
        "--profile", action="store_true", help="print what each stage took, and the peak memory"
    )


def run(options: argparse.Namespace, progress: Progress) -> None:
    """Segment what the options name."""
    if options.participants and not options.bids:
        raise InputError("--participants is for --bids; give the dataset")
    if options.cases or options.bids:
        _segment_cohort(options, progress)
        return
    if options.output_folder:
        raise InputError(
            "--output-folder is for --cases and --bids; give --output for a single case"
        )
    if not options.output:
        raise InputError("no place for the result given; give --output")
    if options.quality_page is True:
        raise InputError("--quality-page: give a file")
    if options.radiomics is True:
        raise InputError("--radiomics: give a folder")
    values = {
        **vars(options),
        "scans": scan_inputs(options),
        "maps": _named_maps(options),
    }
    request = request_of(SegmentRequest, values)
    report = perform(request, options.json_progress, progress)
    if options.profile:
        _print_profile(report.seconds)


def _named_maps(options: argparse.Namespace) -> dict[str, Path]:
    """What each map is in: a file; with --bids, files of a suffix."""
    return named_files("--map", "NAME", options.maps)


def _print_profile(seconds: Mapping[str, float]) -> None:
    """What the stages took on the clock, and the most memory that the process had."""
    from ..core.memory import peak_bytes

    for stage, took in seconds.items():
        tell_user(f"{stage:>9} {took:7.2f} s {took / max(seconds['total'], 0.01):5.0%}")
    peak = peak_bytes()
    if peak is not None:
        tell_user(f"{'memory':>9} {peak / 2**30:7.2f} GiB at its peak")


def perform(request: SegmentRequest, as_events: bool, progress: Progress) -> SegmentationReport:
    """Segment a case, and print the volumes unless events are asked for.

    Returns:
        What the report file holds.
    """
    scans = request.scans
    given = chosen_scans(scans, progress.part(0.0, 0.03))
    from ..inference.case_files import segment_files
    from ..inference.result_files import ResultFiles

    report = segment_files(
        given.paths,
        ResultFiles(
            request.output,
            request.report,
            request.quality_page,
            request.dicom_seg,
            probabilities=request.probabilities,
            radiomics=_radiomics_files(request.radiomics),
        ),
        model=request.model or None,
        reference=scans.reference or None,
        brain_mask=scans.brain_mask,
        maps=request.maps,
        overwrite=request.overwrite,
        preprocessing=scans.preprocessing,
        options=request.options,
        sequences=given.sequences,
        progress=progress.part(0.03, 1.0),
    )
    tell_warnings(report.warnings, as_events)
    if not as_events:
        _print_result(report)
    return report


def _radiomics_files(folder: Path | None) -> RadiomicsFiles | None:
    """The files in a folder for radiomics; the case is called as the folder."""
    from ..inference.radiomics.files import RadiomicsFiles

    return RadiomicsFiles(folder, folder.resolve().name) if folder else None


def _print_result(report: SegmentationReport) -> None:
    """Volumes, and what further maps show."""
    from ..measurement.tables import format_maps

    for region, volume_ml in report.volumes_ml.items():
        expected = report.confidence.get(region)
        doubt = "" if expected is None else f"  expected Dice {expected:.2f}"
        print(f"{region:>8} {volume_ml:8.1f} ml{doubt}")
    if any(one.regions for one in report.maps.values()):
        print(f"\n{format_maps(report.maps)}")


def _check_cohort(options: argparse.Namespace) -> None:
    if not options.output_folder:
        raise InputError("no place for the results given; give --output-folder")
    if options.cases and options.bids:
        raise InputError("--cases and --bids: give one of them")
    if options.maps and not options.bids:
        raise InputError(
            "--map is for a single case, or --bids; in a list, columns name the files: map:ADC"
        )
    single = ("output", "report", "dicom_seg", "brain_mask", "case", "image", *BRATS_MODALITIES)
    wrong = [str(options.folder)] if options.folder else []
    wrong += [f"--{name.replace('_', '-')}" for name in single if getattr(options, name)]
    for name, told in (
        ("quality_page", "--quality-page FILE"),
        ("radiomics", "--radiomics FOLDER"),
    ):
        wrong += [told] if isinstance(getattr(options, name), Path) else []
    if wrong:
        many = "--bids" if options.bids else "--cases"
        raise InputError(f"{wrong[0]} is for a single case; leave it out, or leave out {many}")


def _segment_cohort(options: argparse.Namespace, progress: Progress) -> None:
    """Segment every case of the list into its folder, and print what became of each."""
    _check_cohort(options)
    from ..cohorts.cohort import CohortOptions, segment_cohort
    from ..cohorts.summary import DONE
    from ..core.torchrun import torchrun_process
    from ..io.bids.dataset import read_bids

    how = CohortOptions(
        reference=options.reference,
        quality_pages=bool(options.quality_page),
        probabilities=options.probabilities,
        radiomics=bool(options.radiomics),
        allow_missing=options.allow_missing,
        preprocessing=request_of(PreprocessingOptions, vars(options)),
        segmentation=request_of(SegmentationOptions, vars(options)),
    )
    suffixes = {name: str(path) for name, path in _named_maps(options).items()}
    summary = segment_cohort(
        read_bids(options.bids, options.participants, suffixes) if options.bids else options.cases,
        options.output_folder,
        options.model,
        how,
        options.overwrite,
        tell_user,
        progress,
    )
    process, processes, _ = torchrun_process()
    if process == 0 and not options.json_progress:
        print(summary.format_table())
    left = len(summary.records) - summary.count(DONE)
    # torchrun would end the other processes if one failed.
    if processes == 1 and left:
        raise MISSUError(f"{left} of {len(summary.records)} cases are not done")
