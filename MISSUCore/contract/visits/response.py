"""The rules by which a tumor's response is judged over several visits, by area and by volume.

RANO (Wen et al. 2010; RANO 2.0, Wen et al. 2023) follows the sum of the products of two diameters:
partial response (PR) at -50 % against the baseline or less, progression (PD) at +25 % or more
against the nadir, the smallest value since the baseline. For volumes these are -65 % and +40 %. In
disease that does not enhance there is a minor response (MR), too, from -25 % of the products or
-40 % of the volume on (table 3 of the review of RANO 2.0 in Jpn J Radiol 2025, PMC12479667). A new
measurable lesion is PD. What comes out is a proposal: clinical state and steroids, which count as
well, are what a reader types in. Loads nothing but the standard library, as Slicer needs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta, timezone
from enum import Enum
from pathlib import Path


class Category(str, Enum):
    """What a visit is proposed to be."""

    BASELINE = "baseline"
    COMPLETE = "CR"
    PARTIAL = "PR"
    MINOR = "MR"
    STABLE = "SD"
    PROGRESSION = "PD"
    UNKNOWN = "not evaluable"

    __str__ = str.__str__  # the value also where it is formatted


RESPONSES = (Category.COMPLETE, Category.PARTIAL, Category.MINOR)  # the best first
STEROIDS = ("", "none", "less", "same", "more")
CLINICAL = ("", "better", "same", "worse")
READER_CATEGORIES = ("", "CR", "PR", "MR", "SD", "PD")
CONFIRMATION_DAYS = 28
# Of radiotherapy: what looks like progression so soon after it may be its effect.
EARLY_DAYS = 84
_ROUNDING = 1e-9


@dataclass(frozen=True)
class ResponseRule:
    """Thresholds of one way to measure.

    Attributes:
        name: of the rule.
        unit: of the values.
        partial_percent: change against the baseline from which on it is a partial response.
        progression_percent: change against the nadir from which on it is progression.
        minor_percent: the same for a minor response, which there is in non-enhancing disease; 0
            turns it off.
        least: no smaller value is progression: it would not be measurable.
    """

    name: str = ""
    unit: str = ""
    partial_percent: float = 0.0
    progression_percent: float = 0.0
    minor_percent: float = 0.0
    least: float = 0.0

    def without_minor(self) -> ResponseRule:
        """The rule for enhancing disease."""
        return replace(self, minor_percent=0.0)


# A lesion of 10 mm in both directions; a ball of 10 mm has 0.52 ml.
TWO_D = ResponseRule("2-D", "mm2", -50.0, 25.0, -25.0, 100.0)
VOLUME = ResponseRule("volume", "ml", -65.0, 40.0, -40.0, 0.5)


@dataclass(frozen=True)
class Assessment:
    """A visit by one rule.

    Attributes:
        value: in the rule's unit.
        baseline_percent: change against the baseline; None if that is 0, or not yet.
        nadir: the smallest value since the baseline, before this visit.
        nadir_percent: change against it; None if it is 0.
        category: what is proposed.
        reason: why.
    """

    value: float
    baseline_percent: float | None = None
    nadir: float | None = None
    nadir_percent: float | None = None
    category: Category = Category.UNKNOWN
    reason: str = ""


@dataclass(frozen=True)
class ReaderEntry:
    """What a reader types in for a visit; nothing of it is ever guessed.

    Attributes:
        steroids: dose against the visit before, one of :data:`STEROIDS`.
        clinical: state against the visit before, one of :data:`CLINICAL`.
        category: what the reader decides, one of :data:`READER_CATEGORIES`.
        comment: anything.

    Raises:
        ValueError: if a field is something else.
    """

    steroids: str = ""
    clinical: str = ""
    category: str = ""
    comment: str = ""

    def __post_init__(self) -> None:
        for name, allowed in (
            ("steroids", STEROIDS),
            ("clinical", CLINICAL),
            ("category", READER_CATEGORIES),
        ):
            value = getattr(self, name)
            if value not in allowed:
                known = ", ".join(filter(None, allowed))
                raise ValueError(f"{name} cannot be {value!r}; give {known}, or nothing")


@dataclass(frozen=True)
class GivenVisit:
    """A visit as the user specifies it.

    Attributes:
        name: for tables; unlike that of any other.
        segmentation: label map.
        t1ce: scan on whose grid it lies, a file or the folder of a DICOM series.
        date: ISO 8601; empty: that of the scan's DICOM headers.
        reader: what a reader has typed in.
    """

    name: str = ""
    segmentation: Path = Path()
    t1ce: Path = Path()
    date: str = ""
    reader: ReaderEntry = field(default_factory=ReaderEntry)


def iso_date(text: str) -> str:
    """A date as ISO 8601 has it, or DICOM.

    Raises:
        ValueError: if it is none.
    """
    try:
        if len(text) == 8 and text.isdigit():
            text = f"{text[:4]}-{text[4:6]}-{text[6:]}"
        day = date.fromisoformat(text).isoformat()
        if day != text:  # weeks are dates, too, but not to every version of Python
            raise ValueError("not written as a day")
        return day
    except ValueError as error:
        raise ValueError(f"{text!r} is not a date; write YYYY-MM-DD") from error


def lies_in_future(day: str) -> bool:
    """Whether a date, ISO 8601, has begun nowhere on Earth: no clock is ahead of UTC+14."""
    return date.fromisoformat(day) > datetime.now(timezone(timedelta(hours=14))).date()


def assess(
    values: Sequence[float],
    baseline: int,
    rule: ResponseRule,
    gone: Sequence[bool],
    new: Sequence[bool],
) -> tuple[Assessment, ...]:
    """Judge every visit.

    Args:
        values: by visit.
        baseline: number of the visit, from 0, that changes count from.
        rule: that judges.
        gone: by visit, whether nothing at all is left of what is measured.
        new: by visit, whether a lesion is measurable that was not there at the baseline.
    """
    judged = []
    for visit, value in enumerate(values):
        if visit < baseline:
            judged.append(Assessment(value, reason="before the baseline"))
        elif visit == baseline:
            judged.append(Assessment(value, category=Category.BASELINE))
        else:
            nadir = min(values[baseline:visit])
            made = Assessment(
                value, change_percent(value, values[baseline]), nadir, change_percent(value, nadir)
            )
            category, reason = _category(made, values[baseline], rule, gone[visit], new[visit])
            judged.append(replace(made, category=category, reason=reason))
    return tuple(judged)


def change_percent(value: float, reference: float) -> float | None:
    """Change against a reference in percent; None if that is 0."""
    return 100 * (value - reference) / reference if reference > 0 else None


def _category(
    made: Assessment, baseline: float, rule: ResponseRule, gone: bool, new: bool
) -> tuple[Category, str]:
    against_nadir, against_baseline = made.nadir_percent, made.baseline_percent
    if new:
        return Category.PROGRESSION, "a new measurable lesion"
    grown = against_nadir is None or against_nadir >= rule.progression_percent - _ROUNDING
    if grown and made.value >= rule.least:
        if against_nadir is None:
            return Category.PROGRESSION, f"{made.value:.4g} {rule.unit}, from nothing"
        return Category.PROGRESSION, f"{against_nadir:+.0f} % against the nadir"
    if against_baseline is None:
        return Category.STABLE, "nothing to measure at the baseline: stable at best"
    if gone:
        return Category.COMPLETE, "nothing is left"
    if against_baseline <= rule.partial_percent + _ROUNDING:
        return Category.PARTIAL, f"{against_baseline:+.0f} % against the baseline"
    if rule.minor_percent and against_baseline <= rule.minor_percent + _ROUNDING:
        return Category.MINOR, f"{against_baseline:+.0f} % against the baseline"
    if grown and against_nadir:
        return (
            Category.STABLE,
            f"{against_nadir:+.0f} % against the nadir, but below {rule.least:g} {rule.unit}",
        )
    return Category.STABLE, "neither grown nor shrunk enough"


def notes(
    visit: int,
    dates: Sequence[date],
    judged: Sequence[Sequence[Assessment]],
    readers: Sequence[ReaderEntry],
    radiotherapy: Sequence[date],
) -> tuple[str, ...]:
    """What the numbers of a visit do not say: its confirmation, and what a reader has to weigh.

    Args:
        visit: number of the visit, from 0.
        dates: of the visits.
        judged: by rule, then by visit.
        readers: what was typed in, by visit.
        radiotherapy: days on which a radiotherapy ended.
    """
    said = []
    proposed = [rule[visit].category for rule in judged]
    if len(set(proposed)) > 1:
        said.append(f"the rules differ: 2-D {proposed[0]}, volume {proposed[1]}")
    if Category.PROGRESSION in proposed:
        since = [(dates[visit] - end).days for end in radiotherapy if end <= dates[visit]]
        if since and min(since) <= EARLY_DAYS:
            said.append(
                f"{min(since)} days after radiotherapy: within 12 weeks progression is preliminary"
            )
        if not radiotherapy:
            said.append(
                "no end of a radiotherapy is known: within 12 weeks of it progression would be "
                "preliminary"
            )
    for rule, name in zip(judged, ("2-D", "volume")):
        category = rule[visit].category
        if category in RESPONSES:
            said.append(f"{name}: {category} {_confirmation(visit, dates, rule)}")
        earlier = [n for n in range(visit) if rule[n].category is Category.PROGRESSION]
        if earlier:
            said.append(f"{name}: progression was proposed before, on {dates[earlier[0]]}")
    reader = readers[visit]
    if reader.steroids == "more" and any(category in RESPONSES for category in proposed):
        said.append("steroids were increased: RANO counts no response then")
    if reader.clinical == "worse":
        said.append("the clinical state is worse: RANO counts that as progression")
    return tuple(said)


def _confirmation(visit: int, dates: Sequence[date], rule: Sequence[Assessment]) -> str:
    """Whether a response lasted for four weeks."""
    good = RESPONSES[: RESPONSES.index(rule[visit].category) + 1]
    for later in range(visit + 1, len(dates)):
        if rule[later].category not in good:
            return f"was not confirmed on {dates[later]}"
        if (dates[later] - dates[visit]).days >= CONFIRMATION_DAYS:
            return f"is confirmed by {dates[later]}"
    return "has to be confirmed after 4 weeks"
