"""Volumes of cases computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from MISSUCore.evaluation.volumes import volumes_ml


def test_volumes_by_hand():
    masks = np.zeros((3, 10, 10, 10), dtype=bool)
    masks[0] = True  # 1000 voxels
    masks[1, :5, :5, 2] = True  # 25 voxels

    # A voxel of 2.5 x 1 x 0.8 mm has 2 cubic mm, 0.002 ml.
    volumes = volumes_ml(masks, (2.5, 1.0, 0.8), ("WT", "TC", "ET"))

    assert volumes == pytest.approx({"WT": 2.0, "TC": 0.05, "ET": 0.0})


@pytest.mark.parametrize(
    "masks",
    [
        np.zeros((2, 4, 4, 4), dtype=bool),
        np.zeros((3, 4, 4), dtype=bool),
        np.zeros((3, 4, 4, 4), dtype=np.uint8),
    ],
)
def test_masks_that_do_not_fit_are_refused(masks):
    with pytest.raises(ValueError, match="3 boolean masks"):
        volumes_ml(masks, (1.0, 1.0, 1.0), ("WT", "TC", "ET"))
