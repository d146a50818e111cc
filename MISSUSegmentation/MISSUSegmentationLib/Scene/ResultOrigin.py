"""What a model gave, kept with its segmentation: to know later how much a user has corrected."""

from __future__ import annotations

import base64
import json
import zlib

import numpy as np
import slicer

from ..Core.CoreInstallation import InstallationError, findCard

# Where a segmentation keeps the labels as the model gave them, whatever the user paints later. An
# attribute, so that it is saved with the scene, copied and deleted with the segmentation.
ORIGIN_ATTRIBUTE = "MISSU.Origin"


def keepOrigin(node: slicer.vtkMRMLSegmentationNode, labels: np.ndarray, model: str) -> None:
    """Keep with a new segmentation what the model gave.

    Args:
        node: the segmentation.
        labels: label map (k, j, i) on the grid of the volume it was made from.
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
    """The label map (k, j, i) as the model gave it; None for a segmentation of another origin."""
    text = node.GetAttribute(ORIGIN_ATTRIBUTE)
    if not text:
        return None
    origin = json.loads(text)
    voxels = zlib.decompress(base64.b64decode(origin["labels"]))
    return np.frombuffer(voxels, np.uint8).reshape(origin["shape"])


def keptModel(node: slicer.vtkMRMLSegmentationNode) -> str:
    """The model whose result it was; empty if unknown, or not installed any more."""
    model = json.loads(node.GetAttribute(ORIGIN_ATTRIBUTE) or '{"model": ""}')["model"]
    try:
        findCard(model)
    except InstallationError:
        return ""
    return model
