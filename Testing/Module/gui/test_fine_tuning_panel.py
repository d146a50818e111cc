"""The Fine-tune section, driven by clicks; MISSUCore is a fake process (fake_fine_tuning.py)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from MISSUCore.contract.case_record import CaseRecord, Change, read_record, write_record
from MISSUCore.contract.labels import BRATS
from MISSUCore.contract.options import FineTuningOptions
from MISSUCore.contract.requests.commands import FineTuneRequest
from MISSUCore.core.errors import ErrorCode

pytest.importorskip("slicer", reason="needs the package slicer-core")
pytest.importorskip("PySide6", reason="needs the package PySide6-Essentials")

from PySide6 import QtCore
from PySide6.QtTest import QTest

from Testing.Module.gui.user import MODALITIES, Panel

pytestmark = pytest.mark.slow  # each starts a process that stands for missu

LABELS = np.zeros((8, 9, 10), np.float32)
LABELS[1:6, 1:6, 1:6] = 2
LABELS[2:5, 2:5, 2:5] = 4
LABELS[3, 3, 3] = 1
VOXEL_ML = 0.008
BUNDLED = "missu-brats-fast"


@pytest.fixture
def library(tmp_path: Path) -> Path:
    return tmp_path / "library"


@pytest.fixture
def tuning(panel: Panel, library: Path) -> Panel:
    """The panel with the Fine-tune section open, and a folder chosen."""
    panel.expand("fineTuningCollapsibleButton")
    panel.ui.libraryPathLineEdit.setCurrentPath(str(library))
    return panel


@pytest.fixture
def segmented(tuning: Panel, addVolume: Callable[..., Any], missu: SimpleNamespace) -> Panel:
    """A case in the scene, segmented."""
    for modality in MODALITIES:
        addVolume(f"Doe^Jane_{modality}", LABELS if modality == "t1" else LABELS + 5)
    tuning.settle()
    tuning.segment()
    return tuning


@pytest.fixture
def questions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the user was asked; the answer is Yes."""
    import slicer

    asked: list[str] = []
    for name in ("confirmYesNoDisplay", "confirmOkCancelDisplay"):
        monkeypatch.setattr(slicer.util, name, lambda text: not asked.append(text))
    return asked


@pytest.fixture
def threeCases(library: Path) -> list[str]:
    """IDs of cases in the library."""
    changes = {"WT": Change(1.2, 0.3, 0.9), "ET": Change(5.0, 0.3, 0.9)}
    for number in range(3):
        record = CaseRecord(
            id=f"case-{number}",
            added=f"2026-11-2{number}T08:00:00+00:00",
            modalities=MODALITIES,
            scheme=BRATS.as_dict(),
            changes={} if number else changes,
            volumes_ml={"WT": 51.23, "TC": 20.0, "ET": 12.0},
            warnings=("only 0.010 ml are labeled",) if number == 2 else (),
        )
        write_record(library / "cases" / f"case-{number}" / "record.json", record)
    return [f"case-{number}" for number in range(3)]


def table(panel: Panel, name: str) -> list[list[str]]:
    widget = getattr(panel.ui, name)
    return [
        [widget.item(row, column).text() for column in range(widget.columnCount)]
        for row in range(widget.rowCount)
    ]


def cases(panel: Panel) -> list[list[str]]:
    return table(panel, "casesTable")


def clickRow(panel: Panel, row: int, column: int) -> None:
    widget = panel.ui.casesTable
    place = widget.visualItemRect(widget.item(row, column))
    point = QtCore.QPoint(place.left() + 10, place.center().y())
    QTest.mouseClick(widget.viewport(), QtCore.Qt.LeftButton, pos=point)
    panel.settle()


def idle(panel: Panel) -> bool:
    logic = panel.widget.fineTuning.logic
    return not logic.isBusy() and not logic.isTuning()


def add(panel: Panel) -> None:
    panel.click("addCaseButton")
    panel.wait(lambda: idle(panel))


def tune(panel: Panel) -> None:
    panel.click("tuneButton")
    panel.wait(lambda: idle(panel))


def record(library: Path) -> CaseRecord:
    (path,) = library.glob("cases/*/record.json")
    return read_record(path)


def test_it_is_collapsed_and_reads_nothing_until_it_is_opened(panel: Panel, library: Path) -> None:
    assert panel.ui.fineTuningCollapsibleButton.collapsed
    assert panel.ui.casesTable.rowCount == 0
    panel.expand("fineTuningCollapsibleButton")
    assert "Choose a folder" in panel.ui.libraryHintLabel.text
    assert not panel.ui.tuningProgressBar.visible
    assert not panel.ui.runHeadingLabel.visible
    assert not panel.ui.openLibraryButton.visible
    assert not panel.ui.addCaseButton.enabled
    assert not panel.ui.tuneButton.enabled


def test_the_folder_is_remembered(tuning: Panel, library: Path) -> None:
    other = Panel()
    assert other.ui.libraryPathLineEdit.currentPath == str(library)
    other.close()


def test_a_corrected_case_is_added_with_what_was_changed(
    segmented: Panel, missu: SimpleNamespace, library: Path, slicerApplication: Any
) -> None:
    node = segmented.ui.resultSelector.currentNode()
    scan = slicerApplication.util.getNode("Doe^Jane_t1ce")
    corrected = (LABELS > 0).astype(np.uint8)
    corrected[1, 1, 1:6] = 0
    slicerApplication.util.updateSegmentBinaryLabelmapFromArray(corrected, node, "WT", scan)
    segmented.ui.noteLineEdit.setText("study 12")
    add(segmented)
    stored = record(library)
    assert stored.changes["WT"].removed_ml == pytest.approx(5 * VOXEL_ML)
    assert stored.changes["WT"].added_ml == 0
    assert stored.model.name == "missu-brats-precise"
    assert cases(segmented) == [["", "study 12", "all 4", "1.0", "WT +0.0 -0.0"]]
    assert "added" in segmented.ui.libraryStatusLabel.text
    assert segmented.ui.noteLineEdit.text == ""
    assert missu.request().scene == "" and "Doe" not in str(missu.request())


def test_the_same_scans_again_are_replaced_after_asking(
    segmented: Panel, missu: SimpleNamespace, library: Path, questions: list[str]
) -> None:
    add(segmented)
    add(segmented)
    assert len(questions) == 1 and "in the library already" in questions[0]
    assert missu.request().replace
    assert len(cases(segmented)) == 1


def test_nothing_seems_to_be_added_while_a_question_is_open(
    segmented: Panel, missu: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    import slicer

    shown = []

    def ask(text: str) -> bool:
        shown.append((segmented.ui.addCaseButton.text, segmented.ui.libraryStatusLabel.text))
        return True

    monkeypatch.setattr(slicer.util, "confirmYesNoDisplay", ask)
    add(segmented)
    add(segmented)
    assert shown == [("Add to training cases", "")]


def test_an_empty_segmentation_is_added_after_asking(
    segmented: Panel, missu: SimpleNamespace, questions: list[str], slicerApplication: Any
) -> None:
    node = segmented.ui.resultSelector.currentNode()
    scan = slicerApplication.util.getNode("Doe^Jane_t1ce")
    for segment in ("WT", "TC", "ET"):
        empty = np.zeros(LABELS.shape, np.uint8)
        slicerApplication.util.updateSegmentBinaryLabelmapFromArray(empty, node, segment, scan)
    add(segmented)
    assert len(questions) == 1 and "really nothing" in questions[0]
    assert missu.request().no_tumor
    assert len(cases(segmented)) == 1


def test_scans_of_two_patients_are_added_after_asking(
    segmented: Panel,
    missu: SimpleNamespace,
    questions: list[str],
    slicerApplication: Any,
    fromDicom: Callable[..., None],
) -> None:
    for number, modality in enumerate(MODALITIES):
        node = slicerApplication.util.getNode(f"Doe^Jane_{modality}")
        fromDicom(node, _00100020=str(number // 3))
    add(segmented)
    segmented.wait(lambda: len(cases(segmented)) == 1)
    assert len(questions) == 1 and "of one patient all the same?" in questions[0]
    assert missu.request().scans.preprocessing.different_anatomy


def test_a_question_answered_with_no_adds_nothing(
    segmented: Panel, library: Path, monkeypatch: pytest.MonkeyPatch, missu: SimpleNamespace
) -> None:
    import slicer

    add(segmented)
    monkeypatch.setattr(slicer.util, "confirmYesNoDisplay", lambda text: False)
    add(segmented)
    assert not missu.request().replace


def test_a_missing_segment_is_told(segmented: Panel, library: Path, slicerApplication: Any) -> None:
    node = segmented.ui.resultSelector.currentNode()
    node.GetSegmentation().RemoveSegment("TC")
    segmented.click("addCaseButton")
    assert "no segment Tumor core" in segmented.ui.libraryStatusLabel.text
    assert not library.exists()


def test_a_refusal_is_a_sentence_with_the_log(
    segmented: Panel, missu: SimpleNamespace, library: Path
) -> None:
    missu.behave(error="72% of the labeled voxels lie outside the brain; the labels are shifted")
    add(segmented)
    assert "72% of the labeled voxels" in segmented.ui.libraryStatusLabel.text
    assert "Open log" in segmented.ui.libraryStatusLabel.text


def test_adding_is_followed_and_can_be_cancelled(
    segmented: Panel, missu: SimpleNamespace, library: Path
) -> None:
    missu.behave(hang=True)
    segmented.click("addCaseButton")
    segmented.wait(lambda: "40 %" in segmented.ui.libraryStatusLabel.text)
    assert segmented.ui.addCaseButton.text == "Cancel adding"
    segmented.click("addCaseButton")
    assert idle(segmented)
    assert "Cancelled" in segmented.ui.libraryStatusLabel.text
    assert segmented.ui.addCaseButton.text == "Add to training cases"
    assert segmented.ui.addCaseButton.enabled and not library.exists()


def test_slicer_does_not_leave_a_process_that_adds(
    segmented: Panel, missu: SimpleNamespace, library: Path
) -> None:
    missu.behave(hang=True)
    segmented.click("addCaseButton")
    segmented.wait(lambda: "40 %" in segmented.ui.libraryStatusLabel.text)
    segmented.widget.cleanup()
    assert idle(segmented) and not library.exists()


def test_a_case_is_prepared_as_it_was_segmented(segmented: Panel, missu: SimpleNamespace) -> None:
    segmented.expand("advancedCollapsibleButton")
    segmented.choose("brainExtractionComboBox", "Scans are stripped already")
    add(segmented)
    scans = missu.request().scans
    assert scans.reference == "t1ce" and not scans.preprocessing.brain_extraction


def test_what_takes_off_the_skull_is_installed_for_adding_too(
    segmented: Panel,
    missu: SimpleNamespace,
    library: Path,
    questions: list[str],
    slicerApplication: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    missu.behave(error="the scans show the skull", code=ErrorCode.BRAIN_EXTRACTION_MISSING)
    monkeypatch.setattr(
        slicerApplication.util, "pip_install", lambda _: missu.behave(), raising=False
    )
    segmented.click("addCaseButton")
    segmented.wait(lambda: len(cases(segmented)) == 1)
    assert len(questions) == 1 and "deepbet" in questions[0]


def test_a_folder_that_is_gone_or_emptied_is_told(
    tuning: Panel, threeCases: list[str], slicerApplication: Any
) -> None:
    tuning.widget.fineTuning.refresh()
    assert len(cases(tuning)) == 3
    assert "no such folder" not in tuning.ui.libraryHintLabel.text
    tuning.ui.libraryPathLineEdit.setCurrentPath("/drive/that/was/unplugged")
    assert cases(tuning) == []
    assert "no such folder" in tuning.ui.libraryHintLabel.text
    tuning.ui.libraryPathLineEdit.setCurrentPath("")
    assert cases(tuning) == []
    assert "Choose a folder" in tuning.ui.libraryHintLabel.text


def test_the_table_tells_of_the_cases(tuning: Panel, threeCases: list[str]) -> None:
    tuning.widget.fineTuning.refresh()
    rows = cases(tuning)
    assert [row[3] for row in rows] == ["51.2"] * 3
    assert [row[4] for row in rows] == ["ET +5.0 -0.3", "unknown", "unknown"]
    assert rows[2][1].startswith("⚠ 22 Nov")
    clickRow(tuning, 2, 1)
    assert "only 0.010 ml" in tuning.ui.libraryHintLabel.text


def test_a_case_is_excluded_by_its_check_box(
    tuning: Panel, threeCases: list[str], library: Path
) -> None:
    tuning.widget.fineTuning.refresh()
    assert tuning.ui.tuneButton.enabled
    clickRow(tuning, 1, 0)
    tuning.wait(lambda: idle(tuning))
    assert read_record(library / "cases" / "case-1" / "record.json").excluded
    assert not tuning.ui.tuneButton.enabled
    assert "3 cases" in tuning.ui.tuneButton.toolTip
    clickRow(tuning, 1, 0)
    tuning.wait(lambda: idle(tuning))
    assert tuning.ui.tuneButton.enabled


def test_a_case_is_removed_after_asking(
    tuning: Panel, threeCases: list[str], library: Path, questions: list[str]
) -> None:
    tuning.widget.fineTuning.refresh()
    assert not tuning.ui.removeCaseButton.enabled
    first = cases(tuning)[0][1]
    clickRow(tuning, 0, 1)
    tuning.click("removeCaseButton")
    tuning.wait(lambda: idle(tuning))
    assert questions == [f"Delete these training cases for good?\n\n{first}"]
    assert not tuning.ui.casesTable.selectedItems()  # else the next case would be removed next
    assert len(cases(tuning)) == 2 and not (library / "cases" / "case-0").exists()


def test_a_stored_case_is_loaded_where_it_was(
    segmented: Panel, library: Path, slicerApplication: Any, missu: SimpleNamespace
) -> None:
    add(segmented)
    slicerApplication.mrmlScene.Clear(False)
    segmented.settle()
    clickRow(segmented, 0, 1)
    segmented.click("loadCaseButton")
    case = record(library).id
    assert segmented.selected() == {m: f"{case}_{m}" for m in MODALITIES}
    scan = slicerApplication.util.getNode(f"{case}_t1ce")
    np.testing.assert_array_equal(slicerApplication.util.arrayFromVolume(scan), LABELS + 5)
    assert scan.GetSpacing() == pytest.approx((2.0, 2.0, 2.0))
    assert scan.GetOrigin() == pytest.approx((0.0, 0.0, 0.0))
    node = segmented.ui.resultSelector.currentNode()
    mask = slicerApplication.util.arrayFromSegmentBinaryLabelmap(node, "WT", scan)
    np.testing.assert_array_equal(mask > 0, LABELS > 0)


def test_a_run_from_start_to_accepted_default(
    tuning: Panel, threeCases: list[str], library: Path, questions: list[str]
) -> None:
    tuning.widget.fineTuning.refresh()
    tuning.ui.minutesSpinBox.setValue(12)
    tune(tuning)
    assert tuning.ui.runComboBox.currentText == "my-model-run-1 · better"
    rows = table(tuning, "gateTable")
    assert rows[0] == ["Your cases", *["0.80 → 0.84"] * 3]
    assert rows[1] == ["Control cases", *["0.80 → 0.80"] * 3]
    assert [row[0] for row in rows[2:]] == [row[1].lstrip("⚠ ") for row in cases(tuning)]
    assert tuning.ui.gateTable.horizontalHeaderItem(3).toolTip() == "Enhancing tumor"
    assert "it gains 0.040" in tuning.ui.verdictLabel.text
    tuning.click("acceptButton")
    tuning.wait(lambda: "in use" in tuning.ui.tuningStatusLabel.text and idle(tuning))
    assert len(questions) == 1 and "from now on" in questions[0]
    assert not tuning.ui.acceptButton.visible
    assert tuning.ui.runComboBox.currentText == "my-model-run-1 · installed"
    tuning.expand("advancedCollapsibleButton")
    assert tuning.ui.modelComboBox.currentText == "my-model-1 (default)"
    assert "on 3 cases, from missu-brats-fast: better" in tuning.ui.modelCardLabel.text
    tuning.choose("modelComboBox", BUNDLED)
    tuning.click("defaultModelButton")
    tuning.wait(lambda: idle(tuning))
    assert tuning.widget.models.default == BUNDLED
    assert not tuning.ui.defaultModelButton.visible


def test_the_settings_reach_missu(
    tuning: Panel, threeCases: list[str], library: Path, missu: SimpleNamespace
) -> None:
    tuning.widget.fineTuning.refresh()
    tuning.ui.minutesSpinBox.setValue(12)
    tuning.ui.tunedNameLineEdit.setText("ours")
    tune(tuning)
    run = library / "runs" / "ours-run-1"
    assert missu.request() == FineTuneRequest(
        library, None, run, BUNDLED, "ours", options=FineTuningOptions(12, device="auto")
    )


def test_a_model_that_is_not_better_is_installed_only_on_demand(
    tuning: Panel,
    threeCases: list[str],
    missu: SimpleNamespace,
    questions: list[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    import slicer

    missu.behave(verdict="not better")
    tuning.widget.fineTuning.refresh()
    tune(tuning)
    assert tuning.ui.acceptButton.text == "Accept anyway"
    with monkeypatch.context() as patch:
        patch.setattr(slicer.util, "confirmYesNoDisplay", lambda text: False)
        tuning.click("acceptButton")
        assert idle(tuning)
    tuning.click("acceptButton")
    tuning.wait(lambda: idle(tuning))
    assert "anyway" in questions[0] and len(questions) == 1  # it is not offered as default
    assert (tmp_path / "models" / "my-model-1.pt").exists()
    assert tuning.widget.models.default != "my-model-1"


def test_a_discarded_model_is_gone(
    tuning: Panel, threeCases: list[str], library: Path, questions: list[str]
) -> None:
    tuning.widget.fineTuning.refresh()
    tune(tuning)
    tuning.click("discardButton")
    tuning.wait(lambda: idle(tuning))
    assert tuning.ui.runComboBox.currentText == "my-model-run-1 · discarded"
    assert not tuning.ui.acceptButton.visible
    assert len(cases(tuning)) == 3


def test_a_cancelled_run_is_resumed_with_the_same_command(
    tuning: Panel, threeCases: list[str], missu: SimpleNamespace, library: Path
) -> None:
    tuning.widget.fineTuning.refresh()
    tuning.ui.minutesSpinBox.setValue(12)
    missu.behave(stop=True)
    tune(tuning)  # it has begun, and is ended as by a kill
    assert "ended unexpectedly" in tuning.ui.tuningStatusLabel.text
    first = missu.request()
    missu.behave(hang=True)
    tuning.ui.minutesSpinBox.setValue(50)
    other = Panel()  # Slicer was started anew
    other.expand("fineTuningCollapsibleButton")
    assert "Resume goes on" in other.ui.verdictLabel.text
    other.click("resumeButton")
    other.wait(lambda: other.ui.tuningProgressBar.value == 400)
    assert other.ui.tuneButton.text == "Cancel"
    assert not other.ui.minutesSpinBox.enabled
    other.click("tuneButton")
    assert other.wait(lambda: other.ui.tuneButton.text == "Start fine-tuning") < 2
    assert "Resume goes on" in other.ui.tuningStatusLabel.text
    assert missu.request() == first
    missu.behave()
    other.click("resumeButton")
    other.wait(lambda: idle(other))
    assert other.ui.runComboBox.currentText == "my-model-run-1 · better"
    other.close()


def test_a_run_that_is_cancelled_at_once_leaves_nothing(
    tuning: Panel, threeCases: list[str], missu: SimpleNamespace, library: Path
) -> None:
    tuning.widget.fineTuning.refresh()
    missu.behave(hang=True)
    tuning.click("tuneButton")
    tuning.click("tuneButton")
    assert "before it had begun" in tuning.ui.tuningStatusLabel.text
    assert not list((library / "runs").iterdir())


def test_a_run_cannot_be_resumed_on_other_cases(
    tuning: Panel, threeCases: list[str], missu: SimpleNamespace
) -> None:
    tuning.widget.fineTuning.refresh()
    missu.behave(stop=True)
    tune(tuning)
    missu.behave()
    assert tuning.ui.resumeButton.enabled
    clickRow(tuning, 1, 0)
    tuning.wait(lambda: idle(tuning))
    assert not tuning.ui.resumeButton.enabled
    assert "other cases" in tuning.ui.verdictLabel.text


def test_a_failure_is_told_while_the_section_is_closed(
    tuning: Panel, threeCases: list[str], missu: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    import slicer

    told: list[str] = []
    monkeypatch.setattr(slicer.util, "errorDisplay", told.append)
    tuning.widget.fineTuning.refresh()
    missu.behave(hang=True, error="the disk is full")
    tuning.click("tuneButton")
    tuning.expand("fineTuningCollapsibleButton")
    missu.go()
    tuning.wait(lambda: idle(tuning))
    assert told == ["the disk is full."]
    assert not tuning.ui.tuningStatusLabel.visible


def test_a_run_that_is_refused_leaves_nothing(
    tuning: Panel, threeCases: list[str], missu: SimpleNamespace, library: Path
) -> None:
    tuning.widget.fineTuning.refresh()
    missu.behave(error="2 minutes do not suffice on this machine; give 9 minutes or more")
    tune(tuning)
    assert "do not suffice" in tuning.ui.tuningStatusLabel.text
    assert not list((library / "runs").iterdir())


def test_a_run_goes_on_when_the_scene_is_closed_and_one_can_segment(
    tuning: Panel,
    threeCases: list[str],
    missu: SimpleNamespace,
    slicerApplication: Any,
    addVolume: Callable[..., Any],
) -> None:
    tuning.widget.fineTuning.refresh()
    missu.behave(hang=True)
    tuning.click("tuneButton")
    tuning.wait(lambda: tuning.ui.tuningProgressBar.value == 400)
    missu.behave()
    assert tuning.ui.runComboBox.currentText == "my-model-run-1 · running"
    assert not tuning.ui.resumeButton.visible
    assert "go on working" in tuning.ui.tuningStatusLabel.text
    slicerApplication.mrmlScene.Clear(False)
    tuning.widget.exit()
    tuning.widget.enter()
    for modality in MODALITIES:
        addVolume(f"Case_{modality}", LABELS)
    tuning.settle()
    tuning.segment()
    assert tuning.widget.fineTuning.logic.isTuning()
    missu.go()
    tuning.wait(lambda: idle(tuning))
    assert tuning.ui.runComboBox.currentText == "my-model-run-1 · better"


def test_curves_are_shown_and_replaced(
    tuning: Panel, threeCases: list[str], slicerApplication: Any, tmp_path: Path
) -> None:
    def charts() -> list[Any]:
        return slicerApplication.util.getNodesByClass("vtkMRMLPlotChartNode")

    tuning.widget.fineTuning.refresh()
    tune(tuning)
    assert not charts()
    tuning.click("curvesButton")
    assert slicerApplication.modules.plots.logic().shown[-1] == "my-model-run-1"
    tune(tuning)
    (chart,) = charts()
    assert chart.GetTitle() == "my-model-run-2"
    slicerApplication.mrmlScene.Clear(False)
    assert not charts()
    tuning.click("curvesButton")
    assert charts()[0].GetNumberOfPlotSeriesNodes() == 3
