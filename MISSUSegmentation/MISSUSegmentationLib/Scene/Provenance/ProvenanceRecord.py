"""The provenance record (who changed what), stored with its segmentation.

It is stored as a node attribute, which is saved with the scene, and as a tag of each segment, which
is saved in the segmentation's own file and so remains when that file is passed on.
"""

from __future__ import annotations

import contextlib

import slicer
import vtk

from MISSUCore.contract.provenance.record import Provenance
from MISSUCore.contract.provenance.tag import TAG, newest, to_tag

PROVENANCE_ATTRIBUTE = "MISSU.Provenance"
# A record that cannot be read is kept in this attribute.
DAMAGED_ATTRIBUTE = "MISSU.Provenance.Damaged"


def recordOf(node: slicer.vtkMRMLSegmentationNode) -> Provenance | None:
    """The newest valid record stored with a segmentation; None if there is none.

    There may be several: a segmentation file can be newer than its scene.
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
    """Store a record with a segmentation, replacing the previous one."""
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
    """Whether a segmentation has a sign-off that was not withdrawn."""
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
