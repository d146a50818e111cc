"""The command ``missu``: everything the library does, from a shell, a script or a cluster job.

Exit codes: 0 done; 1 failed; 2 something given cannot be used (nothing was written); 3 out of
memory or disk space; 4 the scans show the skull, and nothing is there to take it off; 130
cancelled. Loads without torch; each command imports what it needs.
"""

from __future__ import annotations

import argparse
import signal
from collections.abc import Sequence

from .. import __version__
from ..core.errors import MISSUError
from ..core.events import JsonLines, Progress, TerminalBar
from . import cost, demo, evaluate, explain, finetune, library, models, segment, train
from .options import complain

CANCELLED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code."""
    options = _parser().parse_args(arguments)
    # A cluster's or the Slicer module's request to end is a Ctrl-C: temporary files go.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    progress = Progress(JsonLines() if options.json_progress else TerminalBar())
    try:
        options.command(options, progress)
    except MISSUError as error:
        complain(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        complain("cancelled")
        return CANCELLED
    return 0


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
    for command in (segment, explain, library, finetune, train, evaluate, cost, models, demo):
        command.add(commands, common)
    return parser
