"""The outline of a lesion in one slice, and which straight lines stay inside it.

A lesion is the union of its pixels, their edges included: a line may pass between two pixels that
touch at a corner, and along an edge. Coordinates are doubled to whole numbers, so that every answer
is exact: pixel (row, column) covers 2 row to 2 row + 2, and its center is at 2 row + 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
# Toward the row before, the row after, the column before, the column after.
_SIDES = np.array([(-1, 0), (1, 0), (0, -1), (0, 1)])
# Eighths of a line at which to look for an outside pixel first; most lines fail there.
_FIRST_LOOKS = (4, 2, 6, 1, 3, 5, 7)


def edge_middles(mask: NDArray[np.bool_]) -> tuple[Integers, Integers]:
    """Midpoints of the pixel edges that separate a lesion from its surroundings.

    These are the corners of the outlines that marching squares draw.

    Args:
        mask: (height, width).

    Returns:
        (edges, 2) row and column of each, doubled; (edges, 2) row and column of its pixel.
    """
    padded = np.pad(mask, 1)
    middles, pixels = [], []
    for side in _SIDES:
        beyond = padded[1 + side[0] :, 1 + side[1] :][: mask.shape[0], : mask.shape[1]]
        found = np.argwhere(mask & ~beyond)
        pixels.append(found)
        middles.append(2 * found + 1 + side)
    return np.concatenate(middles), np.concatenate(pixels)


def lie_inside(mask: NDArray[np.bool_], starts: Integers, ends: Integers) -> NDArray[np.bool_]:
    """Whether straight lines stay inside a lesion over their whole length.

    Args:
        mask: (height, width).
        starts: (lines, 2), doubled.
        ends: (lines, 2), doubled, others than the starts.
    """
    inside = np.zeros(len(starts), dtype=bool)
    left = np.arange(len(starts))
    for part in _FIRST_LOOKS:
        left = left[_may_be_inside(mask, starts[left], ends[left], part)]
    run = np.abs(ends[left] - starts[left])
    flat = run[:, 1] >= run[:, 0]
    for lines, pixels, axes in ((left[flat], mask, [0, 1]), (left[~flat], mask.T, [1, 0])):
        inside[lines] = _flat_lie_inside(pixels, starts[lines][:, axes], ends[lines][:, axes])
    return inside


def _may_be_inside(
    mask: NDArray[np.bool_], starts: Integers, ends: Integers, part: int
) -> NDArray[np.bool_]:
    """False for lines with a pixel outside at ``part`` eighths of their length."""
    at = (8 - part) * starts + part * ends  # 16 to a pixel
    on_edge = np.any(at % 16 == 0, axis=1)
    rows, columns = np.minimum(at // 16, np.array(mask.shape) - 1).T
    looked: NDArray[np.bool_] = on_edge | mask[rows, columns]
    return looked


def _flat_lie_inside(
    mask: NDArray[np.bool_], starts: Integers, ends: Integers
) -> NDArray[np.bool_]:
    """As :func:`lie_inside`, for lines that go at least as far along the columns as the rows."""
    padded = np.pad(mask, 1)
    backward = starts[:, 1] > ends[:, 1]
    starts, ends = (
        np.where(backward[:, None], ends, starts) + 2,
        np.where(backward[:, None], starts, ends) + 2,
    )
    inside = np.ones(len(starts), dtype=bool)
    left = np.arange(len(starts))
    step = 0
    while len(left):
        (y, x), (dy, dx) = starts[left].T, (ends[left] - starts[left]).T
        column = x // 2 + step
        crossed = 2 * column < x + dx
        left, y, x, dy, dx, column = (v[crossed] for v in (left, y, x, dy, dx, column))
        # Heights at which the line enters and leaves the column, times dx.
        enters = y * dx + (np.maximum(x, 2 * column) - x) * dy
        leaves = y * dx + (np.minimum(x + dx, 2 * column + 2) - x) * dy
        low, high = np.minimum(enters, leaves), np.maximum(enters, leaves)
        first, last = low // (2 * dx), -(-high // (2 * dx)) - 1
        # Along an edge between two rows, either will do.
        between = last < first
        filled = padded[first, column] & padded[np.maximum(last, first), column]
        filled |= between & padded[last, column]
        inside[left[~filled]] = False
        left = left[filled]
        step += 1
    return inside
