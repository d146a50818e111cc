"""The panel, driven by clicks: the real .ui file and widget code, the real scene.

MISSUCore is a fake process here (see fake_missu.py), but for the self test at the end.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from MISSUCore.contract.options import Cleanup, PreprocessingOptions
from MISSUCore.core.errors import ErrorCode

pytest.importorskip("slicer", reason="needs the package slicer-core")
pytest.importorskip("PySide6", reason="needs the package PySide6-Essentials")

from Testing.Module.gui.user import MODALITIES, Panel, putPythonOnPath

pytestmark = pytest.mark.slow  # each starts a process that stands for missu

REPOSITORY = Path(__file__).parents[3]
LABELS = np.zeros((8, 9, 10), np.float32)
LABELS[1:6, 1:6, 1:6] = 2
LABELS[2:5, 2:5, 2:5] = 4
LABELS[3, 3, 3] = 1
VOXEL_ML = 0.008


@pytest.fixture
def case(panel: Panel, addVolume: Callable[..., Any]) -> dict[str, Any]:
    """Four volumes in the scene, selected; the T1 holds the labels that the fake finds."""
    nodes = {m: addVolume(f"Case_{m}", LABELS if m == "t1" else LABELS + 5) for m in MODALITIES}
    panel.settle()
    return nodes


def segmentations(slicer: Any) -> list[Any]:
    return slicer.util.getNodesByClass("vtkMRMLSegmentationNode")


def leftovers(slicer: Any) -> list[Path]:
    """Folders of runs that are still there; that of a process standing by is empty."""
    entries = Path(slicer.app.temporaryPath).iterdir()
    folders = [path for path in entries if path.is_dir() and "page" not in path.name]
    return [folder for folder in folders if any(folder.iterdir())]


def test_an_empty_scene_tells_what_is_missing(panel: Panel) -> None:
    assert not panel.ui.segmentButton.enabled
    assert "T1, T1ce, T2, FLAIR" in panel.ui.segmentButton.toolTip
    assert panel.ui.hintLabel.text == panel.ui.segmentButton.toolTip
    assert not panel.ui.resultTable.visible
    assert not panel.ui.editButton.enabled
    assert not panel.ui.compareButton.enabled


@pytest.mark.slow
def test_opening_loads_no_torch() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "Testing.Module.gui.opening"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert done.stdout.splitlines()[-1] == "slow packages:"


def test_volumes_are_selected_by_name_as_they_are_loaded(
    panel: Panel, addVolume: Callable[..., Any]
) -> None:
    addVolume("BraTS-GLI-00001-000-t2f")
    panel.settle()
    assert panel.selected() == {"flair": "BraTS-GLI-00001-000-t2f"}
    for ending in ("t1n", "t1c", "t2w"):
        addVolume(f"BraTS-GLI-00001-000-{ending}")
    panel.settle()
    assert panel.selected() == {
        "t1": "BraTS-GLI-00001-000-t1n",
        "t1ce": "BraTS-GLI-00001-000-t1c",
        "t2": "BraTS-GLI-00001-000-t2w",
        "flair": "BraTS-GLI-00001-000-t2f",
    }
    assert panel.ui.segmentButton.enabled
    assert not panel.ui.hintLabel.visible


def test_another_patient_changes_no_selection(
    panel: Panel, case: dict[str, Any], addVolume: Callable[..., Any]
) -> None:
    for modality in MODALITIES:
        addVolume(f"Other_{modality}")
    panel.settle()
    assert panel.selected() == {modality: f"Case_{modality}" for modality in MODALITIES}


def test_what_the_user_cleared_stays_empty(
    panel: Panel, case: dict[str, Any], addVolume: Callable[..., Any]
) -> None:
    panel.choose("t2Selector", "None")
    addVolume("unnamed")
    panel.settle()
    assert "t2" not in panel.selected()
    panel.click("guessButton")
    assert panel.selected()["t2"] == "Case_t2"


def test_guessing_says_why_and_how_sure_it_is(panel: Panel, case: dict[str, Any]) -> None:
    panel.click("guessButton")
    assert "T2: name &#x27;Case_t2&#x27; (95 % sure)" in panel.ui.statusLabel.text


def test_images_tell_where_names_do_not(panel: Panel, slicerApplication: Any) -> None:
    panel.click("sampleButton")
    named = panel.selected()
    for modality, name in named.items():
        slicerApplication.util.getNode(name).SetName(f"Series {MODALITIES.index(modality)}")
    panel.click("guessButton")
    assert panel.selected() == {m: f"Series {MODALITIES.index(m)}" for m in named}
    assert "FLAIR: the image looks like flair" in panel.ui.statusLabel.text


def test_guessing_says_what_it_cannot_tell(
    panel: Panel, case: dict[str, Any], addVolume: Callable[..., Any]
) -> None:
    addVolume("Other_flair")
    panel.click("guessButton")
    assert "flair" not in panel.selected()
    assert "FLAIR" in panel.ui.statusLabel.text


def test_a_volume_selected_twice_is_refused(panel: Panel, case: dict[str, Any]) -> None:
    panel.choose("t1ceSelector", "Case_t1")
    assert not panel.ui.segmentButton.enabled
    assert "Case_t1" in panel.ui.segmentButton.toolTip
    panel.choose("t1ceSelector", "Case_t1ce")
    assert panel.ui.segmentButton.enabled


def test_one_volume_may_be_missing_of_two_only_some(panel: Panel, case: dict[str, Any]) -> None:
    panel.choose("t1Selector", "None")
    assert panel.ui.segmentButton.enabled
    panel.choose("flairSelector", "None")
    assert not panel.ui.segmentButton.enabled
    assert panel.ui.segmentButton.toolTip == "Select T1, FLAIR; 1 may be missing."
    # T1ce and FLAIR alone do, as the model's card says.
    panel.choose("flairSelector", "Case_flair")
    panel.choose("t2Selector", "None")
    assert panel.ui.segmentButton.enabled


def test_a_deleted_volume_leaves_its_selector(
    panel: Panel, case: dict[str, Any], slicerApplication: Any
) -> None:
    slicerApplication.mrmlScene.RemoveNode(case["flair"])
    panel.settle()
    assert set(panel.selected()) == {"t1", "t1ce", "t2"}
    assert panel.widget.parameters.flair is None


def test_the_sample_is_one_click(panel: Panel, slicerApplication: Any) -> None:
    panel.click("sampleButton")
    assert panel.selected() == {m: f"SimulatedTumor_{m}" for m in MODALITIES}
    assert panel.ui.segmentButton.enabled
    assert panel.ui.referenceSelector.currentNode().GetName() == "SimulatedTumor_truth"


def test_segment_shows_progress_and_the_result(
    panel: Panel, case: dict[str, Any], missu: SimpleNamespace, slicerApplication: Any
) -> None:
    shown = []
    panel.ui.progressBar.valueChanged.connect(lambda value: shown.append(panel.ui.progressBar.text))
    panel.click("segmentButton")
    assert panel.ui.segmentButton.text == "Cancel"
    assert panel.ui.progressBar.visible
    panel.wait(lambda: panel.ui.segmentButton.text == "Segment")
    assert "Segmenting  ·  40 %  ·  1:05 left" in shown
    assert not panel.ui.progressBar.visible
    assert panel.ui.statusLabel.text.startswith("Done in")
    (node,) = segmentations(slicerApplication)
    assert panel.ui.resultSelector.currentNode() is node
    assert panel.ui.show3DButton.segmentationNode() is node
    assert panel.table() == [
        ["Segment", "Volume (ml)"],
        ["Whole tumor", f"{125 * VOXEL_ML:.1f}"],
        ["Tumor core", f"{27 * VOXEL_ML:.1f}"],
        ["Enhancing tumor", f"{26 * VOXEL_ML:.1f}"],
    ]
    assert leftovers(slicerApplication) == []


def test_a_new_result_is_brought_into_view(
    panel: Panel, case: dict[str, Any], missu: SimpleNamespace, slicerApplication: Any
) -> None:
    scene = slicerApplication.mrmlScene
    layers = scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    view = scene.AddNewNodeByClass("vtkMRMLSliceNode")
    panel.segment()
    assert layers.GetBackgroundVolumeID() == case["t1ce"].GetID()
    # The whole tumor is around voxel (3, 3, 3), of 2 mm.
    offset = view.GetSliceToRAS().GetElement(2, 3)
    assert offset == pytest.approx(6, abs=1.01)
    layers.SetBackgroundVolumeID(case["flair"].GetID())
    panel.segment()
    assert layers.GetBackgroundVolumeID() == case["flair"].GetID()  # seen already


def test_exclusive_segments_still_tell_the_regions_volumes(
    panel: Panel, case: dict[str, Any], missu: SimpleNamespace
) -> None:
    panel.choose("segmentsComboBox", "Edema, enhancing, necrosis (exclusive)")
    panel.segment()
    volumes = dict(panel.table()[1:])
    assert volumes == {
        "Necrotic and non-enhancing tumor core": f"{1 * VOXEL_ML:.1f}",
        "Peritumoral edema": f"{98 * VOXEL_ML:.1f}",
        "Enhancing tumor": f"{26 * VOXEL_ML:.1f}",
        "Whole tumor": f"{125 * VOXEL_ML:.1f}",
        "Tumor core": f"{27 * VOXEL_ML:.1f}",
    }


def test_confidence_and_warnings_are_shown(
    panel: Panel, case: dict[str, Any], missu: SimpleNamespace
) -> None:
    missu.behave(
        confidence={"WT": 0.91, "TC": 0.8},
        warnings=[[{"modality": "t1"}, " is missing"], "too bright"],
    )
    panel.segment()
    assert [row[2] for row in panel.table()] == ["Expected Dice", "0.91", "0.80", "-"]
    assert "T1 is missing." in panel.ui.warningsLabel.text
    assert "too bright" in panel.ui.warningsLabel.text
    missu.behave()
    panel.segment()
    assert len(panel.table()[0]) == 2
    assert not panel.ui.warningsLabel.visible


def test_the_choices_reach_missu(
    panel: Panel, case: dict[str, Any], missu: SimpleNamespace
) -> None:
    panel.expand("advancedCollapsibleButton")
    panel.choose("deviceComboBox", "Processor")
    panel.click("mirrorCheckBox")
    panel.ui.minimumIslandSpinBox.setValue(250)
    panel.choose("t2Selector", "None")
    panel.segment()
    request = missu.request()
    assert (request.options.device, request.options.mirror) == ("cpu", True)
    assert request.options.cleanup == Cleanup(250, 0, fill_holes=True)
    assert request.probabilities is False and request.model == "missu-brats-precise"
    assert set(request.scans.images) == {"t1", "t1ce", "flair"}


def test_how_scans_are_prepared_reaches_missu(
    panel: Panel, case: dict[str, Any], missu: SimpleNamespace
) -> None:
    panel.segment()
    scans = missu.request().scans
    assert scans.reference == "t1ce" and scans.brain_mask is None
    assert scans.preprocessing == PreprocessingOptions()
    panel.expand("advancedCollapsibleButton")
    panel.choose("brainExtractionComboBox", "Scans are stripped already")
    panel.click("registrationCheckBox")
    assert not panel.ui.moveScansCheckBox.enabled
    panel.click("biasFieldCheckBox")
    panel.segment()
    assert missu.request().scans.preprocessing == PreprocessingOptions(False, False, "always")


def test_scans_that_were_moved_are_told(
    panel: Panel, case: dict[str, Any], missu: SimpleNamespace
) -> None:
    missu.behave(moved={"t2": [0.0, 3.0, 4.0]})
    panel.segment()
    assert "T2 was moved by 5.0 mm onto the result." in panel.ui.statusLabel.text
    assert case["t2"].GetParentTransformNode().GetName() == "T2 to T1ce (MISSU)"
    panel.expand("advancedCollapsibleButton")
    panel.click("moveScansCheckBox")
    missu.behave(moved={"flair": [0.0, 0.0, 2.0]})
    panel.segment()
    assert "FLAIR lies 2.0 mm away from the result" in panel.ui.statusLabel.text
    assert case["flair"].GetParentTransformNode() is None


@pytest.fixture
def skull(
    panel: Panel,
    case: dict[str, Any],
    missu: SimpleNamespace,
    slicerApplication: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> SimpleNamespace:
    """Scans with a skull, and no deepbet yet; the user says yes, until told otherwise."""
    told = SimpleNamespace(questions=[], answer=True, installed=[])
    missu.behave(error="the scans show the skull", code=ErrorCode.BRAIN_EXTRACTION_MISSING)

    def install(requirements: list[str]) -> None:
        told.installed.append(requirements[0])
        missu.behave()

    def confirm(question: str) -> bool:
        told.questions.append(question)
        return told.answer

    monkeypatch.setattr(slicerApplication.util, "pip_install", install, raising=False)
    monkeypatch.setattr(slicerApplication.util, "confirmOkCancelDisplay", confirm)
    return told


def test_what_takes_off_the_skull_is_installed_after_asking(
    panel: Panel, skull: SimpleNamespace, slicerApplication: Any
) -> None:
    panel.click("segmentButton")
    panel.wait(lambda: segmentations(slicerApplication) != [])
    assert skull.installed == ["deepbet"]
    (question,) = skull.questions
    assert "deepbet" in question and "HD-BET" not in question
    assert panel.ui.statusLabel.text.startswith("Done in")


def test_who_does_not_want_it_is_told_the_choices(
    panel: Panel,
    skull: SimpleNamespace,
    slicerApplication: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "HDBrainExtractionTool.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    skull.answer = False
    panel.click("segmentButton")
    panel.wait(lambda: skull.questions != [])
    panel.settle()
    assert "HD-BET, which is installed" in skull.questions[0]
    assert "choose under Advanced" in panel.ui.statusLabel.text
    assert skull.installed == []
    assert not panel.widget.logic.isRunning()


def test_nobody_is_asked_who_is_elsewhere(panel: Panel, skull: SimpleNamespace) -> None:
    panel.click("segmentButton")
    panel.widget.exit()
    panel.wait(lambda: not panel.widget.logic.isRunning())
    panel.settle()
    assert skull.questions == []


def test_a_failed_installation_is_told(
    panel: Panel,
    skull: SimpleNamespace,
    slicerApplication: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(requirements: list[str]) -> None:
        raise OSError("no network")

    monkeypatch.setattr(slicerApplication.util, "pip_install", fail, raising=False)
    panel.click("segmentButton")
    panel.wait(lambda: "could not be installed" in panel.ui.statusLabel.text)
    assert len(skull.questions) == 1


def test_hd_bet_without_its_extension_is_told(panel: Panel, case: dict[str, Any]) -> None:
    panel.expand("advancedCollapsibleButton")
    panel.choose("brainExtractionComboBox", "HD-BET extension")
    panel.click("segmentButton")
    assert "HDBrainExtraction is missing" in panel.ui.statusLabel.text
    assert panel.ui.segmentButton.text == "Segment"


@pytest.fixture
def twoPatients(
    case: dict[str, Any], fromDicom: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> SimpleNamespace:
    """DICOM says that FLAIR is another patient's; the user says no, until told otherwise."""
    import slicer

    told = SimpleNamespace(questions=[], answer=False)

    def confirm(question: str) -> bool:
        told.questions.append(question)
        return told.answer

    monkeypatch.setattr(slicer.util, "confirmYesNoDisplay", confirm)
    for modality, node in case.items():
        fromDicom(node, _00100020="2" if modality == "flair" else "1")
    return told


def test_scans_of_two_patients_are_asked_about(
    panel: Panel, twoPatients: SimpleNamespace, missu: SimpleNamespace, slicerApplication: Any
) -> None:
    panel.click("segmentButton")
    panel.wait(lambda: twoPatients.questions != [])
    (question,) = twoPatients.questions
    assert "Case_t1 and Case_flair are of two patients" in question
    assert "are of two patients" in panel.ui.statusLabel.text
    assert segmentations(slicerApplication) == [] and not panel.widget.logic.isRunning()
    twoPatients.answer = True
    panel.click("segmentButton")
    panel.wait(lambda: panel.ui.statusLabel.text.startswith("Done in"))
    assert len(twoPatients.questions) == 2
    assert missu.request().scans.preprocessing.different_anatomy


def test_images_that_show_two_brains_are_asked_about(
    panel: Panel, case: dict[str, Any], missu: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    import slicer

    questions = []

    def confirm(question: str) -> bool:
        questions.append(question)
        missu.behave()
        return True

    monkeypatch.setattr(slicer.util, "confirmYesNoDisplay", confirm)
    missu.behave(error="flair: shows another brain", code=ErrorCode.ANATOMY_DIFFERS)
    panel.click("segmentButton")
    panel.wait(lambda: panel.ui.statusLabel.text.startswith("Done in"))
    assert len(questions) == 1 and "shows another brain" in questions[0]
    assert missu.request().scans.preprocessing.different_anatomy


def test_scans_of_two_days_are_warned_of(
    panel: Panel, case: dict[str, Any], missu: SimpleNamespace, fromDicom: Callable[..., None]
) -> None:
    for modality, node in case.items():
        fromDicom(node, _00080020="20240506" if modality == "flair" else "20240110")
    panel.segment()
    warning = panel.ui.warningsLabel.text
    assert "Case_t1, Case_t1ce, Case_t2: 2024-01-10; Case_flair: 2024-05-06" in warning


def test_the_quality_page_of_the_shown_result_is_opened(
    panel: Panel, case: dict[str, Any], missu: SimpleNamespace, slicerApplication: Any
) -> None:
    import qt

    case["t1"].SetName("<i>One")
    assert not panel.ui.qualityPageButton.enabled
    panel.segment()
    panel.click("qualityPageButton")
    first = Path(qt.QDesktopServices.opened[-1])
    assert first.read_text() == "<html>Case_t1ce segmentation &lt;i&gt;One"
    assert first.parent.stat().st_mode & 0o077 == 0  # images of a patient
    panel.segment()
    panel.click("qualityPageButton")
    second = Path(qt.QDesktopServices.opened[-1])
    assert second != first and not first.exists()
    panel.choose("resultSelector", "None")
    assert not panel.ui.qualityPageButton.enabled
    slicerApplication.mrmlScene.Clear(False)
    assert not second.exists()


def test_a_page_that_is_gone_is_not_opened(
    panel: Panel, case: dict[str, Any], missu: SimpleNamespace, slicerApplication: Any
) -> None:
    import qt

    panel.segment()
    for page in Path(slicerApplication.app.temporaryPath).glob("missu-page-*/*"):
        page.unlink()
    opened = len(qt.QDesktopServices.opened)
    panel.click("qualityPageButton")
    assert len(qt.QDesktopServices.opened) == opened
    assert not panel.ui.qualityPageButton.enabled


@pytest.mark.parametrize(
    "report",
    ["{", "[]", "7", '{"confidence": ["WT"]}', '{"confidence": {"WT": "good"}, "warnings": 3}'],
)
def test_a_report_that_was_written_by_hand_is_none(
    report: str, panel: Panel, case: dict[str, Any], slicerApplication: Any
) -> None:
    node = slicerApplication.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Mine")
    node.SetAttribute("MISSU.Report", report)
    panel.choose("resultSelector", "Mine")
    assert panel.ui.editButton.enabled
    assert not panel.ui.warningsLabel.visible


def test_a_result_says_what_its_dicom_segmentation_lacks(
    panel: Panel, case: dict[str, Any], missu: SimpleNamespace, slicerApplication: Any
) -> None:
    panel.segment()
    (result,) = segmentations(slicerApplication)
    scan = result.GetNodeReference(result.GetReferenceImageGeometryReferenceRole())
    assert f"{scan.GetName()} did not come from there" in panel.ui.resultTable.toolTip
    scan.SetAttribute("DICOM.instanceUIDs", "1.2.3 1.2.4")
    slicerApplication.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "By hand")
    panel.choose("resultSelector", "By hand")
    assert "not in the scene" in panel.ui.resultTable.toolTip
    panel.choose("resultSelector", result.GetName())
    assert not panel.ui.resultTable.toolTip


def test_segmenting_again_replaces_the_result_unless_it_was_renamed(
    panel: Panel, case: dict[str, Any], missu: SimpleNamespace, slicerApplication: Any
) -> None:
    panel.segment()
    (first,) = segmentations(slicerApplication)
    panel.segment()
    assert segmentations(slicerApplication) == [first]
    first.SetName("Mine")
    panel.segment()
    assert len(segmentations(slicerApplication)) == 2
    assert panel.ui.resultSelector.currentNode() is not first


def test_cancel_ends_the_run_within_two_seconds(
    panel: Panel, case: dict[str, Any], missu: SimpleNamespace, slicerApplication: Any
) -> None:
    missu.behave(hang=True)
    panel.click("segmentButton")
    panel.wait(lambda: panel.ui.progressBar.value == 400)
    panel.click("segmentButton")
    assert panel.wait(lambda: panel.ui.segmentButton.text == "Segment") < 2
    assert panel.ui.statusLabel.text == "Cancelled."
    assert not panel.ui.progressBar.visible
    assert segmentations(slicerApplication) == []
    assert leftovers(slicerApplication) == []
    missu.behave()
    panel.segment()
    assert len(segmentations(slicerApplication)) == 1


def test_a_failure_is_one_sentence_and_a_log(
    panel: Panel, case: dict[str, Any], missu: SimpleNamespace, slicerApplication: Any
) -> None:
    import qt

    missu.behave(error="the scans <b> lie apart; register them first")
    panel.segment()
    assert "The scans &lt;b&gt; lie apart; register them first" in panel.ui.statusLabel.text
    assert segmentations(slicerApplication) == []
    panel.ui.statusLabel.linkActivated.emit("log")
    log = Path(qt.QDesktopServices.opened[-1])
    assert "lie apart" in log.read_text()
    assert panel.ui.logButton.enabled


def test_a_missing_pytorch_extension_is_told(
    panel: Panel, case: dict[str, Any], missu: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    import MISSUSegmentation

    monkeypatch.setattr(MISSUSegmentation, "torchIsInstalled", lambda: False)
    panel.click("segmentButton")
    assert "PyTorch extension" in panel.ui.statusLabel.text
    assert panel.ui.segmentButton.text == "Segment"


def test_edit_opens_segment_editor(
    panel: Panel, case: dict[str, Any], missu: SimpleNamespace, slicerApplication: Any
) -> None:
    panel.segment()
    panel.click("editButton")
    editor = slicerApplication.modules.segmenteditor.widgetRepresentation().self().editor
    assert slicerApplication.app.selector.selected == "SegmentEditor"
    assert editor.segmentationNode is panel.ui.resultSelector.currentNode()
    assert editor.sourceVolumeNode is case["t1ce"]
    parameters = editor.mrmlSegmentEditorNode()
    assert parameters.GetOverwriteMode() == parameters.OverwriteNone


def test_edit_leaves_exclusive_segments_exclusive(
    panel: Panel, case: dict[str, Any], missu: SimpleNamespace, slicerApplication: Any
) -> None:
    panel.choose("segmentsComboBox", "Edema, enhancing, necrosis (exclusive)")
    panel.segment()
    panel.click("editButton")
    editor = slicerApplication.modules.segmenteditor.widgetRepresentation().self().editor
    parameters = editor.mrmlSegmentEditorNode()
    assert parameters.GetOverwriteMode() == parameters.OverwriteAllSegments


def test_an_edited_result_has_new_volumes_when_the_user_comes_back(
    panel: Panel, case: dict[str, Any], missu: SimpleNamespace, slicerApplication: Any
) -> None:
    panel.segment()
    panel.widget.exit()
    slicerApplication.util.updateSegmentBinaryLabelmapFromArray(
        np.ones(LABELS.shape, np.uint8), segmentations(slicerApplication)[0], "WT", case["t1ce"]
    )
    panel.widget.enter()
    assert panel.table()[1] == ["Whole tumor", f"{LABELS.size * VOXEL_ML:.1f}"]


def test_compare_adds_the_scores_until_another_reference_is_chosen(
    panel: Panel, case: dict[str, Any], missu: SimpleNamespace, slicerApplication: Any
) -> None:
    panel.segment()
    first = segmentations(slicerApplication)[0]
    first.SetName("Mine")
    panel.segment()
    panel.choose("referenceSelector", "Mine")
    missu.behave(scores={"WT": {"dice": 0.91234, "hausdorff95_mm": 2.5}})
    panel.click("compareButton")
    panel.wait(lambda: panel.ui.compareButton.enabled)
    header, wholeTumor, core, _ = panel.table()
    assert header[2:] == ["Dice", "HD95 (mm)"]
    assert wholeTumor[2:] == ["0.912", "2.5"]
    assert core[2:] == ["-", "-"]
    panel.choose("referenceSelector", "None")
    assert len(panel.table()[0]) == 2


def test_nothing_is_compared_with_itself(
    panel: Panel, case: dict[str, Any], missu: SimpleNamespace
) -> None:
    panel.segment()
    name = panel.ui.resultSelector.currentNode().GetName()
    panel.choose("referenceSelector", name)
    assert not panel.ui.compareButton.enabled
    assert "its own reference" in panel.ui.compareButton.toolTip


def test_a_volume_deleted_during_the_run_is_told(
    panel: Panel, case: dict[str, Any], missu: SimpleNamespace, slicerApplication: Any
) -> None:
    missu.behave(hang=True)
    panel.click("segmentButton")
    panel.wait(lambda: panel.ui.progressBar.value == 400)
    slicerApplication.mrmlScene.RemoveNode(case["t1ce"])
    missu.go()
    panel.wait(lambda: panel.ui.segmentButton.text == "Segment")
    assert "Case_t1ce" in panel.ui.statusLabel.text
    assert segmentations(slicerApplication) == []
    assert leftovers(slicerApplication) == []


def test_closing_the_scene_ends_the_run(
    panel: Panel, case: dict[str, Any], missu: SimpleNamespace, slicerApplication: Any
) -> None:
    missu.behave(hang=True)
    panel.click("segmentButton")
    panel.wait(lambda: panel.ui.progressBar.value == 400)
    slicerApplication.mrmlScene.Clear(False)
    panel.wait(lambda: panel.ui.segmentButton.text == "Segment", seconds=2)
    assert panel.selected() == {}
    assert not panel.ui.segmentButton.enabled
    assert leftovers(slicerApplication) == []


def test_the_panel_lives_on_after_a_closed_scene(
    panel: Panel,
    case: dict[str, Any],
    missu: SimpleNamespace,
    slicerApplication: Any,
    addVolume: Callable[..., Any],
) -> None:
    slicerApplication.mrmlScene.Clear(False)
    for modality in MODALITIES:
        addVolume(f"Next_{modality}", LABELS)
    panel.settle()
    panel.segment()
    assert len(segmentations(slicerApplication)) == 1


def test_a_scene_closed_just_before_the_end_revives_nothing(
    slicerApplication: Any, missu: SimpleNamespace
) -> None:
    panel = Panel()
    slicerApplication.mrmlScene.Clear(False)
    panel.close()
    panel.settle()
    assert panel.widget.parameters is None


def test_a_result_arrives_while_the_user_is_elsewhere(
    panel: Panel, case: dict[str, Any], missu: SimpleNamespace, slicerApplication: Any
) -> None:
    scene = slicerApplication.mrmlScene
    layers = scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    layers.SetBackgroundVolumeID(case["flair"].GetID())
    panel.click("segmentButton")
    panel.widget.exit()
    panel.wait(lambda: segmentations(slicerApplication) != [])
    panel.wait(lambda: not panel.widget.logic.isRunning())
    assert layers.GetBackgroundVolumeID() == case["flair"].GetID(), "the user may be painting"
    panel.widget.enter()
    panel.settle()
    assert layers.GetBackgroundVolumeID() == case["t1ce"].GetID()
    assert panel.table()[1][0] == "Whole tumor"
    assert panel.ui.segmentButton.text == "Segment"


def test_saved_choices_are_restored(
    panel: Panel,
    case: dict[str, Any],
    missu: SimpleNamespace,
    slicerApplication: Any,
    tmp_path: Path,
) -> None:
    missu.behave(confidence={"WT": 0.9}, warnings=["look twice"])
    panel.choose("t2Selector", "None")
    panel.segment()
    panel.choose("segmentsComboBox", "Edema, enhancing, necrosis (exclusive)")
    panel.expand("advancedCollapsibleButton")
    panel.choose("deviceComboBox", "Processor")
    panel.click("mirrorCheckBox")
    panel.click("registrationCheckBox")
    panel.choose("brainExtractionComboBox", "HD-BET extension")
    panel.click("probabilitiesCheckBox")
    panel.ui.minimumIslandSpinBox.setValue(40)
    table = panel.table()

    scene = slicerApplication.mrmlScene
    scene.SetRootDirectory(str(tmp_path))
    for node in slicerApplication.util.getNodesByClass("vtkMRMLStorableNode"):
        if node.GetSaveWithScene() and node.AddDefaultStorageNode():
            storage = node.GetStorageNode()
            ending = storage.GetDefaultWriteFileExtension()
            storage.SetFileName(str(tmp_path / f"{node.GetID()}.{ending}"))
            assert storage.WriteData(node)
    assert scene.Commit(str(tmp_path / "scene.mrml"))
    scene.Clear(False)
    panel.settle()
    assert panel.selected() == {}
    assert panel.ui.deviceComboBox.currentText == "Automatic"
    scene.SetURL(str(tmp_path / "scene.mrml"))
    assert scene.Import()
    panel.settle()

    assert panel.selected() == {m: f"Case_{m}" for m in ("t1", "t1ce", "flair")}
    assert panel.ui.segmentsComboBox.currentText == "Edema, enhancing, necrosis (exclusive)"
    assert panel.ui.deviceComboBox.currentText == "Processor"
    assert panel.ui.mirrorCheckBox.checked
    assert not panel.ui.registrationCheckBox.checked
    assert panel.ui.moveScansCheckBox.checked
    assert panel.ui.brainExtractionComboBox.currentText == "HD-BET extension"
    assert panel.ui.probabilitiesCheckBox.checked
    assert not panel.ui.keepTemporaryFilesCheckBox.checked
    assert panel.ui.minimumIslandSpinBox.value == 40
    assert panel.table() == table
    assert "look twice" in panel.ui.warningsLabel.text


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("device", "TPU"),
        ("segments", "regions"),
        ("brainExtraction", ""),
        ("minimumIslandMm3", "many"),
        ("minimumIslandMm3", "1000000"),
        ("minimumIslandMm3", "nan"),
    ],
)
def test_choices_of_another_version_are_the_defaults(
    slicerApplication: Any, missu: SimpleNamespace, name: str, value: str
) -> None:
    first = Panel()
    expected = first.widget.parameters.getValue(name)
    first.widget.parameters.mirror = True
    node = first.widget.parameters.parameterNode
    first.close()
    node.SetParameter(name, value)
    panel = Panel()
    assert panel.widget.parameters.getValue(name) == expected
    assert panel.ui.mirrorCheckBox.checked, "the others stay"
    panel.close()


def test_choices_stay_while_the_user_is_elsewhere(panel: Panel, case: dict[str, Any]) -> None:
    panel.expand("advancedCollapsibleButton")
    for device in ("Processor", "Graphics card (NVIDIA CUDA or AMD ROCm)"):
        panel.choose("deviceComboBox", device)
        panel.widget.exit()
        panel.ui.deviceComboBox.setCurrentIndex(0)  # nobody listens any more
        panel.widget.enter()
        assert panel.ui.deviceComboBox.currentText == device
        assert panel.selected() == {m: f"Case_{m}" for m in MODALITIES}


def test_a_deleted_volume_is_not_replaced_by_its_neighbor(
    panel: Panel,
    case: dict[str, Any],
    slicerApplication: Any,
    addVolume: Callable[..., Any],
) -> None:
    expected = {m: f"Case_{m}" for m in MODALITIES if m != "flair"}
    slicerApplication.mrmlScene.RemoveNode(case["flair"])
    panel.settle()
    assert panel.selected() == expected
    addVolume("Again_flair")
    panel.settle()
    assert panel.selected() == {**expected, "flair": "Again_flair"}


def test_a_reload_takes_the_library_along(panel: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    names = {name for name in sys.modules if name.startswith(("MISSUCore", "MISSUSegmentationLib"))}
    for name in names:  # put back at the end
        monkeypatch.setitem(sys.modules, name, sys.modules[name])
    assert "MISSUSegmentationLib.Panel.PanelRun" in names
    panel.widget.onReload()
    assert not names & set(sys.modules)


def bundledModels() -> list[str]:
    """Names of the models that come with the package, the default one first."""
    names = [path.stem for path in (REPOSITORY / "MISSUCore/weights").glob("*.json")]
    return sorted(names, key=lambda name: name != "missu-brats-precise")


def test_the_card_of_the_model_is_shown(panel: Panel) -> None:
    panel.expand("advancedCollapsibleButton")
    assert panel.ui.modelComboBox.currentText == bundledModels()[0]
    assert "not a medical device" in panel.ui.modelCardLabel.text


@pytest.fixture
def ownModel(tmp_path: Path) -> Path:
    """A card in the user's model folder, with a weight file, and something else there."""
    folder = tmp_path / "models"
    folder.mkdir()
    card = (REPOSITORY / "MISSUCore/weights/missu-brats-fast.json").read_text()
    (folder / "mine.json").write_text(card.replace("missu-brats-fast", "mine"))
    (folder / "mine.pt").write_bytes(b"weights")
    (folder / "notes.json").write_text("{}")
    return folder


@pytest.mark.parametrize(
    "change",
    [
        {"modalities": ["t1", "ct"]},
        {"modalities": []},
        {"modalities": [["t1"]]},
        {"may_miss": "one"},
        {"metrics": []},
        {"metrics": {"mean_by_region": {"WT": "good"}}},
        {"spacing_mm": 2},
        {"limits": ["none"]},
    ],
    ids=str,
)
def test_models_that_cannot_be_used_are_told_of_and_not_offered(
    change: dict[str, Any], ownModel: Path, slicerApplication: Any, missu: SimpleNamespace
) -> None:
    card = json.loads((ownModel / "mine.json").read_text())
    (ownModel / "mine.json").write_text(json.dumps({**card, **change}))
    panel = Panel()
    names = [panel.ui.modelComboBox.itemText(i) for i in range(panel.ui.modelComboBox.count)]
    text = panel.ui.modelCardLabel.text
    panel.close()
    assert names == bundledModels()
    assert f"<b>Cannot be used:</b> {ownModel / 'mine.json'}: is not a model card" in text
    assert "not a medical device" in text and "notes.json" not in text


def test_own_models_can_be_chosen(
    ownModel: Path, panel: Panel, case: dict[str, Any], missu: SimpleNamespace
) -> None:
    panel.expand("advancedCollapsibleButton")
    panel.choose("modelComboBox", "mine")
    panel.segment()
    assert missu.request().model == "mine"


def test_clearing_deletes_own_models_and_nothing_else(
    ownModel: Path, panel: Panel, case: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import slicer

    questions = []
    answers = iter([False, True])

    def confirm(question: str) -> bool:
        questions.append(question)
        return next(answers)

    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", confirm)
    panel.expand("advancedCollapsibleButton")
    panel.choose("modelComboBox", "mine")
    panel.click("clearModelsButton")
    assert len(list(ownModel.iterdir())) == 3
    assert "mine.pt" in questions[0]
    panel.click("clearModelsButton")
    assert [path.name for path in ownModel.iterdir()] == ["notes.json"]
    assert panel.ui.modelComboBox.currentText == bundledModels()[0]
    assert panel.ui.segmentButton.enabled


def test_a_scene_of_another_computer_names_a_missing_model(
    panel: Panel, case: dict[str, Any]
) -> None:
    panel.widget.parameters.model = "elsewhere"
    assert not panel.ui.segmentButton.enabled
    assert "elsewhere" in panel.ui.modelCardLabel.text
    panel.expand("advancedCollapsibleButton")
    panel.choose("modelComboBox", "missu-brats-fast")
    assert panel.ui.segmentButton.enabled


def test_the_model_folder_is_opened(panel: Panel, tmp_path: Path) -> None:
    import qt

    panel.expand("advancedCollapsibleButton")
    panel.click("modelFolderButton")
    assert Path(qt.QDesktopServices.opened[-1]) == tmp_path / "models"
    assert (tmp_path / "models").is_dir()


def test_terminology_and_samples_are_there_after_startup(slicerApplication: Any) -> None:
    import SampleData

    import MISSUSegmentation

    parent = SimpleNamespace(path=MISSUSegmentation.__file__)
    MISSUSegmentation.MISSUSegmentation(parent)
    (started,) = slicerApplication.app.startup
    started()
    logic = slicerApplication.modules.terminologies.logic()
    assert logic.GetNumberOfCategoriesInTerminology("MISSU") == 1
    registered = {source["sampleName"]: source for source in SampleData.SampleDataLogic.registered}
    assert set(registered) == {"BraTS-GLI-00001-000", "SimulatedTumor"}
    layers = slicerApplication.mrmlScene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    registered["SimulatedTumor"]["customDownloader"](None)
    volumes = slicerApplication.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    assert len(volumes) == 4
    assert layers.GetBackgroundVolumeID() in {volume.GetID() for volume in volumes}


def test_a_module_that_is_loaded_after_startup_takes_part_once_it_is_opened(
    panel: Panel, slicerApplication: Any
) -> None:
    from MISSUSegmentationLib import Startup

    # Nothing has told the module that Slicer was started.
    logic = slicerApplication.modules.terminologies.logic()
    assert logic.GetNumberOfCategoriesInTerminology("MISSU") == 1
    scene = slicerApplication.mrmlScene
    timer = Startup._editTimers[scene]
    assert not timer.active
    scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    assert timer.active, "an edit is noted soon"


@pytest.mark.slow
def test_the_self_test_passes_with_the_bundled_model(
    slicerApplication: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import MISSUSegmentation

    putPythonOnPath(monkeypatch, tmp_path)
    MISSUSegmentation.MISSUSegmentationTest().runTest()
