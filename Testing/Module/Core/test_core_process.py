"""The process of MISSUCore: what it tells, how it ends, and that nothing of it is left."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("slicer", reason="needs the package slicer-core")
from MISSUCore.contract.requests.commands import ChangeCasesRequest, EvaluateRequest
from MISSUCore.contract.requests.exchange import request_to_dict
from MISSUCore.core.events import ErrorEvent, ProgressEvent, WarningEvent
from MISSUCore.core.messages import Text
from MISSUSegmentationLib.Core import CoreProcess as module
from MISSUSegmentationLib.Core.CoreProcess import CoreProcess

pytestmark = pytest.mark.slow

NOTHING = ChangeCasesRequest(action="remove")
QUICK = "MISSUCore.contract.labels"  # loads without torch
PATIENCE_SECONDS = 60.0
CANCEL_SECONDS = 2.0
# For the request, as every process does first.
WAIT = "import os, sys, time\nwhile not os.path.exists(sys.argv[-2]): time.sleep(0.01)\n"

# A process that ignores requests to end, with a child that does so too and holds a lock.
STUBBORN = """
import fcntl, os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGINT, signal.SIG_IGN)
if "child" not in sys.argv:
    while not os.path.exists(sys.argv[-2]): time.sleep(0.01)
    subprocess.Popen([sys.executable, __file__, "child"])
    {then}
lock = open({lock!r}, "w")
fcntl.flock(lock, fcntl.LOCK_EX)
print('{{"stage": "locked", "fraction": 0.5}}', flush=True)
time.sleep(600)
"""


@pytest.fixture(autouse=True)
def temporaryFolder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The processes' folders go with the test's."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


@pytest.fixture
def fakeCore(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], CoreProcess]:
    """Function that starts a script as if it were MISSUCore's process."""

    def start(script: str) -> CoreProcess:
        path = tmp_path / "script.py"
        path.write_text(script)
        monkeypatch.setattr(module, "corePython", lambda: [sys.executable, str(path)])
        return CoreProcess(QUICK)

    return start


def untilEnd(process: CoreProcess) -> int:
    limit = time.monotonic() + PATIENCE_SECONDS
    while (code := process.poll()) is None:
        assert time.monotonic() < limit, "the process does not end"
        time.sleep(0.01)
    return code


def untilEvent(process: CoreProcess, events: list[ProgressEvent]) -> None:
    limit = time.monotonic() + PATIENCE_SECONDS
    while not events:
        assert process.poll() is None, "the process has ended"
        assert time.monotonic() < limit, "the process tells nothing"
        time.sleep(0.01)


def isFree(lock: Path) -> bool:
    """Whether nobody holds the lock: the kernel frees it when its holder is gone."""
    import fcntl

    with lock.open("a") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def test_a_command_runs_and_what_it_prints_is_in_the_log(tmp_path: Path) -> None:
    process = CoreProcess(QUICK)
    assert process.isAlive()
    request = EvaluateRequest(tmp_path / "a b.nrrd", Path("c.nrrd"))
    process.run(request, tmp_path / "log")
    assert untilEnd(process) == 2
    assert not process.isAlive()
    assert "a b.nrrd: no such file" in process.failure()
    log = (tmp_path / "log").read_text(encoding="utf-8")
    line = log.splitlines()[0]
    assert json.loads(line.removeprefix("missu evaluate ")) == request_to_dict(request)
    assert f"missu: {process.failure()}" in log


def test_progress_is_told_in_order_and_from_the_callers_thread(
    fakeCore: Callable[[str], CoreProcess], tmp_path: Path
) -> None:
    process = fakeCore(
        WAIT
        + 'for step in range(50):\n    print(\'{"stage": "s", "fraction": %f}\' % (step / 50))\n'
        "print('not JSON')\nprint('[1]')\nprint('{\"other\": 1}')\n"
    )
    events: list[ProgressEvent] = []
    process.run(NOTHING, tmp_path / "log", events.append)
    process._process.wait(PATIENCE_SECONDS)
    assert not events, "nothing is told but from poll"
    assert untilEnd(process) == 0
    assert [event.fraction for event in events] == [step / 50 for step in range(50)]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX locks")
def test_cancel_kills_the_whole_stubborn_tree(
    fakeCore: Callable[[str], CoreProcess], tmp_path: Path
) -> None:
    lock = tmp_path / "lock"
    process = fakeCore(STUBBORN.format(lock=str(lock), then="time.sleep(600)"))
    events: list[ProgressEvent] = []
    process.run(NOTHING, tmp_path / "log", events.append)
    untilEvent(process, events)
    assert not isFree(lock)
    began = time.monotonic()
    process.cancel()
    assert time.monotonic() - began < CANCEL_SECONDS
    assert not process.isAlive()
    assert isFree(lock), "the grandchild lives"


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX locks")
def test_children_left_by_a_process_that_ended_are_killed(
    fakeCore: Callable[[str], CoreProcess], tmp_path: Path
) -> None:
    lock = tmp_path / "lock"
    then = "\n    ".join(
        [f"while not os.path.exists({str(lock)!r}): time.sleep(0.01)", "sys.exit(0)"]
    )
    process = fakeCore(STUBBORN.format(lock=str(lock), then=then))
    process.run(NOTHING, tmp_path / "log")
    assert untilEnd(process) == 0
    assert isFree(lock)


@pytest.mark.parametrize("stage", ["standing by", "started", "ended"])
def test_cancel_is_answered_at_any_stage(tmp_path: Path, stage: str) -> None:
    process = CoreProcess(QUICK)
    if stage != "standing by":
        process.run(NOTHING, tmp_path / "log")
    if stage == "ended":
        untilEnd(process)
    began = time.monotonic()
    process.cancel()
    process.cancel()
    assert time.monotonic() - began < CANCEL_SECONDS
    assert not process.isAlive()


def test_nothing_is_told_after_cancel(
    fakeCore: Callable[[str], CoreProcess], tmp_path: Path
) -> None:
    line = 'print(\'{"stage": "s", "fraction": 0.1}\', flush=True)\n'
    process = fakeCore(f"{WAIT}{line * 3}time.sleep(600)")
    events: list[ProgressEvent] = []

    def cancelAtOnce(event: ProgressEvent) -> None:
        events.append(event)
        process.cancel()

    process.run(NOTHING, tmp_path / "log", cancelAtOnce)
    untilEnd(process)
    assert len(events) == 1


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        (
            f"print({ErrorEvent(Text('it is empty')).to_line()!r}); "
            f"print({WarningEvent(Text('no')).to_line()!r}); sys.exit(2)",
            "it is empty",
        ),
        # English is for people: a line that only looks like an error is none.
        ("print('missu: it is empty'); sys.exit(2)", "ended unexpectedly with code 2"),
        ("raise KeyError('x')", "the process ended unexpectedly with code 1; open the log"),
        ("os.kill(os.getpid(), 9)", "probably for lack of memory"),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="kill -9")
def test_a_failure_is_one_sentence(
    fakeCore: Callable[[str], CoreProcess], tmp_path: Path, script: str, sentence: str
) -> None:
    process = fakeCore(f"{WAIT}{script}")
    process.run(NOTHING, tmp_path / "log")
    assert untilEnd(process) != 0
    assert sentence in process.failure() and "\n" not in process.failure()


def test_a_process_that_dies_while_loading_is_noticed(
    fakeCore: Callable[[str], CoreProcess], tmp_path: Path
) -> None:
    process = fakeCore("raise ImportError('torch is broken')")
    process._process.wait(PATIENCE_SECONDS)
    assert not process.isAlive()
    process.run(NOTHING, tmp_path / "log")
    assert untilEnd(process) == 1
    assert "torch is broken" in (tmp_path / "log").read_text()


def test_much_and_strange_output_does_not_stop_it(
    fakeCore: Callable[[str], CoreProcess], tmp_path: Path
) -> None:
    process = fakeCore(
        WAIT + "sys.stdout.buffer.write(b'\\xff\\xfe\\n')\n"
        "print('x' * 3_000_000)\nsys.stdout.write('no end of line')\n"
    )
    process.run(NOTHING, tmp_path / "log")
    assert untilEnd(process) == 0
    assert (tmp_path / "log").stat().st_size > 3_000_000


def test_a_python_that_cannot_be_started_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "corePython", lambda: [str(tmp_path / "missing")])
    with pytest.raises(FileNotFoundError, match="missing"):
        CoreProcess(QUICK)
    assert not list(tmp_path.iterdir())


def test_it_ends_by_itself_when_nobody_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STAND_BY_SECONDS", 0.1)
    process = CoreProcess(QUICK)
    assert process._process.wait(PATIENCE_SECONDS) == 0
    assert not process.isAlive()
    process.cancel()
    process.removeFolder()
