"""Cropping two masks to the block that holds both."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects

Mask = NDArray[np.bool_]


def joint_block(first: Mask, second: Mask, margin: int = 0) -> tuple[Mask, Mask]:
    """Both masks cropped to their joint bounding box; distances do not depend on the rest.

    Args:
        first: (depth, height, width).
        second: of the same shape.
        margin: voxels kept around, as far as the arrays reach.

    Returns:
        Both masks in the same block, which has no voxels if both are empty.
    """
    boxes = find_objects((first | second).astype(np.uint8)) or [(slice(0, 0),) * 3]
    block = tuple(slice(max(0, side.start - margin), side.stop + margin) for side in boxes[0])
    return first[block], second[block]
