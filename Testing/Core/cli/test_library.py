"""``missu library`` and ``missu finetune``, as the panel and a shell call them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from MISSUCore.cli.main import main
from MISSUCore.contract.labels import BRATS
from MISSUCore.contract.model_identity import ModelIdentity
from MISSUCore.contract.segmentation_report import SegmentationReport
from MISSUCore.core.errors import ErrorCode
from MISSUCore.core.events import ErrorEvent, Event, ResultEvent, parse_line
from MISSUCore.evaluation.verification import grid_of, mask_facts

MODALITIES = ("t1", "t1ce", "t2", "flair")


@pytest.fixture
def case_options(tmp_path: Path) -> list[str]:
    """The options that name a tiny case's scans and labels."""
    rng = np.random.default_rng(0)
    labels = np.zeros((16, 16, 16), np.uint8)
    labels[5:11, 5:11, 5:11] = 2
    labels[6:9, 6:9, 6:9] = 4
    options = []
    for name in MODALITIES:
        voxels = rng.uniform(1, 2, labels.shape).astype(np.float32) + (labels > 0)
        sitk.WriteImage(sitk.GetImageFromArray(voxels), str(tmp_path / f"{name}.nii.gz"))
        options += [f"--{name}", str(tmp_path / f"{name}.nii.gz")]
    sitk.WriteImage(sitk.GetImageFromArray(labels), str(tmp_path / "seg.nii.gz"))
    # There is nothing in the noise that a registration could hold on to.
    options += ["--registration", "never", "--brain-extraction", "never"]
    return [*options, "--labels", str(tmp_path / "seg.nii.gz")]


def printed(capsys: pytest.CaptureFixture[str]) -> dict:
    values: dict = json.loads(capsys.readouterr().out)
    return values


def test_a_case_is_added_listed_excluded_and_removed(
    case_options: list[str],
    tiny_model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    library = str(tmp_path / "library")
    assert main(["library", library, "list", "--json"]) == 2, "a slip of the pen is not a library"
    assert f"{library}: no such folder" in capsys.readouterr().err
    more = ["--model", str(tiny_model), "--result", case_options[-1], "--note", "a note"]
    assert main(["library", library, "add", *case_options, *more, "--json"]) == 0
    record = printed(capsys)
    assert record["volumes_ml"] == {"WT": 0.216, "TC": 0.027, "ET": 0.027}
    assert record["model"]["name"] == "tiny" and record["changes"]["WT"]["dice"] == 1
    assert (Path(record["folder"]) / "flair.nii.gz").exists()
    assert main(["library", library, "add", *case_options]) == 2
    assert record["id"] in capsys.readouterr().err
    assert main(["library", library, "add", *case_options, "--replace"]) == 0
    assert main(["library", library, "exclude", record["id"]]) == 0
    capsys.readouterr()
    assert main(["library", library, "list"]) == 0
    assert "(excluded)\n1 cases, 0 to tune on" in capsys.readouterr().out
    assert main(["library", library, "include", record["id"]]) == 0
    assert main(["library", library, "list", "--json"]) == 0
    assert [case["excluded"] for case in printed(capsys)["cases"]] == [False]
    assert main(["library", library, "remove", record["id"]]) == 0
    assert main(["library", library, "remove", record["id"]]) == 2


def test_a_case_is_recognized_as_it_was_read_and_as_it_is_stored(
    case_options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add = ["library", str(tmp_path / "library"), "add"]

    def mask(margin: int) -> list[str]:
        voxels = np.zeros((16, 16, 16), np.uint8)
        voxels[(slice(margin, -margin),) * 3] = 1
        path = tmp_path / f"mask{margin}.nii.gz"
        sitk.WriteImage(sitk.GetImageFromArray(voxels), str(path))
        return ["--brain-mask", str(path)]

    assert main([*add, *case_options, *mask(2), "--json"]) == 0
    record = printed(capsys)
    assert record["scans_sha256"]["t1"] != record["stored_sha256"]["t1"]
    stored = [str(Path(record["folder"]) / f"{name}.nii.gz") for name in MODALITIES]
    again = [part for name, path in zip(MODALITIES, stored) for part in (f"--{name}", path)]
    for options in ([*case_options, *mask(3)], [*again, *case_options[8:]]):
        assert main([*add, *options]) == 2
        assert f"already, as {record['id']}" in capsys.readouterr().err


def test_a_report_tells_what_computed_the_labels_before_they_were_corrected(
    case_options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = sitk.ReadImage(case_options[-1])
    report = tmp_path / "report.json"
    facts = SegmentationReport(
        model=ModelIdentity("tiny", 64 * "a"), grid=grid_of(labels), masks=mask_facts(labels, BRATS)
    )
    report.write_text(json.dumps(facts.to_dict()))
    labels[6, 6, 6] = 2  # no longer enhancing
    sitk.WriteImage(labels, case_options[-1])
    add = ["library", str(tmp_path / "library"), "add", *case_options, "--report", str(report)]
    assert main([*add, "--json"]) == 0
    record = printed(capsys)
    assert record["model"] == {"name": "tiny", "sha256": 64 * "a"}
    computed, now = (
        {name: fact["voxels"] for name, fact in contents["masks"].items()}
        for contents in (
            record["provenance"]["computed"]["contents"],
            record["provenance"]["contents"],
        )
    )
    assert computed == {"WT": 216, "TC": 27, "ET": 27}
    assert now == {"WT": 216, "TC": 26, "ET": 26}
    report.write_text("{}")
    assert main([*add, "--replace"]) == 2
    assert f"{report}: " in capsys.readouterr().err


def test_programs_learn_what_was_added_and_why_not(
    case_options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def last_event(*options: str) -> Event | None:
        main(["library", library, "add", *case_options, *options, "--json-progress"])
        return parse_line(capsys.readouterr().out.splitlines()[-1])

    library = str(tmp_path / "library")
    last_event()
    (folder,) = (tmp_path / "library" / "cases").glob("case-*")
    assert last_event("--replace") == ResultEvent({"case": folder.name})
    known = last_event()
    assert isinstance(known, ErrorEvent) and known.code == ErrorCode.SCANS_KNOWN
    labels = sitk.ReadImage(case_options[case_options.index("--labels") + 1])
    empty = tmp_path / "empty.nii.gz"
    sitk.WriteImage(labels * 0, str(empty))
    nothing = last_event("--labels", str(empty))
    assert isinstance(nothing, ErrorEvent) and nothing.code == ErrorCode.LABELS_EMPTY


def test_progress_comes_in_lines(
    case_options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    library = str(tmp_path / "library")
    assert main(["library", library, "add", *case_options, "--json", "--json-progress"]) == 0
    *events, record = capsys.readouterr().out.splitlines()
    stages = [parse_line(line).stage for line in events]
    assert stages[0] == "read" and stages[-2:] == ["add", "done"]
    assert json.loads(record)["modalities"] == list(MODALITIES)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (["--image", "dwi"], "write MODALITY=FILE"),
        (["--image", "t1=x.nii"], "t1 is given twice"),
        (["--scheme", "none"], "no label scheme 'none'"),
        (["--model", "none"], "no model 'none'"),
        (["--no-tumor"], "leave out --no-tumor"),
    ],
)
def test_what_cannot_be_used_is_named(
    case_options: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    changed: list[str],
    message: str,
) -> None:
    assert main(["library", str(tmp_path / "library"), "add", *case_options, *changed]) == 2
    assert message in capsys.readouterr().err


def test_finetune_needs_cases(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["finetune", "--base", str(tiny_model), "--output", str(tmp_path / "run")]
    assert main([*command, "--library", str(tmp_path / "library")]) == 2
    assert "0 cases to tune on" in capsys.readouterr().err
    assert main([*command, "--library", str(tmp_path / "library"), "--set", "steps"]) == 2
    assert "NAME=VALUE" in capsys.readouterr().err


def test_a_case_without_a_scan_of_the_base_is_named(
    case_options: list[str], tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    library = str(tmp_path / "library")
    assert main(["library", library, "add", *case_options[2:]]) == 0  # no t1
    command = ["finetune", "--base", str(tiny_model), "--output", str(tmp_path / "run")]
    command += ["--library", library]
    assert main(command) == 2
    assert "has no t1; leave it out, or say with --modalities" in capsys.readouterr().err
    assert main([*command, "--modalities", "t1ce", "t2", "flair"]) == 2
    assert "1 cases to tune on" in capsys.readouterr().err


def test_a_library_is_of_one_task(
    case_options: list[str], tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    library = str(tmp_path / "library")
    command = ["finetune", "--base", str(tiny_model), "--output", str(tmp_path / "run")]
    command += ["--library", library]
    assert main(["library", library, "add", *case_options]) == 0
    assert main([*command, "--scheme", "chaos-liver"]) == 2
    assert "its labels mean BraTS, not CHAOS liver" in capsys.readouterr().err
    # The other numbering of BraTS is the same task; a liver is not.
    for number, (scheme, message) in enumerate(
        [("brats2023", "2 cases to tune on"), ("chaos-liver", "cases of several tasks")]
    ):
        for name in MODALITIES:
            image = sitk.ReadImage(str(tmp_path / f"{name}.nii.gz")) * (number + 2)
            sitk.WriteImage(image, str(tmp_path / f"{name}.nii.gz"))
        if scheme == "chaos-liver":
            labels = sitk.ReadImage(str(tmp_path / "seg.nii.gz")) > 0
            sitk.WriteImage(labels, str(tmp_path / "seg.nii.gz"))
        assert main(["library", library, "add", *case_options, "--scheme", scheme]) == 0
        assert main(command) == 2
        assert message in capsys.readouterr().err
