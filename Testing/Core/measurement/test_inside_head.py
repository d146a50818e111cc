"""A segmentation that cannot be of its scan is refused; one at the edge of the head is not."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from MISSUCore.core.errors import ErrorCode, InputError
from MISSUCore.measurement.inside_head import check_lies_inside, part_inside

SHAPE = (30, 60, 50)
# A head: everything within 20 voxels of (15, 30, 25) in the plane, on slices 5 to 24.
ROWS, COLUMNS = np.mgrid[: SHAPE[1], : SHAPE[2]]
HEAD = np.zeros(SHAPE, bool)
HEAD[5:25] = (ROWS - 30) ** 2 + (COLUMNS - 25) ** 2 <= 20**2


def scan(noise: float = 0.0, hole: NDArray[np.bool_] | None = None) -> sitk.Image:
    voxels = np.where(HEAD, 500.0, 0.0) + np.random.default_rng(0).uniform(0, 1, SHAPE) * noise
    if hole is not None:
        voxels[hole] = 0
    image = sitk.GetImageFromArray(voxels.astype(np.float32))
    image.SetSpacing((2.0, 2.0, 3.0))
    return image


def box(*sides: slice) -> NDArray[np.bool_]:
    mask = np.zeros((2, *SHAPE), bool)
    mask[(0, *sides)] = True
    return mask


INSIDE = box(slice(10, 16), slice(28, 38), slice(20, 30))


@pytest.mark.parametrize("noise", [0.0, 30.0])
def test_how_much_lies_in_the_head(noise: float) -> None:
    assert part_inside(INSIDE[0], scan(noise)) == 1
    # Half of the box lies beyond the last slice of the head; it is found to 4 mm.
    half = box(slice(22, 28), slice(28, 38), slice(20, 30))
    assert part_inside(half[0], scan(noise)) == pytest.approx(0.5, abs=0.18)
    assert part_inside(box(slice(10, 16), slice(0, 6), slice(0, 6))[0], scan(noise)) == 0


def test_a_dark_cavity_inside_is_no_air() -> None:
    assert part_inside(INSIDE[0], scan(hole=INSIDE[0])) > 0.9


def test_what_lies_in_the_air_is_refused_by_name() -> None:
    outside = box(slice(10, 16), slice(0, 8), slice(0, 8))
    with pytest.raises(
        InputError, match=r"seg\.nii: lies outside .* by 100 % in t1ce\.nii"
    ) as told:
        check_lies_inside(outside, scan(), "seg.nii", "t1ce.nii")
    # There is no going on, as there is with visits that seem to be of two patients.
    assert told.value.code is ErrorCode.INPUT
    check_lies_inside(INSIDE, scan(), "seg.nii", "t1ce.nii")
    check_lies_inside(np.zeros_like(INSIDE), scan(), "seg.nii", "t1ce.nii")  # nothing to say of it
