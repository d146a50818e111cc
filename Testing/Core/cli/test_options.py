"""Options that several commands share."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from MISSUCore.cli.main import main
from MISSUCore.cli.options import add_scans, scan_inputs
from MISSUCore.contract.options import PreprocessingOptions


def test_a_folder_alone_is_the_case(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["segment", str(tmp_path), "--output", str(tmp_path / "x.nii.gz")]) == 2
    assert f"{tmp_path}: holds no NIfTI" in capsys.readouterr().err
    both = ["segment", str(tmp_path), "--case", str(tmp_path), "--output", "x.nii.gz"]
    assert main(both) == 2
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
