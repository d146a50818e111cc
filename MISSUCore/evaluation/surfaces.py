"""Area-weighted surface metrics: normalized surface distance (NSD) and Hausdorff distance.

As Google DeepMind's package ``surface-distance`` defines them (Nikolov et al. 2021,
doi:10.2196/26151), which the BraTS 2023 evaluation uses: between any eight neighboring voxels lies
an element of the surface, as in marching cubes. Distances are measured from the center of an
element to the nearest one of the other surface, and weighted by area. The areas are derived here,
not copied from that package, and equal its values.
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

# Eight neighboring voxels as corners of a cube: (depth, height, width).
_CORNERS = tuple(product((0, 1), repeat=3))
_FULL = 255


@dataclass(frozen=True)
class SurfaceDistances:
    """Distances in mm from the elements of each surface to the other, and areas in mm^2.

    The distances are infinite if there is no other surface.
    """

    forth_mm: Numbers
    forth_mm2: Numbers
    back_mm: Numbers
    back_mm2: Numbers

    def normalized_surface_distance(self, tolerance_mm: float) -> float:
        """NSD, or surface Dice: the fraction of both surfaces within a tolerance of the other.

        1 if both surfaces are empty, 0 if one is.
        """
        area = self.forth_mm2.sum() + self.back_mm2.sum()
        if not area:
            return 1.0
        near = self.forth_mm2[self.forth_mm <= tolerance_mm].sum()
        near += self.back_mm2[self.back_mm <= tolerance_mm].sum()
        return float(near / area)

    def hausdorff95_mm(self) -> float:
        """The area-weighted 95th percentile of the distances, the longer of both directions.

        Infinite if either surface is empty.
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
    """Surface area in mm^2 in a cube, indexed by a code with a bit for each corner inside.

    Where diagonal corners of a face are inside, marching cubes may join them or not; here the
    fewer ones stay apart. A polygon is split into the fan of triangles that has the largest area
    at equal spacings.
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
    """Code of each cube of eight neighboring voxels: a bit for each corner inside the mask."""
    depth, height, width = mask.shape
    codes = np.zeros((depth - 1, height - 1, width - 1), np.uint8)
    for bit, (z, y, x) in enumerate(_CORNERS):
        shifted = mask[z : z + depth - 1, y : y + height - 1, x : x + width - 1]
        codes |= shifted.astype(np.uint8) << bit
    return codes


def _percentile(distances: Numbers, areas: Numbers) -> float:
    """The area-weighted 95th percentile of distances."""
    if not distances.size:
        return math.inf
    order = np.lexsort((areas, distances))
    part = np.cumsum(areas[order]) / areas.sum()
    return float(distances[order][min(int(np.searchsorted(part, 0.95)), len(part) - 1)])


def _polygons(inside: dict[tuple[int, ...], bool]) -> list[Numbers]:
    """The surface in a cube as closed polygons, whose corners are midpoints of cube edges."""
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
    """Lines in which the surface meets a face of the cube, from one edge midpoint to another."""
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
    """Area of a polygon as the triangle fan that is largest at a spacing of 1 mm."""
    fans = [np.roll(points, -start, axis=0) for start in range(len(points))]
    largest = max(fans, key=lambda fan: round(_fan_area(fan), 6))
    return _fan_area(largest * np.array(spacing_mm))


def _fan_area(points: Numbers) -> float:
    sides = points[1:] - points[0]
    return float(np.linalg.norm(np.cross(sides[:-1], sides[1:]), axis=1).sum() / 2)
