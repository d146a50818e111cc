"""Tags segments with DICOM's algorithm type: drawn by a model, or by a model and a person.

Slicer's DICOM export (DICOMSegmentationPlugin) reads these segment tags; without them it declares a
segment as drawn by hand. Another tag holds a checksum of the model's original voxels, so that edits
are detected at any time, even after the scene was saved and loaded.
"""

from __future__ import annotations

import hashlib
import re
import weakref
from collections.abc import Iterator

import slicer
import vtk

from .SegmentationNodes import voxelsOf

TYPE_TAG = "DICOM.SegmentAlgorithmType"
NAME_TAG = "DICOM.SegmentAlgorithmName"
CHECKSUM_TAG = "MISSU.Checksum"
LONGEST_NAME = 64  # limit of DICOM's value representation LO (long string)

_watched: weakref.WeakSet = weakref.WeakSet()


def markAutomatic(node: slicer.vtkMRMLSegmentationNode, model: str) -> None:
    """Tag each segment as drawn by the model of this name, until it is edited."""
    for segment in _segments(node):
        segment.SetTag(CHECKSUM_TAG, _checksum(segment))
        _mark(segment, "AUTOMATIC", f"MISSU {model}")
    watchScene(node.GetScene())


def markCorrected(node: slicer.vtkMRMLSegmentationNode) -> None:
    """Tag each segment as drawn by a model and corrected by a person."""
    for segment in _segments(node):
        _mark(segment, "SEMIAUTOMATIC", "MISSU")


def watchScene(scene: slicer.vtkMRMLScene) -> None:
    """Watch all segmentations of a scene for edits, including those added later."""
    if scene in _watched:
        return
    _watched.add(scene)
    for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode", scene):
        _watch(node)
    scene.AddObserver(scene.NodeAddedEvent, _onNodeAdded)


@vtk.calldata_type(vtk.VTK_OBJECT)
def _onNodeAdded(scene: slicer.vtkMRMLScene, event: str, node: slicer.vtkMRMLNode) -> None:
    if node.IsA("vtkMRMLSegmentationNode"):
        _watch(node)


def _watch(node: slicer.vtkMRMLSegmentationNode) -> None:
    node.AddObserver(slicer.vtkSegmentation.SourceRepresentationModified, _onVoxelsModified)


def _onVoxelsModified(node: slicer.vtkMRMLSegmentationNode, event: str) -> None:
    # The event does not say which segments have changed, and is also sent on loading.
    for segment in _segments(node):
        given = _tag(segment, CHECKSUM_TAG)
        if given and _tag(segment, TYPE_TAG) == "AUTOMATIC" and given != _checksum(segment):
            segment.SetTag(TYPE_TAG, "SEMIAUTOMATIC")


def _segments(node: slicer.vtkMRMLSegmentationNode) -> Iterator[slicer.vtkSegment]:
    segmentation = node.GetSegmentation()
    return map(segmentation.GetSegment, segmentation.GetSegmentIDs())


def _mark(segment: slicer.vtkSegment, type_: str, name: str) -> None:
    segment.SetTag(TYPE_TAG, type_)
    # Backslash, colon and bar are separators in DICOM and in segmentation files.
    segment.SetTag(NAME_TAG, re.sub(r"[^\w .+-]", "_", name)[:LONGEST_NAME])


def _tag(segment: slicer.vtkSegment, name: str) -> str:
    value = vtk.mutable("")
    return str(value) if segment.GetTag(name, value) else ""


def _checksum(segment: slicer.vtkSegment) -> str:
    return hashlib.sha256(voxelsOf(segment)).hexdigest()
