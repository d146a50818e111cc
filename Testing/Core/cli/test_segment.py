"""``missu segment``: what is written and printed beside the label map."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from MISSUCore.cli.main import main
from MISSUCore.contract.segmentation_report import read_report

Truth = NDArray[np.uint8]
Scans = Callable[[Truth], dict[str, NDArray[np.float32]]]


@pytest.fixture
def command(
    tmp_path: Path,
    write_image: Callable[..., Path],
    scans: Scans,
    bright_model: Callable[..., Path],
) -> Callable[[Truth], list[str]]:
    """Function to the command that segments scans with a tumor."""

    def make(labels: Truth) -> list[str]:
        given = ["--model", str(bright_model()), "--registration", "never", "--device", "cpu"]
        for name, voxels in scans(labels).items():
            given += [f"--{name}", str(write_image(f"{name}.nii.gz", voxels))]
        return ["segment", *given, "--brain-extraction", "never", "--bias-field", "never"]

    return make


def test_maps_and_a_folder_for_radiomics(
    tmp_path: Path,
    command: Callable[[Truth], list[str]],
    write_image: Callable[..., Path],
    truth: Truth,
    capsys: pytest.CaptureFixture[str],
) -> None:
    adc = write_image("adc.nii.gz", np.where(truth == 4, 850, 1200).astype(np.int16))
    folder, report = tmp_path / "features", tmp_path / "report.json"
    wanted = ["--radiomics", str(folder), "--map", f"ADC={adc}", "--report", str(report)]
    assert main([*command(truth), "--output", str(tmp_path / "seg.nii.gz"), *wanted]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["ADC", "ET", "100%", "125", "850", "0"] in [row[:6] for row in rows]
    assert read_report(report).maps["ADC"].regions["ET"].median == 850
    with (folder / "pyradiomics.csv").open(encoding="utf-8", newline="") as stream:
        assert {row["ID"] for row in csv.DictReader(stream)} == {"features"}


def test_of_maps_nothing_is_printed_where_nothing_was_found(
    tmp_path: Path,
    command: Callable[[Truth], list[str]],
    write_image: Callable[..., Path],
    truth: Truth,
    capsys: pytest.CaptureFixture[str],
) -> None:
    adc = write_image("adc.nii.gz", np.arange(truth.size, dtype=np.int32).reshape(truth.shape))
    wanted = ["--output", str(tmp_path / "seg.nii.gz"), "--map", f"ADC={adc}"]
    assert main([*command(np.zeros_like(truth)), *wanted]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["WT", "TC", "ET"]


def test_what_names_a_file_is_for_a_single_case(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    many = ["segment", "--cases", str(tmp_path / "list.csv"), "--output-folder", str(tmp_path)]
    for single, message in (
        (["patient"], "patient is for a single case"),
        (["--map", "ADC=adc.nii"], "--map is for a single case"),
        (["--radiomics", "features"], "--radiomics FOLDER is for a single case"),
        (["--quality-page", "page.html"], "--quality-page FILE is for a single case"),
        (["--dicom-seg", "seg.dcm"], "--dicom-seg is for a single case"),
    ):
        assert main([*many, *single]) == 2
        assert message in capsys.readouterr().err
