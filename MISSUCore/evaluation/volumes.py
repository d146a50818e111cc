"""Volumes of segmented regions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..io.geometry import voxel_ml


def volumes_ml(
    masks: NDArray[np.bool_], spacing_mm: Sequence[float], names: Sequence[str]
) -> dict[str, float]:
    """Volume in ml of every region: its voxels times the volume of a voxel.

    Args:
        masks: (regions, depth, height, width), boolean.
        spacing_mm: (depth, height, width).
        names: of the regions, in the order of the masks.

    Raises:
        ValueError: if the masks have another shape, or their number differs from the names'.
    """
    if masks.dtype != np.bool_ or masks.ndim != 4 or len(masks) != len(names):
        raise ValueError(
            f"{len(names)} boolean masks (regions, depth, height, width) expected, got "
            f"{masks.dtype} of {masks.shape}"
        )
    one_ml = voxel_ml(spacing_mm)
    return {name: int(np.count_nonzero(mask)) * one_ml for name, mask in zip(names, masks)}
