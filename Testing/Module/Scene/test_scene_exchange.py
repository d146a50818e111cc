"""Volumes and segments between scene and files, voxel for voxel, on the real MRML scene."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

slicer = pytest.importorskip("slicer", reason="needs the package slicer-core")
import vtk

from MISSUSegmentationLib.Core.Errors import ExchangeError
from MISSUSegmentationLib.Scene.SceneExchange import (
    checkVolumes,
    readVoxels,
    referenceVolume,
    voxelsOn,
    writeVolumes,
)

ROTATION = np.array([[0.8, -0.36, 0.48], [0.6, 0.48, -0.64], [0.0, 0.8, 0.6]])
DIRECTIONS = {
    "RAS": np.eye(3),
    "LPS": np.diag([-1.0, -1.0, 1.0]),
    "sagittal": np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]),
    "left-handed": np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]),
    "oblique": ROTATION,
}
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
SHAPE = (5, 6, 7)
Matrix = NDArray[np.float64]


def noise(shape: tuple[int, ...] = SHAPE, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).uniform(1, 2, shape).astype(np.float32)


def rasOfFile(path: Path) -> Matrix:
    """Voxel (i, j, k) to RAS matrix of an image file, as SimpleITK reads it."""
    image = sitk.ReadImage(str(path))
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) @ np.diag(image.GetSpacing())
    matrix[:3, 3] = image.GetOrigin()
    return LPS_TO_RAS @ matrix


def rasOfNode(node: Any) -> Matrix:
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def rigid(translation: tuple[float, float, float] = (4.0, -7.0, 2.5)) -> Matrix:
    matrix = np.eye(4)
    matrix[:3, :3] = ROTATION
    matrix[:3, 3] = translation
    return matrix


def sampled(voxels: NDArray[Any], ijk: Matrix, order: int) -> NDArray[Any]:
    """Voxels at positions (i, j, k) x points, by SciPy."""
    return map_coordinates(voxels, ijk[2::-1], order=order, mode="constant")


def positions(node: Any, shape: tuple[int, ...]) -> Matrix:
    """RAS (with 1 below) of all voxels of a grid, in the order of its array."""
    k, j, i = (axis.ravel() for axis in np.indices(shape))
    return rasOfNode(node) @ np.stack([i, j, k, np.ones(i.size)])


def inside(ijk: Matrix, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Which positions lie between voxel centers: at the border, interpolations differ."""
    limit = np.array(shape[::-1])[:, None] - 1
    return np.all((ijk[:3] > 0) & (ijk[:3] < limit), axis=0)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("kind", [np.int16, np.uint8, np.float32, np.float64])
def test_a_written_volume_is_the_volume(
    addVolume: Callable[..., Any], tmp_path: Path, direction: str, kind: type
) -> None:
    voxels = np.random.default_rng(0).integers(0, 99, SHAPE).astype(kind)
    geometry = {"spacing": (0.7, 1.3, 2.9), "origin": (10.123456789, -20.2, 30.3)}
    node = addVolume("T1", voxels, direction=DIRECTIONS[direction], **geometry)
    path = writeVolumes({"t1": node}, tmp_path)["t1"]
    image = sitk.ReadImage(str(path))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), voxels)
    assert sitk.GetArrayFromImage(image).dtype == kind
    np.testing.assert_allclose(rasOfFile(path), rasOfNode(node), atol=1e-9)
    np.testing.assert_array_equal(readVoxels(path), voxels)


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int16, np.uint32, np.uint64, np.float64])
def test_volumes_of_any_type_are_written(
    addVolume: Callable[..., Any], tmp_path: Path, kind: type
) -> None:
    voxels = np.arange(210, dtype=np.uint8).astype(kind).reshape(SHAPE)
    volume = addVolume("T1", voxels, direction=ROTATION)
    path = writeVolumes({"t1": volume}, tmp_path)["t1"]
    np.testing.assert_array_equal(readVoxels(path), voxels)
    np.testing.assert_allclose(rasOfFile(path), rasOfNode(volume), atol=1e-9)


def test_all_under_one_transform_are_written_without_it(
    addVolume: Callable[..., Any], addTransform: Callable[..., Any], tmp_path: Path
) -> None:
    nodes = {
        "t1": addVolume("T1", noise(), spacing=(1, 1, 3)),
        "flair": addVolume("FLAIR", noise(seed=1), direction=ROTATION, origin=(1, 2, 3)),
    }
    sheared = np.eye(4)
    sheared[0, 1] = 0.4
    addTransform(sheared, *nodes.values())
    for modality, path in writeVolumes(nodes, tmp_path).items():
        np.testing.assert_allclose(rasOfFile(path), rasOfNode(nodes[modality]), atol=1e-9)
        np.testing.assert_array_equal(
            readVoxels(path), slicer.util.arrayFromVolume(nodes[modality])
        )


@pytest.mark.parametrize("referenceMoved", [False, True])
def test_a_rigidly_moved_volume_keeps_its_voxels(
    addVolume: Callable[..., Any],
    addTransform: Callable[..., Any],
    tmp_path: Path,
    referenceMoved: bool,
) -> None:
    t1ce = addVolume("T1ce", noise(), direction=ROTATION, spacing=(1, 1.5, 2))
    t2 = addVolume("T2", noise((8, 7, 6), 1), spacing=(0.5, 0.5, 4))
    toWorld = rigid()
    addTransform(toWorld, t2)
    expected = toWorld @ rasOfNode(t2)
    if referenceMoved:
        addTransform(rigid((1, 1, 1)), t1ce)
        expected = np.linalg.inv(rigid((1, 1, 1))) @ expected
    paths = writeVolumes({"t2": t2, "t1ce": t1ce}, tmp_path)
    np.testing.assert_allclose(rasOfFile(paths["t1ce"]), rasOfNode(t1ce), atol=1e-9)
    np.testing.assert_allclose(rasOfFile(paths["t2"]), expected, atol=1e-9)
    np.testing.assert_array_equal(readVoxels(paths["t2"]), slicer.util.arrayFromVolume(t2))


def test_nested_transforms_are_concatenated(
    addVolume: Callable[..., Any], addTransform: Callable[..., Any], tmp_path: Path
) -> None:
    t1, t2 = addVolume("T1", noise()), addVolume("T2", noise(seed=1))
    inner = addTransform(rigid((5, 0, 0)), t2)
    addTransform(rigid((0, 6, 0)), inner)
    path = writeVolumes({"t1": t1, "t2": t2}, tmp_path)["t2"]
    np.testing.assert_allclose(rasOfFile(path), rigid((0, 6, 0)) @ rigid((5, 0, 0)), atol=1e-9)


@pytest.mark.parametrize("referenceMoved", [False, True])
def test_a_sheared_volume_is_resampled_to_the_reference(
    addVolume: Callable[..., Any],
    addTransform: Callable[..., Any],
    tmp_path: Path,
    referenceMoved: bool,
) -> None:
    t1ce = addVolume("T1ce", noise(), spacing=(1, 1, 2), origin=(5, 6, 7))
    t2 = addVolume("T2", noise((20, 24, 26), 1))
    sheared = np.eye(4)
    sheared[0, 1], sheared[:3, 3] = 0.3, (1, -2, 0.5)
    addTransform(sheared, t1ce if referenceMoved else t2)
    t2ToT1ce = np.linalg.inv(sheared) if referenceMoved else sheared
    path = writeVolumes({"t1ce": t1ce, "t2": t2}, tmp_path)["t2"]
    np.testing.assert_allclose(rasOfFile(path), rasOfNode(t1ce), atol=1e-9)
    ijk = np.linalg.inv(t2ToT1ce @ rasOfNode(t2)) @ positions(t1ce, SHAPE)
    truth = sampled(slicer.util.arrayFromVolume(t2), ijk, order=1)
    compared = inside(ijk, (20, 24, 26))
    assert compared.sum() > 100
    np.testing.assert_allclose(readVoxels(path).ravel()[compared], truth[compared], atol=1e-4)


@pytest.fixture
def bend(scene: Any) -> Callable[..., Any]:
    """Function that puts a node under a non-linear transform, and returns its inverse."""

    def bendNode(node: Any) -> Any:
        rng = np.random.default_rng(3)
        splines = vtk.vtkThinPlateSplineTransform()
        splines.SetBasisToR()
        source, target = vtk.vtkPoints(), vtk.vtkPoints()
        for point in rng.uniform(0, 25, (8, 3)):
            source.InsertNextPoint(point)
            target.InsertNextPoint(point + rng.normal(0, 1, 3))
        splines.SetSourceLandmarks(source)
        splines.SetTargetLandmarks(target)
        transform = scene.AddNewNodeByClass("vtkMRMLTransformNode")
        transform.SetAndObserveTransformToParent(splines)
        node.SetAndObserveTransformNodeID(transform.GetID())
        inverse = vtk.vtkThinPlateSplineTransform()
        inverse.DeepCopy(splines)
        inverse.Inverse()
        return inverse

    return bendNode


def test_a_bent_volume_is_resampled_to_the_reference(
    addVolume: Callable[..., Any], bend: Callable[..., Any], tmp_path: Path
) -> None:
    t1ce = addVolume("T1ce", noise(), spacing=(1, 1, 2), origin=(5, 6, 7))
    t2 = addVolume("T2", noise((20, 24, 26), 1))
    inverse = bend(t2)
    path = writeVolumes({"t1ce": t1ce, "t2": t2}, tmp_path)["t2"]
    ras = positions(t1ce, SHAPE)
    ras[:3] = np.array([inverse.TransformPoint(point[:3]) for point in ras.T]).T
    ijk = np.linalg.inv(rasOfNode(t2)) @ ras
    truth = sampled(slicer.util.arrayFromVolume(t2), ijk, order=1)
    compared = inside(ijk, (20, 24, 26))
    assert compared.sum() > 100
    np.testing.assert_allclose(readVoxels(path).ravel()[compared], truth[compared], atol=1e-2)


def test_all_under_one_non_linear_transform_keep_their_voxels(
    addVolume: Callable[..., Any], bend: Callable[..., Any], tmp_path: Path
) -> None:
    t1, t2 = addVolume("T1", noise(), direction=ROTATION), addVolume("T2", noise((4, 9, 8), 1))
    bend(t1)
    t2.SetAndObserveTransformNodeID(t1.GetTransformNodeID())
    path = writeVolumes({"t1": t1, "t2": t2}, tmp_path)["t2"]
    np.testing.assert_array_equal(readVoxels(path), slicer.util.arrayFromVolume(t2))
    np.testing.assert_allclose(rasOfFile(path), rasOfNode(t2), atol=1e-9)


def test_labels_take_the_nearest_voxel(
    addVolume: Callable[..., Any], addTransform: Callable[..., Any]
) -> None:
    labels = np.random.default_rng(0).choice([0, 1, 2, 4], (12, 13, 14)).astype(np.uint8)
    node = addVolume("labels", labels, direction=ROTATION, origin=(2, 3, -4))
    grid = addVolume("grid", noise((6, 7, 8)), spacing=(1.1, 0.9, 1.3))
    addTransform(rigid((3, 0, 1)), node)
    ijk = np.linalg.inv(rigid((3, 0, 1)) @ rasOfNode(node)) @ positions(grid, (6, 7, 8))
    truth = sampled(labels, np.round(ijk), order=0)
    compared = inside(ijk, labels.shape)
    assert compared.sum() > 50
    np.testing.assert_array_equal(voxelsOn(grid, node).ravel()[compared], truth[compared])


def test_the_reference_is_t1ce_before_t1_before_flair_before_t2(
    addVolume: Callable[..., Any],
) -> None:
    nodes = {name: addVolume(name, noise()) for name in ("t2", "flair", "t1", "t1ce")}
    for expected in ("t1ce", "t1", "flair", "t2"):
        assert referenceVolume(nodes) is nodes.pop(expected)


def test_unusable_volumes_are_refused_by_name(scene: Any, addVolume: Callable[..., Any]) -> None:
    good = addVolume("Good", noise())
    empty = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Empty")
    colors = scene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "Colors")
    slicer.util.updateVolumeFromArray(colors, np.zeros((4, 4, 4, 3), np.uint8))
    labels = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "Labels")
    slicer.util.updateVolumeFromArray(labels, np.zeros(SHAPE, np.uint8))
    sheared = np.eye(4)
    sheared[0, 2] = 0.2
    deleted = addVolume("Deleted", noise())
    scene.RemoveNode(deleted)
    cut = addVolume("Cut out", noise())
    cut.GetImageData().SetExtent([0, 6, 2, 7, 0, 4])
    for volumes, message in (
        ({}, "No volume"),
        ({"t1": good, "flair": good}, "Good is selected as T1 and as FLAIR"),
        ({"t1": good, "t2": empty}, "Empty has no voxels"),
        ({"t1": good, "t2": colors}, "Colors is not a scan"),
        ({"t1": good, "t2": labels}, "Labels is not a scan"),
        ({"t1": addVolume("Sheared", noise(), sheared)}, "Sheared are not at right angles"),
        ({"t1": good, "t2": cut}, "first voxel of Cut out has another index than 0"),
        ({"t1": good, "t2": deleted}, "Deleted is no longer in the scene"),
    ):
        with pytest.raises(ExchangeError, match=message):
            checkVolumes(volumes)
    checkVolumes({"t1": good})


def test_a_full_disk_is_named(
    addVolume: Callable[..., Any], tmp_path: Path, file_size_limit: Callable[..., Any]
) -> None:
    volume = addVolume("T1", noise((50, 60, 70)))
    with file_size_limit(100_000), pytest.raises(ExchangeError, match="T1 cannot be written"):
        writeVolumes({"t1": volume}, tmp_path)


def test_a_file_that_is_no_image_is_refused(scene: Any, tmp_path: Path) -> None:
    (tmp_path / "labels.nrrd").write_text("nothing")
    with pytest.raises(ExchangeError, match="cannot be read"):
        readVoxels(tmp_path / "labels.nrrd")
