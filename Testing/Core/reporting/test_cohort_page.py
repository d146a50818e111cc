"""The page over a cohort: all figures are there, nothing in a name or message runs or breaks it."""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from MISSUCore.reporting.cohort_page import (
    HEIGHT,
    MARGIN,
    WIDTH,
    CohortPage,
    CohortRow,
    strips,
    write_cohort_page,
)

HOSTILE = "</script><img src=x onerror=alert(1)>"
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
PAGE = CohortPage(
    title="study",
    created="2026-01-02T03:04:05+00:00",
    missu_version="1",
    regions=["WT", "TC"],
    rows=[
        CohortRow("p10", "done", {"WT": 5.0, "TC": 2.0}, {"WT": 0.9}, ["odd"], 3.0),
        CohortRow("p9", "done", {"WT": 40.0, "TC": 0.0}, {"WT": 0.5}, [], 20.0),
        CohortRow("p2", "failed", error=HOSTILE),
        CohortRow("p3", "not done"),
        CohortRow(
            "p1",
            "done",
            {"WT": 10.0, "TC": 1.0},
            {"WT": 0.7},
            thumbnail="<svg/>",
            links={"quality page": "./p1/quality.html"},
        ),
    ],
    methods="Segmented with <b>MISSU</b>.",
)


class Cells(HTMLParser):
    """Names and attributes of all tags of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture
def text(tmp_path: Path) -> str:
    write_cohort_page(tmp_path / "cohort.html", PAGE)
    return (tmp_path / "cohort.html").read_text(encoding="utf-8")


def test_every_case_is_there_with_what_it_is_sorted_by(text: str) -> None:
    cells = Cells(text)
    sorts = [tag["data-sort"] for name, tag in cells.tags if "data-sort" in tag]
    assert len(sorts) == 5 * 8
    assert sorts[:8] == ["p10", "done", "5.0", "2.0", "0.9", "", "1", "3.0"]
    assert sorts[16:24] == ["p2", "failed", "", "", "", "", "", ""]
    noticed = [tag["id"] for tag in cells.of("tr") if "data-noticed" in tag]
    assert noticed == ["case-0", "case-2", "case-3"]
    assert "3 done, 1 failed, 1 not done" in text
    assert {"href": "./p1/quality.html"} in cells.of("a")
    (picture,) = cells.of("img")
    assert base64.b64decode(str(picture["src"]).partition("base64,")[2]) == b"<svg/>"


def test_no_text_becomes_markup_and_only_the_pages_own_script_may_run(text: str) -> None:
    assert HOSTILE not in text and "<b>" not in text
    assert "&lt;img src=x onerror=alert(1)&gt;" in text
    cells = Cells(text)
    assert len(cells.of("script")) == 1 and not any("onerror" in tag for _, tag in cells.tags)
    (script,) = re.findall("<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = (tag["content"] for tag in cells.of("meta") if "http-equiv" in tag)
    assert policy is not None and f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy


def test_points_lie_where_their_values_are() -> None:
    volumes, cores, expected = strips(PAGE)
    inner = WIDTH - 2 * MARGIN
    assert (volumes.title, volumes.median[1], volumes.ends) == (
        "WT, ml",
        "median 10.0",
        ("0.0", "40.0"),
    )
    assert [point[0] for point in volumes.points] == [
        MARGIN + inner * 5 / 40,
        MARGIN + inner,
        MARGIN + inner * 10 / 40,
    ]
    assert [point[2:] for point in volumes.points] == [
        (0, "p10: 5.0"),
        (1, "p9: 40.0"),
        (4, "p1: 10.0"),
    ]
    assert cores.title == "TC, ml"
    assert expected.points[1][0] == MARGIN + inner * 0.5  # of 1, which is the end of the axis
    assert all(0 < y < HEIGHT for strip in (volumes, cores) for _, y, _, _ in strip.points)


def test_a_cohort_in_which_nothing_was_done_has_a_page(tmp_path: Path) -> None:
    page = CohortPage("study", "", "1", [], [CohortRow("p1", "failed", error="is damaged")])
    write_cohort_page(tmp_path / "cohort.html", page)
    text = (tmp_path / "cohort.html").read_text(encoding="utf-8")
    assert "is damaged" in text and "<h2>Methods" not in text and "<figure" not in text


def shown(page: Path, folder: Path) -> str:
    """What a browser makes of a page."""
    done = subprocess.run(
        [
            *(str(BROWSER), "--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom"),
            f"--user-data-dir={folder / 'profile'}",
            page.as_uri(),
        ],
        capture_output=True,
        encoding="utf-8",
        check=True,
        timeout=300,
    )
    return done.stdout


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="needs Chromium or Chrome")
def test_a_browser_sorts_and_filters_the_table(tmp_path: Path, text: str) -> None:
    assert "5 of 5 shown" in shown(tmp_path / "cohort.html", tmp_path)  # the script may run
    clicks = """<script>
      const order = () => [...body.rows].map((row) => row.cells[1].dataset.sort).join(" ");
      const button = (n) => table.tHead.rows[0].cells[n].firstChild;
      const found = [];
      for (const n of [3, 3, 1]) { button(n).click(); found.push(order()); }
      noticed.click(); words.value = "ODD"; words.dispatchEvent(new Event("input"));
      found.push([...body.rows].filter((row) => !row.hidden).map((row) => row.id).join(" "));
      document.title = found.join("; ");
    </script></body>"""
    changed = re.sub("<meta http-equiv[^>]*>", "", text).replace("</body>", clicks)
    (tmp_path / "clicked.html").write_text(changed, encoding="utf-8")
    title = re.findall("<title>(.*?)</title>", shown(tmp_path / "clicked.html", tmp_path))[0]
    # By volume both ways, those without one last; by name as people count.
    assert title.split("; ") == [
        "p10 p1 p9 p2 p3",
        "p9 p1 p10 p2 p3",
        "p1 p2 p3 p9 p10",
        "case-0",
    ]
