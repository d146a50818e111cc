"""Voxels of a region that are known again by a checksum, in whatever file or scene they lie.

The checksum is over the place and the voxels of the smallest box around the region, so neither
compression nor an empty margin counts. It is the SHA-256 of the ASCII text
``k j i depth height width`` (the box's first voxel on the grid, and its size; six zeros if the
region is empty), followed by the voxels of the box, in C order, eight in a byte, the first one in
the highest bit (:func:`numpy.packbits`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...core.serialization import by_name, many

Start = tuple[int, int, int]
# Of two grids: how far their axes, and the places of their voxels, may differ, in voxels. Files in
# single precision are off by less, and another grid by more.
AXES_TOLERANCE, PLACE_TOLERANCE = 1e-4, 0.05
CUBIC_MM_PER_ML = 1000


@dataclass(frozen=True)
class MaskFact:
    """What a region was at a moment; all is empty if there was no such region.

    Attributes:
        voxels: how many it had.
        volume_ml: their volume.
        sha256: of its voxels, see this module.
    """

    voxels: int = 0
    volume_ml: float = 0.0
    sha256: str = ""


@dataclass(frozen=True)
class Contents:
    """What segments hold at a moment.

    Attributes:
        grid: on which checksums are taken: 3 rows of 4 numbers, from voxel indices (i, j, k, 1) to
            mm, LPS; in Slicer before the segmentation's parent transform. Empty if unknown.
        masks: the regions by name.
    """

    grid: tuple[float, ...] = many(float)
    masks: dict[str, MaskFact] = by_name(MaskFact)

    def has_grid_of(self, other: Contents) -> bool:
        """Whether checksums of the two can be compared."""
        if not (self.grid and other.grid):
            return self.grid == other.grid
        return start_on_grid(self.grid, other.grid) == (0, 0, 0)

    def same_as(self, other: Contents) -> bool:
        """Whether both hold the same regions with the same voxels at the same places."""
        ours, theirs = (
            {name: fact.sha256 for name, fact in one.masks.items()} for one in (self, other)
        )
        return ours == theirs and self.has_grid_of(other)


@dataclass(frozen=True)
class Mask:
    """The voxels of a region in the smallest box around it.

    Attributes:
        start: index (k, j, i) of the box's first voxel on a grid.
        voxels: (depth, height, width) of the box; empty if the region is.
    """

    start: Start
    voxels: NDArray[np.bool_]

    @classmethod
    def of(cls, voxels: NDArray[np.bool_], start: Start = (0, 0, 0)) -> Mask:
        """The region in voxels (depth, height, width), of which the first is at ``start``."""
        box = bounding_box(voxels)
        k, j, i = (side.start for side in box)
        return cls((k, j, i), voxels[box]).shifted(start)

    def shifted(self, start: Start) -> Mask:
        """The same on a grid on which the first voxel of its own lies at ``start``."""
        if not self.voxels.size:
            return self
        (k, j, i), (z, y, x) = self.start, start
        return Mask((k + z, j + y, i + x), self.voxels)

    def fact(self, voxel_ml: float) -> MaskFact:
        """What identifies it; ``voxel_ml`` is the volume of a voxel in ml."""
        text = " ".join(map(str, (*self.start, *self.voxels.shape)))
        digest = hashlib.sha256(text.encode() + np.packbits(self.voxels).tobytes())
        count = int(np.count_nonzero(self.voxels))
        return MaskFact(count, round(count * voxel_ml, 4), digest.hexdigest())

    def beyond(self, other: Mask) -> int:
        """How many of its voxels another region does not have."""
        count = int(np.count_nonzero(self.voxels))
        ours, theirs = [], []
        for start, size, begin, length in zip(
            self.start, self.voxels.shape, other.start, other.voxels.shape
        ):
            low, high = max(start, begin), min(start + size, begin + length)
            if low >= high:
                return count
            ours.append(slice(low - start, high - start))
            theirs.append(slice(low - begin, high - begin))
        return count - int(np.count_nonzero(self.voxels[tuple(ours)] & other.voxels[tuple(theirs)]))


def bounding_box(mask: NDArray[np.bool_]) -> tuple[slice, ...]:
    """Around all voxels that are set, by axis; of no size if none is."""
    box = []
    for axis in range(mask.ndim):
        others = tuple(other for other in range(mask.ndim) if other != axis)
        found = np.flatnonzero(mask.any(axis=others))
        box.append(slice(int(found[0]), int(found[-1]) + 1) if len(found) else slice(0, 0))
    return tuple(box)


def start_on_grid(grid: Sequence[float], place: Sequence[float]) -> Start | None:
    """The index on a grid of an image's first voxel; None if the image's voxels are not the grid's.

    Args:
        grid: 3 rows of 4 numbers, from voxel indices (i, j, k, 1) to mm, LPS.
        place: 3 rows of 4 numbers, as above, of the image.

    Returns:
        The index (k, j, i), which may be negative.
    """
    ours, theirs = np.reshape(grid, (3, 4)), np.reshape(place, (3, 4))
    try:
        between = np.linalg.solve(ours[:, :3], theirs - [[0, 0, 0, shift] for shift in ours[:, 3]])
    except np.linalg.LinAlgError:
        return None
    first = np.rint(between[:, 3])
    if not (
        np.allclose(between[:, :3], np.eye(3), rtol=0, atol=AXES_TOLERANCE)
        and np.allclose(between[:, 3], first, rtol=0, atol=PLACE_TOLERANCE)
    ):
        return None
    i, j, k = first.astype(int).tolist()
    return k, j, i


def voxel_ml(grid: Sequence[float]) -> float:
    """Volume of a voxel of a grid (see :func:`start_on_grid`) in ml."""
    return float(abs(np.linalg.det(np.reshape(grid, (3, 4))[:, :3]))) / CUBIC_MM_PER_ML
