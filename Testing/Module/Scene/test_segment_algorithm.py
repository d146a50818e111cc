"""Segments tell in DICOM's words who drew them, as Slicer's DICOM export reads it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="needs the package slicer-core")
import vtk

from MISSUCore.contract.labels import BRATS
from MISSUSegmentationLib.Scene.SceneExchange import arrayFromImage
from MISSUSegmentationLib.Scene.SegmentAlgorithm import markAutomatic, markCorrected, watchScene
from MISSUSegmentationLib.Scene.SegmentationNodes import importSegmentation
from Testing.Module.segment_edits import erase

SHAPE = (8, 9, 10)
LABELS = np.zeros(SHAPE, np.uint8)
LABELS[1:6, 1:6, 1:6] = 2
LABELS[2:5, 2:5, 2:5] = 4
LABELS[3, 3, 3] = 1


@pytest.fixture
def scan(addVolume: Callable[..., Any]) -> Any:
    return addVolume("T1ce", np.ones(SHAPE))


def segmented(scan: Any, exclusive: bool = False) -> Any:
    node = importSegmentation(LABELS, {"t1ce": scan}, BRATS, exclusive)
    markAutomatic(node, "missu-brats-fast")
    return node


def tags(node: Any, name: str) -> dict[str, str]:
    """As DICOMSegmentationPlugin reads them; it takes a missing type for MANUAL."""
    found = {}
    for segmentId in node.GetSegmentation().GetSegmentIDs():
        value = vtk.mutable("")
        segment = node.GetSegmentation().GetSegment(segmentId)
        found[segmentId] = str(value) if segment.GetTag(f"DICOM.{name}", value) else "MANUAL"
    return found


def types(node: Any) -> list[str]:
    return list(tags(node, "SegmentAlgorithmType").values())


@pytest.mark.parametrize("exclusive", [False, True])
def test_a_model_drew_the_segments(scan: Any, exclusive: bool) -> None:
    node = segmented(scan, exclusive)
    assert types(node) == 3 * ["AUTOMATIC"]
    assert set(tags(node, "SegmentAlgorithmName").values()) == {"MISSU missu-brats-fast"}


def test_names_fit_into_dicom(scan: Any) -> None:
    node = importSegmentation(LABELS, {"t1ce": scan}, BRATS)
    markAutomatic(node, "a\\b|c:d" + 100 * "x")
    (name,) = set(tags(node, "SegmentAlgorithmName").values())
    assert name.startswith("MISSU a_b_c_dx")
    assert len(name) == 64


def test_only_what_was_edited_is_half_automatic(scan: Any) -> None:
    node = segmented(scan)
    erase(node, "TC")
    assert types(node) == ["AUTOMATIC", "SEMIAUTOMATIC", "AUTOMATIC"]
    assert tags(node, "SegmentAlgorithmName")["TC"] == "MISSU missu-brats-fast"


def test_what_lost_voxels_to_its_neighbor_was_edited_too(scan: Any) -> None:
    node = segmented(scan, exclusive=True)
    ids = list(node.GetSegmentation().GetSegmentIDs())
    image = node.GetSegmentation().GetSegment("ED").GetRepresentation("Binary labelmap")
    voxels = arrayFromImage(image)
    voxels[voxels == 4] = 2
    image.Modified()
    expected = {"NCR": "AUTOMATIC", "ED": "SEMIAUTOMATIC", "ET": "SEMIAUTOMATIC"}
    assert tags(node, "SegmentAlgorithmType") == {name: expected[name] for name in ids}


def test_other_looks_and_another_name_are_no_edit(scan: Any) -> None:
    node = segmented(scan)
    segment = node.GetSegmentation().GetSegment("WT")
    segment.SetName("Mine")
    segment.SetColor(1.0, 0.0, 0.0)
    node.RemoveClosedSurfaceRepresentation()
    node.CreateClosedSurfaceRepresentation()
    assert types(node) == 3 * ["AUTOMATIC"]


def test_segmenting_again_is_automatic_again(scan: Any) -> None:
    node = segmented(scan)
    erase(node, "WT")
    again = segmented(scan)
    assert again is not node  # what the user has edited stays
    assert (types(node)[0], types(again)[0]) == ("SEMIAUTOMATIC", "AUTOMATIC")


def test_segments_of_others_are_left_alone(scan: Any) -> None:
    node = importSegmentation(LABELS, {"t1ce": scan}, BRATS)
    watchScene(node.GetScene())
    erase(node, "WT")
    assert types(node) == 3 * ["MANUAL"]


def test_a_corrected_case_is_half_automatic(scan: Any) -> None:
    node = importSegmentation(LABELS, {"t1ce": scan}, BRATS)
    markCorrected(node)
    assert types(node) == 3 * ["SEMIAUTOMATIC"]
    assert "MANUAL" not in tags(node, "SegmentAlgorithmName").values()


@pytest.mark.parametrize("exclusive", [False, True])
def test_an_edit_after_a_saved_scene_was_loaded_is_noticed(
    scene: Any, scan: Any, tmp_path: Path, exclusive: bool
) -> None:
    segmented(scan, exclusive)
    scene.SetRootDirectory(str(tmp_path))
    for node in slicer.util.getNodesByClass("vtkMRMLStorableNode"):
        if node.GetSaveWithScene() and node.AddDefaultStorageNode():
            storage = node.GetStorageNode()
            ending = storage.GetDefaultWriteFileExtension()
            storage.SetFileName(str(tmp_path / f"{node.GetID()}.{ending}"))
            assert storage.WriteData(node)
    assert scene.Commit(str(tmp_path / "scene.mrml"))

    # In a Slicer of another day, in which nothing was segmented yet.
    another = slicer.vtkMRMLScene()
    watchScene(another)
    another.SetURL(str(tmp_path / "scene.mrml"))
    assert another.Import()
    # Not getNodesByClass of slicer.util, which looks in slicer.mrmlScene whatever it is given.
    node = another.GetFirstNodeByClass("vtkMRMLSegmentationNode")
    assert types(node) == 3 * ["AUTOMATIC"]
    segmentId = "ED" if exclusive else "WT"
    erase(node, segmentId)
    assert tags(node, "SegmentAlgorithmType")[segmentId] == "SEMIAUTOMATIC"
    assert types(node).count("AUTOMATIC") == 2
