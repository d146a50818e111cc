"""Keeps a model's original result with its segmentation, to tell later what was corrected."""

from __future__ import annotations

import base64
import json
import zlib

import numpy as np
import slicer

from ..Core.CoreInstallation import InstallationError, findCard

# Node attribute with the original labels of the model, which later edits do not change. As an
# attribute it is saved with the scene, and copied and deleted with the segmentation.
ORIGIN_ATTRIBUTE = "MISSU.Origin"


def keepOrigin(node: slicer.vtkMRMLSegmentationNode, labels: np.ndarray, model: str) -> None:
    """Save the original result of the model with a new segmentation.

    Args:
        node: the segmentation.
        labels: label map (k, j, i) on the grid of the reference volume.
        model: name of the model, or path of its .pt file.
    """
    compressed = zlib.compress(labels.astype(np.uint8).tobytes())
    origin = {
        "model": model,
        "shape": labels.shape,
        "labels": base64.b64encode(compressed).decode("ascii"),
    }
    node.SetAttribute(ORIGIN_ATTRIBUTE, json.dumps(origin))


def keptLabels(node: slicer.vtkMRMLSegmentationNode) -> np.ndarray | None:
    """The original label map (k, j, i) of the model; None if no model made the segmentation."""
    text = node.GetAttribute(ORIGIN_ATTRIBUTE)
    if not text:
        return None
    origin = json.loads(text)
    voxels = zlib.decompress(base64.b64decode(origin["labels"]))
    return np.frombuffer(voxels, np.uint8).reshape(origin["shape"])


def keptModel(node: slicer.vtkMRMLSegmentationNode) -> str:
    """The model that made a segmentation; empty if unknown or no longer installed."""
    model = json.loads(node.GetAttribute(ORIGIN_ATTRIBUTE) or '{"model": ""}')["model"]
    try:
        findCard(model)
    except InstallationError:
        return ""
    return model
