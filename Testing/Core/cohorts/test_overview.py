"""The page of a cohort says what became of each case: of whole, failed and resumed runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from MISSUCore.cohorts.layout import Layout
from MISSUCore.cohorts.run import run_cohort
from MISSUCore.contract.segmentation_report import SegmentationReport
from MISSUCore.core.errors import InputError
from MISSUCore.core.events import Progress
from MISSUCore.core.files import atomic_write
from MISSUCore.io.case_lists import CasePaths

RESULTS = ("report.json", "segmentation.nii.gz", "thumbnail.svg")


class Segmenter:
    """Writes what a segmentation would, and fails where it is told."""

    def __init__(self, **failures: BaseException) -> None:
        self.failures = failures

    def __call__(self, case: CasePaths, place: Path, progress: Progress) -> SegmentationReport:
        if case.name in self.failures:
            raise self.failures[case.name]
        report = SegmentationReport(missu_version=f"of {case.name}", volumes_ml={"WT": 3.0})
        files = Layout().files(case, place)
        texts = {files.labels: "x", files.thumbnail: "<svg/>", files.report: ""}
        texts[files.report] = json.dumps(report.to_dict())
        for path, text in texts.items():
            with atomic_write(path) as temporary:
                temporary.write_text(text)
        return report


@pytest.fixture
def run(tmp_path: Path):
    """Function that runs a cohort of two cases; returns all files that are there then."""
    scans = tmp_path / "scans"
    scans.mkdir()
    for name in "ab":
        (scans / f"{name}.nii").write_text(name)
    cases = [CasePaths(name, {"t1": scans / f"{name}.nii"}) for name in "ab"]

    def start(segmenter: Segmenter, overwrite: bool = False) -> list[str]:
        out = tmp_path / "out"
        run_cohort(
            cases,
            out,
            segmenter,
            {},
            overwrite=overwrite,
            describe=lambda report, done: f"{done} done, {report.missu_version}",
        )
        return files_in(out)

    return start


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def listed(*names: str, methods: bool = True) -> list[str]:
    """All files of a cohort in which these cases are done, and the others have a record."""
    of_all = ["a/cohort.json", "b/cohort.json", "cohort.html", "summary.csv", "written.sha256"]
    done = [f"{name}/{result}" for name in names for result in RESULTS]
    return sorted([*of_all, *done, *(["methods.txt"] if methods else [])])


def page(folder: Path) -> str:
    return (folder / "out" / "cohort.html").read_text(encoding="utf-8")


def test_a_whole_run(run, tmp_path: Path) -> None:
    assert run(Segmenter()) == listed("a", "b")
    assert "2 done, 0 failed, 0 not done" in page(tmp_path)
    assert page(tmp_path).count("data:image/svg+xml;base64,PHN2Zy8+") == 2
    assert (tmp_path / "out" / "methods.txt").read_text() == "2 done, of a\n"
    assert 'href="./a/report.json"' in page(tmp_path)
    assert run(Segmenter()) == listed("a", "b")  # nothing to do
    assert "2 done, 0 failed, 0 not done" in page(tmp_path)


def test_a_failed_and_a_resumed_run(run, tmp_path: Path) -> None:
    assert run(Segmenter(a=InputError("a.nii: is damaged"))) == listed("b")
    assert "a.nii: is damaged" in page(tmp_path) and "1 done, 1 failed" in page(tmp_path)
    assert (tmp_path / "out" / "methods.txt").read_text() == "1 done, of b\n"
    assert run(Segmenter()) == listed("a", "b")
    assert "a.nii: is damaged" not in page(tmp_path)


def test_a_run_that_is_ended_leaves_a_page(run, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(Segmenter(b=KeyboardInterrupt()))
    assert files_in(tmp_path / "out") == listed("a")
    assert "1 done, 0 failed, 1 not done" in page(tmp_path)
    assert run(Segmenter()) == listed("a", "b")


def test_without_a_finished_case_there_is_no_paragraph(run, tmp_path: Path) -> None:
    failures = {"a": InputError("no"), "b": InputError("no")}
    assert run(Segmenter(**failures)) == listed(methods=False)
    run(Segmenter())
    for name in "ab":
        (tmp_path / "scans" / f"{name}.nii").write_text("changed")
    assert run(Segmenter(**failures)) == listed(methods=False)


@pytest.mark.parametrize("name", ["cohort.html", "methods.txt"])
def test_a_file_of_somebody_else_is_kept(run, tmp_path: Path, name: str) -> None:
    path = tmp_path / "out" / name
    path.parent.mkdir()
    path.write_text("mine")
    with pytest.raises(InputError, match="is there, and not as a cohort has written it"):
        run(Segmenter())
    assert files_in(tmp_path / "out") == [name] and path.read_text() == "mine"
    assert run(Segmenter(), overwrite=True) == listed("a", "b")


@pytest.mark.parametrize("text", ["{", '{"options": {"cleanup": {"minimum_island_mm3": []}}}'])
def test_a_report_that_was_edited_stops_no_cohort(run, tmp_path: Path, text: str) -> None:
    run(Segmenter())
    methods, report = tmp_path / "out" / "methods.txt", tmp_path / "out" / "a" / "report.json"
    assert methods.read_text() == "2 done, of a\n"
    report.write_text(text)
    run(Segmenter())
    assert methods.read_text().endswith("done, of b\n")
    assert report.read_text() == text


def test_a_picture_that_was_replaced_is_not_taken_in(run, tmp_path: Path) -> None:
    run(Segmenter())
    (tmp_path / "out" / "a" / "thumbnail.svg").write_bytes(b"\xff" * 10)
    (tmp_path / "out" / "b" / "thumbnail.svg").write_text("x" * 300_000)
    run(Segmenter())
    assert "<img" not in page(tmp_path)
