"""A command of MISSUCore in a process of its own, which can be watched and stopped at any time."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

import slicer

from MISSUCore.contract.requests.commands import Request
from MISSUCore.contract.requests.exchange import request_to_dict, write_request
from MISSUCore.core.events import ErrorEvent, ProgressEvent, ResultEvent, parse_line
from MISSUCore.core.messages import Text

from .CoreInstallation import coreEnvironment, coreFolder, corePython, isInSlicer

STAND_BY = Path(__file__).with_name("StandBy.py")
# A process that nobody needs, as after a crash of Slicer, ends by itself.
STAND_BY_SECONDS = 600.0
# Once the tree is killed its pipe closes at once; this is for a system that is very busy.
CLOSING_SECONDS = 1.0
# Exit codes of a process that Linux has killed, and that a launcher says has been.
KILLED = (-9, 137)


class CoreProcess:
    """A Python process that loads MISSUCore, waits, and then does what one request asks for.

    Attributes:
        folder: temporary, for the files of the command.
        error: why the command has failed, as it told; None if it did not.
        result: what it has made, by name; empty if it told of nothing.

    Args:
        module: of MISSUCore, that the command will need.

    Raises:
        OSError: if the folder cannot be made, or the process not started.
        InstallationError: if Slicer's Python is not found.
    """

    def __init__(self, module: str) -> None:
        self._exitCode: int | None = None
        self._onProgress: Callable[[ProgressEvent], None] | None = None
        self._events: queue.SimpleQueue[ProgressEvent] = queue.SimpleQueue()
        self.error: ErrorEvent | None = None
        self.result: dict[str, str] = {}
        self._reader: threading.Thread | None = None
        # A session of its own on POSIX, so that it can be killed with all its children.
        isWindows = os.name == "nt"
        command = [*corePython(), str(STAND_BY), str(coreFolder()), module]
        place = slicer.app.temporaryPath if isInSlicer() else None
        self.folder = Path(tempfile.mkdtemp(prefix="missu-", dir=place))
        self._request = self.folder / "request.json"
        try:
            self._process = subprocess.Popen(
                [*command, str(self._request), str(STAND_BY_SECONDS)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=coreEnvironment(),
                encoding="utf-8",
                errors="replace",
                creationflags=subprocess.CREATE_NO_WINDOW if isWindows else 0,
                start_new_session=not isWindows,
            )
        except OSError:
            self.removeFolder()
            raise

    def isAlive(self) -> bool:
        """Whether it waits or works."""
        return self._exitCode is None and self._process.poll() is None

    def run(
        self,
        request: Request,
        logPath: Path,
        onProgress: Callable[[ProgressEvent], None] | None = None,
    ) -> None:
        """Do what a request asks for; may be called once.

        Args:
            request: what to do.
            logPath: file to write, with all that the process prints.
            onProgress: is called, from within :meth:`poll`, with where it stands.

        Raises:
            OSError: if the log cannot be written.
            MISSUError: if the request cannot be written.
        """
        self._onProgress = onProgress
        log = logPath.open("w", encoding="utf-8")
        log.write(f"missu {request.command} {json.dumps(request_to_dict(request))}\n")
        self._reader = threading.Thread(target=self._read, args=(log,), daemon=True)
        self._reader.start()
        write_request(self._request, request)

    def poll(self) -> int | None:
        """Report progress since the last call; returns the exit code, once it has ended."""
        if self._exitCode is None and self._process.poll() is not None:
            self._end()
        while self._onProgress and not self._events.empty():
            self._onProgress(self._events.get())
        return self._exitCode

    def cancel(self) -> None:
        """Kill the process with all its children; they are gone when this returns."""
        self._onProgress = None
        if self._exitCode is None:
            self._end()

    def removeFolder(self) -> None:
        """Delete the temporary folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def failure(self) -> Text:
        """Why it failed, in one sentence."""
        if self.error:
            return self.error.message
        if self._exitCode in KILLED:
            return Text(
                "the system ended the process, probably for lack of memory; close other programs"
            )
        return Text(
            f"the process ended unexpectedly with code {self._exitCode}; open the log to see why"
        )

    def _end(self) -> None:
        # Also when the process has ended by itself: its children may be left.
        _killTree(self._process)
        self._exitCode = self._process.wait()
        if self._reader:
            # It ends when the last process that could write is gone.
            self._reader.join(CLOSING_SECONDS)
        else:
            self._process.stdout.close()

    def _read(self, log: TextIO) -> None:
        with log, self._process.stdout:
            for line in self._process.stdout:
                event = parse_line(line)
                if isinstance(event, ProgressEvent):
                    self._events.put(event)
                elif isinstance(event, ErrorEvent):
                    self.error = event
                elif isinstance(event, ResultEvent):
                    self.result = dict(event.values)
                log.write(line)
                log.flush()


def _killTree(process: subprocess.Popen) -> None:
    if os.name == "nt":
        # PythonSlicer is a launcher: the Python that works is its child.
        subprocess.run(
            ["taskkill", "/F", "/T", "/PID", str(process.pid)],
            creationflags=subprocess.CREATE_NO_WINDOW,
            capture_output=True,
            check=False,
        )
    else:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
