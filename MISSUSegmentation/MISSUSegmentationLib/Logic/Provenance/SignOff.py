"""Shows and signs the provenance record of a segmentation, with or without Slicer's GUI.

In Slicer's Python console, or with the package slicer-core::

    from MISSUCore.contract.provenance.sentences import history
    from MISSUSegmentationLib.Logic.Provenance.SignOff import provenanceOf, signOff

    print(*history(provenanceOf(segmentation)), sep=" ")
    signOff(segmentation, "A. Reader", "resection cavity left out")
"""

from __future__ import annotations

import slicer

from MISSUCore.contract.provenance.masks import Contents
from MISSUCore.contract.provenance.record import Provenance

from ...Core.Errors import ExchangeError
from ...Scene.Provenance.EditRecorder import EditRecorder, recorderOf
from ...Scene.Provenance.SegmentContents import contentsOf, masksOf


def provenanceOf(node: slicer.vtkMRMLSegmentationNode) -> Provenance:
    """The provenance record of a segmentation, brought up to date; empty if there is none.

    Raises:
        ExchangeError: if its segments cannot be read.
    """
    return _recorderOf(node).note(node) or Provenance()


def contentsNow(node: slicer.vtkMRMLSegmentationNode) -> Contents:
    """The contents of the segments as a sign-off would record them.

    Raises:
        ExchangeError: if they cannot be read.
    """
    record = _recorderOf(node).note(node)
    return record.contents if record else contentsOf(*masksOf(node))


def signOff(
    node: slicer.vtkMRMLSegmentationNode,
    reader: str,
    comment: str = "",
    contents: Contents | None = None,
) -> Provenance:
    """Record that a reader approves the segments in their present state; returns the record.

    Any segmentation can be signed off, including one that MISSU did not make. The reader's identity
    is not verified.

    Args:
        node: the segmentation.
        reader: the reader's name.
        comment: any text; must not identify the patient.
        contents: the contents that the reader has seen; by default the present ones.

    Raises:
        ExchangeError: if the segments cannot be read, or have changed since the reader saw them.
        ValueError: if no name is given.
    """
    recorder = _recorderOf(node)
    record, masks = recorder.note(node), None
    if record is None:
        grid, masks = masksOf(node)
        record = Provenance(contents=contentsOf(grid, masks))
    if contents is not None and not record.contents.same_as(contents):
        raise ExchangeError(
            f"{node.GetName()} was changed meanwhile and is not signed off; look at it again."
        )
    record = record.signed_off(reader, comment)
    recorder.keep(node, record, masks)
    return record


def withdrawSignOff(node: slicer.vtkMRMLSegmentationNode) -> Provenance:
    """Withdraw the last sign-off, which remains in the history as withdrawn; returns the record.

    Raises:
        ExchangeError: if its segments cannot be read.
    """
    record = provenanceOf(node).withdrawn()
    if record.sign_offs:
        _recorderOf(node).keep(node, record)
    return record


def _recorderOf(node: slicer.vtkMRMLSegmentationNode) -> EditRecorder:
    if node.GetScene() is None:
        raise ExchangeError(f"{node.GetName()} is no longer in the scene; select another one.")
    return recorderOf(node.GetScene())
