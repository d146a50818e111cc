"""Options that several commands share, and how they speak to the user."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ..contract.measurement.lesions import PLANES, MeasurementSettings
from ..contract.modalities import BRATS_MODALITIES
from ..contract.requests.commands import ScanInputs
from ..contract.requests.exchange import request_of
from ..core.errors import InputError
from ..core.events import ErrorEvent, JsonLines, WarningEvent
from ..core.messages import Text

if TYPE_CHECKING:
    from ..core.events import Progress
    from ..io.dicom import ScanSource
    from ..sequences.scan_choice import ChosenScans

LARGEST_MM = 1000.0  # of a distance
Commands = argparse._SubParsersAction  # argparse has no public name for it


def tell_user(message: str) -> None:
    """Tell the user something that is no result; nobody may be there to hear it."""
    start = "\n" if sys.stderr.isatty() else ""  # the progress bar stands in the line
    with suppress(OSError):
        print(f"{start}missu: {message}", file=sys.stderr)


def number(low: float, high: float) -> Callable[[str], float]:
    """Type of an option that takes a number in a range, its ends included."""

    def parse(text: str) -> float:
        value = float(text)
        if not low <= value <= high:  # also what is not a number (nan)
            raise argparse.ArgumentTypeError(f"must lie between {low:g} and {high:g}, not {text}")
        return value

    parse.__name__ = "number"  # for argparse's message
    return parse


def whole_number(low: int, high: int) -> Callable[[str], int]:
    """Type of an option that takes a whole number in a range, its ends included."""

    def parse(text: str) -> int:
        value = int(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"must lie between {low} and {high}, not {text}")
        return value

    parse.__name__ = "whole number"
    return parse


def tell(event: ErrorEvent | WarningEvent, as_events: bool) -> None:
    """Tell the user what is wrong, and a program that reads events, too."""
    kind = "warning: " if isinstance(event, WarningEvent) else ""
    tell_user(f"{kind}{event.message}")
    if as_events:
        JsonLines()(event)


def tell_warnings(warnings: Iterable[str], as_events: bool) -> None:
    """Tell the user what to know of a result."""
    for warning in warnings:
        tell(WarningEvent(Text(warning)), as_events)


def add_scans(parser: argparse.ArgumentParser) -> None:
    """Add the options that name the scans of a case, and what is done to them first."""
    parser.add_argument(
        "folder", nargs="?", type=Path, metavar="FOLDER", help="the same as --case FOLDER"
    )
    for modality in BRATS_MODALITIES:
        parser.add_argument(
            f"--{modality}",
            type=Path,
            metavar="FILE",
            help=f"{modality} scan, a file or DICOM folder",
        )
    parser.add_argument(
        "--image",
        action="append",
        default=[],
        metavar="MODALITY=FILE",
        help="scan of another modality, for models of other tasks; may be repeated",
    )
    parser.add_argument(
        "--case",
        type=Path,
        metavar="FOLDER",
        help="folder with the scans of a case; DICOM tags, file names and the images tell which "
        "is which; a scan with an option of its own takes precedence",
    )
    parser.add_argument(
        "--allow-missing",
        action="store_true",
        help="go on without a scan of --case that is there but cannot be used",
    )
    _add_preprocessing(parser)


def _add_preprocessing(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--registration",
        type=automatic,
        default=True,
        metavar="{auto,never}",
        help="move scans that do not lie on each other (auto), or trust their headers (never)",
    )
    parser.add_argument(
        "--brain-extraction",
        type=automatic,
        default=True,
        metavar="{auto,never}",
        help="remove the skull if there is one (auto), or take nonzero voxels as brain (never)",
    )
    parser.add_argument(
        "--brain-mask", type=Path, metavar="FILE", help="brain mask, in place of brain extraction"
    )
    parser.add_argument(
        "--bias-field",
        nargs="?",
        choices=("auto", "always", "never"),
        const="always",
        default="auto",
        help="even out slow changes of brightness (N4) where they seem strong (auto, the default), "
        "in all scans (always, or no value), or in none (never)",
    )
    parser.add_argument(
        "--allow-different-anatomy",
        dest="different_anatomy",
        action="store_true",
        help="go on with scans that seem to show different brains",
    )


def automatic(text: str) -> bool:
    """Whether something is done where it is needed, or never."""
    choices = {"auto": True, "never": False}
    if text not in choices:
        raise argparse.ArgumentTypeError(f"must be auto or never, not {text!r}")
    return choices[text]


def add_result(parser: argparse.ArgumentParser) -> None:
    """Add the options of where a result lies, and what it may replace."""
    parser.add_argument(
        "--reference",
        metavar="SCAN",
        help="modality or image whose grid the result has (default t1ce)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add the option that changes settings of the training, see :func:`changed_settings`."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="change a setting of the training, as learning_rate=1e-4 or network.layers=2; may be "
        "repeated",
    )


def changed_settings(options: argparse.Namespace) -> dict[str, str]:
    """What :func:`add_settings` asks for, by name.

    Raises:
        InputError: if it is not a name and a value.
    """
    changes = {}
    for text in options.set:
        name, found, value = text.partition("=")
        if not found:
            raise InputError(f"--set {text}: write NAME=VALUE")
        changes[name] = value
    return changes


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add the options that name the model, and where it runs."""
    parser.add_argument("--model", help="name of an installed model, or a .pt file")
    parser.add_argument("--device", default="auto", help="auto, cuda, mps or cpu")


def add_measurement(parser: argparse.ArgumentParser) -> None:
    """Add the options of how lesions are measured, as :class:`.MeasurementSettings` names them."""
    defaults = MeasurementSettings()
    parser.add_argument("--scheme", default="brats", help="brats, brats2023, chaos-liver, a file")
    parser.add_argument(
        "--join",
        dest="join_mm",
        type=number(0, LARGEST_MM),
        default=defaults.join_mm,
        metavar="MM",
        help=f"parts this close are one lesion (default {defaults.join_mm:g})",
    )
    parser.add_argument(
        "--minimum",
        dest="minimum_mm",
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


def scan_inputs(options: argparse.Namespace) -> ScanInputs:
    """What :func:`add_scans` asks for.

    Raises:
        InputError: if a scan is given twice, or without a modality, or two folders are.
    """
    if options.folder and options.case:
        raise InputError(f"{options.folder} and {options.case}: give one folder with a case")
    images = {name: getattr(options, name) for name in BRATS_MODALITIES if getattr(options, name)}
    images.update(named_files("--image", "MODALITY", options.image, images))
    case = options.folder or options.case
    return request_of(ScanInputs, {**vars(options), "images": images, "case": case})


def named_files(
    option: str, what: str, texts: Iterable[str], given: Collection[str] = ()
) -> dict[str, Path]:
    """What an option that is repeated as ``NAME=FILE`` asks for, by name.

    Args:
        option: for messages.
        what: that the name is of, for messages.
        texts: as they were given.
        given: names that were given by other options.

    Raises:
        InputError: if it is not a name and a file, or a name is given twice.
    """
    files: dict[str, Path] = {}
    for text in texts:
        name, found, file = text.partition("=")
        if not (name and found and file):
            raise InputError(f"{option} {text}: write {what}=FILE")
        if name in files or name in given:
            raise InputError(f"{option} {text}: {name} is given twice")
        files[name] = Path(file)
    return files


def add_maps(parser: argparse.ArgumentParser) -> None:
    """Add the option that names further maps, see :func:`named_files`."""
    parser.add_argument(
        "--map",
        dest="maps",
        action="append",
        default=[],
        metavar="NAME=FILE",
        help="further map, as ADC=adc.nii.gz, whose mean and percentiles in each region are "
        "reported; it must lie in the space of the reference scan; may be repeated",
    )


def chosen_scans(given: ScanInputs, progress: Progress | None = None) -> ChosenScans:
    """The scans that are given or found; ``progress`` reports the search through a folder.

    Raises:
        InputError: if there is none, or one that cannot be used.
    """
    from ..sequences.scan_choice import choose_scans

    named: dict[str, ScanSource] = dict(given.images)
    return choose_scans(named, given.case, given.allow_missing, tell_user, progress)
