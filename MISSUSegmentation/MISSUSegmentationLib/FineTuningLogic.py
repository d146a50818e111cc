"""Improve a model on corrected cases, with or without Slicer's GUI: library, tuning, verdict."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import slicer

from MISSUCore.progress import ProgressEvent

from .CaseLibrary import MINIMUM_CASES, TrainingCase, readCases
from .CoreInstallation import InstallationError, torchIsInstalled
from .CoreProcess import CoreProcess
from .CoreRun import CoreRun, SegmentationError
from .SceneExchange import ExchangeError, checkVolumes
from .TrainingCase import writeTrainingCase
from .TuningRun import TuningRun, TuningSettings, newRun

OnFinished = Callable[[Any], None]
OnFailed = Callable[[str, "Path | None"], None]


class FineTuningLogic:
    """Runs ``missu library``, ``missu finetune`` and ``missu models`` in processes of their own.

    A fine-tuning and one short command (adding a case, accepting a model) may be on at the same
    time, and both go on when the scene is closed: they work on files. Without ``blocking``,
    somebody has to call :meth:`poll` a few times a second; callbacks are called from within it.

    Attributes:
        run: the fine-tuning that is on, or was the last; None before the first.
    """

    def __init__(self) -> None:
        self.run: TuningRun | None = None
        self._tuning: CoreRun | None = None
        self._command: CoreRun | None = None

    def add(
        self,
        library: Path,
        volumes: dict[str, slicer.vtkMRMLScalarVolumeNode],
        segmentationNode: slicer.vtkMRMLSegmentationNode,
        *,
        note: str = "",
        noTumor: bool = False,
        replace: bool = False,
        onFinished: OnFinished | None = None,
        onFailed: OnFailed | None = None,
        blocking: bool = True,
    ) -> TrainingCase | None:
        """Store volumes and their corrected segmentation in a library.

        Args:
            library: folder; it is made if there is none.
            volumes: skull-stripped, co-registered, by modality.
            segmentationNode: with a segment for every region, or label, of its model's scheme.
            note: kept with the case; nothing that names the patient.
            noTumor: the segments are empty because there is nothing to find.
            replace: take the new segments if these scans are in the library already.
            onFinished: gets the case.
            onFailed: gets one sentence, which names the missing ``--no-tumor`` or ``--replace``,
                and the path of the log; only without ``blocking``.
            blocking: return when it is done.

        Returns:
            The case when ``blocking``.

        Raises:
            SegmentationError: if it cannot be added; the sentence says why.
        """
        try:
            checkVolumes(volumes)
        except ExchangeError as error:
            raise SegmentationError(str(error)) from error
        options = [f"--note={note}"] if note else []
        options += ["--no-tumor"] if noTumor else []
        options += ["--replace"] if replace else []

        def prepare(run: CoreRun) -> list[str]:
            case = writeTrainingCase(run, volumes, segmentationNode)
            return ["library", str(library), "add", *case, *options]

        def collect(run: CoreRun) -> TrainingCase:
            cases = readCases(library)
            if not cases:
                raise SegmentationError(f"{library} cannot be read; choose another folder.")
            return max(cases, key=lambda case: case.added)

        return self._run(prepare, collect, onFinished, onFailed, blocking)

    def listCases(self, library: Path) -> list[TrainingCase]:
        """The cases of a library, oldest first."""
        return readCases(library)

    def exclude(
        self, library: Path, cases: list[str], exclude: bool = True, **callbacks: Any
    ) -> None:
        """Leave cases, by ID, out of fine-tuning, or take them in again.

        Args:
            library: folder.
            cases: their IDs.
            exclude: or include.
            callbacks: ``onFinished``, ``onFailed`` and ``blocking`` as in :meth:`add`.

        Raises:
            SegmentationError: if it fails.
        """
        verb = "exclude" if exclude else "include"
        self._runPlain(["library", str(library), verb, *cases], **callbacks)

    def remove(self, library: Path, cases: list[str], **callbacks: Any) -> None:
        """Delete cases, by ID, for good; arguments and errors as for :meth:`exclude`."""
        self._runPlain(["library", str(library), "remove", *cases], **callbacks)

    def fineTune(
        self,
        library: Path,
        settings: TuningSettings,
        *,
        run: TuningRun | None = None,
        onProgress: Callable[[ProgressEvent], None] | None = None,
        onFinished: Callable[[TuningRun], None] | None = None,
        onFailed: OnFailed | None = None,
        onCancelled: Callable[[], None] | None = None,
        blocking: bool = True,
    ) -> TuningRun | None:
        """Tune a model on the cases of a library that are not excluded.

        It is judged on cases it was not tuned on; nothing is installed before :meth:`accept`.

        Args:
            library: folder; the run gets a folder ``runs/NAME-run-1``, ... in it.
            settings: what to tune, and how long.
            run: to resume, see :meth:`resume`.
            onProgress: hears where it stands.
            onFinished: gets the run, with its verdict.
            onFailed: gets one sentence and the path of the log; only without ``blocking``.
            onCancelled: is called once it is stopped.
            blocking: return when it is done.

        Returns:
            The run when ``blocking``, or None if it was cancelled.

        Raises:
            SegmentationError: if it cannot be started; when ``blocking``, also if it fails.
        """
        if self.isTuning():
            raise SegmentationError("A fine-tuning is on; wait for its end or cancel it.")
        _checkTorch()
        cases = [case for case in readCases(library) if not case.excluded]
        if run is None and len(cases) < MINIMUM_CASES:
            raise SegmentationError(
                f"Fine-tuning needs {MINIMUM_CASES} or more corrected cases that are not excluded, "
                f"and there are {len(cases)}; add more."
            )
        try:
            run = run or newRun(library, settings)
        except OSError as error:
            raise SegmentationError(f"The library cannot be written: {error}.") from error
        arguments = ["finetune", "--library", str(library), "--output", str(run.folder)]
        arguments += ["--base", settings.base, "--name", settings.name]
        arguments += ["--minutes", str(settings.minutes), "--device", settings.device]

        def failed(message: str, logPath: Path | None) -> None:
            _removeUnlessBegun(run)
            onFailed(message, logPath)

        def cancelled() -> None:
            _removeUnlessBegun(run)
            if onCancelled:
                onCancelled()

        tuning = CoreRun(
            None, onProgress, onFinished, failed if onFailed and not blocking else None, cancelled
        )
        tuning.start(_newProcess(), lambda _: arguments, lambda _: _finished(run))
        self._tuning, self.run = tuning, run
        return tuning.wait() if blocking else None

    def resume(self, run: TuningRun, **callbacks: Any) -> TuningRun | None:
        """Go on with a run that was stopped; arguments and errors as for :meth:`fineTune`."""
        settings = run.settings()
        if settings is None:
            raise SegmentationError(
                f"{run.folder.name} was not started in Slicer; resume it with missu finetune."
            )
        return self.fineTune(run.library, settings, run=run, **callbacks)

    def accept(self, run: TuningRun, force: bool = False, **callbacks: Any) -> str | None:
        """Install the model of a run beside the others; the base and earlier versions stay.

        Args:
            run: that has finished.
            force: also if it is not better than its base.
            callbacks: as for :meth:`exclude`; ``onFinished`` gets the new model's name.

        Returns:
            The name when ``blocking``.

        Raises:
            SegmentationError: if it fails.
        """
        arguments = ["models", "--accept", str(run.folder), *(["--force"] if force else [])]
        return self._runPlain(arguments, lambda _: run.installedAs(), **callbacks)

    def discard(self, run: TuningRun, **callbacks: Any) -> None:
        """Delete the model of a run and its checkpoints; as for :meth:`exclude`."""
        self._runPlain(["models", "--discard", str(run.folder)], **callbacks)

    def use(self, model: str, **callbacks: Any) -> None:
        """Make an installed model the one that is taken if none is named; as :meth:`exclude`."""
        self._runPlain(["models", "--use", model], **callbacks)

    def isTuning(self) -> bool:
        """Whether a fine-tuning is on."""
        return self._tuning is not None and self._tuning.isRunning()

    def isBusy(self) -> bool:
        """Whether a short command is on."""
        return self._command is not None and self._command.isRunning()

    def poll(self) -> None:
        """Deliver what the processes have written since the last call, and their ends."""
        for run in (self._command, self._tuning):
            if run:
                run.poll()

    def cancel(self) -> None:
        """Stop the fine-tuning at once; :meth:`resume` goes on from its last checkpoint."""
        if self._tuning:
            self._tuning.cancel()

    def _runPlain(
        self,
        arguments: list[str],
        collect: Callable[[CoreRun], Any] = lambda _: None,
        onFinished: OnFinished | None = None,
        onFailed: OnFailed | None = None,
        blocking: bool = True,
    ) -> Any:
        return self._run(lambda _: arguments, collect, onFinished, onFailed, blocking)

    def _run(
        self,
        prepare: Callable[[CoreRun], list[str]],
        collect: Callable[[CoreRun], Any],
        onFinished: OnFinished | None,
        onFailed: OnFailed | None,
        blocking: bool,
    ) -> Any:
        if self.isBusy():
            raise SegmentationError("The library is being changed; try again in a moment.")
        _checkTorch()
        run = CoreRun(None, None, onFinished, None if blocking else onFailed)
        run.start(_newProcess(), prepare, collect)
        self._command = run
        return run.wait() if blocking else None


def _finished(run: TuningRun) -> TuningRun:
    if run.gate() is None:
        raise SegmentationError(f"{run.folder / 'gate.json'} cannot be read; resume the run.")
    return run


def _removeUnlessBegun(run: TuningRun) -> None:
    if not run.hasBegun():
        shutil.rmtree(run.folder, ignore_errors=True)


def _checkTorch() -> None:
    if not torchIsInstalled():
        raise SegmentationError("PyTorch is not installed; segment a case first, it asks for it.")


def _newProcess() -> CoreProcess:
    try:
        return CoreProcess("MISSUCore.command_line")
    except InstallationError as error:
        raise SegmentationError(str(error)) from error
    except OSError as error:
        raise SegmentationError(f"The process cannot be started: {error}.") from error
