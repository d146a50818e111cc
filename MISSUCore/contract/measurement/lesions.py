"""Measured lesions, and the rules that judge them.

The rules are those of RANO (Wen et al. 2010, RANO 2.0 2023): a lesion is measurable if both of its
diameters are at least 10 mm, and twice the slice thickness, and it is seen on two slices; the sum
of the products of both diameters over the target lesions is followed. They are part of the
contract, since the Slicer module judges anew when a reader corrects a line.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

PLANES = ("auto", "axial", "coronal", "sagittal")
# The ends of a line lie a thousandth of a pixel inside: 10 mm must stay 10 mm.
_ROUNDING_MM = 0.02

Point = tuple[float, float, float]


@dataclass(frozen=True)
class MeasurementSettings:
    """How lesions are measured and judged.

    Attributes:
        region: whose diameters are measured; empty: the innermost of the scheme (ET).
        lesions_of: region whose parts are the lesions; empty: all regions together.
        join_mm: parts this close are one lesion, as in the lesion-wise scores of BraTS 2023.
        minimum_mm: that both diameters of a measurable lesion have.
        minimum_slices: on which it is seen.
        targets: how many lesions the sum of products is made of.
        plane: of the diameters, one of :data:`PLANES`, always one of the grid's own. "auto": that
            of the slices if they are thick; axial if the grid is as fine in all directions.
    """

    region: str = ""
    lesions_of: str = ""
    join_mm: float = 3.0
    minimum_mm: float = 10.0
    minimum_slices: int = 2
    targets: int = 2
    plane: str = "auto"


@dataclass(frozen=True)
class Line:
    """A straight line between two points (x, y, z) in mm, LPS."""

    start: Point
    end: Point

    @property
    def length_mm(self) -> float:
        """Distance of the two points."""
        return math.dist(self.start, self.end)

    def angle_degrees(self, other: Line) -> float:
        """Angle between two lines, 0 to 90; 0 if one is a point."""
        ours, theirs = (
            [end - start for start, end in zip(line.start, line.end)] for line in (self, other)
        )
        lengths = self.length_mm * other.length_mm
        if not lengths:
            return 0.0
        cosine = abs(sum(a * b for a, b in zip(ours, theirs))) / lengths
        return math.degrees(math.acos(min(1.0, cosine)))


@dataclass(frozen=True)
class LesionMeasurement:
    """One lesion.

    Attributes:
        number: from 1, the largest product first; its value in a map of lesions.
        center_mm: of all its voxels, (x, y, z) in LPS.
        volumes_ml: by region.
        slices: on how many the measured region is seen.
        longest: longest diameter of the measured region in a slice; None if it has none of it.
        perpendicular: longest diameter across it, in the same slice.
        maximum: longest distance of two points of the measured region in 3-D.
        corrected: whether a reader has drawn one of the two diameters.
        measurable: whether it may be a target.
        reasons: why it is not measurable.
        target: whether its product is part of the sum.
    """

    number: int
    center_mm: Point
    volumes_ml: Mapping[str, float]
    slices: int = 0
    longest: Line | None = None
    perpendicular: Line | None = None
    maximum: Line | None = None
    corrected: bool = False
    measurable: bool = False
    reasons: Sequence[str] = ()
    target: bool = False

    @property
    def product_mm2(self) -> float:
        """Longest diameter times the one across it; 0 without diameters."""
        if not self.longest or not self.perpendicular:
            return 0.0
        return self.longest.length_mm * self.perpendicular.length_mm

    @property
    def angle_degrees(self) -> float | None:
        """Between the two diameters."""
        if not self.longest or not self.perpendicular:
            return None
        return self.longest.angle_degrees(self.perpendicular)


def judge(
    lesions: Iterable[LesionMeasurement],
    settings: MeasurementSettings,
    region: str,
    slice_mm: float,
) -> tuple[LesionMeasurement, ...]:
    """The lesions with what follows from their diameters: measurable, reasons, target.

    Args:
        lesions: in any order, which is kept.
        settings: the rules.
        region: whose diameters they are.
        slice_mm: distance of the slices.
    """
    judged = []
    for lesion in lesions:
        reasons = _reasons(lesion, settings, region, slice_mm)
        judged.append(replace(lesion, reasons=reasons, measurable=not reasons, target=False))
    ranked = sorted(
        (lesion for lesion in judged if lesion.measurable), key=lambda lesion: -lesion.product_mm2
    )
    targets = {lesion.number for lesion in ranked[: settings.targets]}
    return tuple(replace(lesion, target=lesion.number in targets) for lesion in judged)


def _reasons(
    lesion: LesionMeasurement, settings: MeasurementSettings, region: str, slice_mm: float
) -> tuple[str, ...]:
    if not lesion.longest or not lesion.perpendicular:
        return (f"no {region}",)
    reasons = []
    least = max(settings.minimum_mm, 2 * slice_mm)
    why = "" if least == settings.minimum_mm else f", twice the slice thickness of {slice_mm:g} mm"
    for name, line in (
        ("longest diameter", lesion.longest),
        ("perpendicular diameter", lesion.perpendicular),
    ):
        if line.length_mm < least - _ROUNDING_MM:
            reasons.append(f"{name} {line.length_mm:.1f} mm, below {least:g} mm{why}")
    if lesion.slices < settings.minimum_slices:
        reasons.append(f"seen on {lesion.slices} of at least {settings.minimum_slices} slices")
    return tuple(reasons)
