"""An HTML page on all cases of a cohort: a table to sort and filter, and strip plots of the values.

One file that loads nothing from elsewhere. Its one script sorts and filters the table; without
scripts the page shows the same in the order of the list. Layout and script are in
``cohort_page.html`` (a Jinja template), ``cohort_page.css`` and ``cohort_page.js``.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..contract.model_card import RESEARCH_ONLY
from ..core.files import atomic_write
from .templates import load_template

TEMPLATE, SCRIPT = "cohort_page.html", "cohort_page.js"
WIDTH, HEIGHT, MARGIN = 420, 84, 30  # of a plot, and left and right of its points
_SPREAD = (16, 52)  # range of the points' heights, scattered so that equal values stay visible
_STEP = 0.618034  # golden ratio: the points of neighbors in the list never overlap


@dataclass(frozen=True)
class CohortRow:
    """A row of the page, for one case.

    Attributes:
        name: of the case.
        state: "done", "failed" or "not done".
        volumes_ml: by region.
        confidence: expected Dice by region.
        warnings: one sentence each.
        seconds: that the case took.
        error: why it failed.
        thumbnail: SVG; empty for none.
        links: addresses relative to the page, by the name of their target.
    """

    name: str
    state: str
    volumes_ml: Mapping[str, float] = field(default_factory=dict)
    confidence: Mapping[str, float] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    seconds: float = 0.0
    error: str = ""
    thumbnail: str = ""
    links: Mapping[str, str] = field(default_factory=dict)

    @property
    def picture(self) -> str:
        """The thumbnail in base 64; SVG shown as an image can neither load nor run anything."""
        return base64.b64encode(self.thumbnail.encode()).decode("ascii")


@dataclass(frozen=True)
class CohortPage:
    """The contents of the page.

    Attributes:
        title: of the cohort.
        created: date and time, ISO 8601.
        missu_version: version of the program that wrote it.
        regions: names, the outermost first.
        rows: one for each case, in the order of the list.
        methods: paragraph for a paper; empty for none.
    """

    title: str
    created: str
    missu_version: str
    regions: Sequence[str]
    rows: Sequence[CohortRow]
    methods: str = ""

    def count(self, state: str) -> int:
        """Number of cases in a state."""
        return sum(row.state == state for row in self.rows)


@dataclass(frozen=True)
class Strip:
    """A strip plot of one value over the cases.

    Attributes:
        title: name of the value, with its unit.
        points: (x, y, number of the row, label) of each case that has a value.
        median: x of the median, and its label.
        ends: labels of the lowest and the highest value on the axis.
    """

    title: str
    points: Sequence[tuple[float, float, int, str]]
    median: tuple[float, str]
    ends: tuple[str, str]


def write_cohort_page(path: Path, page: CohortPage) -> None:
    """Write the page of a cohort.

    Args:
        path: HTML file to write; an existing file is replaced only by a complete page.
        page: its contents.

    Raises:
        InputError: if the file cannot be written.
        ResourceError: if the disk is full.
    """
    script = load_template(SCRIPT).render()
    text = load_template(TEMPLATE).render(
        notice=RESEARCH_ONLY,
        page=page,
        strips=list(strips(page)),
        size=(WIDTH, HEIGHT, MARGIN),
        script_sha256=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
    )
    with atomic_write(path) as temporary:
        # Messages may contain file names that are not valid Unicode.
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")


def strips(page: CohortPage) -> Iterable[Strip]:
    """Plots of the volume and the expected Dice of each region, if at least two cases have it."""
    for region in page.regions:
        volumes = {n: row.volumes_ml[region] for n, row in _with(page, "volumes_ml", region)}
        if len(volumes) > 1:
            yield _strip(f"{region}, ml", page, volumes, 0.0, max(volumes.values()), 1)
    for region in page.regions:
        expected = {n: row.confidence[region] for n, row in _with(page, "confidence", region)}
        if len(expected) > 1:
            yield _strip(f"{region}, expected Dice", page, expected, 0.0, 1.0, 2)


def _with(page: CohortPage, what: str, region: str) -> list[tuple[int, CohortRow]]:
    return [(n, row) for n, row in enumerate(page.rows) if region in getattr(row, what)]


def _strip(
    title: str,
    page: CohortPage,
    values: Mapping[int, float],
    low: float,
    high: float,
    digits: int,
) -> Strip:
    def x(value: float) -> float:
        part = (value - low) / ((high - low) or 1.0)
        return round(MARGIN + part * (WIDTH - 2 * MARGIN), 1)

    def y(number: int) -> float:
        return round(_SPREAD[0] + (number * _STEP % 1) * (_SPREAD[1] - _SPREAD[0]), 1)

    ordered = sorted(values.values())
    half = len(ordered) // 2
    median = (ordered[half] + ordered[~half]) / 2
    return Strip(
        title,
        [
            (x(value), y(number), number, f"{page.rows[number].name}: {value:.{digits}f}")
            for number, value in values.items()
        ],
        (x(median), f"median {median:.{digits}f}"),
        (f"{low:.{digits}f}", f"{high:.{digits}f}"),
    )
