"""Runs a MISSUCore command in a separate process that can be monitored and stopped anytime."""

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
# An unused process, e.g. after Slicer has crashed, exits by itself after this time.
STAND_BY_SECONDS = 600.0
# The pipe closes as soon as the process tree is killed, unless the system is very busy.
CLOSING_SECONDS = 1.0
# Exit codes of a process that Linux killed: reported directly (-SIGKILL), or by a launcher.
KILLED = (-9, 137)


class CoreProcess:
    """A Python process that loads MISSUCore, waits for one request, and carries it out.

    Attributes:
        folder: temporary folder for the files of the command.
        error: the error that the command reported; None if it reported none.
        result: the results that the command reported, by name; empty if it reported none.

    Args:
        module: module of MISSUCore to load in advance.

    Raises:
        OSError: if the folder cannot be created or the process cannot be started.
        InstallationError: if Slicer's Python is not found.
    """

    def __init__(self, module: str) -> None:
        self._exitCode: int | None = None
        self._onProgress: Callable[[ProgressEvent], None] | None = None
        self._events: queue.SimpleQueue[ProgressEvent] = queue.SimpleQueue()
        self.error: ErrorEvent | None = None
        self.result: dict[str, str] = {}
        self._reader: threading.Thread | None = None
        # On POSIX, a new session: the process can be killed together with its children.
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
        """Whether the process is still running, waiting or working."""
        return self._exitCode is None and self._process.poll() is None

    def run(
        self,
        request: Request,
        logPath: Path,
        onProgress: Callable[[ProgressEvent], None] | None = None,
    ) -> None:
        """Start the work that a request describes; may be called only once.

        Args:
            request: what to do.
            logPath: file to which all output of the process is written.
            onProgress: called from within :meth:`poll` with the progress.

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
        """Report progress since the last call; returns the exit code, None while running."""
        if self._exitCode is None and self._process.poll() is not None:
            self._end()
        while self._onProgress and not self._events.empty():
            self._onProgress(self._events.get())
        return self._exitCode

    def cancel(self) -> None:
        """Kill the process and all its children; they have ended when this returns."""
        self._onProgress = None
        if self._exitCode is None:
            self._end()

    def removeFolder(self) -> None:
        """Delete the temporary folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def failure(self) -> Text:
        """Why the command failed, in one sentence."""
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
        # Needed even if the process has ended by itself: its children may still be running.
        _killTree(self._process)
        self._exitCode = self._process.wait()
        if self._reader:
            # The reader ends when the last process that holds the pipe has ended.
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
        # PythonSlicer is a launcher: the Python that does the work is its child.
        subprocess.run(
            ["taskkill", "/F", "/T", "/PID", str(process.pid)],
            creationflags=subprocess.CREATE_NO_WINDOW,
            capture_output=True,
            check=False,
        )
    else:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
