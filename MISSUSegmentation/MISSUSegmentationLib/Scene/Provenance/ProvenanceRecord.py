"""The record of who changed what, kept with its segmentation.

It is an attribute of the node, which is saved with the scene; and a tag of each segment, which is
saved in the segmentation's own file, so that this tells it, too, wherever it goes.
"""

from __future__ import annotations

import contextlib

import slicer
import vtk

from MISSUCore.contract.provenance.record import Provenance
from MISSUCore.contract.provenance.tag import TAG, newest, to_tag

PROVENANCE_ATTRIBUTE = "MISSU.Provenance"
# What could not be read is not thrown away.
DAMAGED_ATTRIBUTE = "MISSU.Provenance.Damaged"


def recordOf(node: slicer.vtkMRMLSegmentationNode) -> Provenance | None:
    """The record kept with a segmentation, the newest if there are several; None if none is sound.

    A file of segments may be newer than its scene.
    """
    found = []
    text = node.GetAttribute(PROVENANCE_ATTRIBUTE)
    if text:
        with contextlib.suppress(ValueError):
            found.append(Provenance.from_json(text))
    tagged = newest(map(_tagOf, _segments(node)))
    if tagged:
        found.append(tagged)
    return max(found, key=lambda record: record.latest, default=None)


def keepRecord(node: slicer.vtkMRMLSegmentationNode, record: Provenance) -> None:
    """Keep a record with a segmentation, in place of the one it has."""
    before, text = node.GetAttribute(PROVENANCE_ATTRIBUTE), record.to_json()
    if before and before != text and _isDamaged(before):
        node.SetAttribute(DAMAGED_ATTRIBUTE, before)
    if before != text:
        node.SetAttribute(PROVENANCE_ATTRIBUTE, text)
    tag = to_tag(record)
    for segment in _segments(node):
        if _tagOf(segment) != tag:
            segment.SetTag(TAG, tag)


def isSignedOff(node: slicer.vtkMRMLSegmentationNode) -> bool:
    """Whether a reader has signed a segmentation off, and not withdrawn it."""
    record = recordOf(node)
    return record is not None and any(not one.withdrawn for one in record.sign_offs)


def _isDamaged(text: str) -> bool:
    try:
        Provenance.from_json(text)
    except ValueError:
        return True
    return False


def _segments(node: slicer.vtkMRMLSegmentationNode) -> list[slicer.vtkSegment]:
    segmentation = node.GetSegmentation()
    return [segmentation.GetSegment(segmentId) for segmentId in segmentation.GetSegmentIDs()]


def _tagOf(segment: slicer.vtkSegment) -> str:
    value = vtk.mutable("")
    return str(value) if segment.GetTag(TAG, value) else ""
