"""The folder of a case: what is in it is used, or the user is told why not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from MISSUCore.core.errors import InputError
from MISSUCore.sequences.scan_choice import choose_scans, scans_in_folder


def write_case(folder: Path) -> None:
    for seed, name in enumerate(("t1", "t1ce", "t2", "flair")):
        voxels = np.random.default_rng(seed).integers(1, 1000, (12, 16, 14)).astype(np.int16)
        sitk.WriteImage(sitk.GetImageFromArray(voxels), str(folder / f"{name}.nii.gz"))


def test_a_scan_that_cannot_be_used_is_no_missing_scan(tmp_path: Path) -> None:
    told: list[str] = []
    write_case(tmp_path)
    (tmp_path / "t2.nii.gz").write_bytes(b"no image")
    (tmp_path / "flair.nii.gz").unlink()
    (tmp_path / "flair.nii.gz").symlink_to(tmp_path / "gone.nii.gz")
    with pytest.raises(InputError) as caught:
        scans_in_folder(tmp_path, tell=told.append)
    assert "t2: " in str(caught.value) and "cannot be read as an image" in str(caught.value)
    assert "flair: " in str(caught.value) and "gone.nii.gz, which is not there" in str(caught.value)
    assert "--allow-missing" in str(caught.value)
    given = scans_in_folder(tmp_path, may_miss=("t2", "flair"), tell=told.append)
    assert sorted(given.paths) == ["t1", "t1ce"]
    assert sum("not used: " in text for text in told) == 4  # twice, two scans each


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


def test_a_scan_that_is_named_goes_before_the_folder(tmp_path: Path) -> None:
    write_case(tmp_path)
    (tmp_path / "t2.nii.gz").write_bytes(b"no image")
    other = tmp_path / "elsewhere" / "better.nii.gz"
    chosen = choose_scans({"t2": other}, tmp_path)
    assert chosen.paths["t2"] == other and chosen.paths["t1"] == tmp_path / "t1.nii.gz"
    assert sorted(chosen.sequences) == ["flair", "t1", "t1ce"]  # a named scan was not guessed
    with pytest.raises(InputError, match="no scan given"):
        choose_scans({})
