"""Segments made of label maps: voxels, looks, place, and what becomes of an earlier result."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

slicer = pytest.importorskip("slicer", reason="needs the package slicer-core")
import vtk

from MISSUCore.contract.labels import BRATS, CHAOS_LIVER
from MISSUSegmentationLib.Core.Errors import ExchangeError
from MISSUSegmentationLib.Scene.SegmentationNodes import importProbabilities, importSegmentation
from Testing.Module.segment_edits import erase

SHAPE = (8, 9, 10)
OBLIQUE = np.array([[0.8, -0.36, 0.48], [0.6, 0.48, -0.64], [0.0, 0.8, 0.6]])
LEFT_HANDED = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])


@pytest.fixture
def labels() -> NDArray[np.uint8]:
    """A label map without any symmetry, with voxels at its borders."""
    return np.random.default_rng(0).choice([0, 0, 1, 2, 4], SHAPE).astype(np.uint8)


@pytest.fixture
def volumes(addVolume: Callable[..., Any]) -> dict[str, Any]:
    geometry = {"direction": OBLIQUE, "spacing": (0.7, 1.3, 2.9), "origin": (10, -20, 30)}
    return {
        "t1": addVolume("T1", np.ones((4, 4, 4))),
        "t1ce": addVolume("T1ce", np.ones(SHAPE), **geometry),
    }


def mask(node: Any, segmentId: str, volume: Any) -> NDArray[np.bool_]:
    return slicer.util.arrayFromSegmentBinaryLabelmap(node, segmentId, volume) != 0


def segmentIds(node: Any) -> list[str]:
    return list(node.GetSegmentation().GetSegmentIDs())


def test_regions_overlap_in_layers_of_their_own(
    volumes: dict[str, Any], labels: NDArray[np.uint8]
) -> None:
    node = importSegmentation(labels, volumes, BRATS)
    assert segmentIds(node) == ["WT", "TC", "ET"]
    assert node.GetSegmentation().GetNumberOfLayers() == 3
    for name, values in (("WT", (1, 2, 4)), ("TC", (1, 4)), ("ET", (4,))):
        np.testing.assert_array_equal(mask(node, name, volumes["t1ce"]), np.isin(labels, values))


def test_labels_exclude_each_other_and_keep_their_values(
    volumes: dict[str, Any], labels: NDArray[np.uint8]
) -> None:
    node = importSegmentation(labels, volumes, BRATS, exclusive=True)
    assert node.GetSegmentation().GetNumberOfLayers() == 1
    for name, value in (("NCR", 1), ("ED", 2), ("ET", 4)):
        assert node.GetSegmentation().GetSegment(name).GetLabelValue() == value
        np.testing.assert_array_equal(mask(node, name, volumes["t1ce"]), labels == value)


@pytest.mark.parametrize("direction", [OBLIQUE, LEFT_HANDED])
def test_segments_lie_on_the_reference_volumes_voxels(
    addVolume: Callable[..., Any], direction: NDArray[np.float64]
) -> None:
    spacing, origin = (0.7, 1.3, 2.9), (10.0, -20.0, 30.0)
    geometry = {"direction": direction, "spacing": spacing, "origin": origin}
    volume = addVolume("T1", np.ones(SHAPE), **geometry)
    labels = np.zeros(SHAPE, np.uint8)
    labels[5, 3, 7] = 4
    node = importSegmentation(labels, {"t1": volume}, BRATS)
    expected = direction @ (np.array([7, 3, 5]) * spacing) + origin
    np.testing.assert_allclose(node.GetSegmentCenter("ET"), expected, atol=1e-9)
    image = node.GetSegmentation().GetSegment("ET").GetRepresentation("Binary labelmap")
    extent = image.GetExtent()
    assert extent == (7, 7, 3, 3, 5, 5)


def test_the_result_lies_under_the_reference_volumes_transform(
    volumes: dict[str, Any], labels: NDArray[np.uint8], addTransform: Callable[..., Any]
) -> None:
    transform = addTransform(np.diag([1.0, 1.0, 1.0, 1.0]) + np.eye(4, k=3) * 5, volumes["t1ce"])
    node = importSegmentation(labels, volumes, BRATS)
    assert node.GetTransformNodeID() == transform.GetID()
    for name, values in (("WT", (1, 2, 4)), ("ET", (4,))):
        np.testing.assert_array_equal(mask(node, name, volumes["t1ce"]), np.isin(labels, values))
    volumes["t1ce"].SetAndObserveTransformNodeID(None)
    assert importSegmentation(labels, volumes, BRATS).GetTransformNodeID() is None


def test_the_reference_geometry_is_the_reference_volumes(
    volumes: dict[str, Any], labels: NDArray[np.uint8]
) -> None:
    node = importSegmentation(labels, volumes, BRATS)
    role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
    assert node.GetNodeReference(role) is volumes["t1ce"]


def test_colors_names_terminology_and_surfaces(
    volumes: dict[str, Any], labels: NDArray[np.uint8]
) -> None:
    node = importSegmentation(labels, volumes, BRATS)
    tumor = "SCT^49755003^Morphologically Altered Structure~SCT^86049000^Neoplasm, Primary"
    for region in BRATS.regions:
        segment = node.GetSegmentation().GetSegment(region.name)
        assert segment.GetName() == region.title
        assert segment.GetColor() == pytest.approx([part / 255 for part in region.color])
        assert segment.GetTerminology() == (
            f"MISSU~{tumor}~99MISSU^{region.name}^{region.title}"
            "~Anatomic codes - DICOM master list~SCT^12738006^Brain~^^"
        )
        assert segment.GetRepresentation("Closed surface").GetNumberOfPoints() > 0
    opacities = [node.GetDisplayNode().GetSegmentOpacity3D(name) for name in ("WT", "TC", "ET")]
    assert opacities == sorted(opacities) and opacities[0] > 0 and opacities[-1] == 1
    node = importSegmentation(labels, volumes, BRATS, exclusive=True)
    assert "SCT^79654002^Edema~^^" in node.GetSegmentation().GetSegment("ED").GetTerminology()


def test_nothing_found_makes_empty_segments(volumes: dict[str, Any]) -> None:
    for exclusive in (False, True):
        node = importSegmentation(np.zeros(SHAPE, np.uint8), volumes, BRATS, exclusive)
        assert len(segmentIds(node)) == 3
        assert not any(mask(node, name, volumes["t1ce"]).any() for name in segmentIds(node))


def test_other_schemes_have_their_segments(volumes: dict[str, Any]) -> None:
    node = importSegmentation(np.ones(SHAPE, np.uint8), volumes, CHAOS_LIVER)
    assert segmentIds(node) == ["liver"]
    assert mask(node, "liver", volumes["t1ce"]).all()


def test_the_result_comes_under_the_inputs_study(
    scene: Any, volumes: dict[str, Any], labels: NDArray[np.uint8]
) -> None:
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    patient = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), "Patient")
    study = hierarchy.CreateStudyItem(patient, "Study")
    for volume in volumes.values():
        hierarchy.CreateItem(study, volume)
    node = importSegmentation(labels, volumes, BRATS)
    item = hierarchy.GetItemByDataNode(node)
    assert hierarchy.GetItemParent(item) == study
    # Where the user has put it since, it stays.
    hierarchy.SetItemParent(item, patient)
    assert importSegmentation(labels, volumes, BRATS) is node
    assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) == patient


def test_an_untouched_result_is_replaced_in_its_node(
    scene: Any, volumes: dict[str, Any], labels: NDArray[np.uint8]
) -> None:
    node = importSegmentation(labels, volumes, BRATS)
    assert importSegmentation(labels[::-1].copy(), volumes, BRATS) is node
    np.testing.assert_array_equal(mask(node, "ET", volumes["t1ce"]), labels[::-1] == 4)
    assert importSegmentation(labels, volumes, BRATS, exclusive=True) is node
    assert segmentIds(node) == ["NCR", "ED", "ET"]
    assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 1


def test_results_of_other_inputs_stay(
    volumes: dict[str, Any], labels: NDArray[np.uint8], addVolume: Callable[..., Any]
) -> None:
    node = importSegmentation(labels, volumes, BRATS)
    more = {**volumes, "t2": addVolume("T2", np.ones(SHAPE))}
    other = importSegmentation(labels, more, BRATS)
    fewer = importSegmentation(labels, {"t1ce": volumes["t1ce"]}, BRATS)
    assert len({node, other, fewer}) == 3
    assert len({each.GetName() for each in (node, other, fewer)}) == 3


def rename(node: Any) -> None:
    node.SetName("Patient 1, checked")


def paint(node: Any) -> None:
    erase(node, "TC")


def addSegment(node: Any) -> None:
    node.GetSegmentation().AddEmptySegment("vessel")


def removeSegment(node: Any) -> None:
    node.GetSegmentation().RemoveSegment("ET")


def renameSegment(node: Any) -> None:
    node.GetSegmentation().GetSegment("WT").SetName("FLAIR abnormality")


def dropVoxels(node: Any) -> None:
    node.GetSegmentation().GetSegment("WT").RemoveRepresentation("Binary labelmap")


def move(node: Any) -> None:
    """Move it by 3 mm, as the Transforms module does, and harden."""
    transform = node.GetScene().AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = slicer.util.vtkMatrixFromArray(np.eye(4) + 3 * np.eye(4, k=3))
    transform.SetMatrixTransformToParent(matrix)
    node.SetAndObserveTransformNodeID(transform.GetID())
    assert node.HardenTransform()


@pytest.mark.parametrize(
    "change", [rename, paint, move, addSegment, removeSegment, renameSegment, dropVoxels]
)
def test_a_result_that_the_user_changed_is_kept(
    volumes: dict[str, Any], labels: NDArray[np.uint8], change: Callable[[Any], None]
) -> None:
    node = importSegmentation(labels, volumes, BRATS)
    change(node)
    name, ids = node.GetName(), segmentIds(node)
    new = importSegmentation(labels, volumes, BRATS)
    assert new is not node and new.GetName() != name
    assert (node.GetName(), segmentIds(node)) == (name, ids)
    assert importSegmentation(labels, volumes, BRATS) is new, "the new one is untouched"


def test_what_only_looks_like_a_change_is_none(
    volumes: dict[str, Any], labels: NDArray[np.uint8]
) -> None:
    node = importSegmentation(labels, volumes, BRATS)
    node.GetDisplayNode().SetVisibility(False)
    node.GetSegmentation().RemoveRepresentation("Closed surface")
    node.Modified()
    assert importSegmentation(labels, volumes, BRATS) is node


@pytest.mark.parametrize("edited", [False, True])
@pytest.mark.parametrize("exclusive", [False, True])
def test_a_loaded_result_is_known_again(
    scene: Any,
    volumes: dict[str, Any],
    labels: NDArray[np.uint8],
    tmp_path: Path,
    edited: bool,
    exclusive: bool,
) -> None:
    # The tumor away from the borders: files hold all segments in one box.
    padded = np.zeros(SHAPE, np.uint8)
    padded[2:6, 3:7, 2:8] = labels[2:6, 3:7, 2:8]
    node = importSegmentation(padded, volumes, BRATS, exclusive)
    if edited:
        erase(node, "ET")
    for each in (*volumes.values(), node):
        each.AddDefaultStorageNode()
        ending = "seg.nrrd" if each is node else "nrrd"
        each.GetStorageNode().SetFileName(str(tmp_path / f"{each.GetName()}.{ending}"))
        assert each.GetStorageNode().WriteData(each)
    scene.SetURL(str(tmp_path / "scene.mrml"))
    assert scene.Commit()
    scene.Clear(True)
    assert scene.Connect()
    (loaded,) = slicer.util.getNodesByClass("vtkMRMLSegmentationNode", scene)
    again = {name: scene.GetFirstNodeByName(node.GetName()) for name, node in volumes.items()}
    assert loaded is not node
    assert (importSegmentation(padded, again, BRATS, exclusive) is loaded) is not edited


def test_a_reference_volume_of_another_size_is_refused(
    scene: Any, volumes: dict[str, Any], labels: NDArray[np.uint8]
) -> None:
    with pytest.raises(ExchangeError, match="T1ce was changed meanwhile"):
        importSegmentation(labels[1:], volumes, BRATS)
    assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0


def test_probabilities_lie_beside_the_segments_and_are_replaced(
    scene: Any,
    volumes: dict[str, Any],
    labels: NDArray[np.uint8],
    addTransform: Callable[..., Any],
) -> None:
    transform = addTransform(np.eye(4), volumes["t1ce"])
    node = importSegmentation(labels, volumes, BRATS)
    before = scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode")
    rng = np.random.default_rng(1)
    for _ in range(2):
        maps = {name: rng.random(SHAPE).astype(np.float32) for name in BRATS.region_names}
        found = importProbabilities(maps, node, volumes["t1ce"], BRATS)
        assert scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == before + 3
    expected, matrix = vtk.vtkMatrix4x4(), vtk.vtkMatrix4x4()
    volumes["t1ce"].GetIJKToRASMatrix(expected)
    for name, voxels in maps.items():
        np.testing.assert_array_equal(slicer.util.arrayFromVolume(found[name]), voxels)
        found[name].GetIJKToRASMatrix(matrix)
        np.testing.assert_allclose(
            slicer.util.arrayFromVTKMatrix(matrix), slicer.util.arrayFromVTKMatrix(expected)
        )
        assert found[name].GetTransformNodeID() == transform.GetID()
    found["ET"].SetName("Where I would biopsy")
    assert importProbabilities({}, node, volumes["t1ce"], BRATS) == {}
    assert scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == before + 1
    assert scene.GetFirstNodeByName("Where I would biopsy") is found["ET"]
