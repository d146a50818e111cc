"""Tells in DICOM's words who drew a segment: a model, or a model and a person.

Slicer's DICOM export reads these tags of a segment, and without them writes that it was drawn by
hand (DICOMSegmentationPlugin). A tag beside them holds a checksum of the voxels as the model gave
them, so that an edit is known whenever it is made, also after the scene was saved and loaded.
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
LONGEST_NAME = 64  # of what DICOM calls a long string

_watched: weakref.WeakSet = weakref.WeakSet()


def markAutomatic(node: slicer.vtkMRMLSegmentationNode, model: str) -> None:
    """Say of each segment that a model of this name drew it, until somebody edits it."""
    for segment in _segments(node):
        segment.SetTag(CHECKSUM_TAG, _checksum(segment))
        _mark(segment, "AUTOMATIC", f"MISSU {model}")
    watchScene(node.GetScene())


def markCorrected(node: slicer.vtkMRMLSegmentationNode) -> None:
    """Say of each segment that a person has gone over what a model drew."""
    for segment in _segments(node):
        _mark(segment, "SEMIAUTOMATIC", "MISSU")


def watchScene(scene: slicer.vtkMRMLScene) -> None:
    """From now on notice edits of the segmentations in a scene, also of those added later."""
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
    # The event does not tell which segments were changed, and comes when they are loaded, too.
    for segment in _segments(node):
        given = _tag(segment, CHECKSUM_TAG)
        if given and _tag(segment, TYPE_TAG) == "AUTOMATIC" and given != _checksum(segment):
            segment.SetTag(TYPE_TAG, "SEMIAUTOMATIC")


def _segments(node: slicer.vtkMRMLSegmentationNode) -> Iterator[slicer.vtkSegment]:
    segmentation = node.GetSegmentation()
    return map(segmentation.GetSegment, segmentation.GetSegmentIDs())


def _mark(segment: slicer.vtkSegment, type_: str, name: str) -> None:
    segment.SetTag(TYPE_TAG, type_)
    # Backslash, colon and bar separate values, in DICOM and in files of segmentations.
    segment.SetTag(NAME_TAG, re.sub(r"[^\w .+-]", "_", name)[:LONGEST_NAME])


def _tag(segment: slicer.vtkSegment, name: str) -> str:
    value = vtk.mutable("")
    return str(value) if segment.GetTag(name, value) else ""


def _checksum(segment: slicer.vtkSegment) -> str:
    return hashlib.sha256(voxelsOf(segment)).hexdigest()
