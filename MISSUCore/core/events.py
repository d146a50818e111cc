"""The progress protocol: one JSON object a line, or a bar on a terminal.

Whoever starts MISSUCore as a process (the Slicer module, a workflow engine) reads these lines from
its standard output. An event has the keys ``stage``, ``fraction`` (of the whole command, 0 to 1),
``message`` and ``seconds_left`` (null while unknown). Loads without torch.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Callable, TextIO


@dataclass(frozen=True)
class ProgressEvent:
    """Where a command stands.

    Attributes:
        stage: what is being done, one or two words.
        fraction: part of the whole command that is done, 0 to 1.
        message: a sentence for the user; may be empty.
        seconds_left: estimated from the time taken so far; None while unknown.
    """

    stage: str
    fraction: float
    message: str = ""
    seconds_left: float | None = None

    def to_line(self) -> str:
        """The event as one line of JSON, without the line end."""
        return json.dumps(asdict(self))


def parse_line(line: str) -> ProgressEvent | None:
    """The event in one line of output; None if the line is something else."""
    try:
        return ProgressEvent(**json.loads(line))
    except (ValueError, TypeError, RecursionError):
        return None


ProgressSink = Callable[[ProgressEvent], None]


def silent(event: ProgressEvent) -> None:
    """Sink that shows nothing."""


class JsonLines:
    """Sink that writes one JSON object a line, at once."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stdout

    def __call__(self, event: ProgressEvent) -> None:
        print(event.to_line(), file=self.stream, flush=True)


class TerminalBar:
    """Sink that draws a bar on a terminal, and plain lines where the output is none."""

    WIDTH = 24

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr
        self.drawn = 0

    def __call__(self, event: ProgressEvent) -> None:
        with suppress(OSError):  # work is not lost because nobody looks any more
            self._show(event)

    def _show(self, event: ProgressEvent) -> None:
        if not self.stream.isatty():
            if event.message:
                print(f"{event.stage}: {event.message}", file=self.stream, flush=True)
            return
        full = round(self.WIDTH * event.fraction)
        left = "" if event.seconds_left is None else f" {_clock(event.seconds_left)} left"
        text = (
            f"[{'#' * full}{'.' * (self.WIDTH - full)}] {event.fraction:4.0%}{left} "
            f"{event.stage}{': ' if event.message else ''}{event.message}"
        )
        print("\r" + text.ljust(self.drawn), end="", file=self.stream, flush=True)
        self.drawn = len(text)
        if event.fraction >= 1:
            print(file=self.stream, flush=True)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


@dataclass
class _Pace:
    """What the time left follows from: when the command began, and what was done before."""

    began: float
    skipped: float = 0.0


class Progress:
    """Reports to a sink where a command stands, and how long it will still take.

    A part of the command gets a part of the scale with :meth:`part`, and need not know which.
    """

    def __init__(self, sink: ProgressSink = silent, start: float = 0.0, end: float = 1.0) -> None:
        self.sink = sink
        self.start = start
        self.end = end
        self.pace = _Pace(time.monotonic())

    def part(self, start: float, end: float) -> Progress:
        """The progress of a part that runs from ``start`` to ``end`` of this one's scale."""
        length = self.end - self.start
        inner = Progress(self.sink, self.start + start * length, self.start + end * length)
        inner.pace = self.pace
        return inner

    def skip(self, fraction: float) -> None:
        """``fraction`` of this part was done by an earlier run, and took no time now."""
        self.pace.skipped = self.start + fraction * (self.end - self.start)

    def __call__(self, stage: str, fraction: float, message: str = "") -> None:
        """Report that ``fraction`` of this part is done."""
        whole = self.start + min(max(fraction, 0.0), 1.0) * (self.end - self.start)
        elapsed = time.monotonic() - self.pace.began
        done = whole - self.pace.skipped
        # Before a twentieth is done, an estimate would be a guess.
        left = elapsed / done * (1 - whole) if done >= 0.05 else None
        self.sink(
            ProgressEvent(stage, round(whole, 4), message, None if left is None else round(left, 1))
        )
