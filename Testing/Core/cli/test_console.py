"""What a user sees when something goes wrong: a sentence and an exit code, never a traceback."""

from __future__ import annotations

import argparse
import errno
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from MISSUCore.cli import main as command_line
from MISSUCore.cli.about import cost
from MISSUCore.cli.main import main


def shell(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A line of bash, in which ``missu`` is the command."""
    program = f'missu() {{ "{sys.executable}" -m MISSUCore "$@"; }}; {command}'
    return subprocess.run(
        ["bash", "-c", program],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, **environment},
    )


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Function that makes ``missu cost`` raise an error; logs go to the test's folder."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def fail(error: Exception) -> None:
        def run(options: argparse.Namespace, progress: object) -> None:
            raise error

        monkeypatch.setattr(cost, "run", run)

    return fail


def test_an_unexpected_error_is_a_sentence_and_a_log(
    failing, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    failing(KeyError("sandwich"))
    assert main(["cost"]) == 1
    told = capsys.readouterr().err
    assert "Traceback" not in told and "sandwich" in told and len(told.splitlines()) == 1
    (log,) = re.findall(r"\S+\.log", told)
    assert Path(log).parent == tmp_path
    assert "Traceback" in Path(log).read_text() and "KeyError" in Path(log).read_text()


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        RuntimeError("std::bad_alloc"),
    ],
)
def test_out_of_memory_ends_with_3(
    failing, error: Exception, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    failing(error)
    assert main(["cost"]) == 3
    assert "out of memory" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.log")), "nothing is left of a failure that explains itself"


@pytest.mark.parametrize("number", [errno.EACCES, errno.ENOTDIR, errno.ENAMETOOLONG, errno.EIO])
def test_a_place_that_cannot_be_used_is_named(
    failing, capsys: pytest.CaptureFixture[str], number: int
) -> None:
    failing(OSError(number, "the reason", "/share/scans"))
    assert main(["cost"]) == 2
    assert capsys.readouterr().err == "missu: /share/scans: cannot be used: the reason\n"


@pytest.mark.skipif(not hasattr(os, "geteuid") or not os.geteuid(), reason="root may enter")
def test_a_folder_that_nobody_may_enter_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(0)
    try:
        assert main(["segment", str(closed / "case"), "--output", str(tmp_path / "x.nii")]) == 2
        assert "cannot be used: Permission denied" in capsys.readouterr().err
    finally:
        closed.chmod(0o700)


def test_what_libraries_print_from_c_stays_in_the_log(tmp_path: Path) -> None:
    code = (
        "import os, sys\nfrom MISSUCore.cli.about import cost\n"
        "from MISSUCore.cli.main import main\n"
        "def run(options, progress):\n    os.write(2, b'chatter of ITK')\n"
        "    if sys.argv[1] == 'fail':\n        raise KeyError('x')\n"
        "cost.run = run\nsys.exit(main(['cost']))\n"
    )
    for how, left in (("work", 0), ("fail", 1)):
        done = subprocess.run(
            [sys.executable, "-c", code, how],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            env={**os.environ, "TMPDIR": str(tmp_path)},
        )
        assert done.returncode == left and "chatter" not in done.stderr
        logs = list(tmp_path.glob("*.log"))
        assert len(logs) == left
    assert "chatter of ITK" in logs[0].read_text() and str(logs[0]) in done.stderr


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="pipes of a Unix shell")
@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("missu models | true; exit ${PIPESTATUS[0]}", 1),
        ("missu models >&-", 0),
        ("missu models 2>&- >/dev/null", 0),
        pytest.param(
            "missu models > /dev/full",
            3,
            marks=pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux"),
        ),
    ],
)
def test_an_output_that_is_closed_or_full(command: str, code: int) -> None:
    done = shell(command)
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr
    # A pipe may swallow a short text before its reader ends.
    assert done.returncode in {code, 0 if "| true" in command else code}


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_console_that_lacks_letters_shows_escapes(encoding: str, tmp_path: Path) -> None:
    name = "脑肿瘤"
    done = shell(f"missu library {tmp_path}/{name} list", PYTHONIOENCODING=encoding)
    assert done.returncode == 2 and r"\u8111" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("command", "option", "value"),
    [
        ("segment", "--minimum-island", "nan"),
        ("segment", "--minimum-island", "inf"),
        ("segment", "--minimum-island", "-5"),
        ("segment", "--minimum-island", "much"),
        ("segment", "--minimum-enhancing", "nan"),
        ("train", "--workers", "-1"),
        ("train", "--workers", "1.5"),
        ("finetune", "--minutes", "nan"),
        ("finetune", "--minutes", "0"),
        ("finetune", "--freeze", "-1"),
        ("demo", "--seed", "-1"),
        ("demo", "--seed", "4294967296"),
    ],
)
def test_numbers_out_of_range_are_refused_by_option(
    command: str, option: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    needed = {"train": ["--cases", "c.json"], "finetune": ["--cases", "c.json"]}.get(command, [])
    with pytest.raises(SystemExit) as end:
        main([command, *needed, "--output", "nowhere", option, value])
    assert end.value.code == 2
    assert f"argument {option}: " in capsys.readouterr().err


@pytest.mark.parametrize("device", ["meta", "cpu:x", "", "xla", "cuda:99", "CPU"])
def test_devices_on_which_nothing_is_computed(device: str, tmp_path: Path) -> None:
    from MISSUCore.core.errors import InputError
    from MISSUCore.inference.predictor import choose_device

    with pytest.raises(InputError, match="choose one of"):
        choose_device(device)


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["library", "LIB", "add", "--help"], ["usage: missu library FOLDER add ", "--labels"]),
        (["evaluate", "--help"], ["label map to judge", "true label map"]),
        (["cost", "--help"], ["128 x 128 x 128"]),
        (["train", "--help"], ["with --chaos, else paper-brats"]),
    ],
)
def test_help_says_what_is_asked(
    arguments: list[str], shown: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    text = " ".join(capsys.readouterr().out.split())
    assert all(part in text for part in shown), text


def test_main_leaves_the_outputs_as_they_were(capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.stderr
    command_line.main(["library", "no-such-folder", "list"])
    assert sys.stderr is before
