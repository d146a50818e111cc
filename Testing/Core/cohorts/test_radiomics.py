"""Folders for radiomics in a cohort: the same files whether it ran through, went on, or failed."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from MISSUCore.cohorts.cohort import CohortOptions, segment_cohort
from MISSUCore.cohorts.summary import CohortSummary
from MISSUCore.core.errors import InputError
from MISSUCore.inference.segmentation import SegmentationOptions
from MISSUCore.io.case_lists import CasePaths
from MISSUCore.preprocessing.pipeline import AS_THEY_ARE

WANTED = CohortOptions(
    radiomics=True, preprocessing=AS_THEY_ARE, segmentation=SegmentationOptions(device="cpu")
)
OF_ALL = ["cohort.html", "methods.txt", "pyradiomics.csv", "summary.csv", "written.sha256"]
OF_A_CASE = [
    "cohort.json",
    "radiomics/brain_mask.nii.gz",
    "radiomics/flair.nii.gz",
    "radiomics/flair_zscore.nii.gz",
    "radiomics/mask_ED.nii.gz",
    "radiomics/mask_ET.nii.gz",
    "radiomics/mask_NCR.nii.gz",
    "radiomics/mask_TC.nii.gz",
    "radiomics/mask_WT.nii.gz",
    "radiomics/processing.json",
    "radiomics/pyradiomics.csv",
    "radiomics/pyradiomics.yaml",
    "radiomics/t1.nii.gz",
    "radiomics/t1_zscore.nii.gz",
    "radiomics/t1ce.nii.gz",
    "radiomics/t1ce_zscore.nii.gz",
    "radiomics/t2.nii.gz",
    "radiomics/t2_zscore.nii.gz",
    "report.json",
    "segmentation.nii.gz",
    "thumbnail.svg",
]
PLAIN = ["cohort.json", "report.json", "segmentation.nii.gz", "thumbnail.svg"]


def files(folder: Path) -> list[str]:
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )


def listed(folder: Path) -> list[dict[str, str]]:
    with (folder / "pyradiomics.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def expected(of_all: list[str], **of_cases: list[str]) -> list[str]:
    return sorted([*of_all, *(f"{case}/{name}" for case in of_cases for name in of_cases[case])])


@pytest.fixture
def cases(
    write_image: Callable[..., Path],
    scans: Callable[[NDArray[np.uint8]], dict[str, NDArray[np.float32]]],
    truth: NDArray[np.uint8],
) -> list[CasePaths]:
    """Two cases with a tumor of all three labels."""
    return [
        CasePaths(
            case,
            {
                name: write_image(f"{case}-{name}.nii.gz", voxels)
                for name, voxels in scans(truth).items()
            },
        )
        for case in ("p1", "p2")
    ]


@pytest.fixture
def run(
    tmp_path: Path, cases: list[CasePaths], bright_model: Callable[..., Path]
) -> Callable[..., CohortSummary]:
    """Function that segments the two cases."""
    model = str(bright_model())

    def segment(options: CohortOptions = WANTED, **others: bool) -> CohortSummary:
        return segment_cohort(cases, tmp_path / "out", model, options, **others)

    return segment


def test_a_whole_run_and_one_that_goes_on_leave_the_same_files(
    tmp_path: Path, run: Callable[..., CohortSummary], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    run()
    whole = expected(OF_ALL, p1=OF_A_CASE, p2=OF_A_CASE)
    assert files(out) == whole
    rows = listed(out)
    assert len(rows) == 2 * 4 * 2 * 5
    assert {row["ID"] for row in rows} == {"p1", "p2"}
    for row in rows:
        assert row["Image"].startswith(f"{row['ID']}/radiomics/") and (out / row["Image"]).is_file()
        assert row["Mask"].startswith(f"{row['ID']}/radiomics/") and (out / row["Mask"]).is_file()
    before = (out / "p1" / "radiomics" / "mask_WT.nii.gz").stat().st_mtime_ns
    run()  # all is done
    assert (out / "p1" / "radiomics" / "mask_WT.nii.gz").stat().st_mtime_ns == before
    (out / "p1" / "radiomics" / "mask_WT.nii.gz").unlink()
    run()  # a file is gone, so its case is done anew
    assert files(out) == whole and listed(out) == rows


def test_a_failed_case_leaves_nothing_and_is_not_listed(
    tmp_path: Path, run: Callable[..., CohortSummary], cases: list[CasePaths]
) -> None:
    out = tmp_path / "out"
    good = cases[1].images["t2"].read_bytes()
    cases[1].images["t2"].write_bytes(good[:-200])
    assert [record.state for record in run().records.values()] == ["done", "failed"]
    assert files(out) == expected(OF_ALL, p1=OF_A_CASE, p2=["cohort.json"])
    assert {row["ID"] for row in listed(out)} == {"p1"}
    cases[1].images["t2"].write_bytes(good)
    run()
    assert files(out) == expected(OF_ALL, p1=OF_A_CASE, p2=OF_A_CASE)
    assert {row["ID"] for row in listed(out)} == {"p1", "p2"}


def test_without_it_the_folders_and_the_list_go_but_not_what_a_person_put_there(
    tmp_path: Path, run: Callable[..., CohortSummary]
) -> None:
    out = tmp_path / "out"
    run()
    (out / "p2" / "radiomics" / "features.csv").write_text("mine")
    run(replace(WANTED, radiomics=False))
    of_all = [name for name in OF_ALL if name != "pyradiomics.csv"]
    assert files(out) == expected(of_all, p1=PLAIN, p2=[*PLAIN, "radiomics/features.csv"])
    assert not (out / "p1" / "radiomics").exists()


def test_a_mask_that_a_person_has_corrected_is_kept(
    tmp_path: Path, run: Callable[..., CohortSummary]
) -> None:
    run()
    mask = tmp_path / "out" / "p1" / "radiomics" / "mask_WT.nii.gz"
    sitk.WriteImage(sitk.ReadImage(str(mask)) * 0, str(mask))
    corrected = mask.read_bytes()
    summary = run(replace(WANTED, probabilities=True))
    assert summary.records["p1"].state == "failed"
    assert f"{mask}: was changed since it was written, and is kept" in summary.records["p1"].error
    assert mask.read_bytes() == corrected
    assert run(replace(WANTED, probabilities=True), overwrite=True).records["p1"].state == "done"
    assert np.any(sitk.GetArrayFromImage(sitk.ReadImage(str(mask))))


def test_a_list_of_somebody_else_is_not_replaced(
    tmp_path: Path, run: Callable[..., CohortSummary]
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "pyradiomics.csv").write_text("mine")
    with pytest.raises(InputError, match=r"pyradiomics\.csv: is there, and not as a cohort"):
        run()
    run(replace(WANTED, radiomics=False))
    assert (tmp_path / "out" / "pyradiomics.csv").read_text() == "mine"
