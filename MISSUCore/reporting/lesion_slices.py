"""Slices of a scan through its lesions, in the scan's own plane, with their outlines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from ..contract.measurement.lesions import LesionMeasurement
from .planes import PLANES, UPRIGHT, Plane, gray_window, to_gray

Point = Sequence[float]


@dataclass(frozen=True)
class DrawnLine:
    """A diameter on a picture, in pixels (x, y)."""

    kind: str
    start: tuple[float, float]
    end: tuple[float, float]


@dataclass(frozen=True)
class LesionSlice:
    """A slice with square pixels.

    Attributes:
        gray: (rows, columns), 8-bit.
        lesions: mask (rows, columns) of the lesions.
        lines: the diameters of a lesion, of kinds "longest" and "perpendicular".
    """

    gray: NDArray[np.uint8]
    lesions: NDArray[np.bool_]
    lines: Sequence[DrawnLine]


@dataclass(frozen=True)
class UprightScan:
    """A scan, and the lesions on it, turned so that its slices are upright.

    Attributes:
        scan: with columns, rows and slices towards left, posterior and inferior.
        lesions: on the same grid, not 0 in a lesion.
        plane: of the slices.
        window: intensities shown as black and as white.
    """

    scan: sitk.Image
    lesions: sitk.Image
    plane: Plane
    window: tuple[float, float]

    @classmethod
    def of(cls, scan: sitk.Image, lesions: sitk.Image, plane: str) -> UprightScan:
        """The upright form of a stored scan and of lesions on its grid, for a plane by name."""
        voxels = sitk.GetArrayViewFromImage(scan)
        return cls(
            sitk.DICOMOrient(scan, UPRIGHT),
            sitk.DICOMOrient(lesions, UPRIGHT),
            next(each for each in PLANES if each.name == plane),
            gray_window(voxels[voxels > voxels.min()]),
        )

    def through(self, place: Point, lesion: LesionMeasurement | None, pixels: int) -> LesionSlice:
        """The slice through a place, with the diameters of a lesion that lie in it.

        Args:
            place: (x, y, z) in mm, LPS.
            lesion: whose diameters are drawn, if any.
            pixels: along the longer side.
        """
        axis = self.plane.axis
        last = self.scan.GetSize()[2 - axis] - 1
        number = int(np.clip(round(self._index(place)[axis]), 0, last))
        shown = self._slice(self.scan, number)
        spacing = np.delete(np.array(self.scan.GetSpacing()[::-1]), axis)
        scale = spacing * pixels / float((spacing * shown.shape).max())
        return LesionSlice(
            to_gray(_scaled(shown.astype(np.float32), scale, order=1), self.window),
            _scaled((self._slice(self.lesions, number) > 0).astype(np.uint8), scale, order=0) > 0,
            self._lines(lesion, scale) if lesion else (),
        )

    def _lines(self, lesion: LesionMeasurement, scale: NDArray[np.float64]) -> list[DrawnLine]:
        lines = []
        for kind, line in (
            ("longest", lesion.longest),
            ("perpendicular", lesion.perpendicular),
        ):
            if line:
                (y, x), (bottom, right) = (
                    (np.delete(self._index(end), self.plane.axis) + 0.5) * scale
                    for end in (line.start, line.end)
                )
                lines.append(DrawnLine(kind, (float(x), float(y)), (float(right), float(bottom))))
        return lines

    def _index(self, place: Point) -> NDArray[np.float64]:
        """Continuous index (depth, height, width) of a point in mm."""
        return np.array(self.scan.TransformPhysicalPointToContinuousIndex(list(place))[::-1])

    def _slice(self, image: sitk.Image, number: int) -> NDArray[Any]:
        return sitk.GetArrayViewFromImage(image).take(number, self.plane.axis)


def _scaled(pixels: NDArray[Any], scale: NDArray[np.float64], order: int) -> NDArray[Any]:
    """Pixels (rows, columns) resampled by a factor for each axis, so that they become square."""
    return ndimage.zoom(pixels, scale, order=order, mode="nearest", grid_mode=True)
