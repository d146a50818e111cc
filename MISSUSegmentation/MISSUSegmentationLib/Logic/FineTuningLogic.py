"""Fine-tune a model on corrected cases and install the result, with or without Slicer's GUI."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from MISSUCore.contract.requests.commands import FineTuneRequest, ModelRequest
from MISSUCore.contract.requests.exchange import request_of
from MISSUCore.contract.tuning.finetuning_run import MINIMUM_CASES, FineTuningRun, TuningSettings
from MISSUCore.core.errors import MISSUError

from ..Core.CoreRun import CoreRun, SegmentationError, newProcess
from .CaseLibrary import usedCases
from .LibraryLogic import LibraryLogic, OnCancelled, OnFailed, OnProgress, checkTorch
from .TuningRun import newRun


class FineTuningLogic(LibraryLogic):
    """Also runs ``missu finetune`` and ``missu models`` in separate processes.

    A fine-tuning and one short command (adding a case, accepting a model) may run at the same time.
    From a script, in Slicer or with the package slicer-core::

        logic = FineTuningLogic()
        logic.add(library, {"t1": t1, "t1ce": t1ce, "t2": t2, "flair": flair}, corrected)
        run = logic.fineTune(library, TuningSettings(base="missu-brats-fast", minutes=30))
        test = run.acceptance()
        print(test.verdict, test.reason, test.mean)
        if test.recommended:
            logic.use(logic.accept(run))

    Attributes:
        run: the current or last fine-tuning; None before the first.
    """

    def __init__(self) -> None:
        super().__init__()
        self.run: FineTuningRun | None = None
        self._tuning: CoreRun | None = None

    def fineTune(
        self,
        library: Path,
        settings: TuningSettings,
        *,
        run: FineTuningRun | None = None,
        onProgress: OnProgress | None = None,
        onFinished: Callable[[FineTuningRun], None] | None = None,
        onFailed: OnFailed | None = None,
        onCancelled: OnCancelled | None = None,
        blocking: bool = True,
    ) -> FineTuningRun | None:
        """Fine-tune a model on the cases of a library that are not excluded.

        The result is tested on cases that were not used for tuning, and installed only by
        :meth:`accept`.

        Args:
            library: folder of the library; the run gets a folder ``runs/NAME-run-1``, ... in it.
            settings: which model to tune, and for how long.
            run: a run to resume, see :meth:`resume`.
            onProgress: called with the progress.
            onFinished: called with the run, which then has a verdict.
            onFailed: called with one sentence and the path of the log; only without ``blocking``.
            onCancelled: called once the run has stopped.
            blocking: return only when the run is done.

        Returns:
            The run if ``blocking``; None if it was cancelled.

        Raises:
            SegmentationError: if the run cannot be started; if ``blocking``, also if it fails.
        """
        if self.isTuning():
            raise SegmentationError("A fine-tuning is on; wait for its end or cancel it.")
        checkTorch()
        run = run or _newRun(library, settings)
        places = {"library": library, "output": run.folder}
        request = request_of(FineTuneRequest, {**vars(settings), **places})

        def failed(message: str, logPath: Path | None) -> None:
            _removeUnlessBegun(run)
            if onFailed and not blocking:
                onFailed(message, logPath)

        def cancelled() -> None:
            _removeUnlessBegun(run)
            if onCancelled:
                onCancelled()

        tuning = CoreRun(None, onProgress, onFinished, failed, cancelled)
        try:
            process = newProcess("MISSUCore.cli.main")
            tuning.start(process, lambda _: request, lambda _: _finished(run))
        except SegmentationError:
            _removeUnlessBegun(run)
            raise
        self._tuning, self.run = tuning, run
        return tuning.wait() if blocking else None

    def resume(self, run: FineTuningRun, **callbacks: Any) -> FineTuningRun | None:
        """Continue a run that was stopped; arguments and errors as for :meth:`fineTune`."""
        settings = run.settings()
        if settings is None:
            raise SegmentationError(
                f"{run.folder.name} was not started in Slicer; resume it with missu finetune."
            )
        return self.fineTune(run.library, settings, run=run, **callbacks)

    def accept(self, run: FineTuningRun, force: bool = False, **callbacks: Any) -> str | None:
        """Install the model of a run in addition to its base and earlier versions.

        Args:
            run: a finished run.
            force: install even if the model is not better than its base.
            callbacks: as for :meth:`exclude`; ``onFinished`` gets the new model's name.

        Returns:
            The new model's name if ``blocking``.

        Raises:
            SegmentationError: if it fails.
        """
        request = ModelRequest(accept=run.folder, force=force)
        return self._runPlain(request, lambda command: command.told.get("model"), **callbacks)

    def discard(self, run: FineTuningRun, **callbacks: Any) -> None:
        """Delete the model of a run and its checkpoints; callbacks as for :meth:`exclude`."""
        self._runPlain(ModelRequest(discard=run.folder), **callbacks)

    def use(self, model: str, **callbacks: Any) -> None:
        """Make an installed model the default; callbacks as for :meth:`exclude`."""
        self._runPlain(ModelRequest(use=model), **callbacks)

    def isTuning(self) -> bool:
        """Whether a fine-tuning is running."""
        return self._tuning is not None and self._tuning.isRunning()

    def poll(self) -> None:
        """Handle what the processes have written since the last call, and their ends."""
        super().poll()
        if self._tuning:
            self._tuning.poll()

    def cancel(self) -> None:
        """Stop the fine-tuning at once; :meth:`resume` continues from its last checkpoint."""
        if self._tuning:
            self._tuning.cancel()


def _newRun(library: Path, settings: TuningSettings) -> FineTuningRun:
    """Create a new run with its folder.

    Raises:
        SegmentationError: if there are too few cases, or the folder cannot be created.
    """
    count = len(usedCases(library))
    if count < MINIMUM_CASES:
        raise SegmentationError(
            f"Fine-tuning needs {MINIMUM_CASES} or more corrected cases that are not excluded, "
            f"and there are {count}; add more."
        )
    try:
        return newRun(library, settings)
    except (OSError, MISSUError) as error:
        raise SegmentationError(f"The library cannot be written: {error}.") from error


def _finished(run: FineTuningRun) -> FineTuningRun:
    run.acceptance()
    return run


def _removeUnlessBegun(run: FineTuningRun) -> None:
    if not run.has_begun():
        shutil.rmtree(run.folder, ignore_errors=True)
