"""``missu visits``: files written, or exit code 2 with a sentence and nothing written."""

from __future__ import annotations

import csv
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from MISSUCore.cli.main import main
from MISSUCore.contract.visits.report import read_visits_report
from MISSUCore.core import files
from MISSUCore.core.errors import ResourceError

pytestmark = pytest.mark.slow
Paths = list[tuple[Path, Path]]


def pairs(patient: Paths) -> list[str]:
    return [",".join(map(str, paths)) for paths in patient]


def test_report_table_and_page(
    patient: Paths, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = tmp_path / "visits.csv"
    rows = ["segmentation,t1ce,date,steroids,comment"]
    for (segmentation, scan), day in zip(patient[1:3], ("2024-03-06", "2024-05-01")):
        rows.append(f"{segmentation},{scan},{day},same,<b>2 & 3</b>")
    listed.write_text("\n".join(rows))
    written = [tmp_path / name for name in ("report.json", "table.csv", "page.html")]
    options = [
        part
        for name, path in zip(("--output", "--csv", "--page"), written)
        for part in (name, path)
    ]
    command = ["visits", "--list", listed, *options, "--radiotherapy", "2023-12-01"]
    assert main(list(map(str, command))) == 0
    assert "new" in capsys.readouterr().out
    report = read_visits_report(written[0])
    assert [visit.reader.steroids for visit in report.visits] == ["same", "same"]
    assert report.radiotherapy == ("2023-12-01",)
    with written[1].open(newline="") as stream:
        table = list(csv.DictReader(stream))
    assert [row["lesion"] for row in table] == ["all", "1", "2", "3", "4"] * 2
    assert float(table[0]["volume_ml"]) == pytest.approx(report.visits[0].volume.value, abs=1e-3)
    assert [row["event"] for row in table if row["lesion"] == "4"] == ["", "new"]
    assert table[5]["category_volume"] == "PD" and table[5]["steroids"] == "same"
    _check_page(written[2].read_text(encoding="utf-8"), report)
    # Nothing is replaced unasked, nor is what was read, even if it is asked.
    before = [path.read_bytes() for path in written]
    assert main(list(map(str, command))) == 2
    assert "exists already" in capsys.readouterr().err
    wrong = [*command, "--overwrite", "--csv", patient[1][0]]
    assert main(list(map(str, wrong))) == 2
    assert "is an input too" in capsys.readouterr().err
    assert [path.read_bytes() for path in written] == before


def test_a_file_that_cannot_be_written_leaves_none_of_the_others(
    patient: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, values: object) -> None:
        path.write_text("half")
        raise ResourceError("the disk is full")

    monkeypatch.setattr(files, "write_json", full)
    given = [*pairs(patient[:2]), "--dates", "2024-01-10", "2024-03-06"]
    outputs = ["--page", "page.html", "--csv", "table.csv", "--output", "out/report.json"]
    monkeypatch.chdir(tmp_path)
    assert main(["visits", *given, *outputs]) == ResourceError.exit_code
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


class _Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))


def _check_page(text: str, report: Any) -> None:
    page = _Elements()
    page.feed(text)
    tags = [tag for tag, _ in page.seen]
    assert "script" not in tags and "<b>2 &" not in text and "&lt;b&gt;2 &amp; 3" in text
    assert not re.search(r'(src|href)="(?!data:|#)', text)
    # Of the lesion that has split, one part is drawn, and its product is told as that of a part.
    assert text.count(" (1 of 2 parts)") == 1
    # A plot for each rule with a point for each visit; a picture for each lesion at each visit.
    assert tags.count("circle") == 2 * len(report.visits)
    assert tags.count("img") == len(report.lesions) * len(report.visits)
    lines = [values.get("class") for tag, values in page.seen if tag == "line"]
    shown = sum(bool(numbers) for lesion in report.lesions for numbers in lesion.lesions)
    assert lines.count("longest") == lines.count("perpendicular") == shown
    for drawing in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
        ElementTree.fromstring(drawing)  # noqa: S314 (our own)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{0}"], "two visits or more"),
        (["{0}", "{1}"], "does not say from which day"),
        (["{0}", "{1}", "--dates", "2024-01-10"], "1 dates are given for 2 visits"),
        (["--dates", "2024-01-10", "2024-03-06", "{0}", "{1}"], "give the visits before it"),
        (["{0}", "{1}", "--dates", "2024-03-06", "2024-01-10"], "not after"),
        (["{0}", "{0}", "--dates", "2024-01-10", "2024-03-06"], "given twice"),
        (["{0}", "{1}", "--dates", "2024-01-10", "soon"], "'soon' is not a date"),
        (["{0}", "{1}", "--list", "x.csv"], "not both"),
        (["{0}", "missing.nii.gz,t1ce.nii.gz", "--dates", "2024-01-10", "2024-03-06"], "no such"),
        (["{0}", "{seg1}"], "is not a visit"),
        (["{0}", "{1}", "--dates", "2024-01-10", "2024-03-06", "--region", "NCR"], "no region"),
    ],
)
def test_what_cannot_be_used_ends_with_2(
    patient: Paths,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    words: str,
) -> None:
    names = pairs(patient)
    given = [text.format(*names, seg1=patient[1][0]) for text in arguments]
    output = tmp_path / "report.json"
    assert main(["visits", *given, "--output", str(output), "--json-progress"]) == 2
    printed = capsys.readouterr()
    assert words in printed.err and printed.err.count("\n") == 1
    events = [json.loads(line) for line in printed.out.splitlines()]
    assert [event["code"] for event in events if event.get("event") == "error"] == ["input"]
    assert not list(tmp_path.iterdir())
