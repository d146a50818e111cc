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

        The result lies on the T1ce, or what there is in its place (SceneExchange.referenceVolume);
        scans that do not are put under transforms that lay them on it, unless the settings say no.
        An earlier result of the same volumes is replaced in its node, unless renamed or edited.

        Args:
            t1: like the others, None if there is no such volume.
            t1ce: see t1.
            t2: see t1.
            flair: see t1.
            settings: how.
            onProgress: is called with where it stands.
            onFinished: gets the result.
            onFailed: gets one sentence and the path of the log; only without ``blocking``.
            onCancelled: is called once everything is stopped.
            blocking: return when it is done.

        Returns:
            The segmentation when ``blocking``, or None if it was cancelled or runs still.

        Raises:
            SegmentationError: if the volumes cannot be used or another run is on (nothing is
                started then, and no callback called); when ``blocking``, also if it fails, as
                BrainExtractionMissing, or with the code ANATOMY_DIFFERS (of two patients).
        """
        began = time.monotonic()
        settings = settings or SegmentationSettings()
        given = {"t1": t1, "t1ce": t1ce, "t2": t2, "flair": flair}
        volumes = {modality: node for modality, node in given.items() if node is not None}
        self._checkReady()
        checkPatients(volumes, settings)
        # First, for it may take longer than a process stands by.
        brainMask = checkedMask(volumes, settings.brainExtraction == "hdbet")
        places = placesOf(volumes)
        # Who waits gets an exception.
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

        Compared is on the grid of the reference: its own if it is a label map, else that of the
        volume it was drawn on. Segments are recognized by name, see SegmentationNodes.labelsOn;
        a region that only one of the two tells of is left out.

        Args:
            segmentationNode: what is to be judged.
            referenceNode: what counts as true.
            scheme: the labels and regions.
            onFinished: gets the scores.
            onFailed: gets one sentence and the path of the log; only without ``blocking``.
            blocking: return when it is done.

        Returns:
            The scores when ``blocking``, or None if it was cancelled or runs still.

        Raises:
            SegmentationError: if the nodes cannot be compared or another run is on; when
                ``blocking``, also if it fails.
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
        """Lesions with their volumes and both diameters, which are shown as lines in the views.

        Any segmentation will do. Segments are recognized by name as in :meth:`compare`; if none
        is, all of them together are the lesions. Lines of an earlier measurement are replaced,
        also those that were corrected.

        Args:
            segmentationNode: what is measured.
            scheme: the labels and regions.
            settings: how lesions are measured and judged.
            onFinished: gets the report.
            onFailed: gets one sentence and the path of the log; only without ``blocking``.
            blocking: return when it is done.

        Returns:
            The report when ``blocking``, or None if it was cancelled or runs still.

        Raises:
            SegmentationError: if the segmentation cannot be measured or another run is on; when
                ``blocking``, also if it fails.
        """
        self._checkIdle()
        how = settings or MeasurementSettings()
        try:
            grid = gridOf(segmentationNode)
        except ExchangeError as error:
            raise SegmentationError(str(error)) from error
        onFailed = None if blocking else onFailed
        checksum = checksumOf(segmentationNode)  # it may be edited meanwhile
        run = CoreRun(segmentationNode.GetScene(), onFinished=onFinished, onFailed=onFailed)
        run.start(
            newProcess("MISSUCore.measurement.case"),
            lambda run: writeSegmentation(run, segmentationNode, grid, scheme, how),
            lambda run: readMeasurement(run, segmentationNode, grid, checksum),
        )
        self._run = run
        return run.wait() if blocking else None

    def warmUp(self) -> None:
        """Have a process load PyTorch and stand by: the next :meth:`segment` starts at once.

        It takes some hundred MB of memory until it is used, or :meth:`coolDown` ends it. What is
        in its way is told by :meth:`segment`.
        """
        if torchIsInstalled() and not (self._standBy and self._standBy.isAlive()):
            self.coolDown()
            with contextlib.suppress(SegmentationError):
                self._standBy = newProcess("MISSUCore.inference.segmentation")

    def coolDown(self) -> None:
        """End the process that stands by, if there is one; a run goes on."""
        if self._standBy:
            self._standBy.cancel()
            self._standBy.removeFolder()
            self._standBy = None

    def _takeProcess(self) -> CoreProcess:
        """The process that stands by, or a new one."""
        if not (self._standBy and self._standBy.isAlive()):
            self.coolDown()
            return newProcess("MISSUCore.inference.segmentation")
        process, self._standBy = self._standBy, None
        return process

    def _checkReady(self) -> None:
        self._checkIdle()
        if not torchIsInstalled():
            raise SegmentationError("PyTorch is not installed; install the PyTorch extension.")
