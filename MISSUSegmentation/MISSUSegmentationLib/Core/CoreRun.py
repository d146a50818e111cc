"""One run of MISSUCore on temporary files: prepared, started, watched, collected, cleaned up."""

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
# Exit codes that say why it failed: of MISSUCore, see MISSUCore.cli.main, and of a killed process.
EXPLAINED = (2, 3, 4, 130, *KILLED)


class SegmentationError(RuntimeError):
    """Something went wrong; the message is one sentence for the user.

    Attributes:
        logPath: what the process has written; None if there was none.
        code: of MISSUCore's error, see :class:`.ErrorCode`; empty if it is none of its own.
    """

    def __init__(self, message: str, logPath: Path | None = None, code: str = "") -> None:
        super().__init__(message)
        self.logPath = logPath
        self.code = code


class BrainExtractionMissing(SegmentationError):
    """The scans show the skull, and nothing is installed that takes it off."""

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
    """A run, from the making of its temporary folder to its end.

    Attributes:
        folder: for the files of the run; None before it is started.
        logPath: what the process has written. It goes with the program, but stays if the run fails.
        names: what users call these files, by path: their words for errors and warnings.
        told: what the process says it has made, by name, see :class:`.ResultEvent`.
        error: what went wrong; None if nothing did.
        started: when the process was, on the monotonic clock.

    Args:
        scene: whose closing cancels the run; None for one that needs no scene.
        onProgress: is called with where it stands.
        onFinished: gets the result.
        onFailed: gets one sentence and the path of the log.
        onCancelled: is called once everything is stopped.
        keepFiles: leave the folder.
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
        """Prepare and start the command; nothing is left if that fails.

        Args:
            process: that stands by.
            prepare: writes files into the folder and returns what is to be done.
            collect: makes the result of the files that the process wrote.

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
        """Whether the process was started, and its end not yet noticed."""
        return self._process is not None

    def isSceneBusy(self) -> bool:
        """Whether the scene is being loaded, closed, or changed in many places."""
        return self._scene is not None and self._scene.IsBatchProcessing()

    def report(self, stage: Stage, fraction: float, message: str) -> None:
        """Tell of a stage that is not the process's."""
        if self._onProgress:
            self._onProgress(ProgressEvent(stage, fraction, message))

    def poll(self) -> None:
        """Deliver what the process has written since the last call, and its end."""
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
            # Else it is not kept: it holds nodes, which a closed scene must let go.
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
        except BaseException:  # as Ctrl-C
            self.cancel()
            raise
        if self.error:
            raise self.error
        result, self._result = self._result, None
        return result

    def cancel(self) -> None:
        """Stop at once: the whole process tree is gone, and its files, when this returns."""
        if self._process is None:
            return
        process, self._process = self._process, None
        process.cancel()
        self._cleanUp(process)
        self.logPath.unlink(missing_ok=True)
        if self._onCancelled:
            self._onCancelled()

    def inUsersWords(self, message: Text) -> str:
        """A message of MISSUCore as a sentence with the names that users know.

        Volumes instead of temporary files, and T1ce for t1ce.
        """
        sentence = message.in_words(self._nameOf)
        return sentence if sentence.endswith(".") else f"{sentence}."

    def _nameOf(self, name: Name) -> str:
        """What users call a modality or a file; options are those of the command line."""
        if name.kind == OPTION:
            return f'"{name.value.lstrip("-")}" (an option on the command line)'
        path = path_in(name)
        return self.names.get(path, str(path)) if path else TITLES.get(name.value, name.value)

    def _failure(self, process: CoreProcess) -> SegmentationError:
        """The error that a process has ended with."""
        code = process.error.code if process.error else ""
        if code == ErrorCode.BRAIN_EXTRACTION_MISSING:
            return BrainExtractionMissing(self.logPath)
        return SegmentationError(self.inUsersWords(process.failure()), self.logPath, code)

    def _checkTorch(self, exitCode: int) -> None:
        """Tell a PyTorch that cannot be loaded from other reasons for a failure."""
        problem = "" if exitCode in EXPLAINED else torchProblem()
        if problem:
            with self.logPath.open("a", encoding="utf-8") as log:
                log.write(f"\nPyTorch cannot be imported:\n{problem}\n")
            raise TorchBroken(self.logPath)

    def _cleanUp(self, process: CoreProcess) -> None:
        self._collect = None  # it holds the nodes, which a closed scene must let go
        if self._scene:
            self._scene.RemoveObserver(self._observer)
        atexit.unregister(self.cancel)
        if not self._keepFiles:
            process.removeFolder()


def newProcess(module: str) -> CoreProcess:
    """A process that stands by with this module of MISSUCore.

    Raises:
        SegmentationError: if it cannot be started.
    """
    try:
        return CoreProcess(module)
    except InstallationError as error:
        raise SegmentationError(str(error)) from error
    except OSError as error:
        raise SegmentationError(f"The process cannot be started: {error}.") from error
