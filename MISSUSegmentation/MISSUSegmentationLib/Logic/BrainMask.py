"""Brain masks computed by the Slicer extension HDBrainExtraction (Isensee et al. 2019)."""

from __future__ import annotations

import importlib.util

import numpy as np
import slicer

from MISSUCore.contract.modalities import FIXED_FIRST

from ..Core.CoreRun import SegmentationError
from ..Core.Errors import ExchangeError
from ..Scene.SceneExchange import (
    checkVolumes,
    imageOn,
    referenceVolume,
    relativeTo,
    segmentImage,
    volumeLike,
)


def hdBetIsInstalled() -> bool:
    """Whether the extension is installed; it is not imported."""
    return importlib.util.find_spec("HDBrainExtractionTool") is not None


def checkedMask(
    volumes: dict[str, slicer.vtkMRMLScalarVolumeNode], byHdBet: bool
) -> slicer.vtkMRMLScalarVolumeNode | None:
    """Check that volumes, by modality, can be used; compute their brain mask if HD-BET is chosen.

    Returns:
        The mask, see :func:`hdBetMask`; None if MISSUCore finds the brain itself.

    Raises:
        SegmentationError: if a volume cannot be used, or HD-BET fails.
    """
    try:
        checkVolumes(volumes)
        if not byHdBet:
            return None
        mask = hdBetMask(volumes)
        checkVolumes(volumes)  # again: they may have changed while HD-BET ran
        return mask
    except ExchangeError as error:
        raise SegmentationError(str(error)) from error


def hdBetMask(
    volumes: dict[str, slicer.vtkMRMLScalarVolumeNode],
) -> slicer.vtkMRMLScalarVolumeNode:
    """Compute a brain mask from one of the volumes, by modality; blocks for up to minutes.

    Returns:
        A volume outside the scene, nonzero in the brain, in the reference volume's coordinate
        system and on the grid on which the volume used is written.

    Raises:
        ExchangeError: if the extension is missing, fails, or finds nothing.
    """
    if not hdBetIsInstalled():
        raise ExchangeError(
            "The extension HDBrainExtraction is missing; install it in the Extensions Manager and "
            "restart Slicer, or choose another skull stripping."
        )
    from HDBrainExtractionTool import HDBrainExtractionToolLogic

    # MISSUCore registers the others to this volume, and assumes a mask on its grid belongs to it.
    volume = next(volumes[modality] for modality in FIXED_FIRST if modality in volumes)
    scan = relativeTo(referenceVolume(volumes), volume)
    segmentation = slicer.vtkMRMLSegmentationNode()
    segmentation.SetHideFromEditors(True)
    scene = volume.GetScene()
    scene.AddNode(segmentation)
    try:
        logic = HDBrainExtractionToolLogic()
        logic.setupPythonRequirements()
        logic.process(scan, None, segmentation)
        (segmentId,) = segmentation.GetSegmentation().GetSegmentIDs()
        brain = imageOn(scan, segmentImage(segmentation, segmentId), None) != 0
    except Exception as error:  # any exception: its downloads, PyTorch, memory
        raise ExchangeError(
            f"HD-BET failed on {volume.GetName()} ({error}); choose another skull stripping."
        ) from error
    finally:
        if segmentation.GetDisplayNode():  # created on loading
            scene.RemoveNode(segmentation.GetDisplayNode())
        scene.RemoveNode(segmentation)
    if not brain.any():
        raise ExchangeError(
            f"HD-BET finds no brain in {volume.GetName()}; choose another skull stripping."
        )
    return volumeLike(scan, brain.astype(np.uint8))
