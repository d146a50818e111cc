"""How a command meets the console: text any console can show, and a log for what is not for users.

ITK, GDCM and PyTorch write to the error output from C++, past Python. While a command runs, that
goes to a log in the system's temporary folder; it stays only if something unexpected happens.
"""

from __future__ import annotations

import io
import os
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from .. import __version__

STDERR = 2


class Console:
    """The console of one command.

    Attributes:
        log: where C++ writes, and an unexpected error is explained; None while there is none.
    """

    def __init__(self) -> None:
        self.log: Path | None = None
        self.keep_log = False

    @contextmanager
    def ready(self) -> Iterator[None]:
        """Make the outputs safe to print to, and catch what C++ writes."""
        sys.stdout, sys.stderr = _safe(sys.stdout), _safe(sys.stderr)
        with self._native_errors_logged():
            yield

    @contextmanager
    def _native_errors_logged(self) -> Iterator[None]:
        python = sys.stderr
        try:
            # Only the real error output of the process can be used by C++.
            if python.fileno() != STDERR:
                raise io.UnsupportedOperation
            self.log = self._new_log()
            shown = os.dup(STDERR)
        except (OSError, ValueError):
            yield
            return
        python.flush()
        sys.stderr = open(  # noqa: SIM115, PTH123
            shown, "w", buffering=1, encoding=python.encoding, errors="backslashreplace"
        )
        with self.log.open("a", encoding="utf-8") as stream:
            os.dup2(stream.fileno(), STDERR)
        try:
            yield
        finally:
            os.dup2(shown, STDERR)
            with suppress(OSError):
                sys.stderr.close()
            sys.stderr = python
            if not self.keep_log:
                with suppress(OSError):  # Windows, while a process started here has it open
                    self.log.unlink(missing_ok=True)

    def explain(self, error: BaseException) -> str:
        """Write an unexpected error to the log; returns a sentence for the user."""
        kind = type(error).__name__
        reason = next(iter(str(error).splitlines()), "")
        what = f"unexpected error: {kind}{': ' if reason else ''}{reason[:200]}"
        try:
            self.log = self.log or self._new_log()
            with self.log.open("a", encoding="utf-8", errors="backslashreplace") as stream:
                stream.write(f"MISSU {__version__}, Python {sys.version}, {sys.platform}\n")
                traceback.print_exception(type(error), error, error.__traceback__, file=stream)
        except OSError:
            return f"{what}; a log could not be written"
        self.keep_log = True
        return f"{what}; please report it with the log {self.log}"

    @staticmethod
    def _new_log() -> Path:
        handle, name = tempfile.mkstemp(prefix="missu-", suffix=".log")
        os.close(handle)
        return Path(name)


def flushed() -> str:
    """Write out what was printed; returns what went wrong, as with a full disk or a closed pipe."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError) as error:
        with suppress(OSError, ValueError):
            # Or Python would try once more at its end, and complain in its own words.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            os.close(nowhere)
        return str(getattr(error, "strerror", None) or error)
    return ""


def _safe(stream: TextIO | None) -> TextIO:
    """A stream that shows as an escape what its encoding lacks; nowhere if it was closed."""
    if stream is None:
        return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
    return stream
