"""A NIfTI header has room for two places, written here by nibabel, which keeps them apart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from MISSUCore.io.reading import read_case, read_map

nibabel = pytest.importorskip("nibabel")

# Voxels of 1 x 2 x 3 mm, turned by 30 degrees around the patient's long axis.
TURNED = np.array(
    [[0.866, -1.0, 0, -30], [0.5, 1.732, 0, 20], [0, 0, 3, 11], [0, 0, 0, 1]], dtype=float
)


def written(
    path: Path, qform: NDArray[np.float64] | None, sform: NDArray[np.float64] | None, code: int = 1
) -> Path:
    voxels = np.random.default_rng(0).random((10, 8, 6), dtype=np.float32)
    image = nibabel.Nifti1Image(voxels, TURNED)
    image.set_qform(qform, None if qform is None else code)
    image.set_sform(sform, None if sform is None else 2)
    nibabel.save(image, path)
    return path


def warnings(path: Path) -> list[str]:
    return read_case({"t1": path}).warnings


def shifted(shift_mm: float) -> NDArray[np.float64]:
    other = TURNED.copy()
    other[2, 3] += shift_mm
    return other


@pytest.mark.parametrize("ending", ["nii", "nii.gz"])
def test_one_place_or_the_same_twice(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"scan.{ending}"
    for qform, sform in ((TURNED, None), (None, TURNED), (TURNED, TURNED), (TURNED, shifted(0.9))):
        assert warnings(written(path, qform, sform)) == []


def test_two_places(tmp_path: Path) -> None:
    path = tmp_path / "scan.nii.gz"
    (warning,) = warnings(written(path, TURNED, shifted(-7)))
    assert warning.startswith(f"{path}: its header gives two places (qform and sform), up to 7 mm")
    assert read_map(path)[1] == [warning]
    mirrored = np.diag([-1.0, 1.0, 1.0, 1.0]) @ TURNED  # the farthest corner lies at -37 mm
    (warning,) = warnings(written(path, TURNED, mirrored))
    assert "up to 74 mm apart" in warning and "mirrored" in warning
    longer = TURNED @ np.diag([1.0, 1.0, 2.0, 1.0])  # 5 steps of 3 mm more
    (warning,) = warnings(written(path, TURNED, longer))
    assert "up to 15 mm apart" in warning


def test_no_place(tmp_path: Path) -> None:
    path = tmp_path / "scan.nii.gz"
    (warning,) = warnings(written(path, None, None))
    assert warning.startswith(f"{path}: its header does not say where the patient's left is")


def test_other_formats_have_one_place(write_image: Callable[..., Path]) -> None:
    voxels = np.random.default_rng(0).random((6, 8, 10), dtype=np.float32)
    for ending in ("nrrd", "mha", "nii.gz"):
        assert warnings(write_image(f"scan.{ending}", voxels, origin=(5.0, -3.0, 90.0))) == []


@pytest.mark.parametrize(("unit", "in_mm"), [("meter", 1000.0), ("micron", 0.001)])
def test_places_in_other_units_agree(tmp_path: Path, unit: str, in_mm: float) -> None:
    image = nibabel.Nifti1Image(
        np.random.default_rng(0).random((10, 8, 6), dtype=np.float32),
        np.diag([1 / in_mm] * 3 + [1]) @ TURNED,
    )
    image.set_qform(image.affine, 1)
    image.set_sform(image.affine, 1)
    image.header.set_xyzt_units(unit)
    nibabel.save(image, tmp_path / "scan.nii")
    assert warnings(tmp_path / "scan.nii") == []
