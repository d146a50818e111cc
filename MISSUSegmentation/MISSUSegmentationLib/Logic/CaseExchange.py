"""Writes a corrected case for a library of training cases, and loads one into the scene."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import slicer

from MISSUCore.contract.labels import BRATS
from MISSUCore.contract.modalities import BRATS_MODALITIES
from MISSUCore.contract.provenance.record import Provenance
from MISSUCore.contract.requests.commands import AddCaseRequest

from ..Core.CoreInstallation import findCard
from ..Core.CoreRun import CoreRun
from ..Core.Errors import ExchangeError
from ..Scene.Provenance.EditRecorder import recorderOf
from ..Scene.ResultOrigin import keptLabels, keptModel
from ..Scene.SceneExchange import readGrid, referenceVolume, scanOf, volumeLike, writeVolume
from ..Scene.SegmentAlgorithm import markCorrected
from ..Scene.SegmentationNodes import importSegmentation, inputRole
from .CaseLibrary import TrainingCase
from .Comparison import labelsOn
from .Segmentation import SegmentationSettings, writeScans


def writeTrainingCase(
    run: CoreRun,
    volumes: dict[str, slicer.vtkMRMLScalarVolumeNode],
    segmentationNode: slicer.vtkMRMLSegmentationNode,
    settings: SegmentationSettings,
    brainMask: slicer.vtkMRMLScalarVolumeNode | None = None,
) -> AddCaseRequest:
    """Write volumes, by modality, and their corrected segmentation; returns the request.

    Node names are not written: they may contain the patient's name. The labels are written on the
    grid of the reference volume, whatever grid the segments were drawn on.

    Args:
        run: the files are written to its folder.
        volumes: the volumes that were segmented.
        segmentationNode: the segmentation as the user has corrected it.
        settings: how the volumes are prepared, see :func:`.writeScans`.
        brainMask: see :func:`.writeScans`.

    Raises:
        ExchangeError: if the segmentation was deleted, belongs to other volumes or lacks a region,
            or files cannot be written.
    """
    name = segmentationNode.GetName()
    if segmentationNode.GetScene() is None:
        raise ExchangeError(f"{name} is no longer in the scene; select another segmentation.")
    for modality, volume in volumes.items():
        other = segmentationNode.GetNodeReference(inputRole(modality))
        if other and other is not volume:
            raise ExchangeError(
                f"{name} was made from {other.GetName()}, but {volume.GetName()} is selected under "
                "Inputs; select the volumes it belongs to."
            )
    model = keptModel(segmentationNode)
    scheme = findCard(model).label_scheme() if model else BRATS
    grid = referenceVolume(volumes)
    labels, told = labelsOn(grid, segmentationNode, scheme)
    missing = [region.title for region in scheme.regions if region.name not in told]
    if missing:
        raise ExchangeError(
            f"{name} has no segment {', '.join(missing)}; add it, empty if there is none, so that "
            "the model does not learn a gap."
        )
    scans = writeScans(run, volumes, settings, brainMask)
    before, result = keptLabels(segmentationNode), None
    if before is not None and before.shape == labels.shape and scanOf(segmentationNode) is grid:
        result = _writeLabels(run, grid, before, "result", name)
    return AddCaseRequest(
        scans=scans,
        labels=_writeLabels(run, grid, labels, "labels", name),
        result=result,
        model=model,
        scheme=json.dumps(scheme.as_dict()),
        provenance=_provenance(segmentationNode),
    )


def _provenance(node: slicer.vtkMRMLSegmentationNode) -> Provenance | None:
    """The provenance record; None if there is none, or it cannot be checked against the voxels."""
    try:
        return recorderOf(node.GetScene()).note(node)
    except ExchangeError:
        return None


def _writeLabels(
    run: CoreRun, grid: slicer.vtkMRMLVolumeNode, labels: np.ndarray, file: str, name: str
) -> Path:
    path = run.folder / f"{file}.nrrd"
    writeVolume(volumeLike(grid, labels), path, name)
    run.names[path] = name
    return path


def loadTrainingCase(
    case: TrainingCase,
) -> tuple[dict[str, slicer.vtkMRMLScalarVolumeNode], slicer.vtkMRMLSegmentationNode]:
    """Add a case of a library to the scene: its volumes by modality, and its segmentation.

    Raises:
        ExchangeError: if it has none of the panel's modalities, or its files cannot be read.
    """
    if not set(case.record.modalities) & set(BRATS_MODALITIES):
        raise ExchangeError(f"{case.id} has no T1, T1ce, T2 or FLAIR; look at it in its folder.")
    labels, _ = _readImage(case, "labels")
    images = {modality: _readImage(case, modality) for modality in case.record.modalities}
    volumes = {
        modality: slicer.util.addVolumeFromArray(voxels, ijkToRas, f"{case.id}_{modality}")
        for modality, (voxels, ijkToRas) in images.items()
    }
    record = case.record.provenance
    # Names as they were when the case was stored, so that an earlier sign-off can remain valid.
    names = {label.name for label in case.scheme.labels}
    exclusive = record is not None and set(record.contents.masks) == names
    segmentation = importSegmentation(labels, volumes, case.scheme, exclusive)
    segmentation.SetName(f"{case.id} segmentation")
    if case.record.changes:  # otherwise the origin of its segments is unknown
        markCorrected(segmentation)
    if record:
        recorderOf(segmentation.GetScene()).adopt(segmentation, record)
    return volumes, segmentation


def _readImage(case: TrainingCase, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Voxels (k, j, i) and their IJK to RAS matrix, unchanged: a case added again is recognized."""
    path = case.folder / f"{name}.nii.gz"
    try:
        return readGrid(path)
    except RuntimeError as error:
        raise ExchangeError(f"{path} cannot be read; remove the case and add it again.") from error
