"""Slices of every visit through a followed lesion, in the scan's own plane, with its diameters."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from ..contract.measurement_report import LesionMeasurement
from ..contract.visits_report import FollowedLesion, VisitsReport
from ..reporting.planes import PLANES, UPRIGHT, Plane, gray_window, outline_path, png, to_gray
from ..reporting.visits_page import DrawnLine, LesionRow, VisitTile
from .comparison import ComparedVisits

PICTURE_PIXELS = 256  # along the longer side
MOST_LESIONS = 6
Point = Sequence[float]


def visit_rows(compared: ComparedVisits) -> list[LesionRow]:
    """A row for each of the lesions that matter most: targets, then the largest at any visit."""
    report = compared.report
    slides = [_Slides.of(compared, visit) for visit in range(len(report.visits))]
    chosen = sorted(report.lesions, key=lambda lesion: (not lesion.target, -_size(report, lesion)))
    return [
        LesionRow(
            f"Lesion {lesion.number}{' (target)' if lesion.target else ''}",
            [
                slide.tile(report.parts(lesion, visit), _place(compared, lesion, visit))
                for visit, slide in enumerate(slides)
            ],
        )
        for lesion in chosen[:MOST_LESIONS]
    ]


def _size(report: VisitsReport, lesion: FollowedLesion) -> float:
    return max(report.volume_ml(lesion, visit) for visit in range(len(report.visits)))


def _shown(report: VisitsReport, lesion: FollowedLesion, visit: int) -> LesionMeasurement | None:
    return _largest(report.parts(lesion, visit))


def _largest(parts: Sequence[LesionMeasurement]) -> LesionMeasurement | None:
    return max(parts, key=lambda part: part.product_mm2) if parts else None


def _place(compared: ComparedVisits, lesion: FollowedLesion, visit: int) -> Point:
    """Where a lesion is at a visit, or would be: as at the nearest visit that shows it."""
    report = compared.report
    there = [n for n in range(len(report.visits)) if lesion.lesions[n]]
    nearest = min(there, key=lambda n: abs(n - visit))
    part = _shown(report, lesion, nearest)
    if part is None:
        raise ValueError(f"lesion {lesion.number} is at no visit")
    place: Point = part.longest.start if part.longest else part.center_mm
    if nearest == visit:
        return place
    # A registration leads from the first visit's space to the visit's own.
    away, there_again = compared.registrations[nearest], compared.registrations[visit]
    if away:
        place = away.transform.GetInverse().TransformPoint(place)
    return there_again.transform.TransformPoint(place) if there_again else place


@dataclass(frozen=True)
class _Slides:
    """The scan of a visit, upright, and the lesions on it."""

    scan: sitk.Image
    lesions: sitk.Image
    plane: Plane
    window: tuple[float, float]
    date: str

    @classmethod
    def of(cls, compared: ComparedVisits, visit: int) -> _Slides:
        scan = compared.scans[visit]
        voxels = sitk.GetArrayViewFromImage(scan)
        facts = compared.report.visits[visit]
        plane = next(each for each in PLANES if each.name == facts.measurement.plane)
        return cls(
            sitk.DICOMOrient(scan, UPRIGHT),
            sitk.DICOMOrient(compared.lesions[visit], UPRIGHT),
            plane,
            gray_window(voxels[voxels > voxels.min()]),
            facts.date,
        )

    def tile(self, parts: Sequence[LesionMeasurement], place: Point) -> VisitTile:
        """The slice through a place, with the diameters of a lesion's largest part, if there is."""
        lesion = _largest(parts)
        axis = self.plane.axis
        index = self._index(place)
        last = self.scan.GetSize()[2 - axis] - 1
        number = int(np.clip(round(index[axis]), 0, last))
        pixels = self._slice(self.scan, number)
        lesions = self._slice(self.lesions, number) > 0
        spacing = np.delete(np.array(self.scan.GetSpacing()[::-1]), axis)
        pixel_mm = float((spacing * pixels.shape).max()) / PICTURE_PIXELS
        scale = spacing / pixel_mm
        gray = to_gray(_scaled(pixels.astype(np.float32), scale, order=1), self.window)
        height, width = gray.shape
        product = f", {lesion.product_mm2:.0f} mm²" if lesion and lesion.longest else ""
        if product and len(parts) > 1:
            product += f" (1 of {len(parts)} parts)"
        return VisitTile(
            base64.b64encode(png(gray)).decode("ascii"),
            width,
            height,
            f"{self.date}{product}" if lesion else f"{self.date}, not there",
            f"{self.plane.name} slice of {self.date}",
            outline_path(_scaled(lesions.astype(np.uint8), scale, order=0) > 0),
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
    """Pixels (rows, columns) made square."""
    return ndimage.zoom(pixels, scale, order=order, mode="nearest", grid_mode=True)
