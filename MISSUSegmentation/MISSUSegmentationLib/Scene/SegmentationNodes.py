"""Makes segmentation nodes from label maps: segments, display, and subject hierarchy.

The first result of a set of volumes gets a new node; later ones replace it in the same node, unless
the user has renamed it, edited its segments or signed them off: then it is left alone.
"""

from __future__ import annotations

import hashlib

import numpy as np
import slicer
import vtk

from MISSUCore.contract.labels import Label, LabelScheme, Region
from MISSUCore.contract.modalities import BRATS_MODALITIES
from MISSUCore.contract.provenance.masks import bounding_box
from MISSUCore.contract.terminology import Code

from ..Core.Errors import ExchangeError
from .Provenance.ProvenanceRecord import isSignedOff
from .SceneExchange import (
    arrayFromImage,
    ijkToRas,
    ijkToRasArray,
    matrixBetween,
    referenceVolume,
    scanOf,
    volumeLike,
)

TERMINOLOGY_CONTEXT = "MISSU"
ANATOMIC_CONTEXT = "Anatomic codes - DICOM master list"
BINARY_LABELMAP = "Binary labelmap"
# The original node name: if it differs, the user has renamed the node and wants to keep it.
NAME_ATTRIBUTE = "MISSU.Name"
# Positions are rounded to this step for comparison: rounding in files is finer. The odd offset
# keeps typical positions away from the borders between steps, which file rounding could cross.
PLACE_STEP, PLACE_OFFSET = 0.1, 0.0123  # mm, or voxels


def importSegmentation(
    labels: np.ndarray,
    volumes: dict[str, slicer.vtkMRMLScalarVolumeNode],
    scheme: LabelScheme,
    exclusive: bool = False,
) -> slicer.vtkMRMLSegmentationNode:
    """Add a label map (k, j, i) on the reference volume's grid to the scene as a segmentation.

    Args:
        labels: label map with the values of the scheme.
        volumes: the volumes that were segmented, by modality.
        scheme: labels and regions.
        exclusive: make a segment of each label instead of each (overlapping) region.

    Raises:
        ExchangeError: if the size of the reference volume has changed.
    """
    reference = referenceVolume(volumes)
    if labels.shape != slicer.util.arrayFromVolume(reference).shape:
        raise ExchangeError(f"{reference.GetName()} was changed meanwhile; segment it again.")
    node = _untouchedResult(volumes) or _newResult(volumes)
    parts = scheme.labels if exclusive else scheme.regions
    with slicer.util.NodeModify(node):
        node.SetAndObserveTransformNodeID(reference.GetTransformNodeID())
        node.SetReferenceImageGeometryParameterFromVolumeNode(reference)
        node.GetSegmentation().RemoveAllSegments()
        if exclusive:
            shared = _labelmap(labels, reference)
        for part in parts:
            values = _values(part)
            segment = _segment(part)
            segment.SetLabelValue(values[0] if exclusive else 1)
            image = shared if exclusive else _labelmap(np.isin(labels, values), reference)
            segment.AddRepresentation(BINARY_LABELMAP, image)
            node.GetSegmentation().AddSegment(segment, part.name)
        node.CreateClosedSurfaceRepresentation()
        node.CreateDefaultDisplayNodes()
        for part in parts:
            # Outer regions are more transparent, so that inner ones are visible.
            depth = sum(set(_values(part)) <= set(region.labels) for region in scheme.regions)
            node.GetDisplayNode().SetSegmentOpacity3D(part.name, depth / len(scheme.regions))
        node.SetAttribute(NAME_ATTRIBUTE, node.GetName())
        node.SetAttribute("MISSU.Checksum", checksumOf(node))
    return node


def importProbabilities(
    maps: dict[str, np.ndarray],
    segmentationNode: slicer.vtkMRMLSegmentationNode,
    reference: slicer.vtkMRMLScalarVolumeNode,
    scheme: LabelScheme,
) -> dict[str, slicer.vtkMRMLScalarVolumeNode]:
    """Add probability maps (k, j, i), by region, to the scene; replace those of the last run.

    A map that the user has renamed is kept.
    """
    scene = segmentationNode.GetScene()
    nodes = {}
    for region in scheme.region_names:
        role = f"MISSU.Probability.{region}"
        last = segmentationNode.GetNodeReference(role)
        if last and last.GetName() == last.GetAttribute(NAME_ATTRIBUTE):
            scene.RemoveNode(last)
        segmentationNode.SetNodeReferenceID(role, None)
        if region not in maps:
            continue
        node = scene.AddNode(volumeLike(reference, maps[region]))
        node.SetName(scene.GenerateUniqueName(f"{segmentationNode.GetName()} {region} probability"))
        node.SetAttribute(NAME_ATTRIBUTE, node.GetName())
        node.SetAndObserveTransformNodeID(reference.GetTransformNodeID())
        node.CreateDefaultDisplayNodes()
        node.GetDisplayNode().SetAutoWindowLevel(False)
        node.GetDisplayNode().SetWindowLevelMinMax(0.0, 1.0)
        _placeBeside(reference, node)
        segmentationNode.SetNodeReferenceID(role, node.GetID())
        nodes[region] = node
    return nodes


def _untouchedResult(
    volumes: dict[str, slicer.vtkMRMLScalarVolumeNode],
) -> slicer.vtkMRMLSegmentationNode | None:
    """The earlier result of the same volumes if the user has not changed it; else None."""
    scene = referenceVolume(volumes).GetScene()
    for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode", scene):
        if (
            all(node.GetNodeReference(inputRole(m)) is volumes.get(m) for m in BRATS_MODALITIES)
            and node.GetName() == node.GetAttribute(NAME_ATTRIBUTE)
            and isAsKept(node, node.GetAttribute("MISSU.Checksum"))
            and not isSignedOff(node)
        ):
            return node
    return None


def _newResult(
    volumes: dict[str, slicer.vtkMRMLScalarVolumeNode],
) -> slicer.vtkMRMLSegmentationNode:
    reference = referenceVolume(volumes)
    scene = reference.GetScene()
    name = scene.GenerateUniqueName(f"{reference.GetName()} segmentation")
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    for modality, volume in volumes.items():
        node.SetNodeReferenceID(inputRole(modality), volume.GetID())
    _placeBeside(reference, node)
    return node


def inputRole(modality: str) -> str:
    """Node reference role of a result to its input volume of this modality."""
    return f"MISSU.Input.{modality}"


def _placeBeside(volume: slicer.vtkMRMLVolumeNode, node: slicer.vtkMRMLNode) -> None:
    """Put a node under the volume's parent (study or folder) in the subject hierarchy."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(volume.GetScene())
    item = hierarchy.GetItemByDataNode(volume) if hierarchy else None
    if item:  # 0 means that there is no item
        hierarchy.CreateItem(hierarchy.GetItemParent(item), node)


def checksumOf(node: slicer.vtkMRMLSegmentationNode) -> str:
    """Checksum of the segments' names, voxels and positions; unchanged by saving and loading.

    It has two parts for :func:`isAsKept`: with positions in mm before the node's parent transform,
    and with positions in voxels of its scan, if there is one.
    """
    toScan = _toScan(node)
    inMm, onScan = hashlib.sha256(), hashlib.sha256()
    segmentation = node.GetSegmentation()
    for segmentId in segmentation.GetSegmentIDs():
        segment = segmentation.GetSegment(segmentId)
        content, corners = segment.GetName().encode() + voxelsOf(segment), _cornersOf(segment)
        inMm.update(content + _inSteps(corners))
        if toScan is not None:
            onScan.update(content + _inSteps(corners @ toScan[:3, :3].T + toScan[:3, 3]))
    return " ".join(each.hexdigest() for each in (inMm, onScan)[: 1 if toScan is None else 2])


def isAsKept(node: slicer.vtkMRMLSegmentationNode, checksum: str | None) -> bool:
    """Whether a segmentation is unchanged since a checksum was computed.

    This also holds if it was moved (and hardened) with its scan, or if its scan was deleted.
    """
    return not set(checksumOf(node).split()).isdisjoint((checksum or "").split())


def voxelsOf(segment: slicer.vtkSegment) -> bytes:
    """Shape and voxels of the bounding box of a segment, independent of its position."""
    mask = _maskOf(segment)
    if mask is None:
        return b""
    mask = mask[bounding_box(mask)]
    return f"{mask.shape}".encode() + np.packbits(mask).tobytes()


def _cornersOf(segment: slicer.vtkSegment) -> np.ndarray:
    """Corners (4, 3) of a segment's bounding box, in mm before the node's parent transform.

    These are its first voxel and the last one along each axis; none if it is empty.
    """
    mask = _maskOf(segment)
    if mask is None or not mask.any():
        return np.zeros((0, 3))
    image = segment.GetRepresentation(BINARY_LABELMAP)
    box = bounding_box(mask)[::-1]
    start = np.add(image.GetExtent()[::2], [part.start for part in box])
    lengths = [part.stop - part.start - 1 for part in box]
    toRas = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(toRas)
    matrix = slicer.util.arrayFromVTKMatrix(toRas)
    indices = start + np.vstack([np.zeros(3), np.diag(lengths)])
    return indices @ matrix[:3, :3].T + matrix[:3, 3]


def _inSteps(places: np.ndarray) -> bytes:
    return np.floor((places + PLACE_OFFSET) / PLACE_STEP).astype(np.int64).tobytes()


def _toScan(node: slicer.vtkMRMLSegmentationNode) -> np.ndarray | None:
    """Matrix from a segmentation's coordinates to its scan's voxel indices; None if unknown."""
    scan = scanOf(node)
    if scan is None:
        return None
    toScan = matrixBetween(node.GetParentTransformNode(), scan.GetParentTransformNode())
    return None if toScan is None else np.linalg.inv(ijkToRasArray(scan)) @ toScan


def _maskOf(segment: slicer.vtkSegment) -> np.ndarray | None:
    """Mask (k, j, i) of a segment in its image; None if it has no image."""
    image = segment.GetRepresentation(BINARY_LABELMAP)
    if image is None or image.IsEmpty():
        return None
    return arrayFromImage(image) == segment.GetLabelValue()


def _labelmap(
    voxels: np.ndarray, reference: slicer.vtkMRMLVolumeNode
) -> slicer.vtkOrientedImageData:
    """Image of the voxels (k, j, i), cropped to the nonzero part, on the grid of a volume."""
    box = bounding_box(voxels)
    image = slicer.vtkOrientedImageData()
    image.SetExtent([end for part in reversed(box) for end in (part.start, part.stop - 1)])
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    if voxels.any():
        arrayFromImage(image)[:] = voxels[box]
    image.SetImageToWorldMatrix(ijkToRas(reference))
    return image


def _values(part: Region | Label) -> tuple[int, ...]:
    return part.labels if isinstance(part, Region) else (part.value,)


def _segment(part: Region | Label) -> slicer.vtkSegment:
    segment = slicer.vtkSegment()
    segment.SetName(part.title)
    segment.SetNameAutoGenerated(False)
    segment.SetColor(*(channel / 255 for channel in part.color))
    segment.SetColorAutoGenerated(False)
    segment.SetTerminology(terminologyEntry(part))
    return segment


def terminologyEntry(part: Region | Label) -> str:
    """Category, type, modifier and anatomic region as Slicer's terminology entry string."""
    terminology = part.terminology

    def triple(code: Code | None) -> tuple[str, str, str]:
        return (code.value, code.scheme, code.meaning) if code else ("", "", "")

    return slicer.vtkSlicerTerminologiesModuleLogic.SerializeTerminologyEntry(
        TERMINOLOGY_CONTEXT,
        *triple(terminology.category),
        *triple(terminology.type),
        *triple(terminology.modifier),
        ANATOMIC_CONTEXT,
        *triple(terminology.anatomic_region),
        *triple(None),
    )
