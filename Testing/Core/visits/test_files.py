"""What is given as visits: what is taken, and what is refused with which words."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest

from MISSUCore.contract.segmentation_report import FileFact, SegmentationReport
from MISSUCore.contract.visits.response import GivenVisit
from MISSUCore.core.errors import InputError
from MISSUCore.visits.files import checked, future_dates, read_visits, visit_of


@pytest.fixture
def visit(tmp_path: Path) -> Callable[..., GivenVisit]:
    """Function to a visit whose files are there, and empty: nobody reads them here."""

    def make(name: str, date: str = "") -> GivenVisit:
        paths = tmp_path / f"{name}-seg.nii.gz", tmp_path / f"{name}-t1ce.nii.gz"
        for path in paths:
            path.touch()
        return GivenVisit(name, *paths, date)

    return make


def test_dates_in_the_future_are_named_with_what_they_are_of(
    visit: Callable[..., GivenVisit],
) -> None:
    visits = [visit("first", "2024-01-10"), visit("second", "2924-03-06")]
    scan, surgery = future_dates(visits, ["2923-12-01", "2023-12-01"], ["2024-01-02"])
    end = " lies in the future; correct it, unless all dates were shifted"
    assert scan == f"{visits[1].t1ce}: 2924-03-06{end}"
    assert surgery == f"surgery: 2923-12-01{end}"


def test_a_pair_of_files(tmp_path: Path) -> None:
    found = visit_of(f"{tmp_path}/a.seg.nii.gz,{tmp_path}/t1ce")
    assert found == GivenVisit("a", tmp_path / "a.seg.nii.gz", tmp_path / "t1ce")


def test_the_result_of_a_cohort(tmp_path: Path) -> None:
    folder = tmp_path / "case-7"
    folder.mkdir()
    scan = tmp_path / "scan.nii.gz"
    scan.touch()
    with pytest.raises(InputError, match=r"case-7: holds no segmentation\.nii\.gz"):
        visit_of(str(folder))
    (folder / "segmentation.nii.gz").touch()
    report = SegmentationReport(inputs={"t1ce": FileFact(str(scan)), "t1": FileFact("other")})
    (folder / "report.json").write_text(json.dumps(report.to_dict()))
    assert visit_of(str(folder)) == GivenVisit("case-7", folder / "segmentation.nii.gz", scan)
    scan.unlink()
    with pytest.raises(InputError, match=r"report\.json: names the scan '.*scan\.nii\.gz', which"):
        visit_of(str(folder))


def test_the_result_in_a_bids_dataset(tmp_path: Path) -> None:
    folder = tmp_path / "sub-1" / "ses-2" / "anat"
    folder.mkdir(parents=True)
    scan = tmp_path / "scan.nii.gz"
    scan.touch()
    labels = folder / "sub-1_ses-2_space-orig_desc-tumor_dseg.nii.gz"
    labels.touch()
    with pytest.raises(InputError, match=r"anat: holds no sub-1_ses-2_desc-tumor_report\.json"):
        visit_of(str(folder))
    report = SegmentationReport(inputs={"t1ce": FileFact(str(scan))})
    (folder / "sub-1_ses-2_desc-tumor_report.json").write_text(json.dumps(report.to_dict()))
    assert visit_of(str(folder)) == GivenVisit("sub-1_ses-2", labels, scan)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nowhere", "nowhere: no such file or folder; give the folder of a result"),
        ("seg.nii.gz,", "is not a visit"),
        (",t1ce.nii.gz", "is not a visit"),
        (__file__, "is not a visit"),
    ],
)
def test_what_is_not_a_visit(text: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        visit_of(text)


def test_a_list_with_what_a_reader_types(tmp_path: Path) -> None:
    path = tmp_path / "visits.csv"
    path.write_text(
        "visit,segmentation,t1ce,date,steroids,clinical,category,comment\n"
        "first,a.nii.gz,b.nii.gz,2024-01-10,same,,,\n"
        ',c.nii.gz,d.nii.gz,20240306,more,worse,PD,"headache, nausea"\n'
    )
    first, second = read_visits(path)
    assert (first.name, first.segmentation, first.date) == (
        "first",
        tmp_path / "a.nii.gz",
        "2024-01-10",
    )
    assert (second.name, second.date) == ("visit 2", "2024-03-06")
    assert (second.reader.steroids, second.reader.clinical) == ("more", "worse")
    assert (second.reader.category, second.reader.comment) == ("PD", "headache, nausea")


def test_a_list_as_a_spreadsheet_saves_it(tmp_path: Path) -> None:
    path = tmp_path / "visits.csv"
    path.write_bytes("\ufeffSegmentation; T1ce;Date\r\n;;\r\na,1.nii;b.nii;2024-01-10\r\n".encode())
    (visit,) = read_visits(path)
    assert (visit.segmentation, visit.t1ce) == (tmp_path / "a,1.nii", tmp_path / "b.nii")
    assert visit.date == "2024-01-10"


def test_paths_may_hold_commas(tmp_path: Path) -> None:
    segmentation, scan = tmp_path / "Doe, Jane" / "seg.nii", tmp_path / "Doe, Jane" / "t1ce.nii"
    segmentation.parent.mkdir()
    for path in (segmentation, scan):
        path.touch()
    visit = visit_of(f"{segmentation},{scan}")
    assert (visit.segmentation, visit.t1ce) == (segmentation, scan)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("segmentation,scan\na,b\n", "has a column 'scan'; there may be visit, segm"),
        ("segmentation,t1ce\na,\n", "line 2: a segmentation or its scan is missing"),
        ("segmentation,t1ce,date\na,b,10.1.2024\n", "line 2: '10.1.2024' is not a date"),
        ("segmentation,t1ce,date\na,b,20241301\n", "is not a date"),
        ("segmentation,t1ce,date\na,b,2024-W10-1\n", "is not a date"),
        ("segmentation,t1ce,steroids,steroids\na,b,more,less\n", "has two columns 'steroids'"),
        ("segmentation,date\na,20240101\n", "has no column 't1ce'"),
        ("segmentation,t1ce,steroids\na,b,4 mg\n", "steroids cannot be '4 mg'; give none, less"),
        ("segmentation,t1ce\na,b,c\n", "line 2: has a cell without a heading"),
    ],
)
def test_a_list_that_cannot_be_used(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "visits.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=rf"visits\.csv: .*{words}"):
        read_visits(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="is not in UTF-8; save it as"):
        read_visits(path)


def test_dates_rise_and_no_visit_comes_twice(visit: Callable[..., GivenVisit]) -> None:
    first, second = visit("a", "2024-01-10"), visit("b", "2024-03-06")
    assert [each.date for each in checked([first, second])] == ["2024-01-10", "2024-03-06"]
    for wrong, words in (
        ([first], "two visits or more"),
        ([second, first], r"a-seg.* is from 2024-01-10, not after .*b-seg"),
        ([first, visit("b", "2024-01-10")], "not after"),
        ([first, GivenVisit("c", first.segmentation, second.t1ce, "2025-01-01")], "given twice"),
        ([first, GivenVisit("c", second.segmentation, first.t1ce, "2025-01-01")], "for two visits"),
        ([first, visit("d")], r"d-t1ce.*does not say from which day.*--dates"),
        ([first, GivenVisit("e", first.segmentation, Path("none"), "2025-01-01")], "no such file"),
    ):
        with pytest.raises(InputError, match=words):
            checked(wrong)


def test_visits_called_alike_are_numbered(visit: Callable[..., GivenVisit]) -> None:
    first, second = visit("a", "2024-01-10"), visit("b", "2024-03-06")
    alike = [GivenVisit("seg", each.segmentation, each.t1ce, each.date) for each in (first, second)]
    assert [each.name for each in checked(alike)] == ["visit 1", "visit 2"]


def test_bids_names_tell_two_patients(visit: Callable[..., GivenVisit], tmp_path: Path) -> None:
    made = []
    for number, subject in enumerate(["01", "02"]):
        given = visit(f"v{number}", f"2024-0{number + 1}-10")
        path = tmp_path / f"sub-{subject}_ses-{number}_ce-gadolinium_T1w.nii.gz"
        made.append(replace(given, t1ce=given.t1ce.rename(path)))
    with pytest.raises(InputError, match=r"sub-02_.* and .*sub-01_.*: are of two patients"):
        checked(made)
    renamed = made[1].t1ce.rename(tmp_path / "sub-01_ses-1_ce-gadolinium_T1w.nii.gz")
    assert len(checked([made[0], replace(made[1], t1ce=renamed)])) == 2


def test_dicom_tells_date_and_patient(
    write_dicom: Callable[..., Path], visit: Callable[..., GivenVisit]
) -> None:
    made = []
    for number, (patient, day) in enumerate([("P1", "20240110"), ("P2", "20240306")]):
        folder = write_dicom(f"t1ce{number}", np.ones((4, 5, 6), np.int16), series=number + 1)
        for path in folder.iterdir():
            data = pydicom.dcmread(path)
            data.PatientID, data.StudyDate = patient, "19000101"
            data.AcquisitionDate = day
            data.save_as(path)
        made.append(GivenVisit(f"v{number}", visit(f"v{number}").segmentation, folder))
    with pytest.raises(InputError, match=r"t1ce1 and .*t1ce0: are of two patients"):
        checked(made)
    for path in made[1].t1ce.iterdir():
        data = pydicom.dcmread(path)
        data.PatientID = "P1"
        data.save_as(path)
    assert [each.date for each in checked(made)] == ["2024-01-10", "2024-03-06"]
