"""A BIDS dataset in, a BIDS derivative dataset out: whole, failed and resumed runs."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from MISSUCore.cli.main import main
from MISSUCore.cohorts.bids_layout import BidsLayout, check_labels
from MISSUCore.cohorts.cohort import CohortOptions, segment_cohort
from MISSUCore.cohorts.summary import CohortSummary
from MISSUCore.contract.labels import BRATS
from MISSUCore.contract.model_card import ModelCard
from MISSUCore.core.errors import InputError
from MISSUCore.io.bids.dataset import read_bids
from MISSUCore.preprocessing.pipeline import PreprocessingOptions

Write = Callable[[Mapping[str, object]], Path]
AS_IS = CohortOptions(
    preprocessing=PreprocessingOptions(registration=False, brain_extraction=False)
)
RAW: dict[str, object] = {
    "README.md": "A dataset made for tests, with balls in place of tumors. " * 4,
    "sub-01/anat/sub-01_T1w.nii.gz": 1.0,
    "sub-01/anat/sub-01_ce-gadolinium_T1w.nii.gz": 1.0,
    "sub-01/anat/sub-01_T2w.nii.gz": 1.0,
    "sub-01/anat/sub-01_FLAIR.nii.gz": 1.0,
    "sub-02/ses-pre/anat/sub-02_ses-pre_acq-a_T1w.nii.gz": 1.0,
    "sub-02/ses-pre/anat/sub-02_ses-pre_acq-b_T1w.nii.gz": (0.9, 1.1, 1.2),
    "sub-02/ses-pre/anat/sub-02_ses-pre_acq-b_T1w.json": {"ContrastBolusIngredient": "GADOLINIUM"},
    "sub-02/ses-pre/anat/sub-02_ses-pre_run-1_T2w.nii.gz": 1.0,
    "sub-02/ses-pre/anat/sub-02_ses-pre_run-2_T2w.nii.gz": 1.0,
    "sub-02/ses-pre/anat/sub-02_ses-pre_FLAIR.nii.gz": 1.0,
}
SHARED = (
    ".bidsignore",
    "README.md",
    "cohort.html",
    "dataset_description.json",
    "desc-tumor_dseg.tsv",
    "summary.csv",
    "written.sha256",
)
CASE_01 = (
    "sub-01/anat/cohort.json",
    "sub-01/anat/sub-01_desc-tumor_report.json",
    "sub-01/anat/sub-01_desc-tumor_thumbnail.svg",
    "sub-01/anat/sub-01_space-orig_desc-tumor_dseg.json",
    "sub-01/anat/sub-01_space-orig_desc-tumor_dseg.nii.gz",
)
CASE_02 = (
    "sub-02/ses-pre/anat/cohort.json",
    "sub-02/ses-pre/anat/sub-02_ses-pre_desc-tumor_report.json",
    "sub-02/ses-pre/anat/sub-02_ses-pre_desc-tumor_thumbnail.svg",
    "sub-02/ses-pre/anat/sub-02_ses-pre_space-orig_desc-tumor_dseg.json",
    "sub-02/ses-pre/anat/sub-02_ses-pre_space-orig_desc-tumor_dseg.nii.gz",
)
MORE_OF_01 = (
    "sub-01/anat/sub-01_desc-tumor_quality.html",
    "sub-01/anat/sub-01_space-orig_label-ET_desc-tumor_probseg.json",
    "sub-01/anat/sub-01_space-orig_label-ET_desc-tumor_probseg.nii.gz",
    "sub-01/anat/sub-01_space-orig_label-TC_desc-tumor_probseg.json",
    "sub-01/anat/sub-01_space-orig_label-TC_desc-tumor_probseg.nii.gz",
    "sub-01/anat/sub-01_space-orig_label-WT_desc-tumor_probseg.json",
    "sub-01/anat/sub-01_space-orig_label-WT_desc-tumor_probseg.nii.gz",
)
IMAGES = [
    f"{case}_space-orig_{what}"
    for case in ("sub-01", "sub-02_ses-pre")
    for what in (
        "desc-tumor_dseg",
        "label-ET_desc-tumor_probseg",
        "label-TC_desc-tumor_probseg",
        "label-WT_desc-tumor_probseg",
    )
]
SOURCES_02 = [
    "bids:raw:sub-02/ses-pre/anat/sub-02_ses-pre_acq-a_T1w.nii.gz",
    "bids:raw:sub-02/ses-pre/anat/sub-02_ses-pre_acq-b_T1w.nii.gz",
    "bids:raw:sub-02/ses-pre/anat/sub-02_ses-pre_run-2_T2w.nii.gz",
    "bids:raw:sub-02/ses-pre/anat/sub-02_ses-pre_FLAIR.nii.gz",
]


@pytest.fixture
def raw(write_bids: Write) -> Path:
    """A raw dataset of a subject without and one with a session."""
    return write_bids(RAW)


@pytest.fixture
def run(raw: Path, tiny_model: Path) -> Callable[..., CohortSummary]:
    """Function that segments the dataset into its derivatives."""

    def start(options: CohortOptions = AS_IS, **more: object) -> CohortSummary:
        dataset = read_bids(raw)
        return segment_cohort(
            dataset, raw / "derivatives" / "missu", str(tiny_model), options, **more
        )

    return start


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def states(summary: CohortSummary) -> dict[str, str]:
    return {name: record.state for name, record in summary.records.items()}


def read(path: Path) -> dict[str, object]:
    return json.loads(path.read_text(encoding="utf-8"))


def test_a_whole_run_and_one_more(run: Callable[..., CohortSummary], raw: Path) -> None:
    out = raw / "derivatives" / "missu"
    before = files_in(raw)
    expected = sorted([*SHARED, "methods.txt", *CASE_01, *CASE_02])
    for _ in range(2):
        assert states(run()) == {"sub-01": "done", "sub-02_ses-pre": "done"}
        assert files_in(out) == expected
    assert [path for path in files_in(raw) if not path.startswith("derivatives/")] == before
    page = (out / "cohort.html").read_text(encoding="utf-8")
    for path in (CASE_01[1], CASE_02[4]):
        assert f'href="./{path}"' in page
    assert (out / "methods.txt").read_text(encoding="utf-8").startswith("In 2 examinations, ")
    with (out / "summary.csv").open(encoding="utf-8", newline="") as stream:
        assert [row["name"] for row in csv.DictReader(stream)] == ["sub-01", "sub-02_ses-pre"]


def test_the_label_map_lies_on_its_reference(run: Callable[..., CohortSummary], raw: Path) -> None:
    run()
    out = raw / "derivatives" / "missu"
    labels = sitk.ReadImage(str(out / CASE_02[4]))
    scan = sitk.ReadImage(str(raw / SOURCES_02[1].removeprefix("bids:raw:")))
    for what in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
        assert getattr(labels, what)() == getattr(scan, what)()
    assert labels.GetSpacing() == pytest.approx((0.9, 1.1, 1.2))
    sidecar = read(out / CASE_02[3])
    assert sidecar["SpatialReference"] == SOURCES_02[1]
    assert sidecar["Sources"] == SOURCES_02
    assert (sidecar["Manual"], sidecar["Model"]) == (False, "tiny")
    assert sidecar["ModelSHA256"] == read(out / CASE_02[1])["model"]["sha256"]


def test_the_dataset_is_described(run: Callable[..., CohortSummary], raw: Path) -> None:
    run()
    out = raw / "derivatives" / "missu"
    description = read(out / "dataset_description.json")
    assert description["DatasetType"] == "derivative"
    assert description["Name"] == "Tumor segmentations of Tumors"
    assert description["GeneratedBy"][0]["Name"] == "missu"
    assert (out / description["DatasetLinks"]["raw"] / "sub-01").samefile(raw / "sub-01")
    assert (out / "desc-tumor_dseg.tsv").read_bytes() == (
        b"index\tname\tabbreviation\tcolor\n"
        b"1\tNecrotic and non-enhancing tumor core\tNCR\t#d8bfd8\n"
        b"2\tPeritumoral edema\tED\t#8ce0e4\n"
        b"4\tEnhancing tumor\tET\t#f06e3c\n"
    )


def test_what_bids_has_no_name_for_is_ignored_and_nothing_else(
    run: Callable[..., CohortSummary], raw: Path
) -> None:
    run(replace(AS_IS, quality_pages=True, probabilities=True))
    out = raw / "derivatives" / "missu"
    patterns = (out / ".bidsignore").read_text().splitlines()
    names = {Path(name).name for name in files_in(out)} - {".bidsignore"}
    kept = {name for name in names if not any(fnmatch(name, pattern) for pattern in patterns)}
    images = {f"{stem}.nii.gz" for stem in IMAGES} | {f"{stem}.json" for stem in IMAGES}
    assert kept == {"README.md", "dataset_description.json", "desc-tumor_dseg.tsv", *images}


def test_pages_and_probabilities(run: Callable[..., CohortSummary], raw: Path) -> None:
    out = raw / "derivatives" / "missu"
    (raw / ".bidsignore").write_text("sub-02\n")
    run(replace(AS_IS, quality_pages=True, probabilities=True))
    assert files_in(out) == sorted([*SHARED, "methods.txt", *CASE_01, *MORE_OF_01])
    sidecar = read(out / MORE_OF_01[5])
    assert "region WT (Whole tumor)" in str(sidecar["Description"])
    assert sidecar["SpatialReference"] == "bids:raw:sub-01/anat/sub-01_ce-gadolinium_T1w.nii.gz"
    run()  # without them: what is not asked for any more goes
    assert files_in(out) == sorted([*SHARED, "methods.txt", *CASE_01])


def test_another_reference(run: Callable[..., CohortSummary], raw: Path) -> None:
    run(replace(AS_IS, reference="t2"))
    out = raw / "derivatives" / "missu"
    assert read(out / CASE_02[3])["SpatialReference"] == SOURCES_02[2]
    assert sitk.ReadImage(str(out / CASE_02[4])).GetSpacing() == pytest.approx((1.0, 1.0, 1.0))


def test_failed_and_resumed_runs(run: Callable[..., CohortSummary], raw: Path) -> None:
    out = raw / "derivatives" / "missu"
    for name in ("sub-01_T1w", "sub-01_ce-gadolinium_T1w"):
        (raw / f"sub-01/anat/{name}.nii.gz").rename(raw / f"{name}.nii.gz")
    tied = raw / "sub-02/ses-pre/anat/sub-02_ses-pre_acq-a_run-2_T2w.nii.gz"
    shutil.copy(raw / "sub-02/ses-pre/anat/sub-02_ses-pre_run-2_T2w.nii.gz", tied)
    summary = run()
    assert states(summary) == {"sub-01": "failed", "sub-02_ses-pre": "failed"}
    assert files_in(out) == sorted([*SHARED, CASE_01[0], CASE_02[0]])
    assert "missing: t1, t1ce" in summary.records["sub-01"].error
    assert f"{tied} and " in summary.records["sub-02_ses-pre"].error
    tied.unlink()
    assert states(run()) == {"sub-01": "failed", "sub-02_ses-pre": "done"}
    assert files_in(out) == sorted([*SHARED, "methods.txt", CASE_01[0], *CASE_02])
    for name in ("sub-01_T1w", "sub-01_ce-gadolinium_T1w"):
        (raw / f"{name}.nii.gz").rename(raw / f"sub-01/anat/{name}.nii.gz")
    assert states(run()) == {"sub-01": "done", "sub-02_ses-pre": "done"}
    assert files_in(out) == sorted([*SHARED, "methods.txt", *CASE_01, *CASE_02])


def test_one_scan_may_be_missing_as_the_model_allows(
    run: Callable[..., CohortSummary], raw: Path
) -> None:
    (raw / "sub-01/anat/sub-01_T2w.nii.gz").unlink()
    record = run().records["sub-01"]
    assert record.state == "done"
    assert any("t2 is missing" in warning for warning in record.warnings)


def test_what_a_user_has_corrected_or_completed_stays(
    run: Callable[..., CohortSummary], raw: Path
) -> None:
    out = raw / "derivatives" / "missu"
    run()
    completed = {**read(out / "dataset_description.json"), "Authors": ["A", "B"]}
    (out / "dataset_description.json").write_text(json.dumps(completed))
    (out / CASE_01[4]).write_text("corrected")
    summary = run(replace(AS_IS, reference="t1"))
    assert states(summary) == {"sub-01": "failed", "sub-02_ses-pre": "done"}
    assert (out / CASE_01[4]).read_text() == "corrected"
    assert read(out / "dataset_description.json") == completed
    assert states(run(overwrite=True)) == {"sub-01": "done", "sub-02_ses-pre": "done"}
    assert "Authors" not in read(out / "dataset_description.json")


@pytest.mark.parametrize("name", ["dataset_description.json", ".bidsignore", "README.md"])
def test_a_dataset_of_somebody_else_is_refused(
    run: Callable[..., CohortSummary], raw: Path, name: str
) -> None:
    out = raw / "derivatives" / "missu"
    out.mkdir(parents=True)
    (out / name).write_text("mine")
    with pytest.raises(InputError, match=f"{name}: is there, and not as a cohort has written it"):
        run()
    assert files_in(out) == [name] and (out / name).read_text() == "mine"


def test_processes_of_torchrun_share_the_cases(
    run: Callable[..., CohortSummary], raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in "10":
        monkeypatch.setenv("RANK", rank)
        summary = run()
    assert states(summary) == {"sub-01": "done", "sub-02_ses-pre": "done"}
    out = raw / "derivatives" / "missu"
    expected = [*SHARED, "methods.txt", "written-1.sha256", *CASE_01, *CASE_02]
    assert files_in(out) == sorted(expected)


def test_a_dataset_elsewhere_is_linked(
    raw: Path, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(raw)
    out = tmp_path / "my results"
    command = ["segment", "--bids", ".", "--output-folder", str(out), "--participants", "sub-01"]
    command += ["--registration", "never", "--brain-extraction", "never"]
    assert main([*command, "--model", str(tiny_model), "--device", "cpu"]) == 0
    assert files_in(out) == sorted([*SHARED, "methods.txt", *CASE_01])
    assert read(out / "dataset_description.json")["DatasetLinks"] == {"raw": "../raw"}
    assert read(out / CASE_01[3])["SpatialReference"] == (
        "bids:raw:sub-01/anat/sub-01_ce-gadolinium_T1w.nii.gz"
    )


def test_maps_of_the_dataset_are_measured(
    raw: Path, tmp_path: Path, tiny_model: Path, make_image: Callable[..., sitk.Image]
) -> None:
    adc = raw / "sub-01" / "dwi" / "sub-01_ADC.nii.gz"
    adc.parent.mkdir()
    voxels = np.full((12, 12, 12), 800.0, np.float32)
    voxels[:, :, 0] = 900  # a constant map is refused
    sitk.WriteImage(make_image(voxels, (1.0, 1.0, 1.0)), str(adc))
    out = tmp_path / "out"
    command = ["segment", "--bids", str(raw), "--output-folder", str(out), "--map", "ADC=ADC"]
    command += ["--registration", "never", "--brain-extraction", "never", "--device", "cpu"]
    assert main([*command, "--model", str(tiny_model)]) == 0
    with (out / "summary.csv").open(encoding="utf-8") as stream:
        first, second = csv.DictReader(stream)
    assert (first["ADC_WT_median"], second["ADC_WT_median"]) == ("800.0", "")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "give --output-folder"),
        (["--output-folder", "raw"], "lies among the raw data"),
        (["--output-folder", "raw/sub-01/out"], "lies among the raw data"),
        (["--output-folder", "out", "--cases", "raw"], "--cases and --bids: give one of them"),
        (["--output-folder", "out", "--t1", "a.nii"], "or leave out --bids"),
        (["--output-folder", "out", "--map", "ADC=adc.nii"], "no session has a map ADC"),
        (["--output-folder", "out", "--participants", "7"], "there is no participant sub-7"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    raw: Path,
    tmp_path: Path,
    tiny_model: Path,
    options: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    before = files_in(tmp_path)
    assert main(["segment", "--bids", str(raw), "--model", str(tiny_model), *options]) == 2
    assert message in capsys.readouterr().err
    assert files_in(tmp_path) == before


def test_participants_are_of_a_dataset(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["segment", "--output", "a.nii", "--participants", "1"]) == 2
    assert "--participants is for --bids" in capsys.readouterr().err


def test_names_of_regions_become_labels(raw: Path, tiny_card: ModelCard) -> None:
    whole, *others = BRATS.regions
    dataset = read_bids(raw)
    layout = BidsLayout(dataset=dataset, folder=raw, card=tiny_card)
    files = layout.files(dataset.cases[0], Path())
    assert files.probability_map("whole tumor-2").name == (
        "sub-01_space-orig_label-wholetumor2_desc-tumor_probseg.nii.gz"
    )
    for name in ("T C", "t-c", "+"):
        scheme = replace(BRATS, regions=(replace(whole, name=name), *others))
        with pytest.raises(InputError, match="have no different names of letters and digits"):
            check_labels(scheme)


def test_folders_for_radiomics_lie_beside_what_bids_names(
    run: Callable[..., CohortSummary], raw: Path
) -> None:
    run(replace(AS_IS, radiomics=True))
    out = raw / "derivatives" / "missu"
    there = "sub-02/ses-pre/anat/radiomics/"
    assert {"radiomics", "pyradiomics.csv"} <= set((out / ".bidsignore").read_text().split())
    with (out / "pyradiomics.csv").open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["ID"] == "sub-02_ses-pre"]
    for row in rows:
        assert row["Image"].startswith(there) and (out / row["Image"]).is_file()
    assert f"{there}t1ce_zscore.nii.gz" in files_in(out)


def test_the_official_validator_finds_no_error(
    run: Callable[..., CohortSummary], raw: Path
) -> None:
    validator = shutil.which("bids-validator-deno") or shutil.which("bids-validator")
    if not validator:
        pytest.skip("the BIDS validator is not installed (pip install bids-validator-deno)")
    for name in ("T1w", "T2w"):
        (raw / f"sub-01/anat/sub-01_{name}.nii.gz").unlink()
    summary = run(replace(AS_IS, quality_pages=True, probabilities=True, radiomics=True))
    assert states(summary) == {"sub-01": "failed", "sub-02_ses-pre": "done"}
    for dataset in (raw, raw / "derivatives" / "missu"):
        command = [validator, "--format", "json", str(dataset)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        issues = json.loads(done.stdout)["issues"]["issues"]
        assert not [issue for issue in issues if issue["severity"] == "error"]
