"""Transform nodes that align the registered scans with the result in the scene.

For every scan, MISSUCore gives a transform from points of a fixed scan to points of that scan. Our
transform node is put between a volume and its previous transform, and is reused by later runs.
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

# Smaller moves are ignored: voxels are larger, and registration is hardly more accurate.
LEAST_MM = 0.5
HEAD_RADIUS_MM = 80.0
TRANSFORM_ROLE = "MISSU.Registration"


def placesOf(volumes: Volumes) -> Places:
    """Matrices from voxel indices of each volume to those of the reference volume, by modality.

    They act on homogeneous indices (i, j, k); None if there is a non-linear transform in between.
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
    """Whether a volume still has the same voxels as the file it was written to.

    They change when its sequence shows another item, or a non-linear transform is hardened.

    Raises:
        ExchangeError: if the file cannot be read.
    """
    written = readVoxels(path)
    return np.array_equal(written, slicer.util.arrayFromVolume(node), equal_nan=True)


def readMoves(folder: Path, report: SegmentationReport, volumes: Volumes) -> dict[str, Matrix]:
    """How volumes, by modality, have to be moved to be aligned with the reference volume.

    Args:
        folder: contains the transforms that the report names.
        report: the report of MISSUCore.
        volumes: the volumes that were segmented.

    Returns:
        Matrices (RAS in mm) in the coordinate system of the reference volume, only of volumes that
        are moved by LEAST_MM or more.

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
    """Root mean square distance by which a head in the center of a volume is moved.

    Computed for a sphere after Jenkinson (FMRIB Technical Report TR99MJ1, 1999).
    """
    last = np.subtract(reference.GetImageData().GetDimensions(), 1)
    middle = ijkToRasArray(reference) @ [*(last / 2), 1]
    change = move - np.eye(4)
    shift = (change @ middle)[:3]
    return math.sqrt(HEAD_RADIUS_MM**2 / 5 * np.sum(change[:3, :3] ** 2) + shift @ shift)


def layOnResult(
    volumes: Volumes, moves: dict[str, Matrix], places: Places
) -> dict[str, slicer.vtkMRMLLinearTransformNode]:
    """Put volumes under transforms that align them with the reference volume.

    A volume that the user has put under another transform stays under that.

    Args:
        volumes: the volumes that were segmented and still exist, by modality.
        moves: result of :func:`readMoves`, for volumes whose voxels have not changed.
        places: where the volumes were when written; volumes moved since are left alone.

    Returns:
        By modality, the transform nodes that now align a volume with the reference volume.
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
    """Whether other volumes use the transform, too, e.g. the original of a cloned volume."""
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
        # The volume was written with our earlier transform applied.
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
