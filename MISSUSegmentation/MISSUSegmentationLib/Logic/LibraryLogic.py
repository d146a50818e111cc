"""Change a library of training cases, with or without Slicer's GUI."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import slicer

from MISSUCore.contract.requests.commands import AddCaseRequest, ChangeCasesRequest, Request
from MISSUCore.core.events import ProgressEvent

from ..Core.CoreInstallation import torchIsInstalled
from ..Core.CoreRun import CoreRun, SegmentationError, newProcess
from .BrainMask import checkedMask
from .CaseExchange import writeTrainingCase
from .CaseLibrary import TrainingCase, readCases
from .Segmentation import SegmentationSettings, checkPatients

OnProgress = Callable[[ProgressEvent], None]
OnFinished = Callable[[Any], None]
OnCancelled = Callable[[], None]
OnFailed = Callable[[str, "Path | None"], None]


class LibraryLogic:
    """Runs ``missu library`` commands in separate processes, one at a time.

    Without ``blocking``, the caller has to call :meth:`poll` a few times a second; callbacks are
    called from within it. Closing the scene does not cancel a command: it works on files.
    """

    def __init__(self) -> None:
        self._command: CoreRun | None = None

    def add(
        self,
        library: Path,
        volumes: dict[str, slicer.vtkMRMLScalarVolumeNode],
        segmentationNode: slicer.vtkMRMLSegmentationNode,
        *,
        settings: SegmentationSettings | None = None,
        note: str = "",
        noTumor: bool = False,
        replace: bool = False,
        differentAnatomy: bool = False,
        onProgress: OnProgress | None = None,
        onFinished: OnFinished | None = None,
        onFailed: OnFailed | None = None,
        onCancelled: OnCancelled | None = None,
        blocking: bool = True,
    ) -> TrainingCase | None:
        """Store volumes and their corrected segmentation in a library.

        Args:
            library: folder of the library; created if it does not exist.
            volumes: the volumes that were segmented, by modality: they are registered and
                skull-stripped again.
            segmentationNode: has a segment for every region, or every label, of its model's scheme.
            settings: the settings used for segmentation; only those of registration, brain
                extraction and bias field are used.
            note: kept with the case; must not identify the patient.
            noTumor: confirms that the segments are empty because there is no tumor.
            replace: replace the segments if these scans are already in the library.
            differentAnatomy: accept scans that seem to show two patients.
            onProgress: called with the progress.
            onFinished: called with the case.
            onFailed: called with one sentence and the path of the log, only without ``blocking``;
                see :meth:`error` for its code.
            onCancelled: called once :meth:`cancelCommand` has stopped it.
            blocking: return only when it is done.

        Returns:
            The case if ``blocking``.

        Raises:
            SegmentationError: if the case cannot be added; the message says why.
                BrainExtractionMissing if the skull cannot be removed.
        """
        settings = settings or SegmentationSettings()
        if differentAnatomy:
            settings = dataclasses.replace(settings, differentAnatomy=True)
        self._checkIdle()
        checkPatients(volumes, settings)
        brainMask = checkedMask(volumes, settings.brainExtraction == "hdbet")

        def prepare(run: CoreRun) -> AddCaseRequest:
            case = writeTrainingCase(run, volumes, segmentationNode, settings, brainMask)
            answers = {"note": note, "no_tumor": noTumor, "replace": replace}
            return dataclasses.replace(case, library=library, **answers)

        onFailed = None if blocking else onFailed
        run = CoreRun(None, onProgress, onFinished, onFailed, onCancelled)
        return self._run(run, prepare, lambda run: _addedCase(run, library), blocking)

    def listCases(self, library: Path) -> list[TrainingCase]:
        """The cases of a library, oldest first."""
        return readCases(library)

    def exclude(
        self, library: Path, cases: list[str], exclude: bool = True, **callbacks: Any
    ) -> None:
        """Exclude cases from fine-tuning, or include them again.

        Args:
            library: folder of the library.
            cases: their IDs.
            exclude: False includes the cases again.
            callbacks: ``onFinished``, ``onFailed`` and ``blocking`` as in :meth:`add`.

        Raises:
            SegmentationError: if it fails.
        """
        action = "exclude" if exclude else "include"
        self._runPlain(ChangeCasesRequest(library, action, tuple(cases)), **callbacks)

    def remove(self, library: Path, cases: list[str], **callbacks: Any) -> None:
        """Delete cases permanently; arguments and errors as for :meth:`exclude`."""
        self._runPlain(ChangeCasesRequest(library, "remove", tuple(cases)), **callbacks)

    def isBusy(self) -> bool:
        """Whether a command is running."""
        return self._command is not None and self._command.isRunning()

    def poll(self) -> None:
        """Handle what the process has written since the last call, and its end."""
        if self._command:
            self._command.poll()

    def cancelCommand(self) -> None:
        """Stop the command at once; the library is left unchanged."""
        if self._command:
            self._command.cancel()

    def error(self) -> SegmentationError | None:
        """The error of the last command; None if it did not fail."""
        return self._command.error if self._command else None

    def _runPlain(
        self,
        request: Request,
        collect: Callable[[CoreRun], Any] = lambda _: None,
        onFinished: OnFinished | None = None,
        onFailed: OnFailed | None = None,
        blocking: bool = True,
    ) -> Any:
        self._checkIdle()
        run = CoreRun(None, None, onFinished, None if blocking else onFailed)
        return self._run(run, lambda _: request, collect, blocking)

    def _run(
        self,
        run: CoreRun,
        prepare: Callable[[CoreRun], Request],
        collect: Callable[[CoreRun], Any],
        blocking: bool,
    ) -> Any:
        run.start(newProcess("MISSUCore.cli.main"), prepare, collect)
        self._command = run
        return run.wait() if blocking else None

    def _checkIdle(self) -> None:
        if self.isBusy():
            raise SegmentationError("The library is being changed; try again in a moment.")
        checkTorch()


def _addedCase(run: CoreRun, library: Path) -> TrainingCase:
    """The case that a run reports to have added."""
    for case in readCases(library):
        if case.id == run.told.get("case"):
            return case
    raise SegmentationError(f"{library} cannot be read; choose another folder.")


def checkTorch() -> None:
    """Check that PyTorch is installed.

    Raises:
        SegmentationError: if it is not.
    """
    if not torchIsInstalled():
        raise SegmentationError("PyTorch is not installed; segment a case first, it asks for it.")
