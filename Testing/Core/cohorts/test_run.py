"""Many cases: what is done stays done, one bad case stops none, processes share the work."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import MISSUCore
from MISSUCore.cohorts import run as cohort_run
from MISSUCore.cohorts.run import run_cohort
from MISSUCore.cohorts.summary import DONE, FAILED, NOT_DONE
from MISSUCore.contract.segmentation_report import SegmentationReport
from MISSUCore.core.errors import InputError, ResourceError
from MISSUCore.core.events import Progress
from MISSUCore.core.files import atomic_write
from MISSUCore.core.messages import Text
from MISSUCore.io.case_lists import CasePaths

SETTINGS = {"model": "abc", "mirror": False, "sizes": (1, 2)}


class Segmenter:
    """Stands for the segmentation of a case: writes a file, counts, and fails when told."""

    def __init__(self, **failures: BaseException) -> None:
        self.failures = failures
        self.names: list[str] = []

    def __call__(self, case: CasePaths, folder: Path, progress: Progress) -> SegmentationReport:
        self.names.append(case.name)
        progress("segment", 0.5, "halfway")
        if case.name in self.failures:
            raise self.failures[case.name]
        for name, content in (("segmentation.nii.gz", case.name), ("report.json", "{}")):
            with atomic_write(folder / name) as temporary:
                temporary.write_text(content)
        return SegmentationReport(
            volumes_ml={"WT": 10.0 + len(self.names), "TC": 2.5},
            confidence={"WT": 0.9},
            warnings=[Text("t2 is missing"), Text("small")] if case.name == "b" else [],
        )


@pytest.fixture
def cases(tmp_path) -> list[CasePaths]:
    """Four cases whose files exist."""
    scans = tmp_path / "scans"
    scans.mkdir()
    for name in "abcd":
        (scans / f"{name}.nii").write_text(name)
    return [CasePaths(name, {"t1": scans / f"{name}.nii"}) for name in "abcd"]


@pytest.fixture
def segment(cases, tmp_path):
    """Function that segments the cohort; returns the names of those worked on, and the summary."""

    def run(segmenter=None, listed=cases, settings=SETTINGS):
        segmenter = segmenter or Segmenter()
        summary = run_cohort(listed, tmp_path / "out", segmenter, settings)
        return segmenter.names, summary

    return run


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "summary.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def states(summary) -> list[str]:
    return [record.state for record in summary.records.values()]


def test_every_case_gets_a_folder_and_a_line(segment, tmp_path):
    names, summary = segment()
    assert names == list("abcd")
    assert states(summary) == [DONE] * 4
    for name in names:
        assert (tmp_path / "out" / name / "segmentation.nii.gz").read_text() == name
    table = rows(tmp_path / "out")
    assert [row["name"] for row in table] == list("abcd")
    second = table[1]
    assert float(second.pop("seconds")) >= 0
    assert second == {
        "name": "b",
        "state": "done",
        "WT_volume_ml": "12.0",
        "TC_volume_ml": "2.5",
        "WT_expected_dice": "0.9",
        "TC_expected_dice": "",
        "warnings": "2",
        "warning_texts": "t2 is missing; small",
        "error": "",
    }


def test_what_is_done_stays_done(segment):
    segment()
    names, summary = segment()
    assert names == []
    assert states(summary) == [DONE] * 4
    assert summary.records["b"].volumes_ml == {"WT": 12.0, "TC": 2.5}


def test_one_bad_case_stops_none(segment, tmp_path):
    failures = {
        "a": InputError("a.nii: is damaged"),
        "b": ResourceError("out of memory"),
        "c": ZeroDivisionError("by zero"),
    }
    names, summary = segment(Segmenter(**failures))
    assert names == list("abcd")
    assert states(summary) == [FAILED, FAILED, FAILED, DONE]
    assert [row["error"] for row in rows(tmp_path / "out")] == [
        "a.nii: is damaged",
        "out of memory",
        "ZeroDivisionError: by zero",
        "",
    ]
    assert not summary.records["a"].traceback
    assert "in __call__" in summary.records["c"].traceback
    heading, first, *_, last, counts = summary.format_table().splitlines()
    assert heading.split() == ["case", "WT", "ml", "(Dice)", "TC", "ml", "(Dice)", "warnings"]
    assert first.split(maxsplit=1) == ["a", "failed: a.nii: is damaged"]
    assert last.split() == ["d", "14.0", "(0.90)", "2.5", "0"]
    assert counts == "4 cases: 1 done, 3 failed, 0 not done"


def test_failed_cases_are_tried_again(segment):
    segment(Segmenter(b=InputError("")))
    names, summary = segment()
    assert names == ["b"]
    assert states(summary) == [DONE] * 4


def test_a_missing_file_makes_only_its_case_fail(segment, cases, tmp_path):
    segment(listed=cases[1:2])
    cases[1].images["t2"] = tmp_path / "gone.nii"
    names, summary = segment()
    assert names == ["a", "c", "d"]
    assert states(summary) == [DONE, FAILED, DONE, DONE]
    assert "gone.nii: t2 cannot be read: No such file" in summary.records["b"].error
    assert not summary.records["b"].volumes_ml  # of when it was still there
    assert (tmp_path / "out" / "b" / "segmentation.nii.gz").exists()


@pytest.mark.parametrize("change", ["scan", "other scan", "reference", "settings", "result"])
def test_what_changed_is_done_anew(segment, cases, tmp_path, change):
    segment()
    settings = SETTINGS
    if change == "scan":
        os.utime(tmp_path / "scans" / "c.nii", (1, 1))
    elif change == "other scan":
        cases[2].images["t1"] = tmp_path / "scans" / "d.nii"
    elif change == "reference":
        cases[2] = CasePaths("c", cases[2].images, reference="t1")
    elif change == "settings":
        settings = {**SETTINGS, "mirror": True}
    else:
        (tmp_path / "out" / "c" / "segmentation.nii.gz").unlink()
    names, _ = segment(listed=cases, settings=settings)
    assert names == (list("abcd") if change == "settings" else ["c"])


def test_voxels_in_a_file_beside_the_header_are_noticed(segment, tmp_path):
    header = tmp_path / "scans" / "a.mhd"
    header.write_text("NDims = 3\nElementDataFile = a.raw\n")
    (tmp_path / "scans" / "a.raw").write_bytes(b"1")
    listed = [CasePaths("a", {"t1": header})]
    assert segment(listed=listed)[0] == ["a"]
    assert segment(listed=listed)[0] == []
    (tmp_path / "scans" / "a.raw").write_bytes(b"22")
    assert segment(listed=listed)[0] == ["a"]


def test_a_scan_added_to_a_folder_is_noticed(segment, tmp_path):
    scans = tmp_path / "scans"
    listed = [CasePaths("a", folder=scans)]
    assert segment(listed=listed)[0] == ["a"]
    assert segment(listed=listed)[0] == []
    (scans / "deep").mkdir()
    (scans / "deep" / "e.nii").touch()
    assert segment(listed=listed)[0] == ["a"]


def test_an_outdated_result_goes_before_the_new_one_and_notes_stay(segment, tmp_path):
    segment()
    (tmp_path / "out" / "a" / "my notes.txt").touch()
    os.utime(tmp_path / "scans" / "a.nii", (1, 1))
    segment(Segmenter(a=InputError("is damaged now")))
    left = sorted(path.name for path in (tmp_path / "out" / "a").iterdir())
    assert left == ["cohort.json", "my notes.txt"]


def test_what_the_user_put_into_a_case_stays(segment, tmp_path):
    segment()
    place = tmp_path / "out" / "a"
    (place / "corrected.nii.gz").write_text("mine")
    for number in range(2):
        names, summary = segment(settings={**SETTINGS, "turn": number})
        assert names == list("abcd") and states(summary) == [DONE] * 4
    assert (place / "corrected.nii.gz").read_text() == "mine"
    assert summary.records["a"].files == ("report.json", "segmentation.nii.gz")


def test_a_result_that_was_corrected_in_place_is_kept_and_named(segment, cases, tmp_path):
    segment()
    result = tmp_path / "out" / "b" / "segmentation.nii.gz"
    result.write_text("by hand")
    names, summary = segment()
    assert names == [] and states(summary) == [DONE] * 4
    for _ in range(2):  # and is not forgotten by the failure
        names, summary = segment(settings={**SETTINGS, "mirror": True})
        assert "b" not in names
        assert states(summary) == [DONE, FAILED, DONE, DONE]
        assert f"{result}: was changed since it was written" in summary.records["b"].error
    assert result.read_text() == "by hand"
    assert (result.parent / "report.json").exists()  # it belongs to what was corrected
    settings = {**SETTINGS, "mirror": True}
    summary = run_cohort(cases, tmp_path / "out", Segmenter(), settings, overwrite=True)
    assert states(summary) == [DONE] * 4
    assert result.read_text() == "b"


def test_a_result_put_where_none_was_written_is_kept(segment, tmp_path):
    segment(Segmenter(a=InputError("is damaged")))
    mine = tmp_path / "out" / "a" / "segmentation.nii.gz"
    mine.write_text("by hand")
    _, summary = segment()
    assert summary.records["a"].state == FAILED
    assert "not written by this command" in summary.records["a"].error
    assert mine.read_text() == "by hand"


def test_a_kill_between_two_results_is_no_dead_end(segment, tmp_path, monkeypatch):
    class Dying(Segmenter):
        def __call__(self, case, folder, progress):
            super().__call__(case, folder, progress)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        segment(Dying())
    assert (tmp_path / "out" / "a" / "segmentation.nii.gz").exists()
    assert states(segment()[1]) == [DONE] * 4


@pytest.mark.parametrize("content", ["mine", "name,age\nx,3\n", "changed"])
def test_a_summary_of_somebody_else_is_kept(segment, cases, tmp_path, content):
    path = tmp_path / "out" / "summary.csv"
    if content == "changed":
        segment()
        content = path.read_text() + "and my remark\n"
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    with pytest.raises(InputError, match=r"summary\.csv: is there, and not as a cohort has"):
        segment(settings={})
    assert path.read_text() == content
    run_cohort(cases, tmp_path / "out", Segmenter(), {}, overwrite=True)
    assert len(rows(tmp_path / "out")) == 4


def test_a_summary_of_an_older_version_is_known_by_its_heading(segment, tmp_path):
    segment()
    for name in ("written.sha256", "cohort.html"):  # which it did not write
        (tmp_path / "out" / name).unlink()
    assert states(segment()[1]) == [DONE] * 4


def test_a_cohort_of_an_older_version_goes_on(segment, cases, tmp_path):
    """It kept no checksums: what was not touched since is its own, what was corrected stays."""
    segment()
    for name in ("written.sha256", "cohort.html"):  # which it did not write
        (tmp_path / "out" / name).unlink()
    corrected = tmp_path / "out" / "b" / "segmentation.nii.gz"
    corrected.write_text("corrected")
    later = (tmp_path / "out" / "b" / "cohort.json").stat().st_mtime_ns + 1_000_000
    os.utime(corrected, ns=(later, later))
    for _ in range(2):  # the second time its record is newer than what was corrected
        _, summary = segment(settings={**SETTINGS, "mirror": True})
        assert states(summary) == [DONE, FAILED, DONE, DONE]
        assert corrected.read_text() == "corrected"
    assert f"{corrected}: may be somebody's own" in summary.records["b"].error
    corrected.unlink()
    _, summary = segment(settings={**SETTINGS, "mirror": True})
    assert states(summary) == [DONE] * 4


@pytest.mark.parametrize("content", ["{}", '{"state": "done"}', "[]", '{"name": "my cohort"}'])
def test_a_file_of_the_users_own_is_no_record(segment, tmp_path, content):
    own = tmp_path / "out" / "b" / "cohort.json"
    own.parent.mkdir(parents=True)
    own.write_text(content)
    (own.parent / "notes.txt").write_text("two hours of review")
    with pytest.raises(InputError, match=r"cohort\.json: is damaged, or not the record of a case"):
        segment()
    assert own.read_text() == content
    assert sorted(path.name for path in (tmp_path / "out").rglob("*")) == [
        "b",
        "cohort.json",
        "notes.txt",
    ]


def test_ctrl_c_ends_it_and_the_next_time_it_goes_on(segment, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        segment(Segmenter(b=KeyboardInterrupt()))
    assert [row["state"] for row in rows(tmp_path / "out")] == [DONE, NOT_DONE, NOT_DONE, NOT_DONE]
    names, summary = segment()
    # What may have taken the process with it comes last.
    assert names == ["c", "d", "b"]
    assert states(summary) == [DONE] * 4
    assert not list((tmp_path / "out").rglob(".*"))


def test_a_folder_with_something_else_is_left_alone(segment, tmp_path):
    foreign = tmp_path / "out" / "c"
    foreign.mkdir(parents=True)
    (foreign / "segmentation.nii.gz").write_text("by hand")
    segmenter = Segmenter()
    with pytest.raises(InputError, match="c: is there, and not from segmenting a cohort"):
        segment(segmenter)
    assert not segmenter.names
    assert (foreign / "segmentation.nii.gz").read_text() == "by hand"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["c"]


@pytest.mark.parametrize(
    "content",
    [
        *("{", "[]", '{"state": 3}', '{"unknown": 1}', '{"state": "odd"}', "[" * 100_000),
        '{"state": "done", "inputs": {}, "volumes_ml": {"WT": "big"}}',
        '{"state": "done", "inputs": {}, "confidence": {"WT": []}}',
        '{"state": "done", "inputs": {}, "warnings": [3]}',
        '{"state": "done", "inputs": {}, "files": [null]}',
    ],
)
def test_a_damaged_record_is_named(segment, tmp_path, content):
    segment()
    (tmp_path / "out" / "b" / "cohort.json").write_text(content)
    with pytest.raises(InputError, match=r"cohort\.json: is damaged, or not .*: .*remove it"):
        segment()


def test_the_output_folder_must_be_writable(segment, tmp_path):
    (tmp_path / "out").touch()
    with pytest.raises(InputError, match="out"):
        segment()


def test_a_case_cannot_take_the_place_of_the_summary(segment, cases):
    with pytest.raises(InputError, match=r"the name Summary\.csv, which a file has here"):
        segment(listed=[CasePaths("Summary.csv", cases[0].images)])


def test_no_cell_is_a_formula(segment, tmp_path):
    segment(Segmenter(a=InputError("=cmd|' /C calc'!A0"), b=InputError("caf\udce9.nii: is bad")))
    first, second, *_ = rows(tmp_path / "out")
    assert first["error"] == "'=cmd|' /C calc'!A0"
    assert second["error"] == "caf\\udce9.nii: is bad"


def test_processes_of_torchrun_share_the_cases(segment, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    worked = []
    for rank in "201":
        monkeypatch.setenv("RANK", rank)
        names, summary = segment()
        worked.append(names)
    assert worked == [["c"], ["a", "d"], ["b"]]
    assert states(summary) == [DONE] * 4
    assert [row["state"] for row in rows(tmp_path / "out")] == [DONE] * 4


def test_more_processes_than_cases_do_no_harm(segment, cases, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "8")
    monkeypatch.setenv("RANK", "6")
    names, summary = segment()
    assert names == []
    assert states(summary) == [NOT_DONE] * 4


def test_only_the_first_process_tells_where_it_stands(cases, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank, silent in (("1", True), ("0", False)):
        monkeypatch.setenv("RANK", rank)
        events = []
        run_cohort(cases, tmp_path / "out", Segmenter(), SETTINGS, Progress(events.append))
        assert silent == (not events)
    fractions = [event.fraction for event in events]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    assert any("a: case 1 of 2" in event.message for event in events)


def test_a_row_of_another_process_is_not_lost(segment, cases, tmp_path, monkeypatch):
    """It finishes right between our look at the records and our writing of the summary."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    segment()
    record = (tmp_path / "out" / "b" / "cohort.json").read_text()
    (tmp_path / "out" / "b" / "cohort.json").unlink()
    write = cohort_run.CohortSummary.write_csv

    def write_late(summary, path):
        write(summary, path)
        (tmp_path / "out" / "b" / "cohort.json").write_text(record)

    monkeypatch.setattr(cohort_run.CohortSummary, "write_csv", write_late)
    monkeypatch.setenv("RANK", "0")
    segment(listed=cases[:2])
    assert [row["state"] for row in rows(tmp_path / "out")] == [DONE, DONE]


def test_processes_at_the_same_time(cases, tmp_path):
    """Real processes: every case is done once, and the summary is whole."""
    program = """
import json, sys
from pathlib import Path
from MISSUCore.contract.segmentation_report import SegmentationReport
from MISSUCore.io.case_lists import CasePaths
from MISSUCore.cohorts.run import run_cohort
def one(case, folder, progress):
    (folder / "done.txt").open("a").write("x")
    return SegmentationReport(volumes_ml={"WT": 1.0})
scans, out = map(Path, sys.argv[1:])
cases = [CasePaths(f"p{n}", {"t1": scans / "a.nii"}) for n in range(30)]
run_cohort(cases, out, one, {})
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(MISSUCore.__file__).parents[1])}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path / "scans"), str(tmp_path / "out")],
            env={**environment, "RANK": str(rank), "WORLD_SIZE": "2"},
        )
        for rank in range(2)
    ]
    assert [process.wait(120) for process in processes] == [0, 0]
    table = rows(tmp_path / "out")
    assert [row["state"] for row in table] == [DONE] * 30
    for row in table:
        assert (tmp_path / "out" / row["name"] / "done.txt").read_text() == "x"
        json.loads((tmp_path / "out" / row["name"] / "cohort.json").read_text())
