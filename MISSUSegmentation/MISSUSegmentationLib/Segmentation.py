"""A segmentation by ``missu segment``: how, from which volumes, and what comes of it."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path

import slicer

from MISSUCore.regions import LabelScheme

from .CoreInstallation import findCard
from .CoreRun import CoreRun
from .SceneExchange import ExchangeError, readVoxels, referenceVolume, writeVolumes
from .SegmentationNodes import importProbabilities, importSegmentation


@dataclass(frozen=True)
class SegmentationSettings:
    """How volumes are segmented.

    Attributes:
        model: name of an installed model, or path of a .pt file; empty for the bundled one.
        device: "auto", "cuda", "mps" or "cpu".
        mirror: average over mirror images: eight times slower, and hardly better.
        minimumIslandMm3: smaller parts of the tumor are removed.
        minimumEnhancingMm3: less enhancing tumor than this is taken for none; 0 is off.
        exclusive: segments are the labels (edema, enhancing, necrosis) instead of the overlapping
            regions (WT, TC, ET).
        probabilities: also make a probability volume of every region.
        keepTemporaryFiles: leave the exchanged files on disk; the log says where.
    """

    model: str = ""
    device: str = "auto"
    mirror: bool = False
    minimumIslandMm3: float = 100.0
    minimumEnhancingMm3: float = 0.0
    exclusive: bool = False
    probabilities: bool = False
    keepTemporaryFiles: bool = False


@dataclass(frozen=True)
class SegmentationResult:
    """What a segmentation has brought into the scene.

    Attributes:
        segmentationNode: the segments, on the grid and under the transform of the reference volume
            (T1ce where given, see SceneExchange.referenceVolume).
        volumesMl: by region name, also if the segments are exclusive.
        confidence: expected Dice by region name; empty if the model gives none.
        warnings: one sentence each.
        seconds: by stage: "export" from the scene, "start" of the process, the stages of its
            report, "import" into the scene; "total" is from the call to the segments.
        logPath: what the process has written.
        probabilityNodes: scalar volumes by region name; empty unless asked for.
    """

    segmentationNode: slicer.vtkMRMLSegmentationNode
    volumesMl: dict[str, float]
    confidence: dict[str, float]
    warnings: list[str]
    seconds: dict[str, float]
    logPath: Path
    probabilityNodes: dict[str, slicer.vtkMRMLScalarVolumeNode] = field(default_factory=dict)


def writeCase(
    run: CoreRun,
    volumes: dict[str, slicer.vtkMRMLScalarVolumeNode],
    settings: SegmentationSettings,
) -> list[str]:
    """Write the volumes, by modality; returns the arguments of ``missu``.

    Raises:
        ExchangeError: if they cannot be written.
    """
    run.report("export", 0.0, "writing the volumes")
    paths = writeVolumes(volumes, run.folder)
    run.names = {paths[name]: node.GetName() or name for name, node in volumes.items()}
    reference = next(m for m, node in volumes.items() if node is referenceVolume(volumes))
    arguments = ["segment", "--reference", str(paths[reference])]
    for modality, path in paths.items():
        arguments += [f"--{modality}", str(path)]
    arguments += ["--output", str(run.folder / "labels.nrrd")]
    arguments += ["--report", str(run.folder / "report.json")]
    arguments += ["--device", settings.device]
    arguments += ["--minimum-island", str(settings.minimumIslandMm3)]
    arguments += ["--minimum-enhancing", str(settings.minimumEnhancingMm3)]
    if settings.model:
        arguments += ["--model", settings.model]
    if settings.mirror:
        arguments.append("--mirror")
    if settings.probabilities:
        arguments.append("--probabilities")
    return arguments


def readResult(
    run: CoreRun,
    volumes: dict[str, slicer.vtkMRMLScalarVolumeNode],
    settings: SegmentationSettings,
    began: float,
) -> SegmentationResult:
    """Bring what the process wrote into the scene.

    Args:
        run: that has ended.
        volumes: that were segmented, by modality.
        settings: how.
        began: when the user asked for it, on the monotonic clock.

    Raises:
        ExchangeError: if the reference volume is gone or has another size by now.
        InstallationError: if the model is gone.
    """
    run.report("import", 1.0, "making the segments")
    importing = time.monotonic()
    reference = referenceVolume(volumes)
    if reference.GetScene() is None:
        raise ExchangeError(f"{reference.GetName()} was deleted meanwhile; nothing was added.")
    present = {name: node for name, node in volumes.items() if node.GetScene()}
    report = json.loads((run.folder / "report.json").read_text(encoding="utf-8"))
    scheme = LabelScheme.from_dict(findCard(settings.model or report["model"]["name"])["scheme"])
    labels = readVoxels(run.folder / "labels.nrrd")
    node = importSegmentation(labels, present, scheme, settings.exclusive)
    maps = {
        region: readVoxels(run.folder / f"labels_probability_{region}.nrrd")
        for region in (scheme.region_names if settings.probabilities else ())
    }
    probabilityNodes = importProbabilities(maps, node, reference, scheme)
    ended = time.monotonic()
    stages = {name: value for name, value in report["seconds"].items() if name != "total"}
    return SegmentationResult(
        segmentationNode=node,
        volumesMl=report["volumes_ml"],
        confidence=report.get("confidence") or {},
        warnings=[run.inUsersWords(warning) for warning in report["warnings"]],
        seconds={
            "export": run.started - began,
            "start": importing - run.started - report["seconds"]["total"],
            **stages,
            "import": ended - importing,
            "total": ended - began,
        },
        logPath=run.logPath,
        probabilityNodes=probabilityNodes,
    )
