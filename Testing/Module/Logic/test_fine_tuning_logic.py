"""Training cases from the scene to a library and back, runs of fine-tuning, and what is accepted.

Library and models are changed by the real ``missu``; the tuning itself is a script here.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

slicer = pytest.importorskip("slicer", reason="needs the package slicer-core")
import SimpleITK as sitk
import vtk

from MISSUCore.contract.case_record import CaseRecord, write_record
from MISSUCore.contract.labels import BRATS
from MISSUCore.contract.model_identity import ModelIdentity
from MISSUCore.contract.options import PreprocessingOptions
from MISSUCore.contract.provenance.record import Computation
from MISSUCore.contract.tuning.finetuning_run import FineTuningRun, TuningSettings
from MISSUCore.contract.tuning.verdict import AcceptanceTest, Verdict
from MISSUCore.core.events import ErrorEvent, ProgressEvent
from MISSUCore.core.messages import Text
from MISSUSegmentationLib.Core import CoreProcess as processModule
from MISSUSegmentationLib.Core.CoreInstallation import InstallationError, defaultModel, modelCards
from MISSUSegmentationLib.Core.CoreRun import SegmentationError
from MISSUSegmentationLib.Logic.CaseExchange import loadTrainingCase, writeTrainingCase
from MISSUSegmentationLib.Logic.CaseLibrary import readCases
from MISSUSegmentationLib.Logic.FineTuningLogic import FineTuningLogic
from MISSUSegmentationLib.Logic.Provenance.SignOff import provenanceOf, signOff
from MISSUSegmentationLib.Logic.Segmentation import SegmentationSettings
from MISSUSegmentationLib.Logic.TuningRun import installedAs, newRun, readRuns
from MISSUSegmentationLib.Scene.Provenance.EditRecorder import recorderOf
from MISSUSegmentationLib.Scene.ResultOrigin import keepOrigin, keptLabels, keptModel
from MISSUSegmentationLib.Scene.SceneExchange import arrayFromImage, ijkToRasArray
from MISSUSegmentationLib.Scene.SegmentationNodes import importSegmentation
from MISSUSegmentationLib.Scene.TuningChart import curveTitle, drawCurves, findChart

pytestmark = pytest.mark.slow

PATIENCE_SECONDS = 120.0
MODALITIES = ("t1", "t1ce", "t2", "flair")
SHAPE = (14, 18, 16)
SPACING = (1.0, 1.5, 3.0)
# Oblique, and left-handed: the third axis is turned around.
DIRECTION = np.array([[0.8, -0.36, 0.48], [0.6, 0.48, -0.64], [0.0, 0.8, 0.6]]) * (1, 1, -1)
GRID = {"direction": DIRECTION, "spacing": SPACING, "origin": (-12.0, 34.0, 5.0)}
VOXEL_ML = 0.0045
BUNDLED = "missu-brats-fast"
TEST = AcceptanceTest(name="my-model", verdict=Verdict.BETTER, reason="it gains")
END = f"(run / 'gate.json').write_text({json.dumps(TEST.to_dict())!r})\n"
# Noise cannot be registered.
AS_THEY_ARE = SegmentationSettings(registration=False, brainExtraction="never")


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Temporary files and models of the test's own."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.setenv("MISSU_MODELS", str(tmp_path / "own models"))


@pytest.fixture
def library(tmp_path: Path) -> Path:
    return tmp_path / "my library"


def labelsOfModel() -> NDArray[np.uint8]:
    labels = np.zeros(SHAPE, np.uint8)
    labels[4:10, 5:13, 4:12] = 2
    labels[5:9, 7:11, 6:10] = 4
    labels[6:8, 8:10, 7:9] = 1
    return labels


@pytest.fixture
def volumes(addVolume: Callable[..., Any]) -> dict[str, Any]:
    """A brain of noise in a margin of 0, all scans on one oblique, left-handed grid."""
    found = {}
    for seed, name in enumerate(MODALITIES):
        voxels = np.zeros(SHAPE, np.int16)
        inner = np.random.default_rng(seed).integers(90, 110, [length - 2 for length in SHAPE])
        voxels[1:-1, 1:-1, 1:-1] = inner
        found[name] = addVolume(f"Doe^Jane {name}", voxels, **GRID)
    return found


@pytest.fixture
def segmentation(volumes: dict[str, Any]) -> Any:
    """The result of the bundled model, to which the user has added a block of edema."""
    node = importSegmentation(labelsOfModel(), volumes, BRATS)
    keepOrigin(node, labelsOfModel(), BUNDLED)
    corrected = labelsOfModel() > 0
    corrected[4:10, 13, 4:12] = True
    paint(node, "WT", corrected, volumes["t1ce"])
    return node


def paint(node: Any, segmentId: str, mask: NDArray[np.bool_], volume: Any) -> None:
    """Give a segment these voxels (k, j, i) on the grid of a volume."""
    image = slicer.vtkOrientedImageData()
    image.SetExtent([end for size in reversed(mask.shape) for end in (0, size - 1)])
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    segment = node.GetSegmentation().GetSegment(segmentId)
    arrayFromImage(image)[:] = mask * segment.GetLabelValue()
    image.SetImageToWorldMatrix(slicer.util.vtkMatrixFromArray(ijkToRasArray(volume)))
    segment.AddRepresentation("Binary labelmap", image)


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Function that puts a script in the place of MISSUCore's process."""

    def use(text: str) -> None:
        path = tmp_path / "script.py"
        wait = (
            "import json, os, sys, time\n"
            "from pathlib import Path\n"
            "while not os.path.exists(sys.argv[-2]): time.sleep(0.01)\n"
            "request = json.loads(Path(sys.argv[-2]).read_text())\n"
            "run = Path(request['output'])\n"
        )
        path.write_text(wait + text)
        monkeypatch.setattr(processModule, "corePython", lambda: [sys.executable, str(path)])

    return use


def addCases(library: Path, *ids: str) -> None:
    """Records of cases, without scans."""
    for number, case in enumerate(ids):
        record = CaseRecord(
            id=case,
            added=f"2026-11-23T08:00:0{number}+00:00",
            modalities=MODALITIES,
            scheme=BRATS.as_dict(),
            volumes_ml=dict.fromkeys(BRATS.region_names, 1.0),
        )
        write_record(library / "cases" / case / "record.json", record)


def pollUntil(logic: FineTuningLogic, done: Callable[[], bool]) -> None:
    limit = time.monotonic() + PATIENCE_SECONDS
    while not done():
        assert time.monotonic() < limit, "nothing happens"
        logic.poll()
        time.sleep(0.01)


def test_a_corrected_case_is_stored_and_comes_back_voxel_for_voxel(
    volumes: dict[str, Any], segmentation: Any, library: Path
) -> None:
    logic = FineTuningLogic()
    case = logic.add(library, volumes, segmentation, settings=AS_THEY_ARE, note="-12, not a name")
    assert [stored.id for stored in logic.listCases(library)] == [case.id]
    # Six rows of eight voxels of edema were added, nothing else was changed.
    changes = case.record.changes
    assert changes["WT"].added_ml == pytest.approx(48 * VOXEL_ML, abs=1e-3)
    assert [changes[name].added_ml for name in ("TC", "ET")] == [0, 0]
    assert [changes[name].removed_ml for name in BRATS.region_names] == [0, 0, 0]
    assert case.record.note == "-12, not a name"
    corrected = labelsOfModel()
    corrected[4:10, 13, 4:12] = 2
    stored = sitk.GetArrayFromImage(sitk.ReadImage(str(case.folder / "labels.nii.gz")))
    np.testing.assert_array_equal(stored, corrected)
    everything = b"".join(path.read_bytes() for path in library.rglob("*.json"))
    assert b"Doe" not in everything and str(library).encode() not in everything

    loaded, node = loadTrainingCase(case)
    for name, volume in volumes.items():
        np.testing.assert_array_equal(
            slicer.util.arrayFromVolume(loaded[name]), slicer.util.arrayFromVolume(volume)
        )
        np.testing.assert_allclose(ijkToRasArray(loaded[name]), ijkToRasArray(volume), atol=1e-4)
    mask = slicer.util.arrayFromSegmentBinaryLabelmap(node, "WT", volumes["t1"])
    np.testing.assert_array_equal(mask > 0, corrected > 0)
    drawnBy = vtk.mutable("")
    assert node.GetSegmentation().GetSegment("WT").GetTag("DICOM.SegmentAlgorithmType", drawnBy)
    assert drawnBy == "SEMIAUTOMATIC"

    # What was loaded from the library is known there.
    with pytest.raises(SegmentationError, match=r'in the library already.*"replace"'):
        logic.add(library, loaded, node, settings=AS_THEY_ARE)
    assert keptLabels(node) is None
    logic.remove(library, [case.id])
    assert logic.listCases(library) == [] and not case.folder.exists()


@pytest.mark.parametrize("exclusive", [False, True])
def test_the_history_goes_along_and_a_sign_off_still_holds(
    volumes: dict[str, Any], library: Path, exclusive: bool
) -> None:
    node = importSegmentation(labelsOfModel(), volumes, BRATS, exclusive)
    recorderOf(node.GetScene()).begin(node, Computation(ModelIdentity(BUNDLED)))
    smaller = labelsOfModel() == 4
    smaller[5, 7, 6] = False
    paint(node, "ET", smaller, volumes["t1ce"])
    record = signOff(node, "A. Reader", "cavity left out")
    assert [(edit.region, edit.removed_ml) for edit in record.edits] == [("ET", VOXEL_ML)]
    case = FineTuningLogic().add(library, volumes, node, settings=AS_THEY_ARE)
    assert case.record.provenance == record
    _, loaded = loadTrainingCase(case)
    found = provenanceOf(loaded)
    assert found.edits == record.edits
    assert found.valid_sign_offs == record.sign_offs
    segmentId = "ED" if exclusive else "WT"
    paint(loaded, segmentId, np.zeros(SHAPE, bool), volumes["t1ce"])
    assert not provenanceOf(loaded).valid_sign_offs


def test_labels_are_written_on_the_scan_they_were_drawn_on(
    volumes: dict[str, Any], addVolume: Callable[..., Any], tmp_path: Path
) -> None:
    moved = {**GRID, "origin": (5.0, 6.0, 7.0), "spacing": (2.0, 1.0, 1.0)}
    given = {"t2": addVolume("T2", np.ones((9, 8, 7)), **moved), "flair": volumes["flair"]}
    node = importSegmentation(labelsOfModel(), given, BRATS)
    run = SimpleNamespace(folder=tmp_path, names={}, report=lambda *_: None)
    settings = SegmentationSettings(registration=False, biasField=True)
    request = writeTrainingCase(run, given, node, settings)
    scans = request.scans
    assert scans.reference == "flair"
    assert scans.preprocessing == PreprocessingOptions(registration=False, bias_field="always")
    labels = sitk.ReadImage(str(request.labels))
    scan = sitk.ReadImage(str(scans.images["flair"]))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(labels), labelsOfModel())
    assert labels.GetOrigin() == pytest.approx(scan.GetOrigin())
    assert labels.GetDirection() == pytest.approx(scan.GetDirection())


def test_an_empty_segmentation_must_be_meant(
    volumes: dict[str, Any], segmentation: Any, library: Path
) -> None:
    for name in BRATS.region_names:
        paint(segmentation, name, np.zeros(SHAPE, bool), volumes["t1"])
    with pytest.raises(SegmentationError, match=r'with "no-tumor" \(an option .*\)\.$'):
        FineTuningLogic().add(library, volumes, segmentation, settings=AS_THEY_ARE)
    assert not library.exists()


def test_a_segmentation_of_other_volumes_is_refused(
    volumes: dict[str, Any], segmentation: Any, addVolume: Callable[..., Any], library: Path
) -> None:
    other = addVolume("Other flair", np.ones(SHAPE), **GRID)
    with pytest.raises(SegmentationError, match="made from Doe\\^Jane flair, but Other flair"):
        FineTuningLogic().add(library, {**volumes, "flair": other}, segmentation)


def test_a_segmentation_without_a_region_is_refused(
    volumes: dict[str, Any], segmentation: Any, library: Path
) -> None:
    segmentation.GetSegmentation().RemoveSegment("TC")
    with pytest.raises(SegmentationError, match="no segment Tumor core"):
        FineTuningLogic().add(library, volumes, segmentation)


def test_what_the_model_gave_is_saved_with_the_scene(
    segmentation: Any, tmp_path: Path, scene: Any
) -> None:
    scene.SetRootDirectory(str(tmp_path))
    assert scene.Commit(str(tmp_path / "scene.mrml"))
    scene.Clear(True)
    scene.SetURL(str(tmp_path / "scene.mrml"))
    scene.Import()
    (node,) = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    np.testing.assert_array_equal(keptLabels(node), labelsOfModel())
    assert keptModel(node) == BUNDLED


def test_a_segmentation_of_another_origin_has_none(scene: Any, segmentation: Any) -> None:
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    assert keptLabels(node) is None and keptModel(node) == ""
    keepOrigin(segmentation, labelsOfModel(), "gone")
    assert keptModel(segmentation) == ""


def test_a_run_is_told_of_and_goes_on_without_the_scene(
    script: Callable[[str], None], library: Path, scene: Any
) -> None:
    addCases(library, "a", "b", "c")
    script(
        'print(\'{"stage": "tune", "fraction": 0.5, "message": "part 1"}\', flush=True)\n'
        "while not (run / 'go').exists(): time.sleep(0.01)\n"
        f"{END}"
    )
    logic = FineTuningLogic()
    events: list[ProgressEvent] = []
    finished: list[FineTuningRun] = []
    settings = TuningSettings(BUNDLED)
    logic.fineTune(
        library, settings, onProgress=events.append, onFinished=finished.append, blocking=False
    )
    pollUntil(logic, lambda: bool(events))
    with pytest.raises(SegmentationError, match="A fine-tuning is on"):
        logic.fineTune(library, settings)
    scene.Clear(False)
    assert logic.isTuning()
    (run,) = readRuns(library)
    (run.folder / "go").touch()
    pollUntil(logic, lambda: not logic.isTuning())
    assert finished == [run] and run.acceptance() == TEST
    assert run.folder == library / "runs" / "my-model-run-1" and run.library == library


def test_a_cancelled_run_is_resumed_with_the_same_command(
    script: Callable[[str], None], library: Path
) -> None:
    addCases(library, "a", "b", "c")
    script(
        "(run / 'run.json').write_text('{}')\n"
        "with (run / 'calls').open('a') as calls: calls.write(json.dumps(request) + '\\n')\n"
        'print(\'{"stage": "tune", "fraction": 0.5}\', flush=True)\n'
        f"if (run / 'go').exists(): {END}"
        "else: time.sleep(600)\n"
    )
    logic = FineTuningLogic()
    events: list[ProgressEvent] = []
    cancelled: list[bool] = []
    logic.fineTune(
        library,
        TuningSettings("a base", "ours", 7, "cpu"),
        onProgress=events.append,
        onCancelled=lambda: cancelled.append(True),
        blocking=False,
    )
    pollUntil(logic, lambda: bool(events))
    logic.cancel()
    assert cancelled == [True] and not logic.isTuning()
    (run,) = readRuns(library)
    assert not run.has_ended()
    (run.folder / "go").touch()
    assert FineTuningLogic().resume(run) == run
    first, second = (run.folder / "calls").read_text().splitlines()
    assert first == second
    request = json.loads(first)
    assert (request["command"], request["library"]) == ("finetune", str(library))
    assert (request["base"], request["name"]) == ("a base", "ours")
    assert (request["options"]["minutes"], request["options"]["device"]) == (7, "cpu")


def test_two_cases_are_too_few(library: Path) -> None:
    addCases(library, "a", "b")
    with pytest.raises(SegmentationError, match=r"3 or more .* there are 2"):
        FineTuningLogic().fineTune(library, TuningSettings(BUNDLED))
    assert readRuns(library) == []


def test_a_run_that_is_refused_leaves_nothing(library: Path, script: Callable[[str], None]) -> None:
    addCases(library, "a", "b", "c")
    event = ErrorEvent(Text("2 minutes do not suffice"))
    script(f"print({event.to_line()!r})\nsys.exit(1)\n")
    with pytest.raises(SegmentationError, match="do not suffice"):
        FineTuningLogic().fineTune(library, TuningSettings(BUNDLED))
    assert readRuns(library) == []


def test_a_run_whose_process_cannot_be_started_leaves_nothing(
    library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> list[str]:
        raise InstallationError("PythonSlicer is not found; install Slicer again.")

    addCases(library, "a", "b", "c")
    monkeypatch.setattr(processModule, "corePython", missing)
    with pytest.raises(SegmentationError, match="PythonSlicer"):
        FineTuningLogic().fineTune(library, TuningSettings(BUNDLED))
    assert readRuns(library) == []


def test_a_library_that_cannot_be_reached_is_empty(tmp_path: Path) -> None:
    nowhere = tmp_path / ("x" * 300)  # the system refuses it, as it does a drive that is gone
    assert readCases(nowhere) == []
    assert readRuns(nowhere) == []


def test_a_run_of_the_command_line_is_resumed_there(tmp_path: Path) -> None:
    with pytest.raises(SegmentationError, match="missu finetune"):
        FineTuningLogic().resume(FineTuningRun(tmp_path))


def test_runs_are_numbered_and_the_newest_comes_first(library: Path) -> None:
    runs = [newRun(library, TuningSettings(BUNDLED, name)) for name in ("b", "a", "b")]
    assert [run.folder.name for run in runs] == ["b-run-1", "a-run-1", "b-run-2"]
    assert [run.folder.name for run in readRuns(library)] == ["b-run-2", "a-run-1", "b-run-1"]
    assert runs[1].settings() == TuningSettings(BUNDLED, "a")


def test_curves_are_read_while_they_are_written(tmp_path: Path, scene: Any) -> None:
    (tmp_path / "validation.csv").write_text(
        "fold,step,mix,WT,TC\n1,0,1,0.8,0.6\n1,40,1,0.9,0.7\n1,40,0.4,0.1,0.1\n2,0,1,0.5,0.4\n2,40,1"
    )
    for part, rows in ((1, "1,0.9"), (2, "1,0.8\n2,0.7\n3,")):
        (tmp_path / f"part-{part}").mkdir()
        (tmp_path / f"part-{part}" / "training.csv").write_text(f"step,loss\n{rows}")
    first, second, loss = FineTuningRun(tmp_path).curves()
    assert (first.kind, first.steps) == ("dice", [0, 40])
    assert first.values == pytest.approx([0.7, 0.8])
    assert (second.steps, second.values) == ([0], pytest.approx([0.45]))
    assert (loss.kind, curveTitle(loss), loss.values) == ("loss", "Loss, part 2", [0.8, 0.7])

    drawCurves("a run", [first, second, loss])
    drawCurves("another run", [second, loss])
    chart = findChart()
    assert chart.GetTitle() == "another run"
    shown = [chart.GetNthPlotSeriesNode(i) for i in range(chart.GetNumberOfPlotSeriesNodes())]
    assert [series.GetName() for series in shown] == [curveTitle(second), curveTitle(loss)]
    table = shown[1].GetTableNode().GetTable()
    column = table.GetColumnByName(curveTitle(loss))
    assert [column.GetValue(i) for i in range(column.GetNumberOfTuples())] == [0.8, 0.7]
    for kind in ("PlotSeries", "Table"):
        nodes = slicer.util.getNodesByClass(f"vtkMRML{kind}Node")
        assert len(nodes) == 2
        assert all(node.GetHideFromEditors() and not node.GetSaveWithScene() for node in nodes)
    scene.RemoveNode(shown[0])  # by somebody
    drawCurves("a run", [second, loss])
    assert findChart().GetNumberOfPlotSeriesNodes() == 2


def test_a_folder_without_files_has_no_curves(tmp_path: Path) -> None:
    assert FineTuningRun(tmp_path).curves() == []
    assert readRuns(tmp_path / "none") == []


def test_a_tuned_model_is_accepted_used_and_left_again(
    tiny_model: Path, library: Path, tmp_path: Path
) -> None:
    bundled = list(modelCards())
    run = newRun(library, TuningSettings(BUNDLED, "tiny"))
    (run.folder / "run.json").write_text("{}")
    run.end(replace(TEST, name="tiny", verdict=Verdict.NOT_BETTER))
    shutil.copytree(tiny_model.parent, run.folder / "model")
    logic = FineTuningLogic()
    assert installedAs(run) == ""
    assert logic.accept(run, force=True) == "tiny-1"
    assert list(modelCards()) == [*bundled, "tiny-1"] and installedAs(run) == "tiny-1"
    logic.use("tiny-1")
    assert defaultModel() == "tiny-1"
    logic.discard(run)
    assert run.candidate() is None and run.acceptance().name == "tiny"
    assert list(modelCards()) == [*bundled, "tiny-1"]
