"""Diameters of a lesion: longest in a slice, longest perpendicular to it, and maximum in 3-D.

A diameter in a slice is a straight line whose every point lies in the lesion: it does not cross
necrosis, a cavity or a bay. The longest runs between two middles of pixel edges on the outline of
the lesion, the corners of the contours that OHIF and pyradiomics measure, so that one pixel is as
wide as its spacing. All pairs that could be longer than the best so far are checked. The
perpendicular crosses it at a right angle and ends where it leaves the lesion: across the rim of a
cavity it is as long as the rim is thick.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects, label
from scipy.spatial import ConvexHull
from scipy.spatial.distance import cdist, pdist, squareform

from ..core.errors import InputError
from .outline import Integers, edge_middles, lie_inside

Floats = NDArray[np.float64]
# Of outline points in all slices of a lesion; tumors have some millions, noise would take hours.
MAXIMUM_PAIRS = 400_000_000
_PAIRS_AT_ONCE = 2_000_000
_SAME_MM = 1e-6
# Line ends are moved into the lesion by this fraction of a pixel, so that they round to its voxels.
_INSET = 1e-3
_NEIGHBORS = np.ones((3, 3), dtype=bool)
# Perpendiculars pass beside pixel corners, not through them, to make the pixels they cross unique.
_BESIDE_MM = 1e-5


@dataclass(frozen=True)
class PlaneDiameters:
    """The two diameters in one slice; ends are (row, column), whole numbers at pixel centers.

    Attributes:
        slice_index: of the slice.
        longest: (2, 2) ends of the longest diameter.
        perpendicular: (2, 2) ends of the longest one across it.
    """

    slice_index: int
    longest: Floats
    perpendicular: Floats


@dataclass(frozen=True)
class _Piece:
    """A connected component of a slice."""

    slice_index: int
    corner: tuple[int, int]
    mask: NDArray[np.bool_]
    middles: Integers
    pixels: Integers
    bound_mm: float


def plane_diameters(mask: NDArray[np.bool_], spacing_mm: Sequence[float]) -> PlaneDiameters | None:
    """The longest diameter in any slice, and the longest one across it in the same slice.

    Of several that are equally long, the one with the longest diameter across it.

    Args:
        mask: (slices, height, width).
        spacing_mm: (height, width) of a pixel.

    Returns:
        None if the mask is empty.

    Raises:
        InputError: if the outline is too ragged to be a lesion's.
    """
    spacing = np.array(spacing_mm, dtype=float)
    pieces = sorted(_pieces(mask, spacing), key=lambda piece: -piece.bound_mm)
    best_mm = 0.0
    found: list[tuple[_Piece, tuple[int, int]]] = []
    pairs_looked_at = 0
    for piece in pieces:
        if piece.bound_mm < best_mm - _SAME_MM:
            break
        pairs_looked_at += len(piece.middles) ** 2 // 2
        if pairs_looked_at > MAXIMUM_PAIRS:
            raise InputError(
                f"slice {piece.slice_index}: the outline of a lesion, with {len(piece.middles)} "
                "pixel edges, is too ragged to be measured; is it a segmentation of a tumor?"
            )
        length_mm, pairs = _longest_inside(piece, spacing, best_mm)
        if length_mm > best_mm + _SAME_MM:
            best_mm, found = length_mm, []
        found += [(piece, pair) for pair in pairs]
    best: PlaneDiameters | None = None
    across_mm = -1.0
    # Identical slices are measured only once.
    alike = {(piece.mask.shape, piece.mask.tobytes(), pair): piece for piece, pair in found}
    for (_, _, pair), piece in alike.items():
        line = piece.middles[list(pair)] / 2 - 0.5
        across, mm = _perpendicular(piece.mask, line, spacing)
        if mm > across_mm + _SAME_MM:
            across_mm = mm
            line += (piece.pixels[list(pair)] - line) * 2 * _INSET
            # A line that ends anywhere on an edge may be longer by a fraction of a pixel.
            lines = (line, across) if best_mm >= mm else (across, line)
            longest, other = (ends + piece.corner for ends in lines)
            best = PlaneDiameters(piece.slice_index, longest, other)
    return best


def maximum_diameter(mask: NDArray[np.bool_], spacing_mm: Sequence[float]) -> Floats | None:
    """The two points of a lesion that are farthest apart, whatever lies between them.

    Args:
        mask: (depth, height, width).
        spacing_mm: (depth, height, width).

    Returns:
        (2, 3) voxel indices of the two, middles of voxel faces; None if the mask is empty.
    """
    padded = np.pad(mask, 1)
    faces = []
    for axis in range(3):
        for side in (-1, 1):
            outer = mask & ~np.roll(padded, -side, axis)[1:-1, 1:-1, 1:-1]
            found = np.argwhere(outer).astype(float)
            shift = np.zeros(3)
            shift[axis] = side * (0.5 - _INSET)
            faces.append(found + shift)
    points = np.concatenate(faces)
    if not len(points):
        return None
    points_mm = points * np.array(spacing_mm)
    corners = ConvexHull(points_mm).vertices
    distances = squareform(pdist(points_mm[corners]))
    pair = np.unravel_index(distances.argmax(), distances.shape)
    return points[corners[list(pair)]]


def _pieces(mask: NDArray[np.bool_], spacing: Floats) -> list[_Piece]:
    pieces = []
    for index in np.flatnonzero(mask.any(axis=(1, 2))).tolist():
        numbered, _ = label(mask[index], _NEIGHBORS)
        for number, box in enumerate(find_objects(numbered), start=1):
            pixels_of_it = numbered[box] == number
            middles, pixels = edge_middles(pixels_of_it)
            places = middles * spacing / 2
            bound_mm = float(pdist(places[ConvexHull(places).vertices]).max())
            corner = (box[0].start, box[1].start)
            pieces.append(_Piece(index, corner, pixels_of_it, middles, pixels, bound_mm))
    return pieces


def _longest_inside(
    piece: _Piece, spacing: Floats, at_least_mm: float
) -> tuple[float, list[tuple[int, int]]]:
    """Length of the longest lines inside, if not below a length, and the pairs of their ends."""
    places = piece.middles * spacing / 2
    best_mm = at_least_mm
    found: list[tuple[int, int]] = []
    rows = max(1, _PAIRS_AT_ONCE // len(places))
    for start in range(0, len(places), rows):
        distances = cdist(places[start : start + rows], places[start:])
        first, second = np.nonzero(np.triu(distances >= max(best_mm - _SAME_MM, _SAME_MM), 1))
        lengths = distances[first, second]
        order = np.argsort(-lengths, kind="stable")
        lengths, pairs = lengths[order], np.stack([first, second], axis=1)[order] + start
        done, several = 0, 64
        while done < len(pairs) and lengths[done] >= best_mm - _SAME_MM:
            some = slice(done, done + several)
            inside = lie_inside(
                piece.mask, piece.middles[pairs[some, 0]], piece.middles[pairs[some, 1]]
            )
            for place in np.flatnonzero(inside).tolist():
                length_mm = float(lengths[done + place])
                if length_mm < best_mm - _SAME_MM:
                    break
                if length_mm > best_mm + _SAME_MM:
                    best_mm, found = length_mm, []
                found.append((int(pairs[done + place, 0]), int(pairs[done + place, 1])))
            done += several
            several *= 4
    return best_mm, found


def _perpendicular(
    mask: NDArray[np.bool_], longest: Floats, spacing: Floats
) -> tuple[Floats, float]:
    """Ends of the longest line that crosses another at a right angle, and its length in mm.

    Between the corners of pixels that it passes, such a line grows or shrinks evenly as it is moved
    along the other: so those beside the corners are all that need be looked at.
    """
    start = longest[0] * spacing
    along = (longest[1] - longest[0]) * spacing
    length_mm = float(np.hypot(*along))
    along = along / length_mm
    across = np.array([-along[1], along[0]])
    edges = _edges(mask) * spacing - start  # (edges, 2 ends, 2)
    offsets, heights = edges @ along, edges @ across
    corners = np.unique(np.concatenate([offsets.ravel(), [0.0, length_mm]]))
    places = np.concatenate([corners - _BESIDE_MM, corners + _BESIDE_MM])
    best_mm, best = -1.0, np.zeros((2, 2))
    for place in places[(places > 0) & (places < length_mm)].tolist():
        low, high = _reach(offsets, heights, place)
        if high - low > best_mm + _SAME_MM:
            best_mm = high - low
            inset = min(_INSET * float(spacing.min()), best_mm / 4)
            ends = np.array([low + inset, high - inset])
            best = (start + place * along + ends[:, None] * across) / spacing
    return best, best_mm


def _edges(mask: NDArray[np.bool_]) -> Floats:
    """Ends of the pixel edges of an outline: (edges, 2, 2), row and column."""
    middles, _ = edge_middles(mask)
    upright = middles[:, 1] % 2 == 0  # between two columns
    half = np.where(upright[:, None], [1, 0], [0, 1])
    return np.stack([middles - half, middles + half], axis=1) / 2 - 0.5


def _reach(offsets: Floats, heights: Floats, place: float) -> tuple[float, float]:
    """How far a line across reaches to both sides before it leaves the lesion.

    Args:
        offsets: (edges, 2) of the ends of the outline's edges along the line that is crossed.
        heights: (edges, 2) of the same ends across it.
        place: where it is crossed, along it.
    """
    first, second = offsets.T
    passed = (first < place) != (second < place)
    part = (place - first[passed]) / (second[passed] - first[passed])
    at = np.sort(heights[passed, 0] * (1 - part) + heights[passed, 1] * part)
    # From outside to inside and out again, in turn.
    enters, leaves = at[::2], at[1::2]
    apart = enters[1:] > leaves[:-1] + _SAME_MM
    enters, leaves = enters[np.append(True, apart)], leaves[np.append(apart, True)]
    here = np.flatnonzero((enters <= _SAME_MM * 10) & (leaves >= -_SAME_MM * 10))
    if not len(here):
        return 0.0, 0.0
    return float(enters[here[0]]), float(leaves[here[0]])
