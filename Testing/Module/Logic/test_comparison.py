"""What the segments of two nodes mean, and on which voxels they are compared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

slicer = pytest.importorskip("slicer", reason="needs the package slicer-core")
import vtk

from MISSUCore.contract.labels import BRATS, BRATS_2023
from MISSUSegmentationLib.Core.Errors import ExchangeError
from MISSUSegmentationLib.Logic.Comparison import _commonGrid, labelsOn
from MISSUSegmentationLib.Scene.SegmentationNodes import importSegmentation

SHAPE = (8, 9, 10)


@pytest.fixture
def labels() -> NDArray[np.uint8]:
    """A label map without any symmetry."""
    return np.random.default_rng(0).choice([0, 0, 1, 2, 4], SHAPE).astype(np.uint8)


@pytest.fixture
def volumes(addVolume: Callable[..., Any]) -> dict[str, Any]:
    geometry = {"spacing": (0.7, 1.3, 2.9), "origin": (10, -20, 30)}
    return {"t1ce": addVolume("T1ce", np.ones(SHAPE), **geometry)}


@pytest.mark.parametrize("exclusive", [False, True])
def test_segments_become_the_label_map_they_came_from(
    volumes: dict[str, Any], labels: NDArray[np.uint8], exclusive: bool
) -> None:
    node = importSegmentation(labels, volumes, BRATS, exclusive)
    again, regions = labelsOn(volumes["t1ce"], node, BRATS)
    np.testing.assert_array_equal(again, labels)
    assert regions == {"WT", "TC", "ET"}


def test_segments_and_label_maps_of_others_are_recognized(
    scene: Any, addVolume: Callable[..., Any], labels: NDArray[np.uint8]
) -> None:
    grid = addVolume("grid", np.ones(SHAPE))
    node = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "truth")
    slicer.util.updateVolumeFromArray(node, labels)
    np.testing.assert_array_equal(labelsOn(grid, node, BRATS)[0], labels)
    slicer.util.updateVolumeFromArray(node, np.where(labels == 4, 3, labels))
    np.testing.assert_array_equal(labelsOn(grid, node, BRATS)[0], labels)
    np.testing.assert_array_equal(
        labelsOn(grid, node, BRATS_2023)[0], np.where(labels == 4, 3, labels)
    )
    slicer.util.updateVolumeFromArray(node, labels + 5)
    with pytest.raises(ExchangeError, match="truth has other labels than 1 = NCR"):
        labelsOn(grid, node, BRATS)

    for enhancing in (4, 3):
        imported = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "imported")
        slicer.util.updateVolumeFromArray(node, np.where(labels == 4, enhancing, labels))
        slicer.vtkSlicerSegmentationsModuleLogic.ImportLabelmapToSegmentationNode(node, imported)
        np.testing.assert_array_equal(labelsOn(grid, imported, BRATS)[0], labels)


def test_a_segmentation_of_one_region_tells_of_it_alone(
    volumes: dict[str, Any], labels: NDArray[np.uint8]
) -> None:
    node = importSegmentation(labels, volumes, BRATS)
    node.GetSegmentation().RemoveSegment("TC")
    node.GetSegmentation().RemoveSegment("ET")
    node.GetSegmentation().GetSegment("WT").SetName("whole TUMOR")
    again, regions = labelsOn(volumes["t1ce"], node, BRATS)
    assert regions == {"WT"}
    np.testing.assert_array_equal(again != 0, labels != 0)


@pytest.mark.parametrize("exclusive", [False, True])
def test_enhancing_tumor_alone_tells_of_no_other_region(
    volumes: dict[str, Any], labels: NDArray[np.uint8], exclusive: bool
) -> None:
    node = importSegmentation(labels, volumes, BRATS, exclusive)
    others = ("NCR", "ED") if exclusive else ("WT", "TC")
    for name in others:
        node.GetSegmentation().RemoveSegment(name)
    again, regions = labelsOn(volumes["t1ce"], node, BRATS)
    assert regions == {"ET"}
    np.testing.assert_array_equal(BRATS.to_regions(again)[2], labels == 4)


def test_a_label_that_is_missing_is_not_there(
    volumes: dict[str, Any], labels: NDArray[np.uint8]
) -> None:
    node = importSegmentation(labels, volumes, BRATS, exclusive=True)
    node.GetSegmentation().RemoveSegment("NCR")
    again, regions = labelsOn(volumes["t1ce"], node, BRATS)
    assert regions == {"WT", "TC", "ET"}
    np.testing.assert_array_equal(again, np.where(labels == 1, 0, labels))


def test_scans_whose_files_were_not_found_are_no_grid(
    scene: Any, volumes: dict[str, Any], labels: NDArray[np.uint8], addVolume: Callable[..., Any]
) -> None:
    node = importSegmentation(labels, volumes, BRATS)
    other = importSegmentation(labels, {"t2": addVolume("T2", np.ones(SHAPE))}, BRATS)
    volumes["t1ce"].SetAndObserveImageData(None)  # as in a scene whose files were moved
    assert _commonGrid(node, other) is _commonGrid(other, node)
    with pytest.raises(ExchangeError, match="T1ce has no voxels"):
        _commonGrid(node, node)
    empty = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "Lost")
    with pytest.raises(ExchangeError, match="Lost has no voxels"):
        _commonGrid(other, empty)
    with pytest.raises(ExchangeError, match="Lost has no voxels"):
        labelsOn(addVolume("grid", np.ones(SHAPE)), empty, BRATS)


def test_unknown_segments_are_refused(scene: Any, volumes: dict[str, Any]) -> None:
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "drawn")
    node.GetSegmentation().AddEmptySegment("a", "Skull")
    with pytest.raises(ExchangeError, match=r"No segment of drawn.*WT, TC, ET, NCR, ED, ET"):
        labelsOn(volumes["t1ce"], node, BRATS)


def test_a_surface_is_as_good_as_voxels(scene: Any, addVolume: Callable[..., Any]) -> None:
    grid = addVolume("grid", np.ones((30, 30, 30)), origin=(-14.5, -14.5, -14.5))
    ball = vtk.vtkSphereSource()
    ball.SetRadius(10.0)
    ball.SetThetaResolution(60)
    ball.SetPhiResolution(60)
    ball.Update()
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "outline")
    node.SetSourceRepresentationToClosedSurface()
    node.AddSegmentFromClosedSurfaceRepresentation(ball.GetOutput(), "WT", [1, 0, 0], "WT")
    found = labelsOn(grid, node, BRATS)[0] != 0
    fromCenter = np.linalg.norm(np.indices((30, 30, 30)) - 14.5, axis=0)
    assert found[fromCenter < 9.4].all()
    assert not found[fromCenter > 10.6].any()


def test_outlines_that_cannot_be_filled_are_refused(scene: Any, volumes: dict[str, Any]) -> None:
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "contours")
    node.GetSegmentation().SetSourceRepresentationName("Planar contour")
    segment = slicer.vtkSegment()
    segment.AddRepresentation("Planar contour", vtk.vtkPolyData())
    node.GetSegmentation().AddSegment(segment, "WT")
    with pytest.raises(ExchangeError, match="No voxels can be made of contours"):
        labelsOn(volumes["t1ce"], node, BRATS)


def test_segments_on_another_grid_under_other_transforms(
    volumes: dict[str, Any],
    labels: NDArray[np.uint8],
    addVolume: Callable[..., Any],
    addTransform: Callable[..., Any],
) -> None:
    node = importSegmentation(labels, volumes, BRATS)
    # Moved by two voxels along i, seen from a grid that is moved by one along k.
    shift = np.eye(4)
    shift[0, 3] = 2 * 0.7
    addTransform(shift, node)
    grid = addVolume("grid", np.ones(SHAPE), spacing=(0.7, 1.3, 2.9), origin=(10, -20, 30))
    other = np.eye(4)
    other[2, 3] = 2.9
    addTransform(other, grid)
    expected = np.zeros_like(labels)
    expected[:-1, :, 2:] = labels[1:, :, :-2]
    np.testing.assert_array_equal(labelsOn(grid, node, BRATS)[0], expected)
