"""The record of a segmentation: edits, undo, sign-off, saved scenes and files of segments."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="needs the package slicer-core")
import vtk

from MISSUCore.contract.labels import BRATS
from MISSUCore.contract.model_identity import ModelIdentity
from MISSUCore.contract.provenance.record import Computation, Provenance
from MISSUCore.contract.provenance.sentences import summary
from MISSUCore.contract.provenance.tag import TAG
from MISSUCore.evaluation.verification import verify
from MISSUSegmentationLib.Core.Errors import ExchangeError
from MISSUSegmentationLib.Logic.Provenance.SignOff import provenanceOf, signOff, withdrawSignOff
from MISSUSegmentationLib.Scene.Provenance.EditRecorder import recorderOf
from MISSUSegmentationLib.Scene.Provenance.ProvenanceRecord import (
    DAMAGED_ATTRIBUTE,
    PROVENANCE_ATTRIBUTE,
    recordOf,
)
from MISSUSegmentationLib.Scene.SceneExchange import arrayFromImage
from MISSUSegmentationLib.Scene.SegmentationNodes import importSegmentation
from Testing.Module.segment_edits import erase

SHAPE = (8, 9, 10)
LABELS = np.zeros(SHAPE, np.uint8)
LABELS[1:6, 1:6, 1:6] = 2
LABELS[2:5, 2:5, 2:5] = 4
LABELS[3, 3, 3] = 1
OBLIQUE = np.array([[0.8, -0.36, 0.48], [0.6, 0.48, -0.64], [0.0, 0.8, 0.6]])
# 0.5 x 2 x 3 mm: a voxel has 3 mm3.
GEOMETRY = {"direction": OBLIQUE, "spacing": (0.5, 2.0, 3.0), "origin": (10.0, -20.0, 30.0)}


@pytest.fixture
def scan(addVolume: Callable[..., Any]) -> Any:
    return addVolume("T1ce", np.ones(SHAPE), **GEOMETRY)


def segmented(scan: Any, exclusive: bool = False) -> Any:
    node = importSegmentation(LABELS, {"t1ce": scan}, BRATS, exclusive)
    model = ModelIdentity("missu-brats-fast", 64 * "a")
    recorderOf(scan.GetScene()).begin(node, Computation(model))
    return node


def paint(node: Any, segmentId: str, where: Any, value: int) -> None:
    """Write voxels (k, j, i of the scan), by the function that Segment Editor writes with."""
    reference = node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole())
    voxels = slicer.util.arrayFromSegmentBinaryLabelmap(node, segmentId, reference)
    voxels[where] = value
    image = imageLike(reference, voxels)
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    assert logic.SetBinaryLabelmapToSegment(image, node, segmentId, logic.MODE_REPLACE)


def imageLike(scan: Any, voxels: Any) -> Any:
    """Voxels (k, j, i) on the grid of a scan."""
    image = slicer.vtkOrientedImageData()
    image.DeepCopy(
        slicer.vtkSlicerSegmentationsModuleLogic.CreateOrientedImageDataFromVolumeNode(scan)
    )
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    arrayFromImage(image)[:] = voxels
    return image


def test_a_result_is_as_computed_with_volumes_counted_by_hand(scan: Any) -> None:
    record = provenanceOf(segmented(scan))
    assert record.is_as_computed and not record.edits
    volumes = {name: fact.volume_ml for name, fact in record.contents.masks.items()}
    assert volumes == pytest.approx({"WT": 0.375, "TC": 0.081, "ET": 0.078})
    # LPS, as ITK has it: x and y of RAS turned around.
    grid = np.reshape(record.contents.grid, (3, 4))
    assert grid @ [2, 3, 5, 1] == pytest.approx(
        np.diag([-1, -1, 1]) @ (OBLIQUE @ [2 * 0.5, 3 * 2.0, 5 * 3.0] + [10, -20, 30])
    )


def test_an_edit_is_noted_with_volumes_and_reader(scan: Any) -> None:
    node = segmented(scan)
    recorderOf(scan.GetScene()).reader = "A. Reader"
    paint(node, "ET", np.s_[2, 2, 2:4], 0)
    paint(node, "ET", np.s_[7, 8, 9], 1)
    record = provenanceOf(node)
    (edit,) = record.edits
    assert (edit.region, edit.by, edit.watched) == ("ET", "A. Reader", True)
    assert (edit.before.voxels, edit.after.voxels) == (26, 25)
    assert (edit.added_ml, edit.removed_ml) == pytest.approx((0.003, 0.006))
    assert not record.is_as_computed
    # One session is one entry, compared with what was there at its start.
    paint(node, "ET", np.s_[2, 2, 2:4], 1)
    (edit,) = provenanceOf(node).edits
    assert (edit.added_ml, edit.removed_ml) == pytest.approx((0.003, 0.0))


def test_what_is_moved_to_a_neighbor_is_an_edit_of_both(scan: Any) -> None:
    node = segmented(scan, exclusive=True)
    image = node.GetSegmentation().GetSegment("ED").GetRepresentation("Binary labelmap")
    voxels = arrayFromImage(image)
    voxels[voxels == 4] = 2
    image.Modified()
    edits = {edit.region: edit for edit in provenanceOf(node).edits}
    assert sorted(edits) == ["ED", "ET"]
    assert edits["ED"].added_ml == edits["ET"].removed_ml == pytest.approx(0.078)


def test_painting_computes_nothing_until_it_is_noted(
    scan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from MISSUSegmentationLib.Scene.Provenance import EditRecorder as module

    node, recorder = segmented(scan), recorderOf(scan.GetScene())
    recorder.notePending()
    pending: list[int] = []
    monkeypatch.setattr(recorder, "onPending", lambda: pending.append(1))
    with monkeypatch.context() as patch:
        patch.setattr(module, "masksOf", lambda *_: pytest.fail("computed while painting"))
        paint(node, "ET", np.s_[2, 2, 2], 0)
        paint(node, "ET", np.s_[2, 2, 3], 0)
    assert len(pending) >= 2
    recorder.notePending()
    assert [edit.after.voxels for edit in recordOf(node).edits] == [24]


def test_undo_brings_back_the_models_result(scan: Any) -> None:
    node = segmented(scan)
    history = slicer.vtkSegmentationHistory()
    history.SetSegmentation(node.GetSegmentation())
    history.SaveState()
    paint(node, "ET", np.s_[2, 2, 2], 0)
    edited = provenanceOf(node)
    assert edited.edits
    assert history.RestorePreviousState()
    record = provenanceOf(node)
    assert record.is_as_computed and not record.edits
    assert history.RestoreNextState()
    assert provenanceOf(node).contents == edited.contents


def test_segments_that_come_and_go_are_told(scan: Any) -> None:
    node = segmented(scan)
    node.GetSegmentation().RemoveSegment("TC")
    segment = slicer.vtkSegment()
    segment.SetName("Vessel")
    node.GetSegmentation().AddSegment(segment, "vessel")
    edits = {edit.region: edit for edit in provenanceOf(node).edits}
    assert not edits["TC"].after.sha256 and not edits["vessel"].before.sha256
    assert not provenanceOf(node).is_as_computed


def test_a_change_after_the_sign_off_shows(scan: Any) -> None:
    node = segmented(scan)
    record = signOff(node, "A. Reader", "fine")
    assert summary(record) == "Signed off by A. Reader, and not changed since."
    paint(node, "WT", np.s_[0, 0, 0], 1)
    record = provenanceOf(node)
    assert summary(record).startswith("Changed since it was signed off by A. Reader")
    paint(node, "WT", np.s_[0, 0, 0], 0)
    assert provenanceOf(node).valid_sign_offs
    record = withdrawSignOff(node)
    assert not record.valid_sign_offs and record.sign_offs[0].withdrawn
    assert withdrawSignOff(node) == record


def test_a_moved_segmentation_is_changed_and_a_transform_above_is_not(
    scan: Any, addTransform: Callable[..., Any]
) -> None:
    node = segmented(scan)
    signOff(node, "A")
    move = np.eye(4)
    move[:3, 3] = 5
    addTransform(move, node)
    assert provenanceOf(node).valid_sign_offs
    node.HardenTransform()
    record = provenanceOf(node)
    assert not record.valid_sign_offs
    moved = [("WT", None), ("TC", None), ("ET", None)]
    assert [(edit.region, edit.added_ml) for edit in record.edits] == moved
    erase(node, "ET")
    edit = provenanceOf(node).edits[-1]
    assert (len(provenanceOf(node).edits), edit.region, edit.removed_ml) == (4, "ET", 0.003)


def test_another_geometry_is_an_edit_with_the_volumes_of_both(
    scan: Any, addVolume: Callable[..., Any]
) -> None:
    node = segmented(scan)
    # Voxels of a quarter of the size, and the segments brought to them as the Segment Editor does.
    fine = np.repeat(np.repeat(LABELS, 2, axis=1), 2, axis=2)
    spacing = (0.25, 1.0, 3.0)
    corner = np.array([10.0, -20.0, 30.0]) - OBLIQUE @ [0.125, 0.5, 0.0]
    geometry = {"direction": OBLIQUE, "spacing": spacing, "origin": tuple(corner)}
    other = addVolume("fine", np.ones(fine.shape), **geometry)
    for segmentId, values in (("WT", (1, 2, 4)), ("TC", (1, 4)), ("ET", (4,))):
        image = imageLike(other, np.isin(fine, values))
        segment = node.GetSegmentation().GetSegment(segmentId)
        segment.AddRepresentation("Binary labelmap", image)
    edits = {edit.region: edit for edit in provenanceOf(node).edits}
    assert (edits["ET"].before.voxels, edits["ET"].after.voxels) == (26, 104)
    assert edits["ET"].before.volume_ml == pytest.approx(edits["ET"].after.volume_ml)
    assert edits["ET"].added_ml is None
    erase(node, "ET")
    record = provenanceOf(node)
    assert record.contents.masks["ET"].voxels == 103 and not record.is_as_computed


def test_any_segmentation_can_be_signed_off(scene: Any, scan: Any) -> None:
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Mine")
    node.SetReferenceImageGeometryParameterFromVolumeNode(scan)
    node.GetSegmentation().AddEmptySegment("ET")
    paint(node, "ET", LABELS == 4, 1)
    assert provenanceOf(node) == Provenance()
    assert recordOf(node) is None, "asking leaves no trace"
    assert withdrawSignOff(node) == Provenance()
    assert signOff(node, "A").valid_sign_offs
    paint(node, "ET", np.s_[1, 1, 1], 1)
    assert provenanceOf(node).outdated_sign_offs
    with pytest.raises(ValueError, match="name"):
        signOff(node, " ")


def test_a_deleted_segmentation_is_not_signed(scene: Any, scan: Any) -> None:
    node = segmented(scan)
    scene.RemoveNode(node)
    with pytest.raises(ExchangeError, match="no longer in the scene"):
        signOff(node, "A")


def test_a_signed_result_is_not_replaced(scan: Any) -> None:
    node = segmented(scan)
    assert segmented(scan) is node
    signOff(node, "A")
    again = segmented(scan)
    assert again is not node and recordOf(node).valid_sign_offs
    assert not recordOf(again).sign_offs
    withdrawSignOff(node)
    assert importSegmentation(LABELS, {"t1ce": scan}, BRATS) in (node, again)


def save(scene: Any, folder: Path) -> Path:
    """Save the scene with its data; returns the file of the segmentation."""
    scene.SetRootDirectory(str(folder))
    for node in slicer.util.getNodesByClass("vtkMRMLStorableNode"):
        if node.GetSaveWithScene() and node.AddDefaultStorageNode():
            storage = node.GetStorageNode()
            ending = storage.GetDefaultWriteFileExtension()
            storage.SetFileName(str(folder / f"{node.GetID()}.{ending}"))
            assert storage.WriteData(node)
    assert scene.Commit(str(folder / "scene.mrml"))
    return next(folder.glob("*.seg.nrrd"))


def load(path: Path) -> tuple[Any, Any]:
    """Another Slicer, another day: a scene, and its segmentation."""
    scene = slicer.vtkMRMLScene()
    recorderOf(scene)
    scene.SetURL(str(path))
    assert scene.Import()
    # Not getNodesByClass of slicer.util, which looks in slicer.mrmlScene whatever it is given.
    return scene, scene.GetFirstNodeByClass("vtkMRMLSegmentationNode")


@pytest.mark.parametrize("exclusive", [False, True])
def test_the_record_is_saved_with_the_scene_and_goes_on(
    scene: Any, scan: Any, tmp_path: Path, exclusive: bool
) -> None:
    node = segmented(scan, exclusive)
    paint(node, "ET", np.s_[2, 2, 2], 0)
    record = signOff(node, "A. Reader")
    save(scene, tmp_path)
    again, loaded = load(tmp_path / "scene.mrml")
    assert provenanceOf(loaded) == record
    recorderOf(again).reader = "B. Reader"
    paint(loaded, "ET", np.s_[2, 2, 3], 0)
    changed = provenanceOf(loaded)
    assert changed.outdated_sign_offs
    edit = changed.edits[-1]
    assert (edit.by, edit.removed_ml) == ("B. Reader", pytest.approx(0.003))
    again.Clear(True)


def test_nothing_is_noted_before_the_segments_are_loaded(
    scene: Any, scan: Any, tmp_path: Path
) -> None:
    record = signOff(segmented(scan), "A. Reader")
    save(scene, tmp_path)
    again, asked = slicer.vtkMRMLScene(), []
    recorder = recorderOf(again)
    recorder.onPending = lambda: asked.append("timer")
    again.SetURL(str(tmp_path / "scene.mrml"))
    # While Slicer shows how far loading is, timers go on: after nodes, and before their data.
    again.AddObserver(again.NodeAddedEvent, lambda *_: recorder.notePending())
    assert again.Import()
    before = len(asked)
    recorder.notePending()
    loaded = again.GetFirstNodeByClass("vtkMRMLSegmentationNode")
    assert recordOf(loaded) == record and not record.edits
    assert before and len(asked) == before, "it was put off, and is done"
    again.Clear(True)


@pytest.mark.parametrize("exclusive", [False, True])
def test_the_file_of_the_segments_tells_it_alone(
    scene: Any, scan: Any, tmp_path: Path, exclusive: bool
) -> None:
    node = segmented(scan, exclusive)
    file = save(scene, tmp_path)
    assert verify(file).status == "computed"
    record = signOff(node, "A. Reader")
    assert node.GetStorageNode().WriteData(node)
    found = verify(file)
    assert (found.status, found.record) == ("signed", record)
    # Loaded without its scene, in a Slicer of another day.
    other = slicer.vtkMRMLScene()
    loaded = other.AddNewNodeByClass("vtkMRMLSegmentationNode")
    loaded.AddDefaultStorageNode()
    loaded.GetStorageNode().SetFileName(str(file))
    assert loaded.GetStorageNode().ReadData(loaded)
    assert provenanceOf(loaded) == record
    other.Clear(True)
    paint(node, "ET", np.s_[2, 2, 2], 0)  # and not noted, before the file is written
    assert node.GetStorageNode().WriteData(node)
    assert verify(file).status == "changed"


def test_a_file_that_was_changed_elsewhere_is_found_out(
    scene: Any, scan: Any, tmp_path: Path
) -> None:
    node = segmented(scan)
    signOff(node, "A. Reader")
    save(scene, tmp_path)
    paint(node, "ET", np.s_[2, 2, 2], 0)
    assert node.GetStorageNode().WriteData(node)  # the scene's file knows nothing of it
    again, loaded = load(tmp_path / "scene.mrml")
    recorderOf(again).reader = "somebody else"
    record = provenanceOf(loaded)
    assert record.outdated_sign_offs
    (edit,) = record.edits
    assert (edit.by, edit.watched, edit.added_ml) == ("", False, None)
    again.Clear(True)


HOSTILE = ["{", "[]", "null", '{"edits": 3}', '{"schema_version": 99}', "[" * 100_000]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_damaged_record_is_no_record_and_is_not_thrown_away(scan: Any, text: str) -> None:
    node = segmented(scan)
    node.SetAttribute(PROVENANCE_ATTRIBUTE, text)
    assert provenanceOf(node).is_as_computed, "the segments have it, too"
    assert node.GetAttribute(DAMAGED_ATTRIBUTE) == text
    for segmentId in node.GetSegmentation().GetSegmentIDs():
        node.GetSegmentation().GetSegment(segmentId).SetTag(TAG, text)
    node.SetAttribute(PROVENANCE_ATTRIBUTE, text)
    assert recordOf(node) is None
    assert summary(signOff(node, "A")).startswith("Signed off by A")


def test_an_old_scene_has_no_record(scene: Any, scan: Any) -> None:
    node = importSegmentation(LABELS, {"t1ce": scan}, BRATS)
    assert summary(provenanceOf(node)).startswith("What computed it was not recorded.")
    paint(node, "ET", np.s_[2, 2, 2], 0)
    recorderOf(scene).notePending()
    assert recordOf(node) is None


def test_another_scene_begins_anew(scene: Any, scan: Any, addVolume: Callable[..., Any]) -> None:
    node = segmented(scan)
    nodeId, record = node.GetID(), provenanceOf(node)
    scene.Clear(False)
    slicer.vtkMRMLSubjectHierarchyNode.ResolveSubjectHierarchy(scene)
    other = addVolume("T1ce", np.ones(SHAPE), **GEOMETRY)
    edited = LABELS.copy()
    edited[2, 2, 2] = 2
    node = importSegmentation(edited, {"t1ce": other}, BRATS)
    assert node.GetID() == nodeId
    node.SetAttribute(PROVENANCE_ATTRIBUTE, record.to_json())
    assert not any(edit.watched for edit in provenanceOf(node).edits)


def test_segments_without_voxels_cannot_be_signed_off(scene: Any) -> None:
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Outlines")
    node.GetSegmentation().SetSourceRepresentationName("Planar contour")
    segment = slicer.vtkSegment()
    segment.AddRepresentation("Planar contour", vtk.vtkPolyData())
    node.GetSegmentation().AddSegment(segment, "GTV")
    with pytest.raises(ExchangeError, match="No voxels can be made of Outlines"):
        signOff(node, "A")
