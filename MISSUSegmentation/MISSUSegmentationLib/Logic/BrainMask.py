"""The brain as the Slicer extension HDBrainExtraction (Isensee et al. 2019) finds it."""

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
    """Whether the extension is there; it is not imported."""
    return importlib.util.find_spec("HDBrainExtractionTool") is not None


def checkedMask(
    volumes: dict[str, slicer.vtkMRMLScalarVolumeNode], byHdBet: bool
) -> slicer.vtkMRMLScalarVolumeNode | None:
    """Make sure that volumes, by modality, can be used, and find their brain if HD-BET is to.

    Returns:
        The mask, see :func:`hdBetMask`; None if MISSUCore looks for the brain itself.

    Raises:
        SegmentationError: if they cannot be used, or HD-BET fails.
    """
    try:
        checkVolumes(volumes)
        if not byHdBet:
            return None
        mask = hdBetMask(volumes)
        checkVolumes(volumes)  # Slicer has gone on meanwhile
        return mask
    except ExchangeError as error:
        raise SegmentationError(str(error)) from error


def hdBetMask(
    volumes: dict[str, slicer.vtkMRMLScalarVolumeNode],
) -> slicer.vtkMRMLScalarVolumeNode:
    """Find the brain in one of the volumes, by modality; takes up to minutes, and blocks.

    Returns:
        A volume outside the scene, not 0 in the brain, in the reference volume's coordinate system
        and on the grid on which the volume is written.

    Raises:
        ExchangeError: if the extension is missing, fails, or finds nothing.
    """
    if not hdBetIsInstalled():
        raise ExchangeError(
            "The extension HDBrainExtraction is missing; install it in the Extensions Manager and "
            "restart Slicer, or choose another skull stripping."
        )
    from HDBrainExtractionTool import HDBrainExtractionToolLogic

    # MISSUCore leaves this one where it is, and takes a mask on its grid as drawn on it.
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
    except Exception as error:  # of any kind: its downloads, PyTorch, memory
        raise ExchangeError(
            f"HD-BET failed on {volume.GetName()} ({error}); choose another skull stripping."
        ) from error
    finally:
        if segmentation.GetDisplayNode():  # made when it was read
            scene.RemoveNode(segmentation.GetDisplayNode())
        scene.RemoveNode(segmentation)
    if not brain.any():
        raise ExchangeError(
            f"HD-BET finds no brain in {volume.GetName()}; choose another skull stripping."
        )
    return volumeLike(scan, brain.astype(np.uint8))
