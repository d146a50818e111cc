"""The command ``missu``: everything the library does, from a shell, a script or a cluster job.

Exit codes are those of :data:`.EXIT_CODES`. Loads without torch; each command imports what it
needs.
"""

from __future__ import annotations

import argparse
import errno
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from .. import __version__
from ..contract.requests.commands import (
    AddCaseRequest,
    ChangeCasesRequest,
    EvaluateRequest,
    FineTuneRequest,
    MeasureRequest,
    ModelRequest,
    Request,
    SegmentRequest,
    VisitsRequest,
)
from ..contract.requests.exchange import read_request
from ..core.errors import ErrorCode, InputError, MISSUError, ResourceError, says_out_of_memory
from ..core.events import ErrorEvent, JsonLines, Progress, TerminalBar
from ..core.messages import Text, a_file
from . import demo, evaluate, explain, finetune, library, measure, segment, train, verify, visits
from .about import cost, export, info, models
from .console import Console, flushed
from .options import tell, tell_user

CANCELLED = 130
_JSON = "--json-progress"
# Errors of the system that speak of a place: its name, who may enter, the drive that it is on.
_OF_A_PLACE = {
    *(errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.EROFS),
    *(errno.EIO, errno.ENODEV, errno.ENXIO, errno.ETIMEDOUT),
    *(getattr(errno, name) for name in ("ESTALE", "EHOSTDOWN") if hasattr(errno, name)),
}


class _UsageError(Exception):
    """A command line that cannot be parsed; ``parser`` knows how it is used."""

    def __init__(self, parser: argparse.ArgumentParser, message: str) -> None:
        super().__init__(message)
        self.parser = parser


class _Parser(argparse.ArgumentParser):
    """Parser of whose errors a program is told, too; argparse would end the process at once."""

    def error(self, message: str) -> NoReturn:
        """Raise what is wrong."""
        raise _UsageError(self, message)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code. No traceback reaches the user, whatever happens."""
    console = Console()
    with console.ready():
        code = 0
        try:
            options = _parsed(sys.argv[1:] if arguments is None else arguments)
            code = _run(
                lambda progress: options.command(options, progress), options.json_progress, console
            )
        finally:
            code = _with_output(code)
        return code


def serve(request: Path) -> int:
    """Do what a JSON file asks for (:mod:`.requests`) and tell events; returns the exit code."""
    console = Console()
    with console.ready():
        code = _run(lambda progress: _perform(read_request(request), progress), True, console)
        return _with_output(code)


def _perform(request: Request, progress: Progress) -> None:
    """Do what is asked for; results, warnings and progress are told as events."""
    if isinstance(request, SegmentRequest):
        segment.perform(request, True, progress)
    elif isinstance(request, EvaluateRequest):
        evaluate.perform(request, True, progress)
    elif isinstance(request, MeasureRequest):
        measure.perform(request, True, progress)
    elif isinstance(request, VisitsRequest):
        visits.perform(request, True, progress)
    elif isinstance(request, AddCaseRequest):
        library.tell_added(library.perform_add(request, True, progress))
    elif isinstance(request, ChangeCasesRequest):
        library.perform_change(request, True, progress)
    elif isinstance(request, FineTuneRequest):
        finetune.perform(request, True, progress)
    elif isinstance(request, ModelRequest):
        models.perform(request, True, progress)
    else:
        from ..sequences.appearance import answer

        answer(request)


def _with_output(code: int) -> int:
    """The exit code of a command, which has failed also if its output cannot be written."""
    problem = flushed()
    if problem and not code:
        tell_user(f"the output cannot be written: {problem}")
        return MISSUError.exit_code
    return code


def _run(command: Callable[[Progress], object], as_events: bool, console: Console) -> int:
    # A cluster's or the Slicer module's request to end is a Ctrl-C: temporary files go.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    progress = Progress(JsonLines() if as_events else TerminalBar())
    try:
        command(progress)
    except MISSUError as error:
        tell(ErrorEvent(error.text, error.code), as_events)
        return error.exit_code
    except KeyboardInterrupt:
        tell(ErrorEvent(Text("cancelled"), ErrorCode.CANCELLED), as_events)
        return CANCELLED
    except Exception as error:
        return _unexpected(error, console, as_events)
    return 0


def _unexpected(error: Exception, console: Console, as_events: bool) -> int:
    """Tell of an error that nobody foresaw; returns the exit code."""
    if isinstance(error, BrokenPipeError):
        tell_user("nobody reads the output any more; stopped")
        return MISSUError.exit_code
    known = _foreseen(error) or MISSUError(console.explain(error))
    with suppress(OSError):  # the output may be what is full
        tell(ErrorEvent(known.text, known.code), as_events)
    return known.exit_code


def _foreseen(error: Exception) -> MISSUError | None:
    """What an error of the system means to the user; None if it should not happen."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ResourceError(f"the disk is full: {error}")
    if isinstance(error, OSError) and error.errno in _OF_A_PLACE:
        named = isinstance(error.filename, (str, bytes))  # and not the number of an open file
        name = os.fsdecode(error.filename)[:200] if named else "a file"
        return InputError(a_file(name), f": cannot be used: {error.strerror}")
    if says_out_of_memory(error):
        return ResourceError(
            "out of memory; close other programs, or use a machine with more memory"
        )
    return None


def _parsed(arguments: Sequence[str]) -> argparse.Namespace:
    """The options of a command line.

    An empty argument is refused: it comes of a variable of a script that was never set, and would
    be taken for the default, or for the current folder.
    """
    try:
        return _checked_and_parsed(arguments)
    except _UsageError as error:
        if any(part.startswith("--json-") and _JSON.startswith(part) for part in arguments):
            JsonLines()(ErrorEvent(Text(error), ErrorCode.INPUT))
        argparse.ArgumentParser.error(error.parser, str(error))


def _checked_and_parsed(arguments: Sequence[str]) -> argparse.Namespace:
    parser = _parser()
    for before, argument in zip(["", *arguments], arguments, strict=False):
        if not argument.strip() or (argument.startswith("--") and argument.endswith("=")):
            option = argument.strip().rstrip("=") or before
            parser.error(f"argument {option}: is empty; give a value, or leave the option out")
    return parser.parse_args(arguments)


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        _JSON, action="store_true", help="write progress as one JSON object per line"
    )
    parser = _Parser(
        prog="missu",
        description="Brain-tumor segmentation in multimodal MRI. Research software, not a medical "
        "device.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(metavar="command", required=True)
    for command in (
        segment,
        explain,
        measure,
        verify,
        visits,
        library,
        finetune,
        train,
        evaluate,
        cost,
        models,
        export,
        info,
        demo,
    ):
        command.add(commands, common)
    return parser
