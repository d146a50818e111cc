"""A page that shows a tumor over several visits: changes, categories, plots, slices with lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..contract.visits.report import VisitsReport
from ..contract.visits.response import Assessment, ResponseRule
from ..core.files import atomic_write
from .lesion_slices import DrawnLine
from .templates import load_template

TEMPLATE = "visits_page.html"
WIDTH, HEIGHT = 560, 260  # of a plot
LEFT, RIGHT, TOP, BOTTOM = 56, 14, 14, 40  # margins
DAY_WIDTH = 60  # of a date label, including the space before the next one


@dataclass(frozen=True)
class VisitTile:
    """A slice of one visit.

    Attributes:
        png: gray pixels as PNG in base 64.
        width, height: in pixels.
        caption: short, shown on the picture.
        text: alternative text, for those who cannot see the picture.
        outline: of the lesions, as SVG path data in pixels.
        lines: the two diameters; empty if the lesion is absent.
    """

    png: str
    width: int
    height: int
    caption: str
    text: str
    outline: str
    lines: Sequence[DrawnLine] = ()


@dataclass(frozen=True)
class LesionRow:
    """A followed lesion, with a tile for each visit."""

    title: str
    tiles: Sequence[VisitTile]


@dataclass(frozen=True)
class Plot:
    """A plot of values over time, as parts of an SVG picture.

    Attributes:
        title: what is plotted, with its unit.
        values: line through the values, as SVG path data.
        points: (x, y, label) of each visit.
        response: path at the threshold of a partial response; empty without a baseline.
        progression: path at the threshold of progression, which falls with the nadir.
        ticks: (y, label).
        days: (x, label, SVG text-anchor) of the first, the last, and the dates that fit between.
    """

    title: str
    values: str
    points: Sequence[tuple[float, float, str]]
    response: str
    progression: str
    ticks: Sequence[tuple[float, str]]
    days: Sequence[tuple[float, str, str]]


def write_visits_page(path: Path, report: VisitsReport, rows: Sequence[LesionRow]) -> None:
    """Write the HTML page of compared visits, one file that loads nothing from elsewhere.

    Args:
        path: HTML file to write; an existing file is replaced only by a complete page.
        report: of the visits.
        rows: pictures of the lesions.

    Raises:
        InputError: if the file cannot be written.
        ResourceError: if the disk is full.
    """
    settings = report.settings
    page = load_template(TEMPLATE).render(
        report=report,
        rows=rows,
        plots=[
            visit_plot(
                report, f"{report.region} volume, ml", settings.volume, _judged(report, "volume")
            ),
            visit_plot(report, "Sum of products, mm²", settings.two_d, _judged(report, "two_d")),
        ],
        size=(WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM),
        percent=_percent,
    )
    with atomic_write(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def visit_plot(
    report: VisitsReport, title: str, rule: ResponseRule, judged: Sequence[Assessment]
) -> Plot:
    """The plot of a response rule's values over the dates, with its thresholds."""
    days = [visit.day.toordinal() for visit in report.visits]
    baseline = report.settings.baseline - 1
    partial = judged[baseline].value * (1 + rule.partial_percent / 100)
    progression = [
        None if made.nadir is None else made.nadir * (1 + rule.progression_percent / 100)
        for made in judged
    ]
    values = [made.value for made in judged]
    top = max([*values, *(level for level in progression if level), 1e-9]) * 1.1

    ticks = (0.0, top / 2.2, top / 1.1)

    def x(visit: int) -> float:
        part = (days[visit] - days[0]) / max(days[-1] - days[0], 1)
        return round(LEFT + part * (WIDTH - LEFT - RIGHT), 1)

    def y(value: float) -> float:
        return round(HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM), 1)

    return Plot(
        title,
        "M" + "L".join(f"{x(visit)} {y(value)}" for visit, value in enumerate(values)),
        [
            (x(visit), y(value), f"{report.visits[visit].date}: {value:.4g} ({made.category})")
            for visit, (value, made) in enumerate(zip(values, judged))
        ],
        f"M{x(baseline)} {y(partial)}H{x(len(values) - 1)}" if values[baseline] > 0 else "",
        "".join(
            f"M{x(visit - 1)} {y(level)}H{x(visit)}"
            for visit, level in enumerate(progression)
            if level
        ),
        [(y(value), f"{value:.0f}" if top > 100 else f"{value:.3g}") for value in ticks],
        _day_labels([(x(visit), each.date[2:]) for visit, each in enumerate(report.visits)]),
    )


def _day_labels(days: Sequence[tuple[float, str]]) -> list[tuple[float, str, str]]:
    """Date labels below a plot, without those that would overlap another."""
    first, *between, last = days
    labels = [(*first, "start")]
    free = first[0] + DAY_WIDTH
    for place, text in between:
        if free <= place - DAY_WIDTH / 2 and place + DAY_WIDTH / 2 <= last[0] - DAY_WIDTH:
            labels.append((place, text, "middle"))
            free = place + DAY_WIDTH / 2
    return [*labels, (*last, "end")]


def _judged(report: VisitsReport, rule: str) -> list[Assessment]:
    return [getattr(visit, rule) for visit in report.visits]


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:+.0f} %"
