"""What was measured on a segmentation, and the JSON file of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ...core.errors import InputError
from ...core.files import read_json
from ...core.messages import Text, a_file
from ...core.serialization import (
    JsonObject,
    number_of,
    numbers_of,
    settings_from_dict,
    settings_to_dict,
    whole_number_of,
)
from ..model_card import RESEARCH_ONLY
from ..segmentation_report import (
    FileFact,
    MapStatistics,
    maps_from_dict,
    maps_to_dict,
    warnings_from_dict,
    warnings_to_dict,
)
from .lesions import LesionMeasurement, Line, MeasurementSettings, Point, judge

SCHEMA_VERSION = 1


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
            **warnings_to_dict(self.warnings),
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
                warnings=warnings_from_dict(values),
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
