"""A segmentation by ``missu segment``: its settings, its inputs and its result."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import slicer

from MISSUCore.contract.provenance.record import Computation
from MISSUCore.contract.requests.commands import ScanInputs, SegmentRequest
from MISSUCore.contract.requests.exchange import request_of
from MISSUCore.contract.segmentation_report import SegmentationReport, read_report
from MISSUCore.core.errors import ErrorCode
from MISSUCore.core.events import Stage

from ..Core.CoreInstallation import findCard
from ..Core.CoreRun import CoreRun, SegmentationError
from ..Core.Errors import ExchangeError
from ..Scene.MovedScans import Places, distanceMm, isAsWritten, layOnResult, readMoves
from ..Scene.Provenance.EditRecorder import recorderOf
from ..Scene.ResultOrigin import keepOrigin
from ..Scene.SceneExchange import (
    fileOf,
    readVoxels,
    referenceModality,
    referenceVolume,
    writeVolume,
    writeVolumes,
)
from ..Scene.SegmentAlgorithm import markAutomatic
from ..Scene.SegmentationNodes import importProbabilities, importSegmentation
from ..Scene.VisitChecks import checkOnePatient, daysApart
from .QualityPage import keepPage

Volumes = dict[str, slicer.vtkMRMLScalarVolumeNode]
BRAIN_EXTRACTIONS = ("auto", "hdbet", "never")


@dataclass(frozen=True)
class SegmentationSettings:
    """Settings of a segmentation.

    Attributes:
        model: name of an installed model, or path of a .pt file; empty for the default, see
            :meth:`.FineTuningLogic.use`.
        device: "auto", "cuda", "mps" or "cpu".
        registration: register scans that are not aligned; False trusts their positions.
        moveScans: also align the registered scans with the result in the scene, by transforms.
        brainExtraction: "auto" removes the skull, if there is one, with the package deepbet;
            "hdbet" with the extension HDBrainExtraction; "never" takes nonzero voxels as brain.
        biasField: correct the bias field (N4) in all scans, not only where it is strong.
        differentAnatomy: only warn if scans seem to show two patients, instead of stopping.
        mirror: average over mirrored images: eight times slower, and hardly better.
        minimumIslandMm3: smaller parts of the tumor are removed.
        minimumEnhancingMm3: less enhancing tumor than this counts as none; 0 turns this off.
        exclusive: segments are the labels (edema, enhancing, necrosis) instead of the overlapping
            regions (WT, TC, ET).
        probabilities: also make a probability volume of every region.
        qualityPage: also write a page with pictures for checking the result.
        keepTemporaryFiles: keep the exchanged files on disk; the log says where.
    """

    model: str = ""
    device: str = "auto"
    registration: bool = True
    moveScans: bool = True
    brainExtraction: str = "auto"
    biasField: bool = False
    differentAnatomy: bool = False
    mirror: bool = False
    minimumIslandMm3: float = 100.0
    minimumEnhancingMm3: float = 0.0
    exclusive: bool = False
    probabilities: bool = False
    qualityPage: bool = False
    keepTemporaryFiles: bool = False

    def __post_init__(self) -> None:
        if self.brainExtraction not in BRAIN_EXTRACTIONS:
            raise ValueError(f"brainExtraction is one of {', '.join(BRAIN_EXTRACTIONS)}")

    def options(self) -> dict[str, object]:
        """All settings by option name (snake case), including those only the module uses."""
        named = {snakeCase(name): value for name, value in vars(self).items()}
        named["minimum_innermost_mm3"] = self.minimumEnhancingMm3
        named["bias_field"] = "always" if self.biasField else "auto"
        # A mask by HD-BET replaces the one that MISSUCore would compute.
        named["brain_extraction"] = self.brainExtraction != "never"
        return named


def checkPatients(volumes: Volumes, settings: SegmentationSettings) -> None:
    """Check that volumes, by modality, are of one patient, unless the settings skip this check.

    Raises:
        SegmentationError: with the code ANATOMY_DIFFERS, if DICOM names different patients.
    """
    if settings.differentAnatomy:
        return
    try:
        checkOnePatient(volumes.values())
    except ExchangeError as error:
        raise SegmentationError(str(error), code=ErrorCode.ANATOMY_DIFFERS) from error


def snakeCase(name: str) -> str:
    """``minimum_island_mm3`` for ``minimumIslandMm3``."""
    return re.sub("[A-Z]", lambda match: f"_{match[0].lower()}", name)


@dataclass(frozen=True)
class SegmentationResult:
    """The result of a segmentation in the scene.

    Attributes:
        segmentationNode: the segments, on the grid and under the transform of the reference volume
            (T1ce where given, see SceneExchange.referenceVolume).
        volumesMl: by region name, also if the segments are exclusive.
        confidence: expected Dice by region name; empty if the model gives none.
        warnings: one sentence each.
        seconds: duration by stage: "export" from the scene, "start" of the process, the stages of
            its report, "import" into the scene; "total" is from the call to the segments.
        logPath: log of the process.
        probabilityNodes: scalar volumes by region name; empty unless requested.
        movedMm: by modality, how far scans were from the reference volume; only those that were
            not aligned with it.
        transformNodes: by modality, transforms that align these scans with it; none for scans that
            the user has put under other transforms.
        qualityPage: HTML file with pictures, deleted with the scene; None unless requested.
    """

    segmentationNode: slicer.vtkMRMLSegmentationNode
    volumesMl: dict[str, float]
    confidence: dict[str, float]
    warnings: list[str]
    seconds: dict[str, float]
    logPath: Path
    probabilityNodes: Volumes = field(default_factory=dict)
    movedMm: dict[str, float] = field(default_factory=dict)
    transformNodes: dict[str, slicer.vtkMRMLLinearTransformNode] = field(default_factory=dict)
    qualityPage: Path | None = None


def writeCase(
    run: CoreRun,
    volumes: Volumes,
    settings: SegmentationSettings,
    brainMask: slicer.vtkMRMLScalarVolumeNode | None = None,
) -> SegmentRequest:
    """Write the volumes and return the request; arguments and errors as for writeScans."""
    labels = run.folder / "labels.nrrd"
    scans = writeScans(run, volumes, settings, brainMask)
    run.names[labels] = f"{referenceVolume(volumes).GetName()} segmentation"
    places = {
        "scans": scans,
        "output": labels,
        "report": run.folder / "report.json",
        "quality_page": run.folder / "quality.html" if settings.qualityPage else None,
    }
    return request_of(SegmentRequest, {**settings.options(), **places})


def writeScans(
    run: CoreRun,
    volumes: Volumes,
    settings: SegmentationSettings,
    brainMask: slicer.vtkMRMLScalarVolumeNode | None = None,
) -> ScanInputs:
    """Write volumes; returns their files and preprocessing options.

    Args:
        run: the files are written to its folder.
        volumes: the volumes to segment, or that were segmented, by modality.
        settings: only those of registration, brain extraction and bias field are used.
        brainMask: see :func:`.hdBetMask`.

    Raises:
        ExchangeError: if a volume cannot be written.
    """
    run.report(Stage.EXPORT, 0.0, "writing the volumes")
    paths = writeVolumes(volumes, run.folder)
    run.names = {paths[name]: node.GetName() or name for name, node in volumes.items()}
    given = {"images": paths, "reference": referenceModality(volumes)}
    if brainMask:
        given["brain_mask"] = run.folder / "brain.nrrd"
        writeVolume(brainMask, given["brain_mask"], "The brain mask")
    return request_of(ScanInputs, {**settings.options(), **given})


def readResult(
    run: CoreRun,
    volumes: Volumes,
    places: Places,
    settings: SegmentationSettings,
    began: float,
) -> SegmentationResult:
    """Load the files that the process wrote into the scene.

    Args:
        run: the run, which has ended.
        volumes: the volumes that were segmented, by modality.
        places: where they were when the run started, see :func:`.placesOf`.
        settings: the settings of the run.
        began: time on the monotonic clock when the user started it.

    Raises:
        ExchangeError: if the reference volume was deleted or its voxels have changed.
        InstallationError: if the model was removed.
    """
    run.report(Stage.IMPORT, 1.0, "making the segments")
    importing = time.monotonic()
    reference = referenceVolume(volumes)
    if reference.GetScene() is None:
        raise ExchangeError(f"{reference.GetName()} was deleted meanwhile; nothing was added.")
    present = {name: node for name, node in volumes.items() if node.GetScene()}
    if not isAsWritten(reference, fileOf(referenceModality(volumes), run.folder)):
        raise ExchangeError(f"{reference.GetName()} was changed meanwhile; segment it again.")
    report = read_report(run.folder / "report.json")
    scheme = findCard(settings.model or report.model.name).label_scheme()
    labels = readVoxels(run.folder / "labels.nrrd")
    moves = readMoves(run.folder, report, volumes)
    node = importSegmentation(labels, present, scheme, settings.exclusive)
    keepOrigin(node, labels, settings.model or report.model.name)
    markAutomatic(node, report.model.name)
    recorderOf(node.GetScene()).begin(node, Computation.of(report))
    maps = {
        region: readVoxels(run.folder / f"labels_probability_{region}.nrrd")
        for region in (scheme.region_names if settings.probabilities else ())
    }
    probabilityNodes = importProbabilities(maps, node, reference, scheme)
    same = {m for m in moves.keys() & present if isAsWritten(present[m], fileOf(m, run.folder))}
    ofSame = {modality: moves[modality] for modality in moves if modality in same}
    transformNodes = layOnResult(present, ofSame, places) if settings.moveScans else {}
    scene = reference.GetScene()
    page = keepPage(run, run.folder / "quality.html", scene) if settings.qualityPage else None
    return SegmentationResult(
        segmentationNode=node,
        volumesMl=dict(report.volumes_ml),
        confidence=dict(report.confidence),
        warnings=_warnings(run, report, present),
        seconds=_secondsByStage(report.seconds, began, run.started, importing),
        logPath=run.logPath,
        probabilityNodes=probabilityNodes,
        movedMm={modality: distanceMm(move, reference) for modality, move in moves.items()},
        transformNodes=transformNodes,
        qualityPage=page,
    )


def _warnings(run: CoreRun, report: SegmentationReport, present: Volumes) -> list[str]:
    """The warnings of the report, and one if the scans were acquired on several days."""
    days = daysApart(present.values())
    return [*([days] if days else []), *map(run.inUsersWords, report.warnings)]


def _secondsByStage(
    ofProcess: Mapping[str, float], began: float, started: float, importing: float
) -> dict[str, float]:
    """Duration of the stages, see :class:`SegmentationResult`; the import ends now.

    Args:
        ofProcess: duration of the stages of the process, and their "total".
        began: when the user started the run; all times are on the monotonic clock.
        started: when the process was started.
        importing: when the process had ended and the import began.
    """
    ended = time.monotonic()
    return {
        "export": started - began,
        "start": importing - started - ofProcess["total"],
        **{name: value for name, value in ofProcess.items() if name != "total"},
        "import": ended - importing,
        "total": ended - began,
    }
