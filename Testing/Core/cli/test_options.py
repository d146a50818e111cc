"""Options that several commands share."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from MISSUCore.cli.main import main
from MISSUCore.cli.options import add_scans, scan_inputs
from MISSUCore.contract.options import PreprocessingOptions


@pytest.mark.parametrize(
    ("command", "result"),
    [
        (["segment"], ["--output", "x.nii.gz"]),
        (["explain"], ["--output", "maps"]),
        (["library", "cases", "add"], ["--labels", "x.nii.gz"]),
    ],
    ids=lambda words: words[0],
)
def test_a_folder_alone_is_the_case(
    command: list[str],
    result: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    scans = tmp_path / "scans"
    scans.mkdir()
    assert main([*command, str(scans), *result]) == 2
    assert f"{scans}: holds no NIfTI" in capsys.readouterr().err
    assert main([*command, str(scans), "--case", str(scans), *result]) == 2
    assert "give one folder with a case" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], PreprocessingOptions()),
        (["--allow-different-anatomy"], PreprocessingOptions(different_anatomy=True)),
        (["--bias-field"], PreprocessingOptions(bias_field="always")),
        (["--bias-field", "never"], PreprocessingOptions(bias_field="never")),
        (["--registration", "never"], PreprocessingOptions(registration=False)),
    ],
)
def test_what_is_done_to_the_scans_first(given: list[str], expected: PreprocessingOptions) -> None:
    parser = argparse.ArgumentParser()
    add_scans(parser)
    assert scan_inputs(parser.parse_args(given)).preprocessing == expected
