"""The progress protocol: lines, bar, parts, and the time that is left."""

from __future__ import annotations

import io
import json
import time

import pytest

from MISSUCore.core.events import (
    JsonLines,
    Progress,
    ProgressEvent,
    TerminalBar,
    parse_line,
    silent,
)


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, as its only item."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_an_event_is_one_line_of_json() -> None:
    line = ProgressEvent("reading", 0.25, "two\nlines").to_line()
    assert "\n" not in line
    assert json.loads(line) == {
        "stage": "reading",
        "fraction": 0.25,
        "message": "two\nlines",
        "seconds_left": None,
    }


def test_events_survive_the_protocol() -> None:
    stream = io.StringIO()
    events = [ProgressEvent("reading", 0.0), ProgressEvent("seg", 1.0, "fertig: ä", 0.5)]
    sink = JsonLines(stream)
    for event in events:
        sink(event)
    assert [parse_line(line) for line in stream.getvalue().splitlines()] == events


@pytest.mark.parametrize(
    "line",
    ["", "Loading weights", "{", "[]", "3", "null", '{"stage": "a"}', '{"step": 1, "of": 2}'],
)
def test_other_output_is_no_event(line: str) -> None:
    assert parse_line(line) is None


def test_parts_fill_their_share_of_the_scale(clock: list[float]) -> None:
    events: list[ProgressEvent] = []
    progress = Progress(events.append)
    first, second = progress.part(0, 0.4), progress.part(0.4, 1)
    first("a", 0.5)
    first("a", 1)
    second.part(0.5, 1)("b", 0.5, "message")
    progress("c", 1)
    assert [(event.stage, event.fraction) for event in events] == [
        ("a", 0.2),
        ("a", 0.4),
        ("b", 0.85),  # 0.4 + 0.6 * (0.5 + 0.5 * 0.5)
        ("c", 1),
    ]
    assert events[2].message == "message"


def test_fractions_stay_on_the_scale(clock: list[float]) -> None:
    events: list[ProgressEvent] = []
    part = Progress(events.append).part(0.2, 0.4)
    part("a", -1)
    part("a", 2)
    assert [event.fraction for event in events] == [0.2, 0.4]


def test_seconds_left_follow_from_the_time_taken(clock: list[float]) -> None:
    events: list[ProgressEvent] = []
    progress = Progress(events.append)
    clock[0] += 2
    progress("a", 0.01)  # too early to tell
    clock[0] += 8
    progress("a", 0.25)  # 10 s for a quarter
    clock[0] += 10
    progress.part(0.5, 1)("b", 0.0)  # 20 s for a half; a part knows when the whole began
    progress("b", 1)
    assert [event.seconds_left for event in events] == [None, 30, 20, 0]


def test_what_an_earlier_run_did_took_no_time(clock: list[float]) -> None:
    events: list[ProgressEvent] = []
    progress = Progress(events.append)
    part = progress.part(0.2, 1)
    part.skip(0.5)  # of the whole, 0.6
    clock[0] += 5
    part("a", 0.525)  # too early to tell
    part("a", 0.625)  # 5 s for a tenth
    progress("b", 1)
    assert [event.seconds_left for event in events] == [None, 15, 0]


def test_a_terminal_shows_a_bar() -> None:
    stream = Terminal()
    bar = TerminalBar(stream)
    bar(ProgressEvent("reading", 0.5, "a long message", 3725))
    bar(ProgressEvent("done", 1))
    first, second = stream.getvalue().lstrip("\r").split("\r")
    assert first == "[############............]  50% 1:02:05 left reading: a long message"
    assert second.rstrip() == "[########################] 100% done"
    # The shorter line blanks what the longer one left, and the bar ends in a new line.
    assert len(second.rstrip("\n")) == len(first)
    assert second.endswith("\n")


@pytest.mark.parametrize(("seconds", "text"), [(4.6, "0:05"), (65, "1:05"), (3600, "1:00:00")])
def test_the_bar_shows_minutes_and_hours(seconds: float, text: str) -> None:
    stream = Terminal()
    TerminalBar(stream)(ProgressEvent("a", 0.1, "", seconds))
    assert f" {text} left" in stream.getvalue()


def test_a_file_gets_plain_lines() -> None:
    stream = io.StringIO()
    bar = TerminalBar(stream)
    bar(ProgressEvent("reading", 0.2))
    bar(ProgressEvent("reading", 0.4, "case 2"))
    assert stream.getvalue() == "reading: case 2\n"


def test_silence(capsys: pytest.CaptureFixture[str]) -> None:
    Progress()("a", 0.5, "message")
    silent(ProgressEvent("a", 0.5))
    assert capsys.readouterr() == ("", "")
