"""Surfaces by area: normalized surface distance (NSD), and the Hausdorff distance that weighs it.

As Google DeepMind's package ``surface-distance`` defines them (Nikolov et al. 2021,
doi:10.2196/26151), which the BraTS 2023 evaluation uses: between any eight neighboring voxels lies
an element of the surface, that of marching cubes. Distances go from the middle of an element to the
nearest of the other surface, and count by area. The areas are derived here, not taken from there,
and are the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from .masks import Mask, joint_block

Numbers = NDArray[np.float64]

# Of eight voxels, and of the cube that they are the corners of: (depth, height, width).
_CORNERS = tuple(product((0, 1), repeat=3))
_FULL = 255


@dataclass(frozen=True)
class SurfaceDistances:
    """From the elements of each of two surfaces to the other: distances in mm, areas in mm^2.

    The distances are infinite where the other surface is not there.
    """

    forth_mm: Numbers
    forth_mm2: Numbers
    back_mm: Numbers
    back_mm2: Numbers

    def normalized_surface_distance(self, tolerance_mm: float) -> float:
        """NSD, or surface Dice: the part of both surfaces that is no farther from the other.

        1 if there is neither surface, 0 if there is one.
        """
        area = self.forth_mm2.sum() + self.back_mm2.sum()
        if not area:
            return 1.0
        near = self.forth_mm2[self.forth_mm <= tolerance_mm].sum()
        near += self.back_mm2[self.back_mm <= tolerance_mm].sum()
        return float(near / area)

    def hausdorff95_mm(self) -> float:
        """The distance that 95 % of a surface's area does not exceed, the longer of the two.

        Infinite if there is but one surface or none.
        """
        return max(
            _percentile(self.forth_mm, self.forth_mm2), _percentile(self.back_mm, self.back_mm2)
        )


def surface_distances(
    prediction: Mask, reference: Mask, spacing_mm: Sequence[float]
) -> SurfaceDistances:
    """Distances between the surfaces of two masks (depth, height, width) of one shape."""
    codes = [_codes(np.pad(mask, 1)) for mask in joint_block(prediction, reference)]
    surfaces = [(code != 0) & (code != _FULL) for code in codes]
    areas = element_areas(tuple(spacing_mm))
    to_prediction, to_reference = (
        distance_transform_edt(~surface, sampling=spacing_mm)
        if surface.any()
        else np.full(surface.shape, math.inf)
        for surface in surfaces
    )
    return SurfaceDistances(
        to_reference[surfaces[0]],
        areas[codes[0][surfaces[0]]],
        to_prediction[surfaces[1]],
        areas[codes[1][surfaces[1]]],
    )


@lru_cache(maxsize=8)
def element_areas(spacing_mm: tuple[float, ...]) -> Numbers:
    """Area in mm^2 of the surface in a cube, by which of its corners are inside, a bit for each.

    Where the corners of a face are inside crosswise, marching cubes can join them or not; the
    fewer ones stay apart. What is not a triangle is a fan of triangles, the largest one for equal
    spacings.
    """
    areas = np.zeros(_FULL + 1)
    for code in range(1, _FULL):
        inside = {corner: bool(code >> bit & 1) for bit, corner in enumerate(_CORNERS)}
        if sum(inside.values()) > len(_CORNERS) // 2:
            inside = {corner: not there for corner, there in inside.items()}
        areas[code] = sum(_polygon_area(points, spacing_mm) for points in _polygons(inside))
    areas.setflags(write=False)  # it is shared
    return areas


def _codes(mask: Mask) -> NDArray[np.uint8]:
    """Of any eight neighboring voxels, which are inside: a bit for each corner."""
    depth, height, width = mask.shape
    codes = np.zeros((depth - 1, height - 1, width - 1), np.uint8)
    for bit, (z, y, x) in enumerate(_CORNERS):
        shifted = mask[z : z + depth - 1, y : y + height - 1, x : x + width - 1]
        codes |= shifted.astype(np.uint8) << bit
    return codes


def _percentile(distances: Numbers, areas: Numbers) -> float:
    """The distance within which 95 % of the area lies."""
    if not distances.size:
        return math.inf
    order = np.lexsort((areas, distances))
    part = np.cumsum(areas[order]) / areas.sum()
    return float(distances[order][min(int(np.searchsorted(part, 0.95)), len(part) - 1)])


def _polygons(inside: dict[tuple[int, ...], bool]) -> list[Numbers]:
    """The surface in a cube: rings of points in the middle of its edges, none of them repeated."""
    lines = [
        line for axis, side in product(range(3), (0, 1)) for line in _lines(inside, axis, side)
    ]
    rings = []
    while lines:
        ring = list(lines.pop())
        while ring[0] != ring[-1]:
            line = next(line for line in lines if ring[-1] in line)
            lines.remove(line)
            ring.append(line[1] if line[0] == ring[-1] else line[0])
        rings.append(np.array(ring[:-1]))
    return rings


def _lines(
    inside: dict[tuple[int, ...], bool], axis: int, side: int
) -> list[tuple[tuple[float, ...], tuple[float, ...]]]:
    """Where the surface meets a face of the cube: lines from the middle of an edge to another's."""
    ring = [tuple(np.insert(place, axis, side)) for place in ((0, 0), (0, 1), (1, 1), (1, 0))]
    middles = [
        tuple(((np.array(corner) + ring[(index + 1) % 4]) / 2).tolist())
        for index, corner in enumerate(ring)
    ]
    crossed = [index for index in range(4) if inside[ring[index]] != inside[ring[(index + 1) % 4]]]
    if len(crossed) == 2:
        return [(middles[crossed[0]], middles[crossed[1]])]
    if len(crossed) == 4:  # each corner that is inside is cut off by itself
        return [(middles[n - 1], middles[n]) for n in range(4) if inside[ring[n]]]
    return []


def _polygon_area(points: Numbers, spacing_mm: Sequence[float]) -> float:
    """Area of a ring of points as a fan from the point from which it is largest at 1 mm."""
    fans = [np.roll(points, -start, axis=0) for start in range(len(points))]
    largest = max(fans, key=lambda fan: round(_fan_area(fan), 6))
    return _fan_area(largest * np.array(spacing_mm))


def _fan_area(points: Numbers) -> float:
    sides = points[1:] - points[0]
    return float(np.linalg.norm(np.cross(sides[:-1], sides[1:]), axis=1).sum() / 2)
