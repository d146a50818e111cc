"""What is known of a segmentation beside its label map, and the JSON file of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from ..core.errors import InputError
from ..core.files import read_json
from ..core.messages import Text, a_file
from ..core.serialization import (
    JsonObject,
    by_name,
    many,
    maybe,
    number_of,
    numbers_of,
    settings_from_dict,
    settings_to_dict,
    whole_number_of,
)
from .model_card import RESEARCH_ONLY
from .model_identity import ModelIdentity
from .provenance.masks import MaskFact

# 1 had no such number, and warnings without their parts.
SCHEMA_VERSION = 2
S = TypeVar("S")


@dataclass(frozen=True)
class FileFact:
    """A file that was read."""

    path: str = ""
    sha256: str = ""


@dataclass(frozen=True)
class ScanRegistration:
    """How a scan was laid on the fixed one.

    Attributes:
        quality: normalized mutual information with the fixed scan.
        moved_mm: mean distance by which its head was moved.
        skipped: whether it lay there already and was left.
        transform: name of the file with its transform, beside the label map; empty if none is.
    """

    quality: float = 0.0
    moved_mm: float = 0.0
    skipped: bool = False
    transform: str = ""


@dataclass(frozen=True)
class RegionStatistics:
    """What a further map, as ADC or CBV, shows in a region, in the map's own units.

    Attributes:
        covered: part of the region's volume in which the map has a number, 0 to 1.
        voxels: of the map, that were used; those that the region fills at least by half.
        volume_ml: of these voxels.
        zeros: how many of these voxels are exactly 0, as where a map was masked.
        mean, standard_deviation, minimum, median, maximum: None without voxels. The deviation is
            that of the voxels themselves (divided by their number), as IBSI has it.
        percentile_5, percentile_10, percentile_25, percentile_75, percentile_90, percentile_95:
            linear between neighboring values; None without voxels.
    """

    covered: float = 0.0
    voxels: int = 0
    volume_ml: float = 0.0
    zeros: int = 0
    mean: float | None = maybe(float)
    standard_deviation: float | None = maybe(float)
    minimum: float | None = maybe(float)
    percentile_5: float | None = maybe(float)
    percentile_10: float | None = maybe(float)
    percentile_25: float | None = maybe(float)
    median: float | None = maybe(float)
    percentile_75: float | None = maybe(float)
    percentile_90: float | None = maybe(float)
    percentile_95: float | None = maybe(float)
    maximum: float | None = maybe(float)


@dataclass(frozen=True)
class MapStatistics:
    """A further map, and what it shows in each region that is not empty.

    Attributes:
        path: of its file, or its DICOM folder.
        sha256: of that.
        spacing_mm: of its voxels (x, y, z).
        regions: by name.
    """

    path: str = ""
    sha256: str = ""
    spacing_mm: tuple[float, ...] = many(float)
    regions: dict[str, RegionStatistics] = by_name(RegionStatistics)


@dataclass(frozen=True)
class SegmentationReport:
    """What is known of a segmentation.

    Attributes:
        notice: that this is research software.
        missu_version: which wrote it.
        software: versions of Python and of the packages that computed it, by name.
        created: when, ISO 8601.
        inputs: scans by modality.
        sequences: by modality, why a scan that was found in a folder was taken for it.
        reference: file on whose grid the label map lies.
        output: path of the label map.
        written: SHA-256 of the label map, probability maps and transforms, by file name.
        grid: of the label map, see :class:`.Contents`.
        masks: what the label map's regions are, by name; empty in reports of before.
        model: that segmented.
        finder: model that found where that one looked; empty if it looked at all.
        options: of the segmentation, and of the preprocessing.
        device: on which it ran.
        windows: how many pieces the case was cut into; 1 if it was not.
        seconds: by step, and "total".
        fixed: modality that the other scans were laid on.
        registrations: of the other scans, by modality.
        brain_method: how the brain was found; empty if nobody looked.
        brain_ml: its volume; None if the scans came without skull.
        volumes_ml: by region.
        confidence: expected Dice by region; empty if the model gives none.
        maps: what further maps show in the regions, by the name of the map.
        warnings: one sentence each.
        schema_version: of the file that it was read from.
    """

    notice: str = RESEARCH_ONLY
    missu_version: str = ""
    software: Mapping[str, str] = field(default_factory=dict)
    created: str = ""
    inputs: Mapping[str, FileFact] = field(default_factory=dict)
    sequences: Mapping[str, object] = field(default_factory=dict)
    reference: FileFact = field(default_factory=FileFact)
    output: str = ""
    written: Mapping[str, str] = field(default_factory=dict)
    grid: Sequence[float] = ()
    masks: Mapping[str, MaskFact] = field(default_factory=dict)
    model: ModelIdentity = field(default_factory=ModelIdentity)
    finder: ModelIdentity = field(default_factory=ModelIdentity)
    options: Mapping[str, object] = field(default_factory=dict)
    device: str = ""
    windows: int = 1
    seconds: Mapping[str, float] = field(default_factory=dict)
    fixed: str = ""
    registrations: Mapping[str, ScanRegistration] = field(default_factory=dict)
    brain_method: str = ""
    brain_ml: float | None = None
    volumes_ml: Mapping[str, float] = field(default_factory=dict)
    confidence: Mapping[str, float] = field(default_factory=dict)
    maps: Mapping[str, MapStatistics] = field(default_factory=dict)
    warnings: Sequence[Text] = ()
    schema_version: int = SCHEMA_VERSION

    def to_dict(self) -> Mapping[str, Any]:
        """As the file has it, in plain JSON types."""
        scans = {name: asdict(scan) for name, scan in self.registrations.items()}
        for scan in scans.values():
            if not scan["transform"]:
                del scan["transform"]
        return {
            "schema_version": SCHEMA_VERSION,
            "notice": self.notice,
            "missu_version": self.missu_version,
            "software": dict(self.software),
            "created": self.created,
            "inputs": {name: asdict(scan) for name, scan in self.inputs.items()},
            "sequences": dict(self.sequences),
            "reference": asdict(self.reference),
            "output": self.output,
            "written": dict(self.written),
            "grid": list(self.grid),
            "masks": {name: asdict(mask) for name, mask in self.masks.items()},
            "model": asdict(self.model),
            "finder": asdict(self.finder),
            "options": dict(self.options),
            "device": self.device,
            "windows": self.windows,
            "seconds": dict(self.seconds),
            "registration": {"fixed": self.fixed, "scans": scans},
            "brain": {"method": self.brain_method, "volume_ml": self.brain_ml},
            "volumes_ml": dict(self.volumes_ml),
            "confidence": dict(self.confidence),
            "maps": maps_to_dict(self.maps),
            **warnings_to_dict(self.warnings),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SegmentationReport:
        """What :meth:`to_dict` gave, now or in an earlier version; what is left out is empty.

        Raises:
            ValueError: if it is something else.
        """
        try:
            registration, brain = values.get("registration") or {}, values.get("brain") or {}
            simple = ("notice", "missu_version", "created", "output", "device")
            brain_ml = brain.get("volume_ml")
            return cls(
                **{key: str(values[key]) for key in simple if key in values},
                software=dict(_items(values, "software")),
                inputs=_each(FileFact, values, "inputs"),
                sequences=dict(_items(values, "sequences")),
                reference=settings_from_dict(FileFact, values.get("reference") or {}),
                written=dict(_items(values, "written")),
                grid=tuple(map(number_of, values.get("grid") or ())),
                masks=_each(MaskFact, values, "masks"),
                model=settings_from_dict(ModelIdentity, values.get("model") or {}),
                finder=settings_from_dict(ModelIdentity, values.get("finder") or {}),
                options=dict(_items(values, "options")),
                windows=whole_number_of(values.get("windows", 1)),
                seconds=numbers_of(values.get("seconds") or {}),
                fixed=str(registration.get("fixed", "")),
                registrations=_each(ScanRegistration, registration, "scans"),
                brain_method=str(brain.get("method") or ""),
                brain_ml=None if brain_ml is None else number_of(brain_ml),
                volumes_ml=numbers_of(values.get("volumes_ml") or {}),
                confidence=numbers_of(values.get("confidence") or {}),
                maps=maps_from_dict(values),
                warnings=warnings_from_dict(values),
                schema_version=whole_number_of(values.get("schema_version", 1)),
            )
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"it is not a report of a segmentation: {error}") from error


def read_report(path: Path) -> SegmentationReport:
    """The report in a JSON file.

    Raises:
        InputError: if it cannot be read, or is something else.
    """
    try:
        return SegmentationReport.from_dict(read_json(path))
    except (OSError, ValueError) as error:
        raise InputError(a_file(path), f": cannot be read: {error}; segment again") from error


def maps_to_dict(maps: Mapping[str, MapStatistics]) -> JsonObject:
    """What maps show, in plain JSON types."""
    return {name: settings_to_dict(statistics) for name, statistics in maps.items()}


def maps_from_dict(values: Mapping[str, Any]) -> dict[str, MapStatistics]:
    """What :func:`maps_to_dict` gave, under "maps"; nothing in reports of earlier versions.

    Raises:
        ValueError: if it is something else.
    """
    return {
        str(name): settings_from_dict(MapStatistics, one) for name, one in _items(values, "maps")
    }


def warnings_to_dict(warnings: Sequence[str]) -> JsonObject:
    """Warnings as all reports have them: sentences for people, and their parts for programs."""
    return {
        "warnings": [str(warning) for warning in warnings],
        "warning_parts": [Text(warning).to_json() for warning in warnings],
    }


def warnings_from_dict(values: Mapping[str, Any]) -> tuple[Text, ...]:
    """What :func:`warnings_to_dict` gave; the first reports had sentences alone.

    Raises:
        ValueError: if it is something else.
    """
    return tuple(map(Text.from_json, values.get("warning_parts", values.get("warnings", ()))))


def _items(values: Mapping[str, Any], key: str) -> Sequence[tuple[str, Any]]:
    return list((values.get(key) or {}).items())


def _each(kind: type[S], values: Mapping[str, Any], key: str) -> Mapping[str, S]:
    """What stands under a key: values of a class by name."""
    return {name: settings_from_dict(kind, facts) for name, facts in _items(values, key)}
