"""The command ``missu``: everything the library does, from a shell, a script or a cluster job.

Exit codes: 0 done; 1 failed (an error that nobody foresaw names a log with the details); 2
something given cannot be used (nothing was written); 3 out of memory or disk space; 4 the scans
show the skull, and nothing is there to take it off; 130 cancelled. Loads without torch; each
command imports what it needs.
"""

from __future__ import annotations

import argparse
import errno
import signal
import threading
from collections.abc import Sequence
from contextlib import suppress

from .. import __version__
from ..core.errors import ErrorCode, InputError, MISSUError, ResourceError, says_out_of_memory
from ..core.events import ErrorEvent, JsonLines, Progress, TerminalBar
from ..core.messages import Text, a_file
from . import (
    cost,
    demo,
    evaluate,
    explain,
    finetune,
    library,
    measure,
    models,
    segment,
    train,
    visits,
)
from .console import Console, flushed
from .options import complain, tell

CANCELLED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code. No traceback reaches the user, whatever happens."""
    console = Console()
    with console.ready():
        code = 0
        try:
            options = _parser().parse_args(arguments)
            code = _run(options, console)
        finally:
            problem = flushed()
            if problem and not code:
                complain(f"the output cannot be written: {problem}")
                code = MISSUError.exit_code
        return code


def _run(options: argparse.Namespace, console: Console) -> int:
    # A cluster's or the Slicer module's request to end is a Ctrl-C: temporary files go.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    progress = Progress(JsonLines() if options.json_progress else TerminalBar())
    try:
        options.command(options, progress)
    except MISSUError as error:
        tell(ErrorEvent(error.text, error.code), options)
        return error.exit_code
    except KeyboardInterrupt:
        tell(ErrorEvent(Text("cancelled"), ErrorCode.CANCELLED), options)
        return CANCELLED
    except Exception as error:
        return _unexpected(error, console, options)
    return 0


def _unexpected(error: Exception, console: Console, options: argparse.Namespace) -> int:
    """Tell of an error that nobody foresaw; returns the exit code."""
    if isinstance(error, BrokenPipeError):
        complain("nobody reads the output any more; stopped")
        return MISSUError.exit_code
    known = _foreseen(error) or MISSUError(console.explain(error))
    with suppress(OSError):  # the output may be what is full
        tell(ErrorEvent(known.text, known.code), options)
    return known.exit_code


def _foreseen(error: Exception) -> MISSUError | None:
    """What an error of the system means to the user; None if it should not happen."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ResourceError(f"the disk is full: {error}")
    if isinstance(error, OSError) and error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
        name = str(error.filename)[:200]
        return InputError(a_file(name), f": cannot be used: {error.strerror}")
    if says_out_of_memory(error):
        return ResourceError(
            "out of memory; close other programs, or use a machine with more memory"
        )
    return None


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
    for command in (
        segment,
        explain,
        measure,
        visits,
        library,
        finetune,
        train,
        evaluate,
        cost,
        models,
        demo,
    ):
        command.add(commands, common)
    return parser
