"""A folder keeps what others have put there: only what was recorded is replaced or deleted."""

from __future__ import annotations

from pathlib import Path

import pytest

from MISSUCore.core.errors import InputError
from MISSUCore.core.files import append_text, atomic_write, kept_by, write_json
from MISSUCore.core.written import HEADER, RUN_RECORD, Written, run_folder


def write(path: Path, text: str = "ours") -> Path:
    with atomic_write(path) as temporary:
        temporary.write_text(text)
    return path


def run(folder: Path, process: int = 0):
    return run_folder(folder, lambda place: False, (), process)


def test_what_was_written_may_be_replaced_and_deleted(tmp_path: Path) -> None:
    with run(tmp_path / "run"):
        write(tmp_path / "run" / "prepared" / "a.npz")
        append_text(tmp_path / "run" / "log.csv", "1\n")
    (tmp_path / "run" / "prepared" / "notes.txt").write_text("mine")
    (tmp_path / "run" / "deep").mkdir()
    (tmp_path / "run" / "deep" / ".12345678-draft.docx").write_text("mine")
    with run(tmp_path / "run") as written:
        write(tmp_path / "run" / "prepared" / "a.npz", "anew")
        append_text(tmp_path / "run" / "log.csv", "2\n")
        written.delete("prepared/*")
    left = {path.name for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert left == {".lock", RUN_RECORD, "log.csv", "notes.txt", ".12345678-draft.docx"}
    assert (tmp_path / "run" / "log.csv").read_text() == "1\n2\n"


def test_empty_folders_of_deleted_files_go(tmp_path: Path) -> None:
    with run(tmp_path) as written:
        write(tmp_path / "prepared" / "deep" / "a.npz")
        written.delete("prepared/*")
    assert not (tmp_path / "prepared").exists()


@pytest.mark.parametrize("name", ["notes.txt", ".settings-backup", "prepared/scan.nii"])
def test_a_folder_of_the_user_is_no_run(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    with pytest.raises(InputError, match="holds files that are not of a run"), run(tmp_path):
        pytest.fail("the block must not run")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / name]


def test_a_file_that_others_put_into_a_run_is_not_replaced(tmp_path: Path) -> None:
    with run(tmp_path):
        write(tmp_path / "ours.txt")
    (tmp_path / "model.pt").write_text("mine")
    with run(tmp_path):
        with pytest.raises(InputError, match=r"model\.pt: is there, and not written by this"):
            write(tmp_path / "model.pt")
        with pytest.raises(InputError, match=r"model\.pt: is there"):
            append_text(tmp_path / "model.pt", "more")
    assert (tmp_path / "model.pt").read_text() == "mine"


def test_what_a_kill_left_goes_at_the_next_start(tmp_path: Path) -> None:
    class Killed(Written):
        def about_to_appear(self, path: Path, temporary: Path) -> None:
            temporary.rename(left)  # out of reach of what tidies after an exception
            raise KeyboardInterrupt

    left = tmp_path / "left"
    with run(tmp_path / "run"):
        written = Killed(tmp_path / "run", RUN_RECORD)
        with kept_by(written), pytest.raises(KeyboardInterrupt):
            write(tmp_path / "run" / "part-1" / "checkpoint.pt")
    (name,) = written.own
    left.rename(tmp_path / "run" / name)
    (tmp_path / "run" / ".87654321-mine.pt").write_text("mine")
    with run(tmp_path / "run", process=1):
        assert (tmp_path / "run" / name).exists()  # the first process may be writing it
    with run(tmp_path / "run"):
        assert not (tmp_path / "run" / name).exists()
    assert (tmp_path / "run" / ".87654321-mine.pt").exists()


def test_two_runs_in_a_folder_are_refused_and_their_processes_are_not(tmp_path: Path) -> None:
    with run(tmp_path):
        with pytest.raises(InputError, match="another process is at work"), run(tmp_path):
            pytest.fail("the block must not run")
        with run(tmp_path, process=1):
            write(tmp_path / "prepared.npz")
        write(tmp_path / "prepared.npz")  # of the other process, so of this run
    assert (tmp_path / ".written-1.sha256").exists()


@pytest.mark.parametrize("content", ["mine", "", "\0" * 20])
def test_a_record_of_somebody_else_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / RUN_RECORD).write_text(content)
    with pytest.raises(InputError, match="is not the record"):
        Written(tmp_path, RUN_RECORD)
    assert (tmp_path / RUN_RECORD).read_text() == content


def test_no_line_of_a_record_leads_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    folder = tmp_path / "run"
    folder.mkdir()
    lines = [HEADER, "-  ../mine.txt", f"-  {tmp_path}/mine.txt", "-", ""]
    (folder / RUN_RECORD).write_text("\n".join(lines))
    written = Written(folder, RUN_RECORD)
    assert not written.sums
    written.delete("*")
    assert (tmp_path / "mine.txt").exists()


def test_with_checksums_a_changed_file_is_not_ours(tmp_path: Path) -> None:
    written = Written(tmp_path, "written.sha256", checksums=True)
    with kept_by(written):
        path = write(tmp_path / "a" / "result.txt")
        assert written.owns(path)
        write(path, "ours again")
        path.write_text("corrected")
        assert not written.owns(path)
        with pytest.raises(InputError, match="was changed since it was written"):
            write(path)
    written.delete("*")
    assert path.read_text() == "corrected"


@pytest.mark.parametrize("there_before", [True, False])
def test_nothing_is_left_of_a_run_that_was_refused(tmp_path: Path, there_before: bool) -> None:
    folder = tmp_path / "run"
    if there_before:
        folder.mkdir()
    with pytest.raises(InputError, match="no good"), run_folder(folder, lambda _: False, ()):
        write_json(folder / "run.json", {"given": {}})
        write_json(folder / "prepared" / "a.json", {})
        raise InputError("no good")
    assert list(tmp_path.rglob("*")) == ([folder] if there_before else [])


def test_a_run_that_had_begun_stays(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with pytest.raises(InputError, match="no good"), run_folder(folder, lambda _: False, ()):
        write_json(folder / "run.json", {"given": {}, "settings": {}})
        (folder / "mine.txt").write_text("")
        raise InputError("no good")
    assert (folder / "run.json").is_file() and (folder / "mine.txt").is_file()
