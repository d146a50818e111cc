"""Records edits in the provenance record of a segmentation, whatever tool makes them."""

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
    """The recorder of a scene; the first call creates it and starts recording."""
    if scene not in _recorders:
        _recorders[scene] = EditRecorder(scene)
    return _recorders[scene]


class EditRecorder:
    """Watches the segmentations of a scene that have a record.

    Painting is not slowed down: an edit is only marked as pending when it is made. What it changed
    is determined by :meth:`notePending`, or when the record is requested. Slicer sends no event
    before saving, so edits not recorded by then are found when the file is loaded.

    Args:
        scene: the scene to watch.

    Attributes:
        reader: name that the user has entered; edits are recorded under it from then on.
        onPending: called at each edit; has to arrange that :meth:`notePending` is called soon.
        onNoted: called with a segmentation whose record has changed.
    """

    def __init__(self, scene: slicer.vtkMRMLScene) -> None:
        self.reader = ""
        self.onPending: Callable[[], None] = lambda: None
        self.onNoted: Callable[[slicer.vtkMRMLSegmentationNode], None] = lambda node: None
        # By node ID: time of the first pending edit (with the node); known voxels by checksum.
        self._pending: dict[str, tuple[slicer.vtkMRMLSegmentationNode, str]] = {}
        self._known: dict[str, dict[str, Mask]] = {}
        for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode", scene):
            self._watch(node)
            self._onModified(node, "")
        scene.AddObserver(scene.NodeAddedEvent, self._onNodeAdded)

    def begin(self, node: slicer.vtkMRMLSegmentationNode, computed: Computation) -> Provenance:
        """Begin the record of newly computed segments, replacing any earlier record.

        Args:
            node: their segmentation.
            computed: the computation; its contents are those of the node.

        Raises:
            ExchangeError: if the segments cannot be read.
        """
        grid, masks = masksOf(node)
        contents = contentsOf(grid, masks)
        record = Provenance(computed=replace(computed, contents=contents), contents=contents)
        self.keep(node, record, masks)
        return record

    def adopt(self, node: slicer.vtkMRMLSegmentationNode, record: Provenance) -> None:
        """Continue the record of segments loaded from files.

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
        """Save a record; ``masks`` are the voxels it describes, if they have changed."""
        if masks is not None:
            self._remember(node, record, masks)
        keepRecord(node, record)
        self.onNoted(node)

    def note(self, node: slicer.vtkMRMLSegmentationNode) -> Provenance | None:
        """Record changes since the segments were last read; returns the record, if any.

        Raises:
            ExchangeError: if the segments cannot be read; then nothing is recorded.
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

        # Edits made while not watching were made elsewhere, by an unknown person.
        seen = {"by": self.reader, "began": began or now()} if known is not None else {}
        noted = record.noted(contents, difference, **seen)
        self._remember(node, noted, masks)
        keepRecord(node, noted)  # undo may have brought back old tags
        if noted != record:
            self.onNoted(node)
        return noted

    def notePending(self) -> None:
        """Record all edits since the last call; postponed while a scene is being loaded.

        During loading, nodes exist before their segments, and timers fire in between.
        """
        if any(_isBusy(node.GetScene()) for node, _ in self._pending.values()):
            self.onPending()
            return
        pending, self._pending = self._pending, {}
        for node, began in pending.values():
            if node.GetScene() is None:
                continue
            self._pending[node.GetID()] = (node, began)
            with contextlib.suppress(ExchangeError):  # reported when the user views the record
                self.note(node)

    def _remember(
        self, node: slicer.vtkMRMLSegmentationNode, record: Provenance, masks: dict[str, Mask]
    ) -> None:
        """Keep voxels for comparison with later edits: present ones and those before edits."""
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
            # Another node may have had this ID. (Removal events are no alternative: they
            # also come while Python's garbage collector deletes a scene, which would crash.)
            self._pending.pop(node.GetID(), None)
            self._known.pop(node.GetID(), None)
            self._watch(node)
            self._onModified(node, event)  # the node may already have a record

    def _onModified(self, node: slicer.vtkMRMLSegmentationNode, event: str) -> None:
        if node.GetID() and node.GetID() not in self._pending:
            self._pending[node.GetID()] = (node, now())
        self.onPending()


def _isBusy(scene: slicer.vtkMRMLScene | None) -> bool:
    return scene is not None and scene.IsBatchProcessing()
