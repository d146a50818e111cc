"""Segment the volumes of a scene, and compare segmentations, with or without Slicer's GUI."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

import slicer

from MISSUCore.contract.labels import BRATS, LabelScheme
from MISSUCore.contract.measurement.lesions import MeasurementSettings
from MISSUCore.contract.measurement.report import MeasurementReport
from MISSUCore.core.events import ProgressEvent

from ..Core.CoreInstallation import torchIsInstalled
from ..Core.CoreProcess import CoreProcess
from ..Core.CoreRun import BrainExtractionMissing, CoreRun, SegmentationError, newProcess
from ..Core.Errors import ExchangeError
from ..Core.OneRun import OneRun
from ..Scene.MovedScans import placesOf
from ..Scene.SceneExchange import referenceVolume
from ..Scene.SegmentationNodes import checksumOf
from .BrainMask import checkedMask
from .Comparison import Scores, readScores, writePair
from .MeasureLogic import gridOf, readMeasurement, writeSegmentation
from .Segmentation import (
    SegmentationResult,
    SegmentationSettings,
    checkPatients,
    readResult,
    writeCase,
)

__all__ = [
    "BrainExtractionMissing",
    "Scores",
    "SegmentationError",
    "SegmentationLogic",
    "SegmentationResult",
    "SegmentationSettings",
]


class SegmentationLogic(OneRun):
    """Runs MISSUCore as a separate process on volumes of the scene, one run at a time."""

    def __init__(self) -> None:
        super().__init__()
        self._standBy: CoreProcess | None = None

    def segment(
        self,
        t1: slicer.vtkMRMLScalarVolumeNode | None = None,
        t1ce: slicer.vtkMRMLScalarVolumeNode | None = None,
        t2: slicer.vtkMRMLScalarVolumeNode | None = None,
        flair: slicer.vtkMRMLScalarVolumeNode | None = None,
        *,
        settings: SegmentationSettings | None = None,
        onProgress: Callable[[ProgressEvent], None] | None = None,
        onFinished: Callable[[SegmentationResult], None] | None = None,
        onFailed: Callable[[str, Path | None], None] | None = None,
        onCancelled: Callable[[], None] | None = None,
        blocking: bool = True,
    ) -> slicer.vtkMRMLSegmentationNode | None:
        """Segment volumes as they are: on any grid, with skull or without, not yet registered.

        The result is on the grid of the T1ce or what replaces it (SceneExchange.referenceVolume).
        Scans not aligned with it are put under transforms that align them, if the settings allow.
        An earlier result of the same volumes is replaced in its node, unless renamed or edited.

        Args:
            t1: None if there is no such volume.
            t1ce: see t1.
            t2: see t1.
            flair: see t1.
            settings: None for the defaults.
            onProgress: called with the progress.
            onFinished: called with the result.
            onFailed: called with one sentence and the path of the log; only without ``blocking``.
            onCancelled: called once everything has stopped.
            blocking: return only when the run is done.

        Returns:
            The segmentation if ``blocking``; None if it was cancelled or is still running.

        Raises:
            SegmentationError: if the volumes cannot be used or another run is in progress (nothing
                is started then, and no callback called); if ``blocking``, also if the run fails:
                BrainExtractionMissing, or the code ANATOMY_DIFFERS (scans seem of two patients).
        """
        began = time.monotonic()
        settings = settings or SegmentationSettings()
        given = {"t1": t1, "t1ce": t1ce, "t2": t2, "flair": flair}
        volumes = {modality: node for modality, node in given.items() if node is not None}
        self._checkReady()
        checkPatients(volumes, settings)
        # Before taking the process: HD-BET may take longer than a process waits for its request.
        brainMask = checkedMask(volumes, settings.brainExtraction == "hdbet")
        places = placesOf(volumes)
        # A blocking call raises an exception instead of calling onFailed.
        callbacks = (onProgress, onFinished, None if blocking else onFailed, onCancelled)
        run = CoreRun(referenceVolume(volumes).GetScene(), *callbacks, settings.keepTemporaryFiles)
        run.start(
            self._takeProcess(),
            lambda run: writeCase(run, volumes, settings, brainMask),
            lambda run: readResult(run, volumes, places, settings, began),
        )
        self._run = run
        result = run.wait() if blocking else None
        return result.segmentationNode if result else None

    def compare(
        self,
        segmentationNode: slicer.vtkMRMLSegmentationNode,
        referenceNode: slicer.vtkMRMLSegmentationNode | slicer.vtkMRMLLabelMapVolumeNode,
        *,
        scheme: LabelScheme = BRATS,
        onFinished: Callable[[Scores], None] | None = None,
        onFailed: Callable[[str, Path | None], None] | None = None,
        blocking: bool = True,
    ) -> Scores | None:
        """Dice and 95 % Hausdorff distance in mm by region name (WT, TC, ET).

        Both are compared on the grid of the reference: its own if it is a label map, else that of
        the volume it was drawn on. Segments are recognized by name, see Comparison.labelsOn;
        a region that is present in only one of the two is left out.

        Args:
            segmentationNode: the segmentation to evaluate.
            referenceNode: the ground truth.
            scheme: the labels and regions.
            onFinished: called with the scores.
            onFailed: called with one sentence and the path of the log; only without ``blocking``.
            blocking: return only when the run is done.

        Returns:
            The scores if ``blocking``; None if it was cancelled or is still running.

        Raises:
            SegmentationError: if the nodes cannot be compared or another run is in progress; if
                ``blocking``, also if the run fails.
        """
        self._checkIdle()
        onFailed = None if blocking else onFailed
        scene = segmentationNode.GetScene()
        run = CoreRun(scene, onFinished=onFinished, onFailed=onFailed)
        run.start(
            newProcess("MISSUCore.evaluation.comparison"),
            lambda run: writePair(run, segmentationNode, referenceNode, scheme),
            readScores,
        )
        self._run = run
        return run.wait() if blocking else None

    def measure(
        self,
        segmentationNode: slicer.vtkMRMLSegmentationNode,
        *,
        scheme: LabelScheme = BRATS,
        settings: MeasurementSettings | None = None,
        onFinished: Callable[[MeasurementReport], None] | None = None,
        onFailed: Callable[[str, Path | None], None] | None = None,
        blocking: bool = True,
    ) -> MeasurementReport | None:
        """Measure the volume and both diameters of each lesion; show the diameters as lines.

        Works on any segmentation. Segments are recognized by name as in :meth:`compare`; if none
        is recognized, the union of all segments is taken as the lesions. Lines of an earlier
        measurement are replaced, even corrected ones.

        Args:
            segmentationNode: the segmentation to measure.
            scheme: the labels and regions.
            settings: how lesions are measured and classified; None for the defaults.
            onFinished: called with the report.
            onFailed: called with one sentence and the path of the log; only without ``blocking``.
            blocking: return only when the run is done.

        Returns:
            The report if ``blocking``; None if it was cancelled or is still running.

        Raises:
            SegmentationError: if the segmentation cannot be measured or another run is in progress;
                if ``blocking``, also if the run fails.
        """
        self._checkIdle()
        how = settings or MeasurementSettings()
        try:
            grid = gridOf(segmentationNode)
        except ExchangeError as error:
            raise SegmentationError(str(error)) from error
        onFailed = None if blocking else onFailed
        checksum = checksumOf(segmentationNode)  # it may be edited during the run
        run = CoreRun(segmentationNode.GetScene(), onFinished=onFinished, onFailed=onFailed)
        run.start(
            newProcess("MISSUCore.measurement.case"),
            lambda run: writeSegmentation(run, segmentationNode, grid, scheme, how),
            lambda run: readMeasurement(run, segmentationNode, grid, checksum),
        )
        self._run = run
        return run.wait() if blocking else None

    def warmUp(self) -> None:
        """Start a process that loads PyTorch and waits: the next :meth:`segment` starts faster.

        It takes several hundred MB of memory until it is used, or :meth:`coolDown` ends it. Errors
        are ignored here and reported by :meth:`segment`.
        """
        if torchIsInstalled() and not (self._standBy and self._standBy.isAlive()):
            self.coolDown()
            with contextlib.suppress(SegmentationError):
                self._standBy = newProcess("MISSUCore.inference.segmentation")

    def coolDown(self) -> None:
        """End the waiting process, if there is one; a run continues."""
        if self._standBy:
            self._standBy.cancel()
            self._standBy.removeFolder()
            self._standBy = None

    def _takeProcess(self) -> CoreProcess:
        """The waiting process, or a new one."""
        if not (self._standBy and self._standBy.isAlive()):
            self.coolDown()
            return newProcess("MISSUCore.inference.segmentation")
        process, self._standBy = self._standBy, None
        return process

    def _checkReady(self) -> None:
        self._checkIdle()
        if not torchIsInstalled():
            raise SegmentationError("PyTorch is not installed; install the PyTorch extension.")
