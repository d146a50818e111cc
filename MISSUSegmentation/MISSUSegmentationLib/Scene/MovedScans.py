"""Scans that were moved: transform nodes that lay them on the result in the scene, too.

MISSUCore tells of every scan where a point of a fixed scan lies in it. A volume's node of ours is
put between the volume and the transform that it was under, and is used again by later runs.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import slicer

from MISSUCore.contract.modalities import TITLES
from MISSUCore.contract.segmentation_report import SegmentationReport

from .SceneExchange import (
    ijkToRasArray,
    matrixBetween,
    readTransform,
    readVoxels,
    referenceModality,
    referenceVolume,
)

Volumes = dict[str, slicer.vtkMRMLScalarVolumeNode]
Matrix = np.ndarray
# By modality; None where there is no matrix.
Places = dict[str, "Matrix | None"]

# What moves a scan by less is left alone: voxels are larger, and registration is hardly as exact.
LEAST_MM = 0.5
HEAD_RADIUS_MM = 80.0
TRANSFORM_ROLE = "MISSU.Registration"


def placesOf(volumes: Volumes) -> Places:
    """Where the voxels of volumes, by modality, are among those of the reference volume.

    Matrices of homogeneous indices (i, j, k); None where a non-linear transform lies between.
    """
    reference = referenceVolume(volumes)
    toIjk = np.linalg.inv(ijkToRasArray(reference))
    places = {}
    for modality, volume in volumes.items():
        toReference = matrixBetween(
            volume.GetParentTransformNode(), reference.GetParentTransformNode()
        )
        linear = toReference is not None
        places[modality] = toIjk @ toReference @ ijkToRasArray(volume) if linear else None
    return places


def isAsWritten(node: slicer.vtkMRMLScalarVolumeNode, path: Path) -> bool:
    """Whether a volume still has the voxels that it was written to a file with.

    It has others once its sequence shows another item, or a bent transform was hardened.

    Raises:
        ExchangeError: if the file cannot be read.
    """
    written = readVoxels(path)
    return np.array_equal(written, slicer.util.arrayFromVolume(node), equal_nan=True)


def readMoves(folder: Path, report: SegmentationReport, volumes: Volumes) -> dict[str, Matrix]:
    """How volumes, by modality, have to be moved to lie on the reference volume.

    Args:
        folder: with the transforms that the report names.
        report: of MISSUCore.
        volumes: that were segmented.

    Returns:
        Matrices (RAS in mm) in the coordinate system of the reference volume, of those volumes
        that it moves by LEAST_MM or more.

    Raises:
        ExchangeError: if a transform cannot be read.
    """
    scans = report.registrations
    files = {m: folder / scan.transform for m, scan in scans.items() if scan.transform}
    fromFixed = {modality: readTransform(path) for modality, path in files.items()}
    toReference = fromFixed.get(referenceModality(volumes), np.eye(4))
    moves = {
        modality: toReference @ np.linalg.inv(fromFixed.get(modality, np.eye(4)))
        for modality in volumes
    }
    reference = referenceVolume(volumes)
    return {m: move for m, move in moves.items() if distanceMm(move, reference) >= LEAST_MM}


def distanceMm(move: Matrix, reference: slicer.vtkMRMLVolumeNode) -> float:
    """Root mean square distance by which a head in the middle of a volume is moved.

    As Jenkinson (FMRIB Technical Report TR99MJ1, 1999) has it for a sphere.
    """
    last = np.subtract(reference.GetImageData().GetDimensions(), 1)
    middle = ijkToRasArray(reference) @ [*(last / 2), 1]
    change = move - np.eye(4)
    shift = (change @ middle)[:3]
    return math.sqrt(HEAD_RADIUS_MM**2 / 5 * np.sum(change[:3, :3] ** 2) + shift @ shift)


def layOnResult(
    volumes: Volumes, moves: dict[str, Matrix], places: Places
) -> dict[str, slicer.vtkMRMLLinearTransformNode]:
    """Put volumes under transforms that lay them on the reference volume.

    A volume that the user has put under a transform of its own stays under it.

    Args:
        volumes: that were segmented and are still there, by modality.
        moves: of :func:`readMoves`, of volumes that have the same voxels still.
        places: where the volumes were when they were written; what was moved since is left alone.

    Returns:
        The transform nodes by modality, of those that now lay a volume on the reference volume.
    """
    now = placesOf(volumes)
    nodes = {}
    for modality, move in moves.items():
        before, after = places[modality], now.get(modality)
        if before is None or after is None or not np.allclose(before, after):
            continue
        name = f"{TITLES[modality]} to {TITLES[referenceModality(volumes)]} (MISSU)"
        node = _lay(volumes[modality], referenceVolume(volumes), move, name)
        if node:
            nodes[modality] = node
    return nodes


def _isOfOthers(node: slicer.vtkMRMLTransformNode, volume: slicer.vtkMRMLVolumeNode) -> bool:
    """Whether a transform lays other volumes, too, as that which this one is a clone of."""
    volumes = slicer.util.getNodesByClass("vtkMRMLVolumeNode", volume.GetScene())
    others = (other for other in volumes if other is not volume)
    return any(other.GetNodeReference(TRANSFORM_ROLE) is node for other in others)


def _lay(
    volume: slicer.vtkMRMLVolumeNode, reference: slicer.vtkMRMLVolumeNode, move: Matrix, name: str
) -> slicer.vtkMRMLLinearTransformNode | None:
    above = volume.GetParentTransformNode()
    referenceParent = reference.GetParentTransformNode()
    node = volume.GetNodeReference(TRANSFORM_ROLE)
    before = np.eye(4)
    if node and node is above and node is not referenceParent:
        # The volume was written where this has laid it.
        above = node.GetParentTransformNode()
        before = slicer.util.arrayFromTransformMatrix(node)
    elif above not in (None, referenceParent):
        return None
    toReference = matrixBetween(above, referenceParent)
    if toReference is None:
        return None
    if node is None or node is referenceParent or _isOfOthers(node, volume):
        scene = volume.GetScene()
        unique = scene.GenerateUniqueName(name)
        node = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", unique)
        volume.SetNodeReferenceID(TRANSFORM_ROLE, node.GetID())
    node.SetAndObserveTransformNodeID(above.GetID() if above else None)
    matrix = np.linalg.inv(toReference) @ move @ toReference @ before
    slicer.util.updateTransformMatrixFromArray(node, matrix)
    volume.SetAndObserveTransformNodeID(node.GetID())
    return node
