"""What was measured on a segmentation, the rules that judge it, and the JSON file of it.

The rules are those of RANO (Wen et al. 2010, RANO 2.0 2023): a lesion is measurable if both of its
diameters are at least 10 mm, and twice the slice thickness, and it is seen on two slices; the sum
of the products of both diameters over the target lesions is followed. They stand here, since the
Slicer module judges anew when a reader corrects a line.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ..core.errors import InputError
from ..core.files import read_json
from ..core.messages import Text, a_file
from ..core.serialization import (
    JsonObject,
    number_of,
    numbers_of,
    settings_from_dict,
    settings_to_dict,
    whole_number_of,
)
from .model_card import RESEARCH_ONLY
from .segmentation_report import FileFact, MapStatistics, maps_from_dict, maps_to_dict

SCHEMA_VERSION = 1
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


@dataclass(frozen=True)
class MeasurementReport:
    """What was measured on a segmentation.

    Attributes:
        notice: that this is research software.
        missu_version: which measured.
        created: when, ISO 8601.
        segmentation: the label map.
        scan: on which it lies (T1ce); its path is empty if none was given.
        scheme: name of the label scheme.
        region: whose diameters these are.
        settings: how it was measured.
        plane: of the diameters: "axial", "coronal", "sagittal", by the nearest of the patient's.
        slice_mm: distance of its slices.
        volumes_ml: by region, of all lesions.
        lesions: the largest product first.
        maps: what further maps show in the regions, by the name of the map.
        warnings: one sentence each.
        schema_version: of the file that it was read from.
    """

    notice: str = RESEARCH_ONLY
    missu_version: str = ""
    created: str = ""
    segmentation: FileFact = field(default_factory=FileFact)
    scan: FileFact = field(default_factory=FileFact)
    scheme: str = ""
    region: str = ""
    settings: MeasurementSettings = field(default_factory=MeasurementSettings)
    plane: str = ""
    slice_mm: float = 0.0
    volumes_ml: Mapping[str, float] = field(default_factory=dict)
    lesions: Sequence[LesionMeasurement] = ()
    maps: Mapping[str, MapStatistics] = field(default_factory=dict)
    warnings: Sequence[Text] = ()
    schema_version: int = SCHEMA_VERSION

    @property
    def sum_of_products_mm2(self) -> float:
        """Over the target lesions."""
        return sum(lesion.product_mm2 for lesion in self.lesions if lesion.target)

    def corrected(self, number: int, longest: Line, perpendicular: Line) -> MeasurementReport:
        """The report with the diameters of a lesion as a reader has drawn them, judged anew.

        Raises:
            KeyError: if there is no lesion of that number.
        """
        if number not in [lesion.number for lesion in self.lesions]:
            raise KeyError(number)
        changed = [
            replace(lesion, longest=longest, perpendicular=perpendicular, corrected=True)
            if lesion.number == number
            else lesion
            for lesion in self.lesions
        ]
        return replace(self, lesions=judge(changed, self.settings, self.region, self.slice_mm))

    def with_targets(self, targets: int) -> MeasurementReport:
        """The report with the sum made of at most this many lesions."""
        settings = replace(self.settings, targets=targets)
        lesions = judge(self.lesions, settings, self.region, self.slice_mm)
        return replace(self, settings=settings, lesions=lesions)

    def to_dict(self) -> JsonObject:
        """As the file has it, in plain JSON types; numbers that follow from others are among it."""
        return {
            "schema_version": SCHEMA_VERSION,
            "notice": self.notice,
            "missu_version": self.missu_version,
            "created": self.created,
            "segmentation": asdict(self.segmentation),
            "scan": asdict(self.scan),
            "scheme": self.scheme,
            "region": self.region,
            "settings": settings_to_dict(self.settings),
            "plane": self.plane,
            "slice_mm": self.slice_mm,
            "volumes_ml": dict(self.volumes_ml),
            "sum_of_products_mm2": self.sum_of_products_mm2,
            "lesions": [_lesion_to_dict(lesion) for lesion in self.lesions],
            "maps": maps_to_dict(self.maps),
            "warnings": [str(warning) for warning in self.warnings],
            "warning_parts": [Text(warning).to_json() for warning in self.warnings],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> MeasurementReport:
        """What :meth:`to_dict` gave; what is left out is empty.

        Raises:
            ValueError: if it is something else.
        """
        try:
            simple = ("notice", "missu_version", "created", "scheme", "region", "plane")
            return cls(
                **{key: str(values[key]) for key in simple if key in values},
                segmentation=settings_from_dict(FileFact, values.get("segmentation", {})),
                scan=settings_from_dict(FileFact, values.get("scan", {})),
                settings=settings_from_dict(MeasurementSettings, values.get("settings", {})),
                slice_mm=number_of(values["slice_mm"]),
                volumes_ml=numbers_of(values["volumes_ml"]),
                lesions=tuple(map(_lesion_from_dict, values["lesions"])),
                maps=maps_from_dict(values),
                warnings=tuple(map(Text.from_json, values.get("warning_parts", ()))),
                schema_version=whole_number_of(values["schema_version"]),
            )
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"it is not a report of a measurement: {error!r}") from error


def read_measurement(path: Path) -> MeasurementReport:
    """The report in a JSON file.

    Raises:
        InputError: if it cannot be read, or is something else.
    """
    try:
        return MeasurementReport.from_dict(read_json(path))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(a_file(path), f": cannot be read: {error}; measure again") from error


def _lesion_to_dict(lesion: LesionMeasurement) -> JsonObject:
    return {
        "number": lesion.number,
        "center_mm": list(lesion.center_mm),
        "volumes_ml": dict(lesion.volumes_ml),
        "slices": lesion.slices,
        **{name: _line_to_dict(getattr(lesion, name)) for name in _LINES},
        "product_mm2": lesion.product_mm2,
        "angle_degrees": lesion.angle_degrees,
        "corrected": lesion.corrected,
        "measurable": lesion.measurable,
        "reasons": list(lesion.reasons),
        "target": lesion.target,
    }


_LINES = ("longest", "perpendicular", "maximum")


def _lesion_from_dict(values: Mapping[str, Any]) -> LesionMeasurement:
    return LesionMeasurement(
        number=whole_number_of(values["number"]),
        center_mm=_point(values["center_mm"]),
        volumes_ml=numbers_of(values["volumes_ml"]),
        slices=whole_number_of(values["slices"]),
        **{name: _line_from_dict(values.get(name)) for name in _LINES},
        corrected=bool(values.get("corrected", False)),
        measurable=bool(values["measurable"]),
        reasons=tuple(map(str, values["reasons"])),
        target=bool(values["target"]),
    )


def _line_to_dict(line: Line | None) -> JsonObject | None:
    if line is None:
        return None
    return {
        "start_mm": list(line.start),
        "end_mm": list(line.end),
        "length_mm": line.length_mm,
    }


def _line_from_dict(values: Mapping[str, Any] | None) -> Line | None:
    return None if values is None else Line(_point(values["start_mm"]), _point(values["end_mm"]))


def _point(values: Sequence[Any]) -> Point:
    x, y, z = map(number_of, values)
    return x, y, z
