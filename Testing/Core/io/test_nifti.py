"""A NIfTI header has room for two places, written here by nibabel, which keeps them apart."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from MISSUCore.core.errors import InputError
from MISSUCore.io.reading import read_case, read_image, read_label_map, read_map

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


def with_fields(path: Path, at: int, *numbers: float) -> Path:
    """The file with other numbers (float32) in its header."""
    content = bytearray(path.read_bytes())
    struct.pack_into(f"<{len(numbers)}f", content, at, *numbers)
    path.write_bytes(content)
    return path


def test_a_place_that_is_not_used_is_told_too(tmp_path: Path) -> None:
    """With the code 1 an sform goes before a qform, of which other programs do not know."""
    path = written(tmp_path / "scan.nii", shifted(-7), TURNED)
    content = bytearray(path.read_bytes())
    struct.pack_into("<h", content, 254, 1)  # sform_code
    path.write_bytes(content)
    assert read_image(path).GetOrigin() == pytest.approx((30, -20, 11))
    (warning,) = warnings(path)
    assert "gives two places (qform and sform), up to 7 mm apart" in warning


def test_two_voxel_sizes(tmp_path: Path) -> None:
    """Volumes go by pixdim here, and by the sform in other programs."""
    path = with_fields(written(tmp_path / "scan.nii", None, TURNED), 88, 1.5)
    for read in (read_image, read_map, read_label_map):
        with pytest.raises(InputError, match=r"two voxel sizes, 1 x 2 x 1\.5 mm \(pixdim\) and"):
            read(path)
    with_fields(path, 88, 3.01)  # rounded
    assert read_image(path).GetSpacing() == pytest.approx((1, 2, 3.01), rel=1e-3)
    longer = TURNED @ np.diag([1.0, 1.0, 2.0, 1.0])
    (warning,) = warnings(written(path, TURNED, longer))
    assert "two places and two voxel sizes (qform and sform), up to 15 mm apart" in warning


@pytest.mark.parametrize("step", [0.0, -3.0, float("nan")])
@pytest.mark.parametrize("form", ["qform", "sform"])
def test_a_voxel_size_that_cannot_be(tmp_path: Path, form: str, step: float) -> None:
    """ITK takes 1 mm for 0, and turns an axis around where it is below 0."""
    forms = (TURNED, None) if form == "qform" else (None, TURNED)
    path = with_fields(written(tmp_path / "scan.nii", *forms), 88, step)
    with pytest.raises(InputError, match=r"a voxel spacing of|its qform holds NaN"):
        read_image(path)


def test_analyze_does_not_tell_the_side(tmp_path: Path) -> None:
    voxels = np.random.default_rng(0).random((10, 8, 6), dtype=np.float32)
    nibabel.save(nibabel.AnalyzeImage(voxels, np.eye(4)), tmp_path / "scan.img")
    (warning,) = warnings(tmp_path / "scan.hdr")
    assert "does not say where the patient's left is" in warning
