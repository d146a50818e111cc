"""Several visits of a patient compared, and the JSON file of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date as Date
from pathlib import Path
from typing import Any

from ...core.errors import InputError
from ...core.files import read_json
from ...core.messages import Text, a_file
from ...core.serialization import (
    JsonObject,
    number_of,
    settings_from_dict,
    settings_to_dict,
    whole_number_of,
)
from ..measurement.lesions import LesionMeasurement, MeasurementSettings
from ..measurement.report import MeasurementReport
from ..model_card import RESEARCH_ONLY
from ..segmentation_report import ScanRegistration, warnings_from_dict, warnings_to_dict
from .response import TWO_D, VOLUME, Assessment, Category, ReaderEntry, ResponseRule, assess, notes

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class VisitsSettings:
    """How visits are compared.

    Attributes:
        measurement: how lesions are measured; those of a visit are parts of the measured region.
        baseline: number of the visit, from 1, that changes count from.
        two_d: rule for the sum of products.
        volume: rule for the volume of the measured region.
        enhancing: whether the measured region enhances, so that there is no minor response.
    """

    measurement: MeasurementSettings = field(default_factory=MeasurementSettings)
    baseline: int = 1
    two_d: ResponseRule = TWO_D
    volume: ResponseRule = VOLUME
    enhancing: bool = True


@dataclass(frozen=True)
class Visit:
    """One visit.

    Attributes:
        name: unlike that of any other.
        date: of the scan, ISO 8601.
        measurement: on the scan's own grid.
        registration: on the first visit's scan; None for that itself.
        reader: what a reader has typed in.
        two_d: the sum of products of the targets, judged.
        volume: the volume of the measured region, judged.
        notes: what the numbers do not say.
    """

    name: str
    date: str
    measurement: MeasurementReport
    registration: ScanRegistration | None = None
    reader: ReaderEntry = field(default_factory=ReaderEntry)
    two_d: Assessment = field(default_factory=lambda: Assessment(0.0))
    volume: Assessment = field(default_factory=lambda: Assessment(0.0))
    notes: Sequence[str] = ()

    @property
    def day(self) -> Date:
        """The date."""
        return Date.fromisoformat(self.date)


@dataclass(frozen=True)
class FollowedLesion:
    """A place in the brain where a lesion is at one visit or more.

    Attributes:
        number: from 1, in the order of their first visit, the largest first.
        lesions: by visit, the numbers of its lesions there; several if it has split.
        events: by visit, what became of it since the one before; empty if nothing did.
        target: whether it is part of the sum of products.
    """

    number: int
    lesions: Sequence[Sequence[int]]
    events: Sequence[str]
    target: bool = False


@dataclass(frozen=True)
class VisitsReport:
    """What became of a tumor over several visits.

    Attributes:
        notice: that this is research software.
        missu_version: which compared.
        created: when, ISO 8601.
        settings: how.
        visits: by date.
        lesions: followed over the visits.
        surgery: dates of operations, as typed in.
        radiotherapy: dates on which radiotherapies ended, as typed in.
        warnings: one sentence each.
        schema_version: of the file that it was read from.
    """

    notice: str = RESEARCH_ONLY
    missu_version: str = ""
    created: str = ""
    settings: VisitsSettings = field(default_factory=VisitsSettings)
    visits: Sequence[Visit] = ()
    lesions: Sequence[FollowedLesion] = ()
    surgery: Sequence[str] = ()
    radiotherapy: Sequence[str] = ()
    warnings: Sequence[Text] = ()
    schema_version: int = SCHEMA_VERSION

    @property
    def region(self) -> str:
        """Whose diameters and volume are followed."""
        return self.visits[0].measurement.region if self.visits else ""

    def product_mm2(self, lesion: FollowedLesion, visit: int) -> float:
        """Sum of the products of a followed lesion's parts at a visit (number from 0)."""
        return sum(part.product_mm2 for part in self.parts(lesion, visit))

    def volume_ml(self, lesion: FollowedLesion, visit: int) -> float:
        """Volume of the measured region in a followed lesion at a visit (number from 0)."""
        return sum(part.volumes_ml.get(self.region, 0.0) for part in self.parts(lesion, visit))

    def parts(self, lesion: FollowedLesion, visit: int) -> list[LesionMeasurement]:
        """The measured lesions that a followed one consists of at a visit (number from 0)."""
        numbers = set(lesion.lesions[visit])
        return [part for part in self.visits[visit].measurement.lesions if part.number in numbers]

    def judged(self) -> VisitsReport:
        """The report with all that follows from the measurements and from what was typed in.

        Targets are chosen at the baseline and followed from there: a lesion that has vanished
        counts 0, all parts of one that has split count.

        Raises:
            ValueError: if there is no visit of the baseline's number.
        """
        baseline = self.settings.baseline - 1
        if not 0 <= baseline < len(self.visits):
            raise ValueError(f"there is no visit {self.settings.baseline} to be the baseline")
        lesions = self._with_targets(baseline)
        sums = [
            sum(self.product_mm2(lesion, visit) for lesion in lesions if lesion.target)
            for visit in range(len(self.visits))
        ]
        volumes = [visit.measurement.volumes_ml.get(self.region, 0.0) for visit in self.visits]
        gone = [volume == 0 for volume in volumes]
        new = self._new_measurable(baseline)
        rules = self.settings.two_d, self.settings.volume
        if self.settings.enhancing:
            rules = rules[0].without_minor(), rules[1].without_minor()
        judged = [
            assess(values, baseline, rule, gone, new)
            for values, rule in zip((sums, volumes), rules)
        ]
        days = [visit.day for visit in self.visits]
        readers = [visit.reader for visit in self.visits]
        ends = [Date.fromisoformat(end) for end in self.radiotherapy]
        visits = tuple(
            replace(
                visit,
                two_d=judged[0][number],
                volume=judged[1][number],
                notes=notes(number, days, judged, readers, ends),
            )
            for number, visit in enumerate(self.visits)
        )
        return replace(self, visits=visits, lesions=lesions)

    def _with_targets(self, baseline: int) -> tuple[FollowedLesion, ...]:
        candidates = [
            lesion
            for lesion in self.lesions
            if any(part.measurable for part in self.parts(lesion, baseline))
        ]
        candidates.sort(key=lambda lesion: -self.product_mm2(lesion, baseline))
        targets = {lesion.number for lesion in candidates[: self.settings.measurement.targets]}
        return tuple(replace(lesion, target=lesion.number in targets) for lesion in self.lesions)

    def _new_measurable(self, baseline: int) -> list[bool]:
        """By visit, whether a lesion that was not there at the baseline is measurable at first."""
        found = [False] * len(self.visits)
        for lesion in self.lesions:
            if lesion.lesions[baseline]:
                continue
            for visit in range(baseline + 1, len(self.visits)):
                if any(part.measurable for part in self.parts(lesion, visit)):
                    found[visit] = True
                    break
        return found

    def to_dict(self) -> JsonObject:
        """As the file has it, in plain JSON types."""
        return {
            "schema_version": SCHEMA_VERSION,
            "notice": self.notice,
            "missu_version": self.missu_version,
            "created": self.created,
            "settings": settings_to_dict(self.settings),
            "surgery": list(self.surgery),
            "radiotherapy": list(self.radiotherapy),
            "visits": [_visit_to_dict(visit) for visit in self.visits],
            "lesions": [
                {
                    "number": lesion.number,
                    "lesions": [list(numbers) for numbers in lesion.lesions],
                    "events": list(lesion.events),
                    "target": lesion.target,
                    "volumes_ml": [self.volume_ml(lesion, n) for n in range(len(self.visits))],
                    "products_mm2": [self.product_mm2(lesion, n) for n in range(len(self.visits))],
                }
                for lesion in self.lesions
            ],
            **warnings_to_dict(self.warnings),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> VisitsReport:
        """What :meth:`to_dict` gave; what is left out is empty.

        Raises:
            ValueError: if it is something else.
        """
        try:
            simple = ("notice", "missu_version", "created")
            return cls(
                **{key: str(values[key]) for key in simple if key in values},
                settings=settings_from_dict(VisitsSettings, values.get("settings", {})),
                visits=tuple(map(_visit_from_dict, values["visits"])),
                lesions=tuple(
                    FollowedLesion(
                        whole_number_of(item["number"]),
                        tuple(tuple(map(whole_number_of, numbers)) for numbers in item["lesions"]),
                        tuple(map(str, item["events"])),
                        bool(item["target"]),
                    )
                    for item in values["lesions"]
                ),
                surgery=tuple(map(_day, values.get("surgery", ()))),
                radiotherapy=tuple(map(_day, values.get("radiotherapy", ()))),
                warnings=warnings_from_dict(values),
                schema_version=whole_number_of(values["schema_version"]),
            )
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"it is not a report of visits: {error!r}") from error


def read_visits_report(path: Path) -> VisitsReport:
    """The report in a JSON file.

    Raises:
        InputError: if it cannot be read, or is something else.
    """
    try:
        return VisitsReport.from_dict(read_json(path))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(a_file(path), f": cannot be read: {error}") from error


def _visit_to_dict(visit: Visit) -> JsonObject:
    return {
        "name": visit.name,
        "date": visit.date,
        "registration": None if visit.registration is None else asdict(visit.registration),
        "reader": asdict(visit.reader),
        "two_d": asdict(visit.two_d),
        "volume": asdict(visit.volume),
        "notes": list(visit.notes),
        "measurement": visit.measurement.to_dict(),
    }


def _visit_from_dict(values: Mapping[str, Any]) -> Visit:
    registration = values.get("registration")
    return Visit(
        name=str(values["name"]),
        date=_day(values["date"]),
        measurement=MeasurementReport.from_dict(values["measurement"]),
        registration=None
        if registration is None
        else settings_from_dict(ScanRegistration, registration),
        reader=settings_from_dict(ReaderEntry, values.get("reader", {})),
        two_d=_assessment(values["two_d"]),
        volume=_assessment(values["volume"]),
        notes=tuple(map(str, values["notes"])),
    )


def _assessment(values: Mapping[str, Any]) -> Assessment:
    amounts = {
        name: None if values.get(name) is None else number_of(values[name])
        for name in ("baseline_percent", "nadir", "nadir_percent")
    }
    return Assessment(
        number_of(values["value"]),
        **amounts,
        category=Category(values["category"]),
        reason=str(values.get("reason", "")),
    )


def _day(text: str) -> str:
    return Date.fromisoformat(text).isoformat()
