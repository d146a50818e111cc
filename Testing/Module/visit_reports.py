"""Comparisons of visits made by hand, for the tests of the module."""

from __future__ import annotations

from collections.abc import Sequence

from MISSUCore.contract.measurement.lesions import (
    LesionMeasurement,
    Line,
    MeasurementSettings,
    judge,
)
from MISSUCore.contract.measurement.report import MeasurementReport
from MISSUCore.contract.visits.report import FollowedLesion, Visit, VisitsReport

DAYS = ("2024-01-10", "2024-03-06", "2024-05-01")
# One lesion: it shrinks by 70 %, then grows to four times that volume.
VOLUMES_ML, LENGTHS_MM = (10.0, 3.0, 12.0), (30.0, 15.0, 40.0)


def measurement(volume_ml: float, length_mm: float) -> MeasurementReport:
    """A measurement of one lesion with two equal diameters."""
    settings = MeasurementSettings()
    lesion = LesionMeasurement(
        1,
        (0.0, 0.0, 0.0),
        {"WT": 2 * volume_ml, "ET": volume_ml},
        slices=5,
        longest=Line((0.0, 0.0, 0.0), (length_mm, 0.0, 0.0)),
        perpendicular=Line((1.0, 0.0, 0.0), (1.0, length_mm, 0.0)),
    )
    return MeasurementReport(
        scheme="BraTS",
        region="ET",
        settings=settings,
        plane="axial",
        slice_mm=1.0,
        volumes_ml={"WT": 2 * volume_ml, "ET": volume_ml},
        lesions=judge([lesion], settings, "ET", 1.0),
    )


def report(
    names: Sequence[str] = ("first", "second", "third"), days: Sequence[str] = DAYS
) -> VisitsReport:
    """Three visits with known changes of volume: -70 % (PR), then +300 % from the nadir (PD)."""
    visits = tuple(
        Visit(name, day, measurement(volume, length))
        for name, day, volume, length in zip(names, days, VOLUMES_ML, LENGTHS_MM)
    )
    lesion = FollowedLesion(1, ((1,),) * len(visits), ("",) * len(visits))
    return VisitsReport(visits=visits, lesions=(lesion,)).judged()
