"""One run of MISSUCore on temporary files, from preparing the inputs to cleaning up."""

from __future__ import annotations

import atexit
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import slicer

from MISSUCore.contract.modalities import TITLES
from MISSUCore.contract.requests.commands import Request
from MISSUCore.core.errors import ErrorCode, InputError, MISSUError
from MISSUCore.core.events import ProgressEvent, Stage
from MISSUCore.core.messages import OPTION, Name, Text, path_in

from .CoreInstallation import InstallationError, torchProblem
from .CoreProcess import KILLED, CoreProcess
from .Errors import ExchangeError

POLL_SECONDS = 0.02
# Exit codes with a known reason: MISSUCore's (see MISSUCore.cli.main) and a killed process's.
EXPLAINED = (2, 3, 4, 130, *KILLED)


class SegmentationError(RuntimeError):
    """A run failed; the message is one sentence for the user.

    Attributes:
        logPath: log of the process; None if no process was started.
        code: MISSUCore's error code, see :class:`.ErrorCode`; empty for other errors.
    """

    def __init__(self, message: str, logPath: Path | None = None, code: str = "") -> None:
        super().__init__(message)
        self.logPath = logPath
        self.code = code


class BrainExtractionMissing(SegmentationError):
    """The scans show the skull, and no package for skull stripping is installed."""

    def __init__(self, logPath: Path | None = None) -> None:
        super().__init__(
            "The scans show the skull, and deepbet, which takes it off, is not installed; install "
            'it with slicer.util.pip_install("deepbet"), or set brainExtraction to "hdbet" (with '
            'the extension HDBrainExtraction), or to "never" if the scans are stripped already.',
            logPath,
            ErrorCode.BRAIN_EXTRACTION_MISSING,
        )


class TorchBroken(SegmentationError):
    """PyTorch is installed, but cannot be loaded."""

    def __init__(self, logPath: Path | None = None) -> None:
        super().__init__(
            "PyTorch is installed, but cannot be loaded; segment a case in the panel, which offers "
            "to repair it, or install PyTorch again.",
            logPath,
        )


class CoreRun:
    """A run, from creating its temporary folder to its end.

    Attributes:
        folder: folder for the files of the run; None before the start.
        logPath: log of the process. Deleted when the program exits, but kept if the run fails.
        names: the user's names of the files, by path, for errors and warnings.
        told: the results that the process reported, by name, see :class:`.ResultEvent`.
        error: the error if the run failed; None otherwise.
        started: time on the monotonic clock when the process was started.

    Args:
        scene: closing it cancels the run; None for a run that needs no scene.
        onProgress: called with the progress.
        onFinished: called with the result.
        onFailed: called with one sentence and the path of the log.
        onCancelled: called once everything has stopped.
        keepFiles: do not delete the folder.
    """

    def __init__(
        self,
        scene: slicer.vtkMRMLScene | None = None,
        onProgress: Callable[[ProgressEvent], None] | None = None,
        onFinished: Callable[[Any], None] | None = None,
        onFailed: Callable[[str, Path | None], None] | None = None,
        onCancelled: Callable[[], None] | None = None,
        keepFiles: bool = False,
    ) -> None:
        self.folder: Path | None = None
        self.logPath: Path | None = None
        self.names: dict[Path, str] = {}
        self.told: dict[str, str] = {}
        self._result: Any = None
        self.error: SegmentationError | None = None
        self.started = 0.0
        self._scene = scene
        self._onProgress = onProgress
        self._onFinished = onFinished
        self._onFailed = onFailed
        self._onCancelled = onCancelled
        self._keepFiles = keepFiles
        self._process: CoreProcess | None = None
        self._isAwaited = False

    def start(
        self,
        process: CoreProcess,
        prepare: Callable[[CoreRun], Request],
        collect: Callable[[CoreRun], Any],
    ) -> None:
        """Prepare and start the command; if that fails, no file or process remains.

        Args:
            process: process that is waiting for a request.
            prepare: writes the input files into the folder and returns the request.
            collect: makes the result from the files that the process wrote.

        Raises:
            SegmentationError: if the files cannot be prepared.
        """
        self._collect = collect
        self.folder = process.folder
        self.logPath = process.folder.with_suffix(".log")
        try:
            request = prepare(self)
            self.started = time.monotonic()
            process.run(request, self.logPath, self._onProgress)
            self._process = process
        except ExchangeError as error:
            raise SegmentationError(str(error)) from error
        except (OSError, MISSUError) as error:
            raise SegmentationError(f"Temporary files cannot be written: {error}.") from error
        finally:
            if self._process is None:
                process.cancel()
                process.removeFolder()
        if self._scene:
            self._observer = self._scene.AddObserver(
                slicer.vtkMRMLScene.StartCloseEvent, lambda *_: self.cancel()
            )
        atexit.register(self.cancel)

    def isRunning(self) -> bool:
        """Whether the process was started and :meth:`poll` has not yet noticed its end."""
        return self._process is not None

    def isSceneBusy(self) -> bool:
        """Whether the scene is being loaded, closed or batch processed."""
        return self._scene is not None and self._scene.IsBatchProcessing()

    def report(self, stage: Stage, fraction: float, message: str) -> None:
        """Report progress of a stage that runs in Slicer, not in the process."""
        if self._onProgress:
            self._onProgress(ProgressEvent(stage, fraction, message))

    def poll(self) -> None:
        """Handle what the process has written since the last call, and its end."""
        process = self._process
        exitCode = process.poll() if process else None
        if exitCode is None or self._process is None:
            return  # still working, or cancelled by the progress callback
        self._process = None
        try:
            if exitCode:
                self._checkTorch(exitCode)
                raise self._failure(process)
            self.told = process.result
            result = self._collect(self)
            atexit.register(self.logPath.unlink, missing_ok=True)
        except (ExchangeError, InstallationError) as error:
            self.error = SegmentationError(str(error), self.logPath)
        except InputError as error:
            message = self.inUsersWords(Text("The result cannot be used (", error.text, ")"))
            self.error = SegmentationError(message, self.logPath)
        except (OSError, ValueError, KeyError) as error:
            message = f"The result cannot be used ({error}); segment again."
            self.error = SegmentationError(message, self.logPath)
        except SegmentationError as error:
            self.error = error
        finally:
            self._cleanUp(process)
        if self.error is None:
            # Not kept otherwise: its references would keep the nodes of a closed scene alive.
            self._result = result if self._isAwaited else None
            if self._onFinished:
                self._onFinished(result)
        if self.error and self._onFailed:
            self._onFailed(str(self.error), self.logPath)

    def wait(self) -> Any:
        """The result once the run is done; None if it was cancelled.

        Raises:
            SegmentationError: if it failed.
        """
        self._isAwaited = True
        try:
            while self.isRunning():
                self.poll()
                time.sleep(POLL_SECONDS)
        except BaseException:  # including Ctrl-C
            self.cancel()
            raise
        if self.error:
            raise self.error
        result, self._result = self._result, None
        return result

    def cancel(self) -> None:
        """Stop at once: when this returns, all processes have ended and the files are deleted."""
        if self._process is None:
            return
        process, self._process = self._process, None
        process.cancel()
        self._cleanUp(process)
        self.logPath.unlink(missing_ok=True)
        if self._onCancelled:
            self._onCancelled()

    def inUsersWords(self, message: Text) -> str:
        """A message of MISSUCore as a sentence in the user's terms.

        It names volumes instead of temporary files, and writes T1ce for t1ce.
        """
        sentence = message.in_words(self._nameOf)
        return sentence if sentence.endswith(".") else f"{sentence}."

    def _nameOf(self, name: Name) -> str:
        """The user's name of a modality or file; options keep their command-line names."""
        if name.kind == OPTION:
            return f'"{name.value.lstrip("-")}" (an option on the command line)'
        path = path_in(name)
        return self.names.get(path, str(path)) if path else TITLES.get(name.value, name.value)

    def _failure(self, process: CoreProcess) -> SegmentationError:
        """The error for a process that has failed."""
        code = process.error.code if process.error else ""
        if code == ErrorCode.BRAIN_EXTRACTION_MISSING:
            return BrainExtractionMissing(self.logPath)
        return SegmentationError(self.inUsersWords(process.failure()), self.logPath, code)

    def _checkTorch(self, exitCode: int) -> None:
        """Find out whether the process failed because PyTorch cannot be loaded."""
        problem = "" if exitCode in EXPLAINED else torchProblem()
        if problem:
            with self.logPath.open("a", encoding="utf-8") as log:
                log.write(f"\nPyTorch cannot be imported:\n{problem}\n")
            raise TorchBroken(self.logPath)

    def _cleanUp(self, process: CoreProcess) -> None:
        self._collect = None  # it would keep the nodes of a closed scene alive
        if self._scene:
            self._scene.RemoveObserver(self._observer)
        atexit.unregister(self.cancel)
        if not self._keepFiles:
            process.removeFolder()


def newProcess(module: str) -> CoreProcess:
    """Start a process that loads this module of MISSUCore and waits for a request.

    Raises:
        SegmentationError: if it cannot be started.
    """
    try:
        return CoreProcess(module)
    except InstallationError as error:
        raise SegmentationError(str(error)) from error
    except OSError as error:
        raise SegmentationError(f"The process cannot be started: {error}.") from error
