"""Edits of segments as a user makes them, for the tests of the module."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer

from MISSUSegmentationLib.Scene.SceneExchange import arrayFromImage


def erase(node: Any, segmentId: str) -> None:
    """Erase one voxel of a segment, with the function that Segment Editor uses for its strokes."""
    image = slicer.vtkOrientedImageData()
    node.GetBinaryLabelmapRepresentation(segmentId, image)
    voxels = arrayFromImage(image)
    voxels[tuple(np.argwhere(voxels)[0])] = 0
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    assert logic.SetBinaryLabelmapToSegment(image, node, segmentId, logic.MODE_REPLACE)
