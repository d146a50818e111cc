"""What a command reports to the program that started it: one JSON object a line.

Whoever starts MISSUCore as a process (the Slicer module, a workflow engine) reads these lines from
its standard output. A line of progress has the keys ``stage``, ``fraction`` (of the whole command,
0 to 1), ``message`` and ``seconds_left`` (null while unknown), and ``part`` and ``parts`` where the
command has several alike. Every other line has ``event``: "error" with a ``code`` and a
``message``, "warning" with a ``message``, or "result" with the fields of what was made. On a
terminal there is a bar instead. Loads without torch.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from enum import Enum
from typing import TextIO

from .errors import ErrorCode
from .messages import Text


class Stage(str, Enum):
    """What a command is doing."""

    FIND = "find"
    READ = "read"
    BRAIN = "brain"
    REGISTER = "register"
    BIAS = "bias"
    PREPARE = "prepare"
    SEGMENT = "segment"
    RESTORE = "restore"
    EXPLAIN = "explain"
    WRITE = "write"
    ADD = "add"
    COHORT = "cohort"
    EVALUATION = "evaluation"
    MEASURE = "measure"
    TRAIN = "train"
    VALIDATE = "validate"
    TUNE = "tune"
    GATE = "gate"
    SIMULATE = "simulate"
    DRAW = "draw"
    DONE = "done"
    # Of the Slicer module, before and after the process.
    EXPORT = "export"
    IMPORT = "import"

    __str__ = str.__str__  # the value also where it is formatted


@dataclass(frozen=True)
class ProgressEvent:
    """Where a command stands.

    Attributes:
        stage: what is being done, one of :class:`Stage`.
        fraction: part of the whole command that is done, 0 to 1.
        message: a sentence for the user; may be empty.
        seconds_left: estimated from the time taken so far; None while unknown.
        part: which of several parts alike is being done, from 1; None if there are none.
        parts: how many there are.
    """

    stage: str
    fraction: float
    message: str = ""
    seconds_left: float | None = None
    part: int | None = None
    parts: int | None = None

    def to_line(self) -> str:
        """The event as one line of JSON, without the line end."""
        values = asdict(self)
        if self.part is None:
            del values["part"], values["parts"]
        return json.dumps(values)


@dataclass(frozen=True)
class ErrorEvent:
    """Why a command has failed."""

    message: Text
    code: str = ErrorCode.FAILED

    def to_line(self) -> str:
        """The event as one line of JSON, without the line end."""
        content = {"event": "error", "code": self.code, "message": self.message.to_json()}
        return json.dumps(content)


@dataclass(frozen=True)
class WarningEvent:
    """What the user should know of a result."""

    message: Text

    def to_line(self) -> str:
        """The event as one line of JSON, without the line end."""
        return json.dumps({"event": "warning", "message": self.message.to_json()})


@dataclass(frozen=True)
class ResultEvent:
    """What a command has made, by names and values, as ``{"case": "case-1"}``."""

    values: Mapping[str, str]

    def to_line(self) -> str:
        """The event as one line of JSON, without the line end."""
        return json.dumps({"event": "result", "values": dict(self.values)})


Event = ProgressEvent | ErrorEvent | WarningEvent | ResultEvent


def parse_line(line: str) -> Event | None:
    """The event in one line of output; None if the line is something else."""
    try:
        values = json.loads(line)
        kind = values.pop("event", None)
        if kind == "error":
            return ErrorEvent(Text.from_json(values["message"]), str(values["code"]))
        if kind == "warning":
            return WarningEvent(Text.from_json(values["message"]))
        if kind == "result":
            return ResultEvent(dict(values["values"]))
        return ProgressEvent(**values)
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError):
        return None


ProgressSink = Callable[[ProgressEvent], None]


def silent(event: ProgressEvent) -> None:
    """Sink that shows nothing."""


class JsonLines:
    """Sink that writes one JSON object a line, at once."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stdout

    def __call__(self, event: Event) -> None:
        """Write an event, and flush."""
        print(event.to_line(), file=self.stream, flush=True)


class TerminalBar:
    """Sink that draws a bar on a terminal, and plain lines where the output is none."""

    WIDTH = 24

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr
        self.drawn = 0

    def __call__(self, event: ProgressEvent) -> None:
        """Draw the bar, or print a line."""
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

    def __call__(
        self,
        stage: str,
        fraction: float,
        message: str = "",
        part: int | None = None,
        parts: int | None = None,
    ) -> None:
        """Report that ``fraction`` of this part is done; the rest is as in the event."""
        whole = self.start + min(max(fraction, 0.0), 1.0) * (self.end - self.start)
        elapsed = time.monotonic() - self.pace.began
        done = whole - self.pace.skipped
        # Before a twentieth is done, an estimate would be a guess.
        left = elapsed / done * (1 - whole) if done >= 0.05 else None
        left = None if left is None else round(left, 1)
        self.sink(ProgressEvent(stage, round(whole, 4), message, left, part, parts))
