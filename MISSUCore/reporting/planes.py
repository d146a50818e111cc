"""Slices of a case for pictures: choice of slices, gray values, and outlines as SVG paths.

Radiological convention: the patient is seen from the feet, from the front and from the left, so
that the patient's left is on the right of an axial or coronal picture.
"""

from __future__ import annotations

import struct
import zlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from ..core.errors import InputError
from ..io.resampling import on_grid
from ..preprocessing.working_grid import working_grid

# Axes of a grid for pictures: columns, rows and slices run towards left, posterior and inferior, so
# that its slices are upright.
UPRIGHT = "LPI"
SEARCH_MM = 2.0
SHOWN_PERCENTILES = (0.5, 99.5)


@dataclass(frozen=True)
class Plane:
    """An anatomical plane of an upright grid.

    Attributes:
        name: as used by radiologists.
        axis: of an array (depth, height, width), perpendicular to the plane.
        sides: of the patient at the left, right, upper and lower edge of the picture.
        directions: of the patient towards lower and higher coordinates (LPS) across the plane.
    """

    name: str
    axis: int
    sides: tuple[str, str, str, str]
    directions: tuple[str, str]

    def place(self, grid: sitk.Image, index: int) -> str:
        """Position of a slice in the patient's coordinates: ``"S 34 mm"``."""
        along = 2 - self.axis
        voxel = [0, 0, 0]
        voxel[along] = index
        position_mm = round(grid.TransformIndexToPhysicalPoint(voxel)[along])
        return f"{self.directions[position_mm > 0]} {abs(position_mm)} mm"


AXIAL = Plane("axial", 0, ("R", "L", "A", "P"), ("I", "S"))
CORONAL = Plane("coronal", 1, ("R", "L", "S", "I"), ("A", "P"))
SAGITTAL = Plane("sagittal", 2, ("A", "P", "S", "I"), ("R", "L"))
PLANES = (AXIAL, CORONAL, SAGITTAL)


def picture_grid(masks: Sequence[sitk.Image], pixels: int, margin_mm: float) -> sitk.Image:
    """Empty upright grid along the patient's axes around masks on any grids.

    Args:
        masks: of which empty ones are ignored.
        pixels: along the longest side; voxels are cubes.
        margin_mm: added on all sides.

    Raises:
        InputError: if all masks are empty, or too large to be of a patient.
    """
    filled = [mask for mask in masks if sitk.GetArrayViewFromImage(mask).any()]
    if not filled:
        raise InputError("there is nothing to draw: the scans are empty")
    # The bounding box of an oblique grid is larger than that of the mask's contents.
    coarse = working_grid(filled, (SEARCH_MM,) * 3)
    content = np.logical_or.reduce([inside(mask, coarse) for mask in filled])
    (box,) = ndimage.find_objects(content.astype(np.uint8)) or [None]
    if box is None:
        raise InputError(f"there is nothing to draw: the scans hold less than {SEARCH_MM:g} mm")
    start = [span.start for span in box[::-1]]
    size_mm = SEARCH_MM * np.array(content[box].shape[::-1]) + 2 * margin_mm
    pixel_mm = size_mm.max() / pixels
    grid = sitk.Image(np.ceil(size_mm / pixel_mm - 1e-3).astype(int).tolist(), sitk.sitkUInt8)
    grid.SetSpacing([pixel_mm] * 3)
    # From the first voxel's center to its edge, then by the margin to the first pixel's edge.
    corner_mm = np.array(coarse.TransformIndexToPhysicalPoint(start)) - SEARCH_MM / 2 - margin_mm
    grid.SetOrigin((corner_mm + pixel_mm / 2).tolist())
    return sitk.DICOMOrient(grid, UPRIGHT)


def inside(mask: sitk.Image, grid: sitk.Image) -> NDArray[np.bool_]:
    """Nonzero voxels (depth, height, width) of a mask on a grid, by nearest neighbor."""
    return on_grid(mask, grid, sitk.sitkNearestNeighbor) != 0


def cut(image: sitk.Image, grid: sitk.Image, plane: Plane, index: int) -> NDArray[Any]:
    """Values (rows, columns) of an image on one slice of a grid, interpolated linearly."""
    part = [slice(None)] * 3
    part[2 - plane.axis] = slice(index, index + 1)
    return on_grid(image, grid[tuple(part)]).squeeze(plane.axis)


def areas(mask: NDArray[np.bool_], plane: Plane) -> NDArray[np.int64]:
    """Number of voxels of a mask (depth, height, width) in each slice."""
    return np.count_nonzero(np.moveaxis(mask, plane.axis, 0), axis=(1, 2))


def largest_slice(mask: NDArray[np.bool_], plane: Plane) -> int:
    """The slice with the most voxels of a mask; of several such slices the middle one."""
    counts = areas(mask, plane)
    (largest,) = np.nonzero(counts == counts.max())
    return int(largest[len(largest) // 2])


def gray_window(voxels: NDArray[Any]) -> tuple[float, float]:
    """Intensities to show as black and as white, from those of the tissue."""
    low, high = np.percentile(voxels, SHOWN_PERCENTILES) if voxels.size else (0, 1)
    return float(low), float(high)


def to_gray(values: NDArray[Any], window: tuple[float, float]) -> NDArray[np.uint8]:
    """Intensities as 8-bit gray."""
    low, high = window
    scaled = (values.astype(np.float64) - low) / ((high - low) or 1)
    return np.rint(255 * scaled.clip(0, 1)).astype(np.uint8)


def checkerboard(first: NDArray[Any], second: NDArray[Any], field_pixels: int) -> NDArray[Any]:
    """A checkerboard of two pictures (rows, columns), with the first one in the corner."""
    rows, columns = (np.arange(size) // field_pixels for size in first.shape)
    return np.where((rows[:, None] + columns) % 2, second, first)


def outline_path(mask: NDArray[np.bool_]) -> str:
    """Outline of a mask (rows, columns) along its pixels as SVG path data, in pixels from a corner.

    It consists of closed loops, so that dashes run on all along; empty for an empty mask.
    """
    # Runs by their starting point (x, y), with the mask on their right. All corners are right
    # angles, so horizontal and vertical runs alternate.
    across: dict[tuple[int, int], list[int]] = defaultdict(list)
    down: dict[tuple[int, int], list[int]] = defaultdict(list)
    for y, left, right in _runs(mask, entering=True):
        across[left, y].append(right)
    for y, left, right in _runs(mask, entering=False):
        across[right, y].append(left)
    for x, top, bottom in _runs(mask.T, entering=True):
        down[x, bottom].append(top)
    for x, top, bottom in _runs(mask.T, entering=False):
        down[x, top].append(bottom)
    path = []
    for start in list(across):
        while across[start]:
            x, y = start
            path.append(f"M{x} {y}")
            while across[x, y]:  # where two pixels touch at a corner, either way closes the loop
                x = across[x, y].pop()
                y = down[x, y].pop()
                path.append(f"H{x}V{y}")
            path.append("Z")
    return "".join(path)


def _runs(mask: NDArray[np.bool_], entering: bool) -> list[list[int]]:
    """(row, first column, column after the last) of runs where a mask begins, or ends, at a row."""
    # A border of zeros closes the outline at the picture's edge, and ends each run.
    padded = np.pad(mask, 1).astype(np.int8)
    edges = np.diff(padded, axis=0) == (1 if entering else -1)
    starts_and_stops = np.diff(edges.astype(np.int8), axis=1)
    row, start = np.nonzero(starts_and_stops == 1)
    _, stop = np.nonzero(starts_and_stops == -1)
    return np.stack([row, start, stop], axis=1).tolist()


def png(pixels: NDArray[np.uint8]) -> bytes:
    """An 8-bit gray picture (rows, columns) as PNG (W3C recommendation, third edition)."""
    height, width = pixels.shape
    above = 2  # filter "Up" stores differences to the row above, which compress better
    rows = np.diff(pixels, axis=0, prepend=np.uint8(0))
    filtered = np.insert(rows, 0, above, axis=1).tobytes()
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in (
            (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)),
            (b"IDAT", zlib.compress(filtered, 9)),
            (b"IEND", b""),
        )
    )
