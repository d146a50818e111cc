"""Slices of every visit through a followed lesion, in the scan's own plane, with its diameters."""

from __future__ import annotations

import base64
from collections.abc import Sequence

from ..contract.measurement.lesions import LesionMeasurement
from ..contract.visits.report import FollowedLesion, VisitsReport
from ..reporting.lesion_slices import Point, UprightScan
from ..reporting.planes import outline_path, png
from ..reporting.visits_page import LesionRow, VisitTile
from .comparison import ComparedVisits

PICTURE_PIXELS = 256  # along the longer side
MOST_LESIONS = 6


def visit_rows(compared: ComparedVisits) -> list[LesionRow]:
    """A row for each of the lesions that matter most: targets, then the largest at any visit."""
    report = compared.report
    scans = [
        UprightScan.of(scan, lesions, visit.measurement.plane)
        for scan, lesions, visit in zip(compared.scans, compared.lesions, report.visits)
    ]
    chosen = sorted(report.lesions, key=lambda lesion: (not lesion.target, -_size(report, lesion)))
    return [
        LesionRow(
            f"Lesion {lesion.number}{' (target)' if lesion.target else ''}",
            [
                _tile(
                    drawn,
                    report.visits[visit].date,
                    report.parts(lesion, visit),
                    _place(compared, lesion, visit),
                )
                for visit, drawn in enumerate(scans)
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
    """Where a lesion is at a visit or, if absent, where it is at the nearest visit with it."""
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


def _tile(
    drawn: UprightScan, day: str, parts: Sequence[LesionMeasurement], place: Point
) -> VisitTile:
    """The slice through a place, with the diameters of the lesion's largest part, if any."""
    lesion = _largest(parts)
    shown = drawn.through(place, lesion, PICTURE_PIXELS)
    height, width = shown.gray.shape
    product = f", {lesion.product_mm2:.0f} mm²" if lesion and lesion.longest else ""
    if product and len(parts) > 1:
        product += f" (1 of {len(parts)} parts)"
    return VisitTile(
        base64.b64encode(png(shown.gray)).decode("ascii"),
        width,
        height,
        f"{day}{product}" if lesion else f"{day}, not there",
        f"{drawn.plane.name} slice of {day}",
        outline_path(shown.lesions),
        shown.lines,
    )
