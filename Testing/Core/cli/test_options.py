"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path

import pytest

from MISSUCore.cli.main import main


def test_a_folder_alone_is_the_case(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["segment", str(tmp_path), "--output", str(tmp_path / "x.nii.gz")]) == 2
    assert f"{tmp_path}: holds no NIfTI" in capsys.readouterr().err
    both = ["segment", str(tmp_path), "--case", str(tmp_path), "--output", "x.nii.gz"]
    assert main(both) == 2
    assert "give one folder with a case" in capsys.readouterr().err
