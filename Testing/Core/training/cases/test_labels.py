"""Reading labels in one numbering."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from MISSUCore.contract.labels import BRATS, BRATS_2023, CHAOS_LIVER, LabelScheme
from MISSUCore.core.errors import InputError
from MISSUCore.training.cases.labeled import LabeledCase
from MISSUCore.training.cases.labels import read_labels


def write_labels(path: Path, values: list[int]) -> Path:
    """A label map of 4x5x6 voxels that holds these values, with a geometry of its own."""
    voxels = np.zeros((4, 5, 6), dtype=np.uint8)
    voxels.flat[: len(values)] = values
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing((0.5, 1.0, 3.0))
    image.SetOrigin((-7.0, 8.0, 9.0))
    sitk.WriteImage(image, str(path))
    return path


@pytest.mark.parametrize(
    ("stored", "scheme", "expected"),
    [
        ([0, 1, 2, 4], BRATS, [0, 1, 2, 4]),
        ([0, 1, 2, 3], BRATS, [0, 1, 2, 4]),
        ([0, 1, 2, 4], BRATS_2023, [0, 1, 2, 3]),
        ([0, 1, 2, 0], BRATS, [0, 1, 2, 0]),
        ([0, 1, 1, 0], CHAOS_LIVER, [0, 1, 1, 0]),
    ],
)
def test_labels_come_in_the_numbering_of_the_scheme(
    tmp_path: Path, stored: list[int], scheme: LabelScheme, expected: list[int]
):
    path = write_labels(tmp_path / "seg.nii.gz", stored)
    image = read_labels(LabeledCase("a", {}, path), scheme)
    assert sitk.GetArrayFromImage(image).flat[:4].tolist() == expected
    assert image.GetPixelID() == sitk.sitkUInt8
    assert image.GetSpacing() == (0.5, 1.0, 3.0)
    assert image.GetOrigin() == (-7.0, 8.0, 9.0)


@pytest.mark.parametrize("stored", [[1, 2, 3, 4], [7]])
def test_labels_of_another_scheme_are_refused(tmp_path, stored):
    path = write_labels(tmp_path / "seg.nii.gz", stored)
    with pytest.raises(InputError, match=r"seg\.nii\.gz: label values \[0, .* BraTS"):
        read_labels(LabeledCase("a", {}, path), BRATS)
