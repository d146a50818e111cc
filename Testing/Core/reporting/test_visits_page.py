"""The page of compared visits: what it shows can be read, however many visits there are."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from MISSUCore.contract.measurement.report import MeasurementReport
from MISSUCore.contract.visits.report import Visit, VisitsReport
from MISSUCore.reporting.visits_page import visit_plot, write_visits_page

FONT_PIXELS = 12  # as visits_page.css has it; no letter is wider than that


def compared(days: list[int]) -> VisitsReport:
    """A report of visits on these days, the volume of each 1 ml more than the one before."""
    return VisitsReport(
        visits=tuple(
            Visit(
                f"visit {number}",
                (date(2024, 1, 10) + timedelta(day)).isoformat(),
                MeasurementReport(region="ET", volumes_ml={"ET": 10.0 + number}),
            )
            for number, day in enumerate(days)
        )
    ).judged()


@pytest.mark.parametrize(
    ("days", "shown"),
    [
        ([0, 70], [0, 1]),
        ([0, 28, 70], [0, 1, 2]),
        ([0, 1, 2, 3], [0, 1, 2, 3]),
        # A week after the first, two days apart from each other, and a day before the last.
        ([0, 7, 100, 102, 299, 300], [0, 2, 5]),
        (list(range(0, 1200, 60)), [0, 4, 7, 10, 13, 19]),
    ],
)
def test_dates_below_a_plot_do_not_lie_on_each_other(days: list[int], shown: list[int]) -> None:
    report = compared(days)
    judged = [visit.volume for visit in report.visits]
    plot = visit_plot(report, "ET volume, ml", report.settings.volume, judged)
    assert [label for _, label, _ in plot.days] == [report.visits[n].date[2:] for n in shown]
    width = len("24-01-10") * FONT_PIXELS * 0.6
    before = {"start": 0.0, "middle": width / 2, "end": width}
    starts = [x - before[anchor] for x, _, anchor in plot.days]
    assert all(right - left > width for left, right in pairwise(starts))


def test_the_table_of_changes_can_be_scrolled(tmp_path: Path) -> None:
    """In a narrow window it would be cut off; the sentence below it breaks its lines."""
    page = tmp_path / "page.html"
    write_visits_page(page, compared([0, 30, 60]), [])
    text = page.read_text(encoding="utf-8")
    changes = text[text.index("Changes and proposed") : text.index("A proposal:")]
    assert changes.count('<div class="wide">') == changes.count("</div>") == 1
    assert changes.index('<div class="wide">') < changes.index("<table") < changes.index("</div>")
