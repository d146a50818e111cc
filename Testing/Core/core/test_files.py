"""Files are replaced whole or not at all, and what went wrong is said by name."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import MISSUCore
from MISSUCore.core.errors import InputError, ResourceError
from MISSUCore.core.files import (
    atomic_write,
    check_output,
    folder_lock,
    is_stream,
    itk_name,
    read_json,
    sha256,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_when_the_block_ends_and_not_before(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "seg.nii.gz"
    with atomic_write(path) as temporary:
        assert temporary.parent == path.parent
        assert temporary.name.endswith(".nii.gz")  # the ending decides the format
        temporary.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert names(path.parent) == ["seg.nii.gz"]


@pytest.mark.parametrize("name", ["/dev/stdin", "/dev/fd/0"])
def test_the_input_is_no_output(name: str) -> None:
    with pytest.raises(InputError, match="is what is read from, give a file name"):
        check_output(Path(name), overwrite=True)


@pytest.mark.parametrize("path", [Path(), Path("/")])
def test_what_has_no_name_is_no_file(path: Path) -> None:
    with pytest.raises(InputError, match="is a folder, give a file name"), atomic_write(path):
        pytest.fail("the block must not run")


def test_a_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "card.json"
    path.write_text("old")
    with atomic_write(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


def test_a_file_is_replaced_once_nobody_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace, readers = Path.replace, [1, 2]

    def refuse(path: Path, target: Path) -> Path:
        if readers:  # as on Windows
            raise PermissionError(f"{readers.pop()} others have it open")
        return replace(path, target)

    path = tmp_path / "run.json"
    path.write_text("old")
    monkeypatch.setattr(Path, "replace", refuse)
    with atomic_write(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"


@pytest.mark.parametrize("error", [RuntimeError("broken"), KeyboardInterrupt()])
def test_a_failure_keeps_the_old_file_and_leaves_nothing(
    tmp_path: Path, error: BaseException
) -> None:
    path = tmp_path / "card.json"
    path.write_text("old")
    with pytest.raises(type(error)), atomic_write(path) as temporary:
        temporary.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert names(tmp_path) == ["card.json"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_told_apart(tmp_path: Path, number: int) -> None:
    path = tmp_path / "card.json"
    path.write_text("old")
    with pytest.raises(ResourceError) as caught, atomic_write(path) as temporary:
        temporary.write_text("half")
        raise OSError(number, "no room")
    assert str(caught.value) == f"{path}: the disk is full; nothing was changed"
    assert caught.value.exit_code == 3
    assert path.read_text() == "old"
    assert names(tmp_path) == ["card.json"]


def test_a_full_disk_when_the_file_is_put_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(self: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "no room")

    monkeypatch.setattr(Path, "replace", no_room)
    with pytest.raises(ResourceError), atomic_write(tmp_path / "card.json") as temporary:
        temporary.write_text("new")
    assert names(tmp_path) == []


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "card.json"
    with pytest.raises(InputError, match="cannot be written: ") as caught, atomic_write(path):
        pytest.fail("the block must not run")
    assert str(caught.value).startswith(f"{path}: ")
    assert caught.value.exit_code == 2
    with pytest.raises(InputError, match="Permission denied"), atomic_write(tmp_path / "card.json"):
        raise PermissionError(errno.EACCES, "Permission denied")
    (tmp_path / "folder").mkdir()
    path = tmp_path / "folder"
    with pytest.raises(InputError, match="folder: cannot"), atomic_write(path) as temporary:
        temporary.touch()
    assert names(tmp_path) == ["file", "folder"]


def test_an_error_of_the_block_that_has_its_message_keeps_it(tmp_path: Path) -> None:
    path = tmp_path / "card.json"
    with pytest.raises(InputError, match=r"^other\.nii: is empty$"), atomic_write(path):
        raise InputError("other.nii: is empty")


def test_an_output_that_can_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    old = tmp_path / "old.nii.gz"
    old.write_text("old")
    check_output(tmp_path / "new.nii.gz", overwrite=False)
    check_output(tmp_path / "new" / "folder" / "new.nii.gz", overwrite=False)
    check_output(old, overwrite=True)
    assert names(tmp_path) == ["old.nii.gz"]
    assert old.read_text() == "old"


def test_an_output_without_a_folder_goes_to_the_current_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    check_output(Path("new.nii.gz"), overwrite=False)
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("path", "overwrite", "message"),
    [
        ("old.nii.gz", False, "exists already; add --overwrite"),
        ("folder", False, "is a folder"),
        ("folder", True, "is a folder"),
        ("old.nii.gz/new.nii.gz", True, "cannot be written"),
        ("n" * 300, False, "cannot be written: File name too long"),
    ],
)
def test_an_output_that_cannot_be_written(
    tmp_path: Path, path: str, overwrite: bool, message: str
) -> None:
    (tmp_path / "old.nii.gz").write_text("old")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=message) as caught:
        check_output(tmp_path / path, overwrite)
    assert str(caught.value).startswith(str(tmp_path / path))
    assert names(tmp_path) == ["folder", "old.nii.gz"]
    assert (tmp_path / "old.nii.gz").read_text() == "old"


def test_a_link_to_nothing_is_an_output_that_exists(tmp_path: Path) -> None:
    link = tmp_path / "seg.nii.gz"
    link.symlink_to(tmp_path / "disk that is not there" / "seg.nii.gz")
    with pytest.raises(InputError, match="exists already; add --overwrite"):
        check_output(link, overwrite=False)
    check_output(link, overwrite=True)
    assert link.is_symlink()


def test_a_pipe_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    heard: list[str] = []
    reader = threading.Thread(target=lambda: heard.append(pipe.read_text()))
    reader.start()
    check_output(pipe, overwrite=False)
    with atomic_write(pipe) as temporary:
        temporary.write_text("facts")
    reader.join(10)
    assert heard == ["facts"] and pipe.is_fifo()
    assert names(tmp_path) == ["pipe"]


def test_a_file_is_no_stream_and_a_device_is(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert [is_stream(path) for path in (tmp_path / "file", tmp_path, tmp_path / "new")] == [
        False,
        False,
        False,
    ]
    assert is_stream(Path(os.devnull))


def test_json_that_is_nested_too_deeply_is_a_wrong_value(tmp_path: Path) -> None:
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match="nested too deeply"):
        read_json(tmp_path / "deep.json")


def test_a_read_only_folder_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(self: Path, *args: object, **options: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "touch", denied)  # root may write anywhere
    with pytest.raises(InputError, match=r"new\.nii: cannot be written: Permission denied"):
        check_output(tmp_path / "new.nii", overwrite=False)


def test_checksum_of_a_file(tmp_path: Path) -> None:
    content = bytes(range(256)) * 10_000  # more than one block
    (tmp_path / "file").write_bytes(content)
    assert sha256(tmp_path / "file") == hashlib.sha256(content).hexdigest()
    (tmp_path / "empty").touch()
    assert sha256(tmp_path / "empty") == hashlib.sha256(b"").hexdigest()


def test_checksum_of_a_folder_is_that_of_its_files_by_name(tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(b"second")
    (tmp_path / "a").write_bytes(b"first ")
    (tmp_path / "folder").mkdir()
    assert sha256(tmp_path) == hashlib.sha256(b"first second").hexdigest()


def test_checksum_of_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="missing: cannot be read: No such file"):
        sha256(tmp_path / "missing")


def test_a_folder_belongs_to_one_process_until_that_ends(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path\n"
        "from MISSUCore.core.files import folder_lock\n"
        "with folder_lock(Path(sys.argv[1])): print('in', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    root = Path(MISSUCore.__file__).parents[1]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=root) as other:
        assert other.stdout.readline() == b"in\n"
        refused = pytest.raises(InputError, match="another process is at work there")
        with refused, folder_lock(tmp_path):
            pass
        other.kill()
    for _ in range(2):
        with folder_lock(tmp_path):
            pass


@pytest.mark.skipif(sys.platform == "win32", reason="Windows locks everywhere")
@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_work_goes_on_where_a_network_file_system_knows_no_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def no_locks(*arguments: object) -> None:
        raise OSError(number, "no locks")

    monkeypatch.setattr("fcntl.flock", no_locks)
    entered = False
    with folder_lock(tmp_path / "run"):
        entered = True
    assert entered


def test_a_folder_that_cannot_be_locked_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(InputError, match=r"\.lock: cannot be written"),
        folder_lock(tmp_path / "file"),
    ):
        pytest.fail("the block must not run")


@pytest.mark.skipif(sys.platform != "linux", reason="names are UTF-8 whatever the locale")
def test_a_name_in_utf8_reaches_itk_in_every_locale() -> None:
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom MISSUCore.core.files import itk_name\n"
        "assert sys.getfilesystemencoding() != 'utf-8'\n"
        "name = itk_name(Path(os.fsdecode(b'M\\xc3\\xbcller')))\n"
        "assert name == 'M\\xfcller', ascii(name)\n"
    )
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **locale},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_file_is_named_and_not_the_one_that_is_to_become_it(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    with (
        pytest.raises(ResourceError) as caught,
        atomic_write(path) as outer,
        atomic_write(outer),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert str(caught.value) == f"{path}: the disk is full; nothing was changed"


def test_a_name_that_is_no_text_never_reaches_itk() -> None:
    assert itk_name(Path("Müller") / "脑.nii") == str(Path("Müller") / "脑.nii")
    latin = Path("M\udcfcller") / "t1.nii"  # as Python has b"M\xfcller"
    with pytest.raises(InputError, match=r"M\\udcfcller.*not in UTF-8; rename it") as caught:
        itk_name(latin)
    str(caught.value).encode("utf-8")  # the message itself can be shown and stored
