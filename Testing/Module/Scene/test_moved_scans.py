"""Scans that the patient moved between, laid on the result: voxel for voxel on the real scene."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

slicer = pytest.importorskip("slicer", reason="needs the package slicer-core")
import vtk

from MISSUSegmentationLib.Core import CoreProcess as processModule
from MISSUSegmentationLib.Logic.SegmentationLogic import (
    SegmentationLogic,
    SegmentationResult,
    SegmentationSettings,
)
from MISSUSegmentationLib.Scene.MovedScans import distanceMm
from MISSUSegmentationLib.Scene.SceneExchange import ijkToRasArray, voxelsOn

pytestmark = pytest.mark.slow

Matrix = NDArray[np.float64]
LPS_TO_RAS = np.array([-1.0, -1.0, 1.0])
ROTATION = np.array([[0.8, -0.36, 0.48], [0.6, 0.48, -0.64], [0.0, 0.8, 0.6]])
# Size (i, j, k), spacing in mm and direction (columns, LPS) of each scan.
GRIDS = {
    "t1": ((40, 42, 44), (1.0, 1.1, 0.9), np.eye(3)),
    "t1ce": ((44, 40, 30), (0.9, 1.0, 1.5), ROTATION),
    "t2": ((50, 48, 12), (0.8, 0.8, 4.0), ROTATION.T),
    "flair": ((12, 40, 48), (4.0, 1.0, 0.9), ROTATION[:, [1, 0, 2]]),
}
# Points of the anatomy where the fixed scan shows them, LPS in mm; the first is bright in all.
LANDMARKS = np.array([[3.0, -5.0, 8.0], [12.0, 4.0, -6.0], [-9.0, 11.0, 2.0], [0.0, 0.0, 20.0]])
# As missu, with labels of 0 on the reference grid, and the transforms of a folder as its own.
PROGRAM = """
import json, os, shutil, sys, time
from pathlib import Path
while not os.path.exists(sys.argv[-2]):
    time.sleep(0.01)
sys.path.insert(0, sys.argv[2])  # of MISSUCore
import SimpleITK as sitk
from MISSUCore.contract.model_identity import ModelIdentity
from MISSUCore.contract.requests.exchange import read_request
from MISSUCore.contract.segmentation_report import ScanRegistration, SegmentationReport
request = read_request(Path(sys.argv[-2]))
reference = sitk.ReadImage(str(request.scans.images[request.scans.reference]))
sitk.WriteImage(sitk.Cast(reference > 1e9, sitk.sitkUInt8), str(request.output))
scans = {}
for path in Path(FOLDER).glob("*.tfm"):
    shutil.copy(path, request.output.with_name(path.name))
    scans[path.stem] = ScanRegistration(moved_mm=1.0, transform=path.name)
report = SegmentationReport(fixed="t1", registrations=scans, seconds={"total": 0.0},
                            model=ModelIdentity("missu-brats-fast"))
request.report.write_text(json.dumps(report.to_dict()))
"""


@pytest.fixture
def core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Function that sets the transforms that MISSUCore finds; it writes nothing else."""
    folder = tmp_path / "transforms"
    folder.mkdir()
    (tmp_path / "temporary").mkdir()
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.replace("FOLDER", repr(str(folder))))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.setattr(processModule, "corePython", lambda: [sys.executable, str(program)])

    def find(**transforms: sitk.Transform) -> None:
        for path in folder.iterdir():
            path.unlink()
        for modality, transform in transforms.items():
            sitk.WriteTransform(transform, str(folder / f"{modality}.tfm"))

    find()
    return find


def rigid(degrees: tuple[float, float, float], shift: tuple[float, float, float]) -> sitk.Transform:
    transform = sitk.Euler3DTransform()
    transform.SetCenter((7.0, -3.0, 11.0))
    transform.SetRotation(*np.radians(degrees).tolist())
    transform.SetTranslation(shift)
    return transform


# From the fixed scan to each scan, as MISSUCore finds them.
MOVED = {
    "t1ce": rigid((8, -5, 12), (4.0, -9.0, 6.0)),
    "t2": rigid((-10, 7, 3), (-11.0, 5.0, 2.0)),
    "flair": rigid((2, 14, -6), (3.0, 8.0, -12.0)),
}


def shownAt(modality: str) -> Matrix:
    """Where a scan shows the landmarks: RAS, before any transform of its node."""
    transform = MOVED.get(modality, sitk.Transform(3, sitk.sitkIdentity))
    points = [transform.TransformPoint(point) for point in LANDMARKS.tolist()]
    return np.array(points) * LPS_TO_RAS


@pytest.fixture
def case(addVolume: Callable[..., Any], core: Callable[..., None]) -> dict[str, Any]:
    """Scans with a bright voxel at the first landmark, as they left the scanner."""
    core(**MOVED)
    nodes = {}
    for modality, (size, spacing, direction) in GRIDS.items():
        bright = np.array(size) // 2
        voxels = np.zeros(size[::-1], np.float32)
        voxels[tuple(bright[::-1])] = 100
        axes = np.diag(LPS_TO_RAS) @ direction @ np.diag(spacing)
        matrix = np.eye(4)
        matrix[:3, :3] = axes
        matrix[:3, 3] = shownAt(modality)[0] - axes @ bright
        nodes[modality] = addVolume(f"Case {modality}", voxels, matrix)
    return nodes


def segment(case: dict[str, Any], **settings: Any) -> SegmentationResult:
    results: list[SegmentationResult] = []
    SegmentationLogic().segment(
        **case, settings=SegmentationSettings(**settings), onFinished=results.append
    )
    return results[0]


def inWorld(node: Any, points: Matrix) -> Matrix:
    """Points of a node (RAS) where the scene shows them."""
    worlds = []
    for point in points:
        world = [0.0, 0.0, 0.0]
        node.TransformPointToWorld(point.tolist(), world)
        worlds.append(world)
    return np.array(worlds)


def landmarks(case: dict[str, Any], modality: str, undo: Matrix | None = None) -> Matrix:
    """The landmarks of a scan where the scene shows them.

    ``undo`` leads from where the scan was in the scene before to its own coordinates.
    """
    points = shownAt(modality)
    if undo is not None:
        points = points @ undo[:3, :3].T + undo[:3, 3]
    return inWorld(case[modality], points)


def transforms(scene: Any) -> list[Any]:
    return slicer.util.getNodesByClass("vtkMRMLLinearTransformNode", scene)


def matrixOf(node: Any) -> Matrix:
    return slicer.util.arrayFromTransformMatrix(node)


def turned(shift: tuple[float, float, float] = (20.0, -30.0, 10.0)) -> Matrix:
    matrix = np.eye(4)
    matrix[:3, :3] = ROTATION
    matrix[:3, 3] = shift
    return matrix


def test_every_scan_comes_to_lie_on_the_result(case: dict[str, Any], scene: Any) -> None:
    result = segment(case)
    assert set(result.transformNodes) == set(result.movedMm) == {"t1", "t2", "flair"}
    assert case["t1ce"].GetParentTransformNode() is None
    assert {node.GetName() for node in transforms(scene)} == {
        "T1 to T1ce (MISSU)",
        "T2 to T1ce (MISSU)",
        "FLAIR to T1ce (MISSU)",
    }
    reference = slicer.util.arrayFromVolume(case["t1ce"])
    for modality in ("t1", "t2", "flair"):
        np.testing.assert_allclose(landmarks(case, modality), landmarks(case, "t1ce"), atol=1e-9)
        assert voxelsOn(case["t1ce"], case[modality])[reference == 100] == 100


def test_the_distance_is_that_of_a_head_around_the_middle(case: dict[str, Any], scene: Any) -> None:
    move = turned((1.0, 2.0, 3.0))
    size, spacing, direction = GRIDS["t1ce"]
    rng = np.random.default_rng(0)
    sphere = rng.normal(size=(200_000, 3))
    sphere *= (80 * rng.uniform(size=200_000) ** (1 / 3) / np.linalg.norm(sphere, axis=1))[:, None]
    corner = shownAt("t1ce")[0] - np.diag(LPS_TO_RAS) @ direction @ (
        np.array(spacing) * (np.array(size) // 2)
    )
    middle = corner + np.diag(LPS_TO_RAS) @ direction @ (
        np.array(spacing) * (np.array(size) - 1) / 2
    )
    points = sphere + middle
    moved = points @ move[:3, :3].T + move[:3, 3]
    expected = np.sqrt(np.mean(np.sum((moved - points) ** 2, axis=1)))
    assert distanceMm(move, case["t1ce"]) == pytest.approx(expected, rel=0.01)


def test_under_a_common_transform_they_stay_under_it(
    case: dict[str, Any], scene: Any, addTransform: Callable[..., Any]
) -> None:
    common = addTransform(turned(), *case.values())
    result = segment(case)
    for modality, node in result.transformNodes.items():
        assert node.GetParentTransformNode() is common
        np.testing.assert_allclose(landmarks(case, modality), landmarks(case, "t1ce"), atol=1e-9)
    assert len(result.transformNodes) == 3


def test_under_a_common_non_linear_transform_too(case: dict[str, Any], scene: Any) -> None:
    splines = vtk.vtkThinPlateSplineTransform()
    splines.SetBasisToR()
    source, target = vtk.vtkPoints(), vtk.vtkPoints()
    rng = np.random.default_rng(3)
    for point in rng.uniform(-30, 30, (8, 3)):
        source.InsertNextPoint(point)
        target.InsertNextPoint(point + rng.normal(0, 1, 3))
    splines.SetSourceLandmarks(source)
    splines.SetTargetLandmarks(target)
    bent = scene.AddNewNodeByClass("vtkMRMLTransformNode")
    bent.SetAndObserveTransformToParent(splines)
    for node in case.values():
        node.SetAndObserveTransformNodeID(bent.GetID())
    result = segment(case)
    assert len(result.transformNodes) == 3
    for modality in result.transformNodes:
        np.testing.assert_allclose(landmarks(case, modality), landmarks(case, "t1ce"), atol=1e-6)
    # Nothing linear lies between a scan that is not under it, and the reference.
    case["t2"].SetAndObserveTransformNodeID(None)
    assert "t2" not in segment(case).transformNodes
    assert case["t2"].GetParentTransformNode() is None


def test_the_reference_alone_under_a_transform(
    case: dict[str, Any], scene: Any, addTransform: Callable[..., Any]
) -> None:
    addTransform(turned(), case["t1ce"])
    result = segment(case)
    # MISSUCore saw the others relative to T1ce: what it found there is at another place here.
    undo = turned()
    for modality in ("t1", "t2", "flair"):
        np.testing.assert_allclose(
            landmarks(case, modality, undo), landmarks(case, "t1ce"), atol=1e-9
        )
    assert len(result.transformNodes) == 3


def test_a_transform_of_the_users_own_is_left_alone(
    case: dict[str, Any], scene: Any, addTransform: Callable[..., Any]
) -> None:
    own = addTransform(turned(), case["t2"])
    result = segment(case)
    assert set(result.transformNodes) == {"t1", "flair"}
    assert "t2" in result.movedMm
    assert case["t2"].GetParentTransformNode() is own
    np.testing.assert_array_equal(matrixOf(own), turned())


def test_segmenting_again_leaves_the_transforms_as_they_are(
    case: dict[str, Any], core: Callable[..., None], scene: Any
) -> None:
    first = segment(case).transformNodes
    before = {modality: matrixOf(node) for modality, node in first.items()}
    # Now the scans are written as they lie: on each other, but for what registration leaves.
    core(t2=rigid((0.05, 0, 0), (0.1, 0.1, 0.0)), flair=rigid((0, 0, 0), (0.0, 0.0, 0.0)))
    again = segment(case)
    assert again.movedMm == {} and len(transforms(scene)) == 3
    for modality, node in first.items():
        assert case[modality].GetParentTransformNode() is node
        np.testing.assert_array_equal(matrixOf(node), before[modality])


def test_a_better_registration_is_added_to_the_one_before(
    case: dict[str, Any], core: Callable[..., None], scene: Any
) -> None:
    first = segment(case).transformNodes
    before = landmarks(case, "t2")
    core(t2=sitk.TranslationTransform(3, (3.0, 0.0, -2.0)))
    again = segment(case)
    assert again.transformNodes == {"t2": first["t2"]}
    assert again.movedMm["t2"] == pytest.approx(np.hypot(3, 2))
    # What the fixed scan shows at a point was found 3 mm to its left and 2 mm below.
    np.testing.assert_allclose(landmarks(case, "t2"), before + np.array([3.0, 0.0, 2.0]), atol=1e-9)
    assert len(transforms(scene)) == 3


def test_a_clone_is_laid_without_its_original(
    case: dict[str, Any], core: Callable[..., None], scene: Any
) -> None:
    first = segment(case).transformNodes["t2"]
    before = landmarks(case, "t2")
    # As the Data module clones a node, to try another preparation of the scan.
    clone = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    clone.Copy(case["t2"])
    core(t2=sitk.TranslationTransform(3, (3.0, 0.0, -2.0)))
    withClone = {**case, "t2": clone}
    own = segment(withClone).transformNodes["t2"]
    assert own is not first and clone.GetParentTransformNode() is own
    assert case["t2"].GetParentTransformNode() is first
    np.testing.assert_allclose(landmarks(case, "t2"), before, atol=1e-9)
    moved = before + np.array([3.0, 0.0, 2.0])
    np.testing.assert_allclose(landmarks(withClone, "t2"), moved, atol=1e-9)


def test_another_reference_later_does_not_tear_the_scans_apart(
    case: dict[str, Any], core: Callable[..., None], scene: Any
) -> None:
    first = segment(case).transformNodes
    before = landmarks(case, "t2")
    core(t2=sitk.TranslationTransform(3, (3.0, 0.0, -2.0)))
    result = segment({m: node for m, node in case.items() if m != "t1ce"})
    assert result.segmentationNode.GetParentTransformNode() is first["t1"]
    assert result.transformNodes == {"t2": first["t2"]}
    # What was found 3 mm off is turned as T1, in whose coordinates it was found, is turned.
    shift = matrixOf(first["t1"])[:3, :3] @ [3.0, 0.0, 2.0]
    np.testing.assert_allclose(landmarks(case, "t2"), before + shift, atol=1e-9)


def test_a_scan_taken_from_its_transform_is_put_back(
    case: dict[str, Any], core: Callable[..., None], addTransform: Callable[..., Any]
) -> None:
    node = segment(case).transformNodes["t2"]
    case["t2"].SetAndObserveTransformNodeID(None)
    addTransform(turned(), node)
    # The others lie on T1ce by now: this is from there to T2's own place.
    core(t2=sitk.CompositeTransform([MOVED["t2"], MOVED["t1ce"].GetInverse()]))
    assert segment(case).transformNodes["t2"] is node
    np.testing.assert_allclose(landmarks(case, "t2"), landmarks(case, "t1ce"), atol=1e-9)
    assert node.GetParentTransformNode() is None


def test_what_was_moved_by_hand_meanwhile_is_left_there(
    case: dict[str, Any], scene: Any, addTransform: Callable[..., Any]
) -> None:
    logic = SegmentationLogic()
    results: list[SegmentationResult] = []
    logic.segment(**case, onFinished=results.append, blocking=False)
    shifted = matrixFromNode(case["t2"])
    shifted.SetElement(0, 3, 100.0)
    case["t2"].SetIJKToRASMatrix(shifted)
    scene.RemoveNode(case["flair"])
    while logic.isRunning():
        logic.poll()
    assert set(results[0].transformNodes) == {"t1"}
    assert case["t2"].GetParentTransformNode() is None


def test_a_scan_that_shows_something_else_meanwhile_is_left_there(case: dict[str, Any]) -> None:
    logic = SegmentationLogic()
    results: list[SegmentationResult] = []
    logic.segment(**case, onFinished=results.append, blocking=False)
    # As when the user browses a sequence: the same node, another image of the same size.
    slicer.util.arrayFromVolume(case["t2"])[:] += 1
    while logic.isRunning():
        logic.poll()
    assert set(results[0].transformNodes) == {"t1", "flair"}
    assert case["t2"].GetParentTransformNode() is None


def matrixFromNode(node: Any) -> Any:
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return matrix


def test_scans_stay_on_request_and_where_nothing_has_moved(
    case: dict[str, Any], core: Callable[..., None], scene: Any
) -> None:
    result = segment(case, moveScans=False)
    assert set(result.movedMm) == {"t1", "t2", "flair"}
    core()
    assert segment(case).movedMm == {}
    assert transforms(scene) == []


def test_the_transforms_are_saved_with_the_scene(
    case: dict[str, Any], core: Callable[..., None], scene: Any, tmp_path: Path
) -> None:
    segment(case)
    scene.SetRootDirectory(str(tmp_path))
    for node in slicer.util.getNodesByClass("vtkMRMLStorableNode", scene):
        if node.GetSaveWithScene() and node.AddDefaultStorageNode():
            storage = node.GetStorageNode()
            ending = storage.GetDefaultWriteFileExtension()
            storage.SetFileName(str(tmp_path / f"{node.GetID()}.{ending}"))
            assert storage.WriteData(node)
    assert scene.Commit(str(tmp_path / "scene.mrml"))
    scene.Clear(False)
    scene.SetURL(str(tmp_path / "scene.mrml"))
    assert scene.Import()
    loaded = {m: slicer.util.getFirstNodeByName(f"Case {m}") for m in GRIDS}
    for modality in ("t1", "t2", "flair"):
        np.testing.assert_allclose(
            landmarks(loaded, modality), landmarks(loaded, "t1ce"), atol=1e-4
        )
    core()
    segment(loaded)
    assert len(transforms(scene)) == 3


def test_what_the_library_finds_lays_scans_on_the_result(
    scene: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The whole way: headers that are wrong about where scans are, and the bundled model."""
    from MISSUSegmentationLib.Scene.SampleCase import addSampleCase

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    application, logic = slicer.vtkMRMLApplicationLogic(), slicer.vtkSlicerVolumesLogic()
    application.SetMRMLScene(scene)
    logic.SetMRMLApplicationLogic(application)
    logic.SetMRMLScene(scene)
    slicer.modules.volumes = SimpleNamespace(logic=lambda: logic)  # for slicer.util
    volumes, truth = addSampleCase()
    wrong = {"t1ce": np.eye(4), "t2": np.eye(4)}
    wrong["t1ce"][:3, 3] = (6.0, -4.0, 9.0)
    angle = np.radians(8)
    wrong["t2"][:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    wrong["t2"][:3, 3] = (-5.0, 8.0, 3.0)
    for modality, move in wrong.items():
        moved = slicer.util.vtkMatrixFromArray(move @ ijkToRasArray(volumes[modality]))
        volumes[modality].SetIJKToRASMatrix(moved)
    result = segment(volumes, device="cpu", qualityPage=True)
    assert set(result.transformNodes) == {"t1", "t2", "flair"}
    head = np.random.default_rng(0).uniform(-60, 60, (50, 3))
    where = head @ wrong["t1ce"][:3, :3].T + wrong["t1ce"][:3, 3]
    for modality in ("t1", "t2", "flair"):
        own = wrong.get(modality, np.eye(4))
        shown = inWorld(volumes[modality], head @ own[:3, :3].T + own[:3, 3])
        assert np.linalg.norm(shown - where, axis=1).mean() < 1.5, modality
    found = slicer.util.arrayFromSegmentBinaryLabelmap(
        result.segmentationNode, "WT", volumes["t1ce"]
    )
    truth.ApplyTransformMatrix(slicer.util.vtkMatrixFromArray(wrong["t1ce"]))
    true = slicer.util.arrayFromSegmentBinaryLabelmap(truth, "WT", volumes["t1ce"])
    assert 2 * (found & true).sum() / (found.sum() + true.sum()) > 0.9
    assert str(tmp_path) not in result.qualityPage.read_text(encoding="utf-8")
