"""Notes in the record of a segmentation what is edited, whoever edits it, and with which tool."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable
from dataclasses import replace

import slicer
import vtk

from MISSUCore.contract.provenance.masks import Mask, voxel_ml
from MISSUCore.contract.provenance.record import Computation, Provenance, now

from ...Core.Errors import ExchangeError
from .ProvenanceRecord import keepRecord, recordOf
from .SegmentContents import contentsOf, masksOf

_EVENTS = (
    slicer.vtkSegmentation.SourceRepresentationModified,
    slicer.vtkSegmentation.SegmentAdded,
    slicer.vtkSegmentation.SegmentRemoved,
)
_recorders: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def recorderOf(scene: slicer.vtkMRMLScene) -> EditRecorder:
    """The recorder of a scene, which watches from the first call on."""
    if scene not in _recorders:
        _recorders[scene] = EditRecorder(scene)
    return _recorders[scene]


class EditRecorder:
    """Watches the segmentations of a scene that have a record.

    Painting is not slowed down: an edit is only remembered when it is made. What it has changed is
    found out by :meth:`notePending`, or when somebody asks. Slicer tells nobody that it is about to
    save, so what was not noted by then is found when the file is loaded.

    Args:
        scene: to watch.

    Attributes:
        reader: name that the user has typed in; edits have it from then on.
        onPending: is called at each edit, and sees to it that :meth:`notePending` is called soon.
        onNoted: is called with a segmentation whose record has changed.
    """

    def __init__(self, scene: slicer.vtkMRMLScene) -> None:
        self.reader = ""
        self.onPending: Callable[[], None] = lambda: None
        self.onNoted: Callable[[slicer.vtkMRMLSegmentationNode], None] = lambda node: None
        # By ID of the node: when its first edit was seen, and voxels by their checksums.
        self._pending: dict[str, tuple[slicer.vtkMRMLSegmentationNode, str]] = {}
        self._known: dict[str, dict[str, Mask]] = {}
        for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode", scene):
            self._watch(node)
            self._onModified(node, "")
        scene.AddObserver(scene.NodeAddedEvent, self._onNodeAdded)

    def begin(self, node: slicer.vtkMRMLSegmentationNode, computed: Computation) -> Provenance:
        """Begin the record of segments that were just made; it takes the place of another.

        Args:
            node: their segmentation.
            computed: what computed them; its contents are those of the node.

        Raises:
            ExchangeError: if the segments cannot be read.
        """
        grid, masks = masksOf(node)
        contents = contentsOf(grid, masks)
        record = Provenance(computed=replace(computed, contents=contents), contents=contents)
        self.keep(node, record, masks)
        return record

    def adopt(self, node: slicer.vtkMRMLSegmentationNode, record: Provenance) -> None:
        """Go on with the record of segments that come from files.

        Raises:
            ExchangeError: if the segments cannot be read.
        """
        grid, masks = masksOf(node, record.contents.grid)
        self.keep(node, replace(record, contents=contentsOf(grid, masks)), masks)

    def keep(
        self,
        node: slicer.vtkMRMLSegmentationNode,
        record: Provenance,
        masks: dict[str, Mask] | None = None,
    ) -> None:
        """Keep a record; ``masks`` are the voxels that it was last seen with, if they are new."""
        if masks is not None:
            self._remember(node, record, masks)
        keepRecord(node, record)
        self.onNoted(node)

    def note(self, node: slicer.vtkMRMLSegmentationNode) -> Provenance | None:
        """Note what has changed since the segments were last seen; returns the record, if any.

        Raises:
            ExchangeError: if the segments cannot be read; nothing is noted then.
        """
        _, began = self._pending.pop(node.GetID(), (None, ""))
        record = recordOf(node)
        if record is None:
            return None
        grid, masks = masksOf(node, record.contents.grid)
        contents = contentsOf(grid, masks)
        known = self._known.get(node.GetID())
        if known and not contents.has_grid_of(record.contents):
            known = self._known[node.GetID()] = {}  # voxels of two grids cannot be compared

        def difference(region: str, before: str) -> tuple[float, float] | None:
            if known is None or before not in known or region not in masks:
                return None
            volumeMl = voxel_ml(grid) if grid else 0.0
            old, new = known[before], masks[region]
            return round(new.beyond(old) * volumeMl, 4), round(old.beyond(new) * volumeMl, 4)

        # What nobody watched was edited elsewhere, by whomever.
        seen = {"by": self.reader, "began": began or now()} if known is not None else {}
        noted = record.noted(contents, difference, **seen)
        self._remember(node, noted, masks)
        keepRecord(node, noted)  # undo may have brought back old tags
        if noted != record:
            self.onNoted(node)
        return noted

    def notePending(self) -> None:
        """Note all that was edited since the last call; later, while a scene is being loaded.

        Segments come after their nodes then, and timers go on meanwhile.
        """
        if any(_isBusy(node.GetScene()) for node, _ in self._pending.values()):
            self.onPending()
            return
        pending, self._pending = self._pending, {}
        for node, began in pending.values():
            if node.GetScene() is None:
                continue
            self._pending[node.GetID()] = (node, began)
            with contextlib.suppress(ExchangeError):  # told where the user asks for the record
                self.note(node)

    def _remember(
        self, node: slicer.vtkMRMLSegmentationNode, record: Provenance, masks: dict[str, Mask]
    ) -> None:
        """Keep voxels that a later edit may be compared with: those of now, and before edits."""
        before = self._known.get(node.GetID(), {})
        wanted = {edit.before.sha256 for edit in record.edits} & before.keys()
        facts = record.contents.masks
        self._known[node.GetID()] = {
            **{checksum: before[checksum] for checksum in wanted},
            **{facts[name].sha256: mask for name, mask in masks.items()},
        }

    def _watch(self, node: slicer.vtkMRMLSegmentationNode) -> None:
        for event in _EVENTS:
            node.AddObserver(event, self._onModified)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _onNodeAdded(
        self, scene: slicer.vtkMRMLScene, event: str, node: slicer.vtkMRMLNode
    ) -> None:
        if node.IsA("vtkMRMLSegmentationNode"):
            # Another node may have had this ID. (Events of removal come also while Python's garbage
            # collector takes a scene apart, which ends in a crash.)
            self._pending.pop(node.GetID(), None)
            self._known.pop(node.GetID(), None)
            self._watch(node)
            self._onModified(node, event)  # it may have a record

    def _onModified(self, node: slicer.vtkMRMLSegmentationNode, event: str) -> None:
        if node.GetID() and node.GetID() not in self._pending:
            self._pending[node.GetID()] = (node, now())
        self.onPending()


def _isBusy(scene: slicer.vtkMRMLScene | None) -> bool:
    return scene is not None and scene.IsBatchProcessing()
