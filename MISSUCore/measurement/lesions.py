"""Which voxels belong to one lesion."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, find_objects, label
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

_NEIGHBORS = np.ones((3, 3, 3), dtype=bool)


def find_lesions(
    mask: NDArray[np.bool_], spacing_mm: Sequence[float], join_mm: float
) -> NDArray[np.int32]:
    """Number the lesions of a mask from 1: its connected parts, those close to each other as one.

    Parts are connected by faces, edges or corners. Two of them are one lesion if the centers of
    their nearest voxels are at most ``join_mm`` apart, or if other parts join them in that way.

    Args:
        mask: (depth, height, width).
        spacing_mm: (depth, height, width).
        join_mm: 0 keeps all parts apart.

    Returns:
        (depth, height, width); 0 is background.
    """
    parts, count = label(mask, _NEIGHBORS)
    if count < 2 or join_mm <= 0:
        return parts.astype(np.int32)
    margin = [math.ceil(join_mm / step) for step in spacing_mm]
    pairs: list[tuple[int, int]] = []
    for number, box in enumerate(find_objects(parts), start=1):
        around = parts[tuple(slice(max(0, s.start - m), s.stop + m) for s, m in zip(box, margin))]
        if around.max() == number and not np.any((around > 0) & (around != number)):
            continue
        distance_mm = distance_transform_edt(around != number, sampling=spacing_mm)
        near = around[(distance_mm <= join_mm) & (around > 0)]
        pairs += [(number - 1, other - 1) for other in np.unique(near).tolist() if other > number]
    if not pairs:
        return parts.astype(np.int32)
    first, second = np.array(pairs).T
    graph = coo_matrix((np.ones(len(pairs)), (first, second)), shape=(count, count))
    joined = connected_components(graph, directed=False)[1]
    # In the order of their first voxels, as without joining.
    order = np.unique(joined, return_index=True)[1].argsort().argsort()
    return np.concatenate([[0], order[joined] + 1]).astype(np.int32)[parts]
