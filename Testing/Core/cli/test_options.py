"""The folder of a case: what is in it is used, or the user hears why not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from MISSUCore.cli.main import main
from MISSUCore.cli.options import scans_in_folder
from MISSUCore.core.errors import InputError


def test_a_folder_alone_is_the_case(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["segment", str(tmp_path), "--output", str(tmp_path / "x.nii.gz")]) == 2
    assert f"{tmp_path}: holds no NIfTI" in capsys.readouterr().err
    both = ["segment", str(tmp_path), "--case", str(tmp_path), "--output", "x.nii.gz"]
    assert main(both) == 2
    assert "give one folder with a case" in capsys.readouterr().err


def write_case(folder: Path) -> None:
    for seed, name in enumerate(("t1", "t1ce", "t2", "flair")):
        voxels = np.random.default_rng(seed).integers(1, 1000, (12, 16, 14)).astype(np.int16)
        sitk.WriteImage(sitk.GetImageFromArray(voxels), str(folder / f"{name}.nii.gz"))


def test_a_scan_that_cannot_be_used_is_no_missing_scan(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_case(tmp_path)
    (tmp_path / "t2.nii.gz").write_bytes(b"no image")
    (tmp_path / "flair.nii.gz").unlink()
    (tmp_path / "flair.nii.gz").symlink_to(tmp_path / "gone.nii.gz")
    with pytest.raises(InputError) as caught:
        scans_in_folder(tmp_path)
    assert "t2: " in str(caught.value) and "cannot be read as an image" in str(caught.value)
    assert "flair: " in str(caught.value) and "gone.nii.gz, which is not there" in str(caught.value)
    assert "--allow-missing" in str(caught.value)
    given = scans_in_folder(tmp_path, may_miss=("t2", "flair"))
    assert sorted(given.paths) == ["t1", "t1ce"]
    told = capsys.readouterr().err
    assert told.count("not used: ") == 4  # twice, two scans each


def test_the_same_scan_twice_is_one(tmp_path: Path) -> None:
    write_case(tmp_path)
    sitk.WriteImage(sitk.ReadImage(str(tmp_path / "t1.nii.gz")), str(tmp_path / "t1.nii"))
    assert sorted(scans_in_folder(tmp_path).paths) == ["flair", "t1", "t1ce", "t2"]


def test_a_folder_behind_a_link_is_searched_and_circles_end(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    write_case(tmp_path / "real")
    case = tmp_path / "case"
    case.mkdir()
    (case / "scans").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "circle").symlink_to(tmp_path / "real")
    assert sorted(scans_in_folder(case).paths) == ["flair", "t1", "t1ce", "t2"]
