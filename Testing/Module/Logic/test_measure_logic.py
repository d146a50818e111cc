"""Segmentations of the scene measured by the real process, as volumes in Slicer lie."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

slicer = pytest.importorskip("slicer", reason="needs the package slicer-core")

from MISSUCore.contract.labels import BRATS
from MISSUCore.contract.measurement.lesions import MeasurementSettings
from MISSUSegmentationLib.Core.CoreRun import SegmentationError
from MISSUSegmentationLib.Core.Errors import ExchangeError
from MISSUSegmentationLib.Logic.MeasureLogic import gridOf
from MISSUSegmentationLib.Logic.SegmentationLogic import SegmentationLogic
from MISSUSegmentationLib.Scene import MeasurementNodes as nodes
from MISSUSegmentationLib.Scene.SceneExchange import scanOf
from MISSUSegmentationLib.Scene.SegmentationNodes import importSegmentation

SHAPE = (12, 30, 40)
# 12 by 20 voxels on 6 slices.
BOX = np.s_[3:9, 5:17, 6:26]
ROTATION = np.array([[0.8, -0.36, 0.48], [0.6, 0.48, -0.64], [0.0, 0.8, 0.6]])


@pytest.fixture
def labels() -> NDArray[np.uint8]:
    labels = np.zeros(SHAPE, np.uint8)
    labels[2:10, 4:18, 5:27] = 2
    labels[BOX] = 4
    return labels


@pytest.fixture
def result(addVolume: Callable[..., Any], labels: NDArray[np.uint8]) -> Any:
    """A result on a scan that lies obliquely: 0.9 x 1.1 mm, slices of 3 mm."""
    scan = addVolume(
        "T1ce", np.ones(SHAPE), direction=ROTATION, spacing=(0.9, 1.1, 3.0), origin=(10, -20, 30)
    )
    return importSegmentation(labels, {"t1ce": scan}, BRATS)


def worldEnds(node: Any, which: str) -> NDArray[np.float64]:
    return slicer.util.arrayFromMarkupsControlPoints(nodes.lineNode(node, 1, which), world=True)


def indices(volume: Any, places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Voxels (i, j, k) of places in RAS."""
    toIjk = np.linalg.inv(slicer.util.arrayFromVTKMatrix(_matrix(volume)))
    return places @ toIjk[:3, :3].T + toIjk[:3, 3]


def _matrix(volume: Any) -> Any:
    import vtk

    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return matrix


@pytest.mark.slow
def test_lines_are_where_the_lesion_is(result: Any) -> None:
    report = SegmentationLogic().measure(result)
    (lesion,) = report.lesions
    expected = math.hypot(20 * 0.9, 11 * 1.1)
    assert lesion.longest.length_mm == pytest.approx(expected, abs=0.02)
    assert set(lesion.volumes_ml) == {"WT", "TC", "ET"}
    assert report.segmentation.path == "T1ce segmentation"
    ends = indices(scanOf(result), worldEnds(result, nodes.LONGEST))
    k, j, i = (np.array([box.start - 0.5, box.stop - 0.5]) for box in BOX)
    assert ends[0, 2] == pytest.approx(ends[1, 2], abs=1e-4)
    assert k[0] < ends[0, 2] < k[1]
    assert sorted(ends[:, 0]) == pytest.approx(i, abs=0.01)
    assert sorted(ends[:, 1]) == pytest.approx([j[0] + 0.5, j[1] - 0.5], abs=0.01)
    assert nodes.currentMeasurement(result) == report


@pytest.mark.slow
def test_lines_move_with_the_scan(result: Any, addTransform: Callable[..., Any]) -> None:
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = ROTATION, (5, 6, 7)
    SegmentationLogic().measure(result)
    before = worldEnds(result, nodes.PERPENDICULAR)
    addTransform(matrix, scanOf(result), result)
    report = SegmentationLogic().measure(result)
    after = worldEnds(result, nodes.PERPENDICULAR)
    np.testing.assert_allclose(after, before @ ROTATION.T + (5, 6, 7), atol=1e-3)
    assert report.lesions[0].measurable


@pytest.mark.slow
@pytest.mark.parametrize("moved", [False, True])
def test_a_segmentation_without_its_scan(
    scene: Any, result: Any, addTransform: Callable[..., Any], moved: bool
) -> None:
    before = SegmentationLogic().measure(result)
    ends = worldEnds(result, nodes.LONGEST)
    scene.RemoveNode(scanOf(result))
    matrix = np.eye(4)
    matrix[:3, 3] = (1, 2, 3)
    if moved:
        addTransform(matrix, result)
    after = SegmentationLogic().measure(result)
    assert after.lesions[0].product_mm2 == pytest.approx(before.lesions[0].product_mm2)
    np.testing.assert_allclose(
        worldEnds(result, nodes.LONGEST), ends + matrix[:3, 3] * moved, atol=1e-3
    )


@pytest.mark.slow
def test_only_regions_that_are_told_are_measured(result: Any) -> None:
    result.GetSegmentation().RemoveSegment("ET")
    report = SegmentationLogic().measure(result)
    assert report.region == "TC" and set(report.volumes_ml) == {"WT", "TC"}
    result.GetSegmentation().RemoveSegment("TC")
    report = SegmentationLogic().measure(result, settings=MeasurementSettings(targets=1))
    assert report.region == "WT" and report.settings.targets == 1


@pytest.mark.slow
def test_segments_of_unknown_names_are_measured_together(result: Any) -> None:
    segmentation = result.GetSegmentation()
    for name in ("WT", "TC"):
        segmentation.RemoveSegment(name)
    segment = segmentation.GetSegment("ET")
    segmentation.RemoveSegment("ET")
    segment.SetName("my lesion")
    segmentation.AddSegment(segment, "mine")
    report = SegmentationLogic().measure(result)
    assert report.region == "segments" and report.lesions[0].measurable
    assert "No segment is known by its name" in report.warnings[-1]


@pytest.mark.slow
def test_an_empty_segmentation_is_refused_by_its_name(result: Any) -> None:
    node = importSegmentation(np.zeros(SHAPE, np.uint8), {"t1ce": scanOf(result)}, BRATS)
    with pytest.raises(SegmentationError, match=r"segmentation.* is empty.*nothing to measure"):
        SegmentationLogic().measure(node)
    assert nodes.keptMeasurement(node) is None


def test_what_cannot_be_measured_is_told_at_once(
    scene: Any, result: Any, addTransform: Callable[..., Any]
) -> None:
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Nothing")
    with pytest.raises(SegmentationError, match=r"Nothing has no voxels; there is nothing"):
        SegmentationLogic().measure(node)
    addTransform(np.diag([1.2, 1.0, 1.0, 1.0]), scanOf(result), result)
    with pytest.raises(ExchangeError, match="T1ce is under a transform that changes lengths"):
        gridOf(result)
