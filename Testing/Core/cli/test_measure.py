"""``missu measure`` on the command line."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from MISSUCore.cli.main import main
from MISSUCore.contract.measurement.report import read_measurement
from MISSUCore.core.events import ProgressEvent, parse_line


@pytest.fixture
def segmentation(tmp_path: Path) -> Path:
    """An enhancing box of 12 x 20 mm on 6 slices, and a small one."""
    label_map = np.zeros((12, 40, 40), np.uint8)
    label_map[2:8, 3:15, 4:24] = 4
    label_map[9:11, 30:33, 30:33] = 4
    path = tmp_path / "seg.nii.gz"
    sitk.WriteImage(sitk.GetImageFromArray(label_map), str(path))
    return path


def test_it_prints_a_table_and_writes_both_files(
    tmp_path: Path, segmentation: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output, table = tmp_path / "out" / "report.json", tmp_path / "out" / "lesions.csv"
    files = ["--output", str(output), "--csv", str(table)]
    assert main(["measure", str(segmentation), *files]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[0] == "Lesion" and lines[1].split()[0] == "1"
    assert lines[1].endswith("target")
    assert "not measurable: longest diameter 3.6 mm, below 10 mm" in lines[2]
    report = read_measurement(output)
    assert [lesion.target for lesion in report.lesions] == [True, False]
    assert f"Sum of products over 1 target: {report.sum_of_products_mm2:.0f} mm2" in lines
    with table.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    longest = report.lesions[0].longest
    assert longest is not None
    assert float(rows[0]["longest_mm"]) == pytest.approx(longest.length_mm, abs=1e-3)
    assert float(rows[0]["longest_end_y_mm"]) == pytest.approx(longest.end[1], abs=1e-3)
    assert [row["measurable"] for row in rows] == ["yes", "no"]


def test_nothing_is_replaced_unasked_and_nothing_written_after_an_error(
    tmp_path: Path, segmentation: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine, scan = tmp_path / "mine.json", tmp_path / "t1ce.nii.gz"
    mine.write_text("mine")
    sitk.WriteImage(sitk.Image(5, 6, 7, sitk.sitkFloat32) + 1.0, str(scan))
    empty = tmp_path / "empty.nii.gz"
    sitk.WriteImage(sitk.Image(5, 6, 7, sitk.sitkUInt8), str(empty))
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    new = str(tmp_path / "new.json")
    for arguments, message in (
        ([segmentation, "--output", mine], "exists already; add --overwrite"),
        ([segmentation, "--output", segmentation, "--overwrite"], "is an input too"),
        ([segmentation, "--t1ce", scan, "--csv", scan, "--overwrite"], "is an input too"),
        ([segmentation, "--output", new, "--csv", new], "written twice"),
        ([segmentation, "--t1ce", scan, "--output", new], "t1ce.nii.gz: is empty"),
        ([empty, "--output", new], "empty.nii.gz: is empty, it has no voxel of 1 = NCR"),
        ([tmp_path / "no.nii.gz", "--output", new], "no such file"),
        ([segmentation, "--region", "core", "--output", new], "BraTS has no region 'core'"),
        ([segmentation, "--scheme", "liver", "--output", new], "no label scheme 'liver'"),
    ):
        assert main(["measure", *map(str, arguments)]) == 2, arguments
        assert message in capsys.readouterr().err
        assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert main(["measure", str(segmentation), "--output", str(mine), "--overwrite"]) == 0
    assert read_measurement(mine).lesions


def test_maps_are_measured_in_the_regions(
    tmp_path: Path, segmentation: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    voxels = np.full((12, 40, 40), 700, np.float32)
    voxels[2:8, 3:15, 4:24] = 900  # the large lesion: 1440 voxels of 1458
    voxels[9:11, 30:33, 30:33] = np.nan
    adc, output = tmp_path / "adc.nii.gz", tmp_path / "report.json"
    sitk.WriteImage(sitk.GetImageFromArray(voxels), str(adc))
    given = ["measure", str(segmentation), "--map", f"ADC={adc}", "--output", str(output)]
    assert main(given) == 0
    printed = capsys.readouterr()
    row = next(line for line in printed.out.splitlines() if line.split()[:2] == ["ADC", "ET"])
    assert row.split()[2:5] == ["99%", "1440", "900"]
    report = read_measurement(output)
    told = report.maps["ADC"].regions["ET"]
    assert (told.voxels, told.mean, told.median) == (1440, 900.0, 900.0)
    assert told.covered == pytest.approx(1440 / 1458)
    assert report.maps["ADC"].path == str(adc) and len(report.maps["ADC"].sha256) == 64
    assert not report.warnings
    for wrong, message in (
        ([f"ADC={adc}", "--map", f"ADC={adc}"], "ADC is given twice"),
        ([str(adc)], "write NAME=FILE"),
        ([f"ADC={tmp_path / 'no.nii'}"], "no.nii: no such file"),
        ([f"ADC={adc}", "--csv", str(adc), "--overwrite"], "adc.nii.gz: is an input too"),
    ):
        assert main(["measure", str(segmentation), "--map", *wrong]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.slow
def test_programs_read_events_and_torch_is_not_loaded(tmp_path: Path, segmentation: Path) -> None:
    output = tmp_path / "report.json"
    program = (
        "import sys; from MISSUCore.cli.main import main\n"
        f"code = main(['measure', {str(segmentation)!r}, '--output', {str(output)!r}, "
        "'--json-progress', '--join', '0', '--targets', '5', '--lesions-of', 'TC'])\n"
        "assert 'torch' not in sys.modules\nsys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120
    )
    events = [parse_line(line) for line in done.stdout.splitlines()]
    assert events and all(isinstance(event, ProgressEvent) for event in events)
    settings = json.loads(output.read_text(encoding="utf-8"))["settings"]
    assert (settings["join_mm"], settings["targets"], settings["lesions_of"]) == (0.0, 5, "TC")
