"""Visits of the scene compared by the real process, as volumes in Slicer lie."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

slicer = pytest.importorskip("slicer", reason="needs the package slicer-core")

from MISSUCore.contract.labels import BRATS
from MISSUCore.contract.model_identity import ModelIdentity
from MISSUCore.contract.provenance.record import Provenance
from MISSUCore.contract.segmentation_report import FileFact, SegmentationReport, read_report
from MISSUCore.contract.visits.response import Category, ReaderEntry
from MISSUCore.core.errors import ErrorCode
from MISSUCore.evaluation.verification import grid_of, mask_facts
from MISSUSegmentationLib.Core.CoreRun import SegmentationError
from MISSUSegmentationLib.Core.Errors import ExchangeError
from MISSUSegmentationLib.Logic.Provenance.SignOff import provenanceOf
from MISSUSegmentationLib.Logic.VisitsLogic import VisitsLogic, loadResultFolder, writeVisits
from MISSUSegmentationLib.Scene import VisitNodes as nodes
from MISSUSegmentationLib.Scene.SceneExchange import LPS_TO_RAS
from MISSUSegmentationLib.Scene.SegmentationNodes import importSegmentation
from MISSUSegmentationLib.Scene.VisitNodes import SceneVisit, VisitsEntry
from Testing.Core.visits.conftest import TUMOR, head, scanned

SHAPE = (8, 9, 10)
ROTATION = np.array([[0.8, -0.36, 0.48], [0.6, 0.48, -0.64], [0.0, 0.8, 0.6]])


def arrays(image: sitk.Image) -> tuple[np.ndarray, np.ndarray]:
    """Voxels, and their place in RAS."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    matrix[:3, 3] = image.GetOrigin()
    return sitk.GetArrayFromImage(image), LPS_TO_RAS @ matrix


@pytest.fixture(scope="module")
def images() -> list[tuple[sitk.Image, sitk.Image]]:
    """Scans and label maps of the third and fourth visit: one of the lesions vanishes."""
    own = head(1)
    return [scanned(own, TUMOR[visit], visit) for visit in (2, 3)]


@pytest.fixture
def entry(addVolume: Callable[..., Any], images: Any) -> VisitsEntry:
    """These visits in the scene."""
    visits = []
    for number, (scan, labels) in enumerate(images, 1):
        voxels, matrix = arrays(scan)
        node = addVolume(f"T1ce {number}", voxels, matrix=matrix)
        segmentation = importSegmentation(arrays(labels)[0], {"t1ce": node}, BRATS)
        visits.append(SceneVisit(segmentation, node, f"2024-0{number}-10"))
    return VisitsEntry(tuple(visits), radiotherapy=("2023-12-01",))


def milliliters(labels: sitk.Image, values: list[int]) -> float:
    voxels = np.isin(sitk.GetArrayFromImage(labels), values).sum()
    return float(voxels * np.prod(labels.GetSpacing()) / 1000)


@pytest.mark.slow
def test_a_patient_is_followed_through_the_scene(
    scene: Any, entry: VisitsEntry, images: Any, addTransform: Callable[..., Any]
) -> None:
    # The second visit lies elsewhere in the scene: scan and segments together.
    matrix = np.eye(4)
    matrix[:3, 3] = (4, -3, 2)
    addTransform(matrix, entry.visits[1].scan, entry.visits[1].segmentation)
    stages: list[str] = []
    result = VisitsLogic().compare(entry, onProgress=lambda event: stages.append(event.stage))
    report = result.report
    for visit, (_, labels) in zip(report.visits, images):
        volumes = visit.measurement.volumes_ml
        assert volumes["ET"] == pytest.approx(milliliters(labels, [4]), abs=0.01)
        assert volumes["WT"] == pytest.approx(milliliters(labels, [2, 4]), abs=0.01)
    assert "vanished" in [lesion.events[1] for lesion in report.lesions]
    assert len(report.lesions) == 5
    assert report.visits[0].volume.category is Category.BASELINE
    assert [visit.name for visit in report.visits] == ["T1ce 1 segmentation", "T1ce 2 segmentation"]
    assert report.visits[0].measurement.scan.path == "T1ce 1"
    assert "register" in stages and stages[-1] == "measure"
    assert nodes.currentResult(scene) == report
    assert nodes.listProblem(scene) == nodes.editProblem(scene) == ""
    text = result.page.read_text(encoding="utf-8")
    assert "T1ce 1 segmentation" in text and "missu-" not in text
    scene.Clear(True)
    assert not result.page.exists()


@pytest.mark.slow
def test_the_question_of_an_empty_segmentation_is_told_by_code(entry: VisitsEntry) -> None:
    segmentation = entry.visits[1].segmentation.GetSegmentation()
    segmentation.RemoveAllSegments()
    logic = VisitsLogic()
    with pytest.raises(SegmentationError, match="T1ce 2 segmentation: is empty") as caught:
        logic.compare(entry)
    assert caught.value.code == ErrorCode.LABELS_EMPTY
    report = logic.compare(entry, allowEmpty=True).report
    assert report.visits[1].volume.category is Category.COMPLETE


@pytest.fixture
def small(scene: Any, addVolume: Callable[..., Any]) -> VisitsEntry:
    """Two small visits on oblique grids, which are written, not compared."""
    visits = []
    for number in (1, 2):
        scan = addVolume(
            f"T1ce {number}",
            np.full(SHAPE, float(number)),
            direction=ROTATION,
            spacing=(0.7, 1.3, 2.9),
            origin=(number, 2, 3),
        )
        labels = np.zeros(SHAPE, np.uint8)
        labels[2:6, 2:6, 2 : 4 + number] = 4
        labels[2, 2, 1] = 2
        segmentation = importSegmentation(labels, {"t1ce": scan}, BRATS)
        reader = ReaderEntry(steroids="less")
        visits.append(SceneVisit(segmentation, scan, f"2024-0{number}-10", reader))
    return nodes.keepVisits(scene, VisitsEntry(tuple(visits)))


class Run:
    """As far as writing needs a run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names: dict[Path, str] = {}


def test_visits_are_written_where_the_scene_shows_them(
    small: VisitsEntry, addTransform: Callable[..., Any], tmp_path: Path
) -> None:
    first, second = small.visits
    turned = np.eye(4)
    turned[:3, :3], turned[:3, 3] = ROTATION, (5, 6, 7)
    addTransform(turned, first.scan, first.segmentation)
    shifted = np.eye(4)
    shifted[:3, 3] = (1, 2, 3)
    addTransform(shifted, second.scan, second.segmentation)
    run = Run(tmp_path)
    request = writeVisits(run, small, BRATS)
    assert [visit.date for visit in request.visits] == ["2024-01-10", "2024-02-10"]
    assert request.visits[0].reader.steroids == "less" and request.settings.enhancing
    written = [sitk.ReadImage(str(visit.t1ce)) for visit in request.visits]
    for number, (visit, node) in enumerate(zip(request.visits, small.visits), 1):
        labels = sitk.ReadImage(str(visit.segmentation))
        voxels = sitk.GetArrayFromImage(labels)
        assert (voxels == 3).sum() == 4 * 4 * (2 + number) and (voxels == 1).sum() == 1
        assert np.allclose(labels.GetOrigin(), written[number - 1].GetOrigin())
        assert np.allclose(labels.GetDirection(), written[number - 1].GetDirection())
        assert run.names[visit.segmentation] == node.name
        # Where the scene shows the voxels, seen from under the first scan's transform.
        shown = node.scan.GetParentTransformNode()
        toWorld = slicer.util.arrayFromTransformMatrix(shown, toWorld=True)
        expected = np.linalg.inv(turned) @ toWorld @ grid(node.scan)
        found = arrays(written[number - 1])[1]
        np.testing.assert_allclose(found, expected, atol=1e-4)


def grid(scan: Any) -> np.ndarray:
    import vtk

    matrix = vtk.vtkMatrix4x4()
    scan.GetIJKToRASMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def test_only_regions_of_all_visits_are_written(small: VisitsEntry, tmp_path: Path) -> None:
    second = small.visits[1].segmentation.GetSegmentation()
    second.RemoveSegment("ET")
    request = writeVisits(Run(tmp_path), small, BRATS)
    regions = json.loads(request.scheme)["regions"]
    assert [region["name"] for region in regions] == ["WT", "TC"]
    assert not request.settings.enhancing  # there is a minor response then
    for name in ("WT", "TC"):
        second.RemoveSegment(name)
    second.AddEmptySegment("mine", "my lesion")
    with pytest.raises(ExchangeError, match=r"T1ce 2 segmentation have no name in common"):
        writeVisits(Run(tmp_path), small, BRATS)
    first = small.visits[0].segmentation.GetSegmentation()
    for name in ("WT", "TC"):
        first.RemoveSegment(name)
    first.GetSegment("ET").SetName("ball")
    segment = first.GetSegment("ET")
    first.RemoveSegment("ET")
    first.AddSegment(segment, "ball")
    request = writeVisits(Run(tmp_path), small, BRATS)
    assert [region["name"] for region in json.loads(request.scheme)["regions"]] == ["segments"]
    voxels = sitk.GetArrayFromImage(sitk.ReadImage(str(request.visits[0].segmentation)))
    assert voxels.sum() == 4 * 4 * 3


def test_what_cannot_be_compared_starts_nothing(scene: Any, small: VisitsEntry) -> None:
    logic = VisitsLogic()
    with pytest.raises(SegmentationError, match="Add two visits or more"):
        logic.compare(replace(small, visits=small.visits[:1]))
    assert not logic.isRunning() and logic.error() is None


@pytest.fixture
def folder(tmp_path: Path, images: Any) -> Path:
    """A result as ``missu segment --cases`` writes it."""
    scan, labels = images[0]
    sitk.WriteImage(scan, str(tmp_path / "t1ce.nii.gz"))
    sitk.WriteImage(labels, str(tmp_path / "segmentation.nii.gz"))
    facts = SegmentationReport(
        inputs={"t1ce": FileFact(str(tmp_path / "t1ce.nii.gz"))},
        model=ModelIdentity("missu-brats-fast"),
    )
    (tmp_path / "report.json").write_text(json.dumps(facts.to_dict()))
    return tmp_path


def test_a_result_folder_comes_into_the_scene(scene: Any, folder: Path, images: Any) -> None:
    visit = loadResultFolder(folder)
    voxels, matrix = arrays(images[0][0])
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(visit.scan), voxels)
    np.testing.assert_allclose(grid(visit.scan), matrix, atol=1e-4)
    assert visit.name == f"{folder.name} segmentation" and visit.date == ""
    found = slicer.util.arrayFromSegmentBinaryLabelmap(visit.segmentation, "ET", visit.scan)
    np.testing.assert_array_equal(found != 0, arrays(images[0][1])[0] == 4)
    assert provenanceOf(visit.segmentation) == Provenance(), "an old report has no checksums"


@pytest.mark.parametrize("corrected", [False, True])
def test_a_result_folder_tells_whether_somebody_has_corrected_it(
    scene: Any, folder: Path, images: Any, corrected: bool
) -> None:
    _, labels = images[0]
    report = folder / "report.json"
    facts = replace(read_report(report), grid=grid_of(labels), masks=mask_facts(labels, BRATS))
    report.write_text(json.dumps(facts.to_dict()))
    if corrected:
        inside = np.argwhere(sitk.GetArrayViewFromImage(labels) == 4)[0]
        edited = sitk.Image(labels)
        edited[tuple(inside[::-1].tolist())] = 1
        sitk.WriteImage(edited, str(folder / "segmentation.nii.gz"))
    record = provenanceOf(loadResultFolder(folder).segmentation)
    assert record.computed.model.name == "missu-brats-fast"
    assert record.is_as_computed is not corrected


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda folder: (folder / "report.json").unlink(), "cannot be used as the result"),
        (lambda folder: (folder / "t1ce.nii.gz").unlink(), "is not there"),
        (lambda folder: (folder / "segmentation.nii.gz").write_text("?"), "cannot be used"),
        (
            lambda folder: sitk.WriteImage(
                sitk.Image(4, 4, 4, sitk.sitkUInt8), str(folder / "segmentation.nii.gz")
            ),
            "does not fit",
        ),
    ],
)
def test_another_folder_is_refused(
    scene: Any, folder: Path, change: Callable[[Path], Any], words: str
) -> None:
    change(folder)
    with pytest.raises(ExchangeError, match=words):
        loadResultFolder(folder)
    assert not slicer.util.getNodesByClass("vtkMRMLVolumeNode")
