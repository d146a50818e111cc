"""Volumes, lesions and diameters counted once more, by means that the library does not use.

Lesions are found by a graph of voxels that are close to each other; a line lies in a lesion if
points every 0.001 pixels of it do, every 0.005 of a line across it. Slow, and only for grids along
x, y and z with slices in z.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

STEP, FINE_STEP = 0.02, 0.001  # pixels between the sample points of a line
ACROSS_STEP = 0.005  # pixels, for a line across
SAME_MM = 1e-6
TINY = 1e-7  # pixels
AT_ONCE = 2000
FIRST_LOOK = 16  # sample points checked first; they exclude most lines
PLACES = 5000  # positions on the longest diameter where lines across start


@dataclass(frozen=True)
class Counted:
    """A lesion: its volume, and its diameters in a slice; 0 for missing ones."""

    volume_ml: float
    longest_mm: float
    perpendicular_mm: float

    @property
    def product_mm2(self) -> float:
        """Product of both diameters."""
        return self.longest_mm * self.perpendicular_mm


def count_lesions(
    mask: NDArray[np.bool_], spacing_mm: tuple[float, float, float], join_mm: float
) -> list[Counted]:
    """Lesions in a mask (depth, height, width), the largest product first."""
    voxels = np.argwhere(mask)
    spacing = np.array(spacing_mm)
    touching = cKDTree(voxels).query_pairs(1.0, p=np.inf, output_type="ndarray")
    close = cKDTree(voxels * spacing).query_pairs(join_mm + 1e-9, output_type="ndarray")
    first, second = np.concatenate([touching, close]).T
    graph = coo_matrix((np.ones(len(first)), (first, second)), shape=(len(voxels),) * 2)
    _, numbers = connected_components(graph, directed=False)
    found = []
    for number in range(numbers.max() + 1):
        own = voxels[numbers == number]
        longest, across = _diameters(own, spacing[1:])
        found.append(Counted(len(own) * float(spacing.prod()) / 1000, longest, across))
    return sorted(found, key=lambda lesion: -lesion.product_mm2)


def _diameters(voxels: NDArray[np.int64], pixel_mm: NDArray[np.float64]) -> tuple[float, float]:
    """The longest diameter over all slices, and the longest one across it."""
    best: tuple[float, float] = (0.0, 0.0)
    for z in np.unique(voxels[:, 0]):
        pixels = voxels[voxels[:, 0] == z][:, 1:]
        corner = pixels.min(axis=0) - 2
        mask = np.zeros(pixels.max(axis=0) - corner + 3, bool)
        mask[tuple((pixels - corner).T)] = True
        length, lines = _longest(mask, pixel_mm, best[0])
        if lines:
            across = max(_across(mask, line, pixel_mm) for line in lines)
            if length > best[0] + SAME_MM or across > best[1]:
                best = length, across
    return best


def _longest(
    mask: NDArray[np.bool_], pixel_mm: NDArray[np.float64], least_mm: float
) -> tuple[float, list[NDArray[np.float64]]]:
    """The longest lines inside between midpoints of edges; none if shorter than the least."""
    sides = np.array([(0.5, 0), (-0.5, 0), (0, 0.5), (0, -0.5)])
    middles = np.array(
        [
            pixel + side
            for pixel in np.argwhere(mask)
            for side in sides
            if not mask[tuple((pixel + 2 * side).astype(int))]
        ]
    )
    one, other = np.triu_indices(len(middles), 1)
    lengths = np.linalg.norm((middles[one] - middles[other]) * pixel_mm, axis=1)
    order = np.argsort(-lengths)
    lines: list[NDArray[np.float64]] = []
    length = least_mm
    for start in range(0, len(order), AT_ONCE):
        some = order[start : start + AT_ONCE]
        if lengths[some[0]] < length - SAME_MM:
            break
        parts = (np.arange(FIRST_LOOK) + 0.5)[:, None, None] / FIRST_LOOK
        at = middles[one[some]] + parts * (middles[other[some]] - middles[one[some]])
        may_be = _filled(mask, at).all(axis=0)
        for pair in some[may_be]:
            if lengths[pair] < length - SAME_MM:
                break
            if _inside(mask, middles[one[pair]], middles[other[pair]]):
                length = float(lengths[pair])
                lines.append(np.stack([middles[one[pair]], middles[other[pair]]]))
    return length, lines


def _inside(mask: NDArray[np.bool_], start: NDArray[np.float64], end: NDArray[np.float64]) -> bool:
    for step in (STEP, FINE_STEP):  # a line that grazes a corner is outside
        count = max(int(np.linalg.norm(end - start) / step), 1)
        parts = np.linspace(0, 1, count + 1)[:, None]
        if not _filled(mask, start + parts * (end - start)).all():
            return False
    return True


def _filled(mask: NDArray[np.bool_], at: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether points (..., 2) lie in a pixel of a mask, or on the edge of one."""
    found = np.zeros(at.shape[:-1], bool)
    for shift in ((TINY, TINY), (TINY, -TINY), (-TINY, TINY), (-TINY, -TINY)):
        index = np.rint(at + shift).astype(int).clip(0, np.array(mask.shape) - 1)
        found |= mask[index[..., 0], index[..., 1]]
    return found


def _across(
    mask: NDArray[np.bool_], line: NDArray[np.float64], pixel_mm: NDArray[np.float64]
) -> float:
    """The longest line inside the mask across (perpendicular to) another one."""
    along = (line[1] - line[0]) * pixel_mm
    across = np.array([-along[1], along[0]]) / np.linalg.norm(along) / pixel_mm
    across /= np.linalg.norm(across)
    places = line[0] + np.linspace(0.0001, 0.9999, PLACES)[:, None] * (line[1] - line[0])
    rough = _reach(mask, places, across, STEP)
    # A line that grazes a corner ends there; large steps would miss that.
    top = np.argsort(-rough)[:20]
    best = float(_reach(mask, places[top], across, ACROSS_STEP).max())
    left = places[rough > best]
    if len(left):
        best = max(best, float(_reach(mask, left, across, ACROSS_STEP).max()))
    return best * float(np.linalg.norm(across * pixel_mm))


def _reach(
    mask: NDArray[np.bool_], places: NDArray[np.float64], across: NDArray[np.float64], step: float
) -> NDArray[np.float64]:
    """Length in pixels, within the mask, of lines across through points (N, 2)."""
    total = np.zeros(len(places))
    for sign in (1, -1):
        going = np.ones(len(places), bool)
        at = places.copy()
        while going.any():
            at[going] += sign * step * across
            going[going] = _filled(mask, at[going])
            total += step * going
    return total
