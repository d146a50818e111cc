"""From volumes in the scene to segments and back to scores, through the real process."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

slicer = pytest.importorskip("slicer", reason="needs the package slicer-core")
from MISSUCore.contract.labels import BRATS
from MISSUCore.contract.provenance.masks import Contents
from MISSUCore.contract.provenance.record import Computation
from MISSUCore.core.errors import ErrorCode
from MISSUCore.core.events import ErrorEvent, ProgressEvent
from MISSUCore.core.messages import Text, a_file, a_modality, an_option
from MISSUSegmentationLib.Core import CoreProcess as processModule
from MISSUSegmentationLib.Core import CoreRun as runModule
from MISSUSegmentationLib.Core.CoreRun import CoreRun
from MISSUSegmentationLib.Logic import SegmentationLogic as logicModule
from MISSUSegmentationLib.Logic.Provenance.SignOff import provenanceOf
from MISSUSegmentationLib.Logic.SegmentationLogic import (
    BrainExtractionMissing,
    SegmentationError,
    SegmentationLogic,
    SegmentationResult,
    SegmentationSettings,
)
from MISSUSegmentationLib.Scene.Provenance.EditRecorder import recorderOf
from MISSUSegmentationLib.Scene.SegmentationNodes import importSegmentation

pytestmark = pytest.mark.slow

MODULE = Path(__file__).parents[3] / "MISSUSegmentation"
PATIENCE_SECONDS = 120.0
CANCEL_SECONDS = 2.0
# For the request, as every process does first.
WAIT = "import os, sys, time\nwhile not os.path.exists(sys.argv[-2]): time.sleep(0.01)\n"
SHAPE = (16, 20, 24)
# What the model of the tests finds: WT bright in FLAIR, TC in T2, ET in T1ce.
BOXES = {
    "WT": np.s_[4:12, 5:14, 6:18],
    "TC": np.s_[5:10, 6:12, 8:15],
    "ET": np.s_[6:9, 7:11, 9:13],
}
BRIGHT = {"flair": "WT", "t2": "TC", "t1ce": "ET"}
ROTATION = np.array([[0.8, -0.36, 0.48], [0.6, 0.48, -0.64], [0.0, 0.8, 0.6]])
# Along the patient's axes, for there the library does not interpolate: segments are exact.
AXES = np.array([[0.0, 0.0, -1.0], [1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
GRID = {"direction": AXES, "spacing": (1.0, 1.0, 1.0), "origin": (-12.0, 34.0, 5.0)}


@pytest.fixture(autouse=True)
def temporaryFolder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary folder of the test's own, to see what is left in it."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def leftFolders(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_dir()]


def voxelsOf(modality: str) -> NDArray[np.float32]:
    """A brain of noise in a margin of 0, with a bright box."""
    rng = np.random.default_rng(sorted([*BRIGHT, "t1"]).index(modality))
    voxels = np.zeros(SHAPE, np.float32)
    voxels[1:-1, 1:-1, 1:-1] = rng.uniform(90, 110, [length - 2 for length in SHAPE])
    if modality in BRIGHT:
        voxels[BOXES[BRIGHT[modality]]] += 200
    return voxels


@pytest.fixture
def volumes(addVolume: Callable[..., Any]) -> dict[str, Any]:
    return {name: addVolume(f"Case {name}", voxelsOf(name), **GRID) for name in ("t1", *BRIGHT)}


@pytest.fixture
def settings(bright_model: Callable[..., Path]) -> SegmentationSettings:
    return SegmentationSettings(
        model=str(bright_model()),
        device="cpu",
        registration=False,
        brainExtraction="never",
        minimumIslandMm3=0.0,
    )


@pytest.fixture
def sleepingCore(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MISSUCore's process reports that it has begun, and goes on forever."""
    path = tmp_path / "sleep.py"
    path.write_text(
        WAIT + 'print(\'{"stage": "read", "fraction": 0.1}\', flush=True)\ntime.sleep(600)'
    )
    monkeypatch.setattr(processModule, "corePython", lambda: [sys.executable, str(path)])


def pollUntil(logic: SegmentationLogic, done: Callable[[], bool]) -> None:
    limit = time.monotonic() + PATIENCE_SECONDS
    while not done():
        assert time.monotonic() < limit, "nothing happens"
        logic.poll()
        time.sleep(0.01)


def mask(node: Any, segmentId: str, volume: Any) -> NDArray[np.bool_]:
    return slicer.util.arrayFromSegmentBinaryLabelmap(node, segmentId, volume) != 0


def box(name: str) -> NDArray[np.bool_]:
    inside = np.zeros(SHAPE, bool)
    inside[BOXES[name]] = True
    return inside


def test_volumes_become_segments_in_one_call(
    volumes: dict[str, Any],
    settings: SegmentationSettings,
    temporaryFolder: Path,
) -> None:
    events: list[ProgressEvent] = []
    results: list[SegmentationResult] = []
    node = SegmentationLogic().segment(
        **volumes, settings=settings, onProgress=events.append, onFinished=results.append
    )
    for name in BOXES:
        np.testing.assert_array_equal(mask(node, name, volumes["t1ce"]), box(name))
    (result,) = results
    assert result.segmentationNode is node
    for name in BOXES:
        assert result.volumesMl[name] == pytest.approx(box(name).sum() / 1000)
    assert any("less than a brain" in warning for warning in result.warnings)
    parts = [value for stage, value in result.seconds.items() if stage != "total"]
    assert sum(parts) == pytest.approx(result.seconds["total"], abs=0.2)
    fractions = [event.fraction for event in events]
    assert fractions == sorted(fractions) and fractions[0] == 0 and fractions[-1] == 1
    assert [event.stage for event in events][:2] == ["export", "read"]
    assert "missu segment" in result.logPath.read_text()
    assert not leftFolders(temporaryFolder)


def test_the_report_and_the_segments_have_the_same_checksums(
    volumes: dict[str, Any], settings: SegmentationSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    reported: list[Contents] = []
    of = Computation.of
    monkeypatch.setattr(
        Computation, "of", lambda report: reported.append(of(report).contents) or of(report)
    )
    node = SegmentationLogic().segment(**volumes, settings=settings)
    record = provenanceOf(node)
    assert (record.computed.model.name, len(record.computed.inputs)) == ("bright", 4)
    assert record.is_as_computed and record.contents.same_as(reported[0])
    assert record.contents.masks["ET"].voxels == box("ET").sum()


def test_volumes_of_other_grids_and_transforms_give_the_same_segments(
    volumes: dict[str, Any],
    settings: SegmentationSettings,
    addVolume: Callable[..., Any],
    addTransform: Callable[..., Any],
) -> None:
    # FLAIR with its axes permuted and one turned around, moved by a transform that is undone by
    # the place of its voxels; all of it under the transform of T1ce.
    flair = np.transpose(voxelsOf("flair"), (2, 0, 1))[:, ::-1]
    permuted = np.zeros((4, 4))
    permuted[:3, 0] = AXES[:, 1]
    permuted[:3, 1] = -AXES[:, 2]
    permuted[:3, 2] = AXES[:, 0]
    permuted[:3, 3] = np.array(GRID["origin"]) + AXES[:, 2] * (SHAPE[0] - 1)
    permuted[3, 3] = 1
    shift, turn = np.eye(4), np.eye(4)
    shift[:3, 3] = (40.0, -30.0, 20.0)
    turn[:3, :3] = ROTATION
    volumes["flair"] = addVolume("moved", flair, np.linalg.inv(shift) @ permuted)
    transform = addTransform(turn, volumes["t1"], volumes["t1ce"], volumes["t2"])
    addTransform(shift, volumes["flair"]).SetAndObserveTransformNodeID(transform.GetID())
    settings = SegmentationSettings(**{**vars(settings), "exclusive": True, "probabilities": True})
    results: list[SegmentationResult] = []
    node = SegmentationLogic().segment(**volumes, settings=settings, onFinished=results.append)
    assert node.GetTransformNodeID() == transform.GetID()
    whole = mask(node, "ED", volumes["t1ce"]) | mask(node, "NCR", volumes["t1ce"])
    np.testing.assert_array_equal(whole, box("WT") & ~box("ET"))
    np.testing.assert_array_equal(mask(node, "ET", volumes["t1ce"]), box("ET"))
    for name, probabilities in results[0].probabilityNodes.items():
        voxels = slicer.util.arrayFromVolume(probabilities)
        np.testing.assert_array_equal(voxels >= 0.5, box(name))
        assert probabilities.GetTransformNodeID() == transform.GetID()


def test_without_blocking_callbacks_tell_and_the_next_run_may_be_warmed_up(
    volumes: dict[str, Any], settings: SegmentationSettings, temporaryFolder: Path
) -> None:
    logic = SegmentationLogic()
    logic.warmUp()
    logic.warmUp()
    assert len(leftFolders(temporaryFolder)) == 1, "warmed up once"
    results: list[SegmentationResult] = []
    assert (
        logic.segment(**volumes, settings=settings, onFinished=results.append, blocking=False)
        is None
    )
    assert logic.isRunning() and not results
    with pytest.raises(SegmentationError, match="Another run is on"):
        logic.segment(**volumes)
    pollUntil(logic, lambda: not logic.isRunning())
    (result,) = results
    np.testing.assert_array_equal(mask(result.segmentationNode, "WT", volumes["t1ce"]), box("WT"))
    assert not leftFolders(temporaryFolder)
    logic.warmUp()
    logic.coolDown()
    assert not leftFolders(temporaryFolder)


def test_a_failure_names_the_volume_and_keeps_the_log(
    volumes: dict[str, Any], settings: SegmentationSettings, temporaryFolder: Path, scene: Any
) -> None:
    slicer.util.updateVolumeFromArray(volumes["t2"], np.full(SHAPE, 7.0))
    with pytest.raises(SegmentationError) as caught:
        SegmentationLogic().segment(**volumes, settings=settings)
    assert str(caught.value) == "Case t2: is empty, every voxel has the value 7."
    assert "is empty" in caught.value.logPath.read_text()
    assert not leftFolders(temporaryFolder)
    assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0

    failures: list[tuple[str, Path | None]] = []
    logic = SegmentationLogic()
    missing = SegmentationSettings(model="no-such-model")
    logic.segment(
        **volumes,
        settings=missing,
        onFailed=lambda message, log: failures.append((message, log)),
        blocking=False,
    )
    pollUntil(logic, lambda: bool(failures))
    assert "no-such-model" in failures[0][0] and "missu-brats-fast" in failures[0][0]
    assert failures[0][1].is_file() and not logic.isRunning()


def test_a_process_that_was_killed_is_told_at_once(
    volumes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "killed.py"
    path.write_text(WAIT + "os.kill(os.getpid(), 9)")
    monkeypatch.setattr(processModule, "corePython", lambda: [sys.executable, str(path)])

    def torchProblem() -> str:
        pytest.fail("takes seconds, in which Slicer stands still, and tells nothing")

    monkeypatch.setattr(runModule, "torchProblem", torchProblem)
    with pytest.raises(SegmentationError, match="lack of memory"):
        SegmentationLogic().segment(**volumes)


def test_messages_call_scans_what_the_user_calls_them() -> None:
    run = CoreRun()
    run.names = {Path("/tmp/missu-1/t2.nrrd"): "Case t2 (flair?)"}  # noqa: S108
    t2 = Path("/tmp/missu-1/t2.nrrd")  # noqa: S108
    message = Text(
        a_modality("t1ce"),
        ": fits ",
        a_modality("t1"),
        " poorly; see ",
        a_file(t2),
        ", --t1, t1-like",
    )
    assert run.inUsersWords(Text.from_json(message.to_json())) == (
        "T1ce: fits T1 poorly; see Case t2 (flair?), --t1, t1-like."
    )
    assert run.inUsersWords(Text("t1: as given.")) == "t1: as given."
    advice = Text("compare with ", an_option("--bias-field never"))
    assert run.inUsersWords(Text.from_json(advice.to_json())) == (
        'compare with "bias-field never" (an option on the command line).'
    )


def test_a_skull_that_nothing_takes_off_is_an_error_of_its_own(
    volumes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "skull.py"
    event = ErrorEvent(Text("give --brain-mask"), ErrorCode.BRAIN_EXTRACTION_MISSING)
    path.write_text(f"{WAIT}print({event.to_line()!r})\nsys.exit(4)")
    monkeypatch.setattr(processModule, "corePython", lambda: [sys.executable, str(path)])
    logic = SegmentationLogic()
    with pytest.raises(BrainExtractionMissing, match=r'pip_install\("deepbet"\).*"hdbet".*"never"'):
        logic.segment(**volumes)
    assert isinstance(logic.error(), BrainExtractionMissing)


def test_a_result_that_is_not_there_is_a_failure(
    volumes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, temporaryFolder: Path
) -> None:
    path = tmp_path / "lazy.py"
    path.write_text(WAIT)
    monkeypatch.setattr(processModule, "corePython", lambda: [sys.executable, str(path)])
    with pytest.raises(SegmentationError, match=r"cannot be used \(.*report.json.*segment again"):
        SegmentationLogic().segment(**volumes)
    assert not leftFolders(temporaryFolder)


def test_what_cannot_be_used_is_refused_before_anything_starts(
    volumes: dict[str, Any], temporaryFolder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logic = SegmentationLogic()
    with pytest.raises(SegmentationError, match="No volume is selected"):
        logic.segment(blocking=False)
    with pytest.raises(SegmentationError, match="selected as T1 and as T2"):
        logic.segment(t1=volumes["t1"], t2=volumes["t1"])
    monkeypatch.setattr(logicModule, "torchIsInstalled", lambda: False)
    with pytest.raises(SegmentationError, match="PyTorch is not installed"):
        logic.segment(**volumes)
    assert not logic.isRunning() and not list(temporaryFolder.iterdir())


@pytest.mark.usefixtures("sleepingCore")
def test_cancel_is_answered_at_once_and_leaves_nothing(
    volumes: dict[str, Any], temporaryFolder: Path, scene: Any
) -> None:
    logic = SegmentationLogic()
    events: list[ProgressEvent] = []
    told: list[str] = []
    logic.segment(
        **volumes,
        onProgress=events.append,
        onFailed=lambda *_: told.append("failed"),
        onCancelled=lambda: told.append("cancelled"),
        blocking=False,
    )
    pollUntil(logic, lambda: any(event.stage == "read" for event in events))
    assert leftFolders(temporaryFolder)
    began = time.monotonic()
    logic.cancel()
    assert time.monotonic() - began < CANCEL_SECONDS
    logic.cancel()
    logic.poll()
    assert told == ["cancelled"] and not logic.isRunning()
    assert not list(temporaryFolder.iterdir())
    assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0


@pytest.mark.usefixtures("sleepingCore")
def test_cancel_from_within_the_progress_ends_a_blocking_call(
    volumes: dict[str, Any], temporaryFolder: Path
) -> None:
    logic = SegmentationLogic()

    def cancelOnRead(event: ProgressEvent) -> None:
        if event.stage == "read":
            logic.cancel()

    assert logic.segment(**volumes, onProgress=cancelOnRead) is None
    assert not logic.isRunning() and not leftFolders(temporaryFolder)


@pytest.mark.usefixtures("sleepingCore")
def test_ctrl_c_ends_a_blocking_call(volumes: dict[str, Any], temporaryFolder: Path) -> None:
    def interrupt(event: ProgressEvent) -> None:
        if event.stage == "read":
            raise KeyboardInterrupt

    logic = SegmentationLogic()
    with pytest.raises(KeyboardInterrupt):
        logic.segment(**volumes, onProgress=interrupt)
    assert not logic.isRunning() and not leftFolders(temporaryFolder)


@pytest.mark.usefixtures("sleepingCore")
def test_an_error_while_preparing_leaves_nothing(
    volumes: dict[str, Any], temporaryFolder: Path
) -> None:
    def fail(event: ProgressEvent) -> None:
        raise ZeroDivisionError

    logic = SegmentationLogic()
    with pytest.raises(ZeroDivisionError):
        logic.segment(**volumes, onProgress=fail, blocking=False)
    assert not logic.isRunning() and not leftFolders(temporaryFolder)


def test_a_result_waits_until_a_scene_is_loaded(
    volumes: dict[str, Any], settings: SegmentationSettings, scene: Any
) -> None:
    logic = SegmentationLogic()
    results: list[SegmentationResult] = []
    logic.segment(**volumes, settings=settings, onFinished=results.append, blocking=False)
    scene.StartState(scene.ImportState)
    limit = time.monotonic() + PATIENCE_SECONDS
    while logic._run._process.isAlive():
        assert time.monotonic() < limit, "nothing happens"
        logic.poll()
    logic.poll()
    assert not results and scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0
    scene.EndState(scene.ImportState)
    pollUntil(logic, lambda: not logic.isRunning())
    assert len(results) == 1


@pytest.mark.parametrize("blocking", [True, False])
def test_a_closed_scenes_results_are_let_go(
    scene: Any, volumes: dict[str, Any], settings: SegmentationSettings, blocking: bool
) -> None:
    logic = SegmentationLogic()
    logic.segment(**volumes, settings=settings, blocking=blocking)
    pollUntil(logic, lambda: not logic.isRunning())
    deleted: list[str] = []
    node = scene.GetFirstNodeByClass("vtkMRMLSegmentationNode")
    node.AddObserver("DeleteEvent", lambda *_: deleted.append("segmentation"))
    scene.Clear(True)
    del node
    recorderOf(scene).notePending()  # as the panel's timer does
    assert deleted == ["segmentation"]


@pytest.mark.usefixtures("sleepingCore")
def test_closing_the_scene_cancels(
    volumes: dict[str, Any], temporaryFolder: Path, scene: Any
) -> None:
    logic = SegmentationLogic()
    told: list[str] = []
    logic.segment(**volumes, onCancelled=lambda: told.append("cancelled"), blocking=False)
    began = time.monotonic()
    scene.Clear(False)
    assert time.monotonic() - began < CANCEL_SECONDS
    assert told == ["cancelled"] and not logic.isRunning()
    assert not list(temporaryFolder.iterdir())


def test_a_closed_scenes_volumes_are_let_go(
    scene: Any, volumes: dict[str, Any], sleepingCore: None
) -> None:
    logic = SegmentationLogic()
    logic.segment(**volumes, blocking=False)
    deleted: set[str] = set()
    for name, node in volumes.items():
        node.AddObserver("DeleteEvent", lambda *_, name=name: deleted.add(name))
    scene.Clear(True)
    del node
    volumes.clear()
    assert deleted == {"t1", "t1ce", "t2", "flair"}


def test_a_volume_deleted_meanwhile(
    volumes: dict[str, Any], settings: SegmentationSettings, temporaryFolder: Path, scene: Any
) -> None:
    logic = SegmentationLogic()
    results: list[SegmentationResult] = []
    failures: list[str] = []
    callbacks = {
        "onFinished": results.append,
        "onFailed": lambda message, _: failures.append(message),
    }
    # The result can do without T2, but not without T1ce, on whose grid it lies.
    logic.segment(**volumes, settings=settings, **callbacks, blocking=False)
    scene.RemoveNode(volumes.pop("t2"))
    pollUntil(logic, lambda: not logic.isRunning())
    np.testing.assert_array_equal(
        mask(results[0].segmentationNode, "TC", volumes["t1ce"]), box("TC")
    )
    logic.segment(**volumes, settings=settings, **callbacks, blocking=False)
    scene.RemoveNode(volumes["t1ce"])
    pollUntil(logic, lambda: not logic.isRunning())
    assert failures == ["Case t1ce was deleted meanwhile; nothing was added."]
    assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 1
    assert not leftFolders(temporaryFolder)


def test_no_segments_are_put_on_an_image_that_was_not_segmented(
    volumes: dict[str, Any], settings: SegmentationSettings, scene: Any
) -> None:
    logic = SegmentationLogic()
    failures: list[str] = []
    # As when the user browses a sequence: the same node, another image of the same size.
    logic.segment(
        **volumes,
        settings=settings,
        onFailed=lambda message, _: failures.append(message),
        blocking=False,
    )
    slicer.util.updateVolumeFromArray(volumes["t1ce"], voxelsOf("t1ce")[::-1].copy())
    pollUntil(logic, lambda: not logic.isRunning())
    assert failures == ["Case t1ce was changed meanwhile; segment it again."]
    assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0


@pytest.mark.usefixtures("sleepingCore")
def test_temporary_files_are_kept_on_request(
    volumes: dict[str, Any], temporaryFolder: Path
) -> None:
    logic = SegmentationLogic()
    events: list[ProgressEvent] = []
    settings = SegmentationSettings(keepTemporaryFiles=True)
    logic.segment(**volumes, settings=settings, onProgress=events.append, blocking=False)
    pollUntil(logic, lambda: any(event.stage == "read" for event in events))
    (log,) = temporaryFolder.glob("*.log")
    text = log.read_text()
    logic.cancel()
    (folder,) = leftFolders(temporaryFolder)
    assert sorted(path.name for path in folder.glob("*.nrrd")) == [
        "flair.nrrd",
        "t1.nrrd",
        "t1ce.nrrd",
        "t2.nrrd",
    ]
    assert str(folder) in text


@pytest.mark.parametrize(
    ("request_", "kept"),
    [("ChangeCasesRequest(action='remove')", 0), ("EvaluateRequest(Path('a'), Path('b'))", 1)],
)
def test_only_the_log_of_a_failed_run_outlives_the_program(
    temporaryFolder: Path, request_: str, kept: int
) -> None:
    code = (
        "import slicer, tempfile\n"
        "from pathlib import Path\n"
        "from MISSUCore.contract.requests.commands import ChangeCasesRequest, EvaluateRequest\n"
        "from MISSUSegmentationLib.Core.CoreProcess import CoreProcess\n"
        "from MISSUSegmentationLib.Core.CoreRun import CoreRun, SegmentationError\n"
        f"tempfile.tempdir = {str(temporaryFolder)!r}\n"
        "run = CoreRun(slicer.vtkMRMLScene())\n"
        "process = CoreProcess('MISSUCore.contract.labels')\n"
        f"run.start(process, lambda run: {request_}, lambda run: None)\n"
        "try:\n    run.wait()\nexcept SegmentationError:\n    pass\n"
        "assert run.logPath.is_file()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=MODULE, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert [path.suffix for path in temporaryFolder.iterdir()] == [".log"] * kept


@pytest.fixture
def truth(scene: Any, volumes: dict[str, Any]) -> Any:
    labels = BRATS.to_labels(np.stack([box(name) for name in ("WT", "TC", "ET")]))
    node = importSegmentation(labels, {"t1ce": volumes["t1ce"]}, BRATS)
    node.SetName("truth")
    return node


def test_compare_scores_every_region(
    volumes: dict[str, Any], truth: Any, temporaryFolder: Path
) -> None:
    shifted = BRATS.to_labels(
        np.stack([box("WT"), np.roll(box("TC"), 2, axis=2), np.zeros(SHAPE, bool)])
    )
    node = importSegmentation(shifted, volumes, BRATS)
    scores = SegmentationLogic().compare(node, truth)
    assert scores["WT"] == (1.0, 0.0)
    # 7 voxels long, moved by 2: 5 of them in common; the ends are 2 mm apart.
    assert scores["TC"] == (pytest.approx(5 / 7), pytest.approx(2.0))
    assert scores["ET"][0] == 0.0
    assert not leftFolders(temporaryFolder)


def test_compare_with_a_label_map_under_another_transform(
    scene: Any, volumes: dict[str, Any], truth: Any, addTransform: Callable[..., Any]
) -> None:
    labels = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
    slicer.vtkSlicerSegmentationsModuleLogic.ExportAllSegmentsToLabelmapNode(truth, labels)
    slicer.util.updateVolumeFromArray(
        labels, BRATS.to_labels(np.stack([box(name) for name in ("WT", "TC", "ET")]))
    )
    labels.CopyOrientation(volumes["t1ce"])
    moved = np.eye(4)
    moved[:3, 3] = AXES[:, 1] * 3
    addTransform(moved, labels)
    results: list[dict[str, tuple[float, float]]] = []
    logic = SegmentationLogic()
    assert logic.compare(truth, labels, onFinished=results.append, blocking=False) is None
    pollUntil(logic, lambda: not logic.isRunning())
    # WT is 9 voxels wide along that axis: 6 of them in common.
    assert results[0]["WT"] == (pytest.approx(6 / 9), pytest.approx(3.0))


def test_compare_refuses_what_has_nothing_in_common(
    scene: Any, truth: Any, temporaryFolder: Path
) -> None:
    drawn = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "drawn")
    drawn.GetSegmentation().AddEmptySegment("skull", "Skull")
    with pytest.raises(SegmentationError, match="No segment of drawn is recognized"):
        SegmentationLogic().compare(truth, drawn)
    assert not leftFolders(temporaryFolder)


def test_the_modules_process_never_loads_torch() -> None:
    code = (
        "import sys\nimport MISSUSegmentationLib.Logic.SegmentationLogic as module\n"
        "module.SegmentationLogic()\n"
        "import MISSUSegmentationLib.Logic.InputGuess\n"
        "assert not {'torch', 'SimpleITK', 'scipy'} & set(sys.modules), 'loaded'\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=MODULE, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
