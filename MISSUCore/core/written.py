"""What was written into a folder, so that nothing else there is ever replaced or deleted.

The record is a text file in the folder, with a line for each file before it is written: a checksum
where it matters whether somebody has changed the file since, else a dash; and the file's path.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from fnmatch import fnmatch
from pathlib import Path

from .errors import InputError
from .files import folder_lock, kept_by, read_json, sha256, translate_os_errors

HEADER = "# MISSU has written these files here, and replaces or deletes no other."
RUN_RECORD = ".written.sha256"
UNKNOWN = "-"
# What systems put into every folder that somebody looks at.
IGNORED = {".lock", ".DS_Store", "Thumbs.db", "desktop.ini"}
_TEMPORARY = re.compile(r"(.*/)?\.[0-9a-f]{8}-.*")


class Written:
    """The record of a folder; a :class:`.files.Keeper`.

    Args:
        folder: with the files.
        name: of the record.
        process: of several that write to the folder; each has a record of its own, and all count.
        checksums: whether a file counts as somebody else's once it was changed.

    Raises:
        InputError: if a file has the name of the record and is none.
    """

    def __init__(self, folder: Path, name: str, process: int = 0, checksums: bool = False) -> None:
        self.folder = folder
        stem, ending = Path(name).stem, Path(name).suffix
        self.record = folder / (f"{stem}-{process}{ending}" if process else name)
        self.checksums = checksums
        self._all_records = re.compile(rf"{re.escape(stem)}(-\d+)?{re.escape(ending)}")
        self.sums: dict[str, set[str]] = {}
        self.own: set[str] = set()
        self.read()

    def is_record(self, name: str) -> bool:
        """Whether a file of this name would be a record of the folder."""
        return bool(self._all_records.fullmatch(name.casefold()))

    def exists(self) -> bool:
        """Whether there is a record."""
        return any(self._records())

    def read(self) -> None:
        """Read what all processes have written.

        Raises:
            InputError: if a record is damaged, or another's file.
        """
        for path in self._records():
            with translate_os_errors(path):
                text = path.read_text(encoding="utf-8", errors="surrogateescape")
            header, *lines = text.splitlines() or [""]
            if header != HEADER:
                raise InputError(
                    f"{path}: is not the record of files that belongs here, or damaged; give "
                    "another folder"
                )
            for line in lines:
                checksum, _, name = line.partition("  ")
                if name and ".." not in name.split("/") and not name.startswith("/"):
                    self.sums.setdefault(name, set()).add(checksum)
                    if path == self.record:
                        self.own.add(name)

    def owns(self, path: Path) -> bool:
        """Whether a file is as it was written here."""
        known = self.sums.get(self._name(path), set())
        return bool(known) and (not self.checksums or sha256(path) in known)

    def knows(self, path: Path) -> bool:
        """Whether a file of this path was written here at some time."""
        return self._name(path) in self.sums

    def names_in(self, folder: Path) -> set[str]:
        """Paths, relative to a folder, of the files that were written into it at some time."""
        inside = f"{self._name(folder)}/"
        return {name.removeprefix(inside) for name in self.sums if name.startswith(inside)}

    def check(self, path: Path) -> None:
        """Make sure that nothing of somebody else is replaced.

        Raises:
            InputError: naming the file.
        """
        if not os.path.lexists(path) or self.owns(path):
            return
        for _ in range(3):  # another process may have written it, and may do so just now
            self.read()
            if self.owns(path):
                return
        if self.knows(path):
            raise InputError(f"{path}: was changed since it was written; move it away")
        raise InputError(
            f"{path}: is there, and not written by this command; move it away, or give another "
            "folder"
        )

    def add(self, path: Path, content: Path | None = None) -> None:
        """Record a file.

        Args:
            path: of the file.
            content: what it will hold, for its checksum.
        """
        name = self._name(path)
        checksum = sha256(content) if content and self.checksums else UNKNOWN
        if not name or checksum in self.sums.get(name, ()):
            return
        with translate_os_errors(self.record):
            self.folder.mkdir(parents=True, exist_ok=True)
            new = "" if self.record.exists() else f"{HEADER}\n"
            # Not by append_text, which would tell us.
            with self.record.open("a", encoding="utf-8", errors="surrogateescape") as stream:
                stream.write(f"{new}{checksum}  {name}\n")
        self.sums.setdefault(name, set()).add(checksum)
        self.own.add(name)

    def about_to_write(self, path: Path, temporary: Path | None = None) -> None:
        """Refuse what would replace a file of somebody else; record what a kill may leave."""
        if self._name(path):
            self.check(path)
            self.add(temporary or path)

    def about_to_appear(self, path: Path, temporary: Path) -> None:
        """Record a file before it takes its place."""
        self.add(path, temporary)

    def delete(self, *patterns: str) -> None:
        """Delete files that are ours, of these paths, and the folders that are empty then.

        Raises:
            InputError: if one cannot be deleted.
        """
        for name in self.sums:
            path = self.folder / name
            if any(fnmatch(name, pattern) for pattern in patterns) and path.is_file():
                if not self.owns(path):
                    continue
                with translate_os_errors(path):
                    path.unlink()
            self._delete_empty(path.parent, patterns)

    def delete_temporary(self) -> None:
        """Delete what a kill of this process left half written; others may be at work now."""
        for name in filter(_TEMPORARY.fullmatch, self.own):
            path = self.folder / name
            with translate_os_errors(path):
                path.unlink(missing_ok=True)
            self._delete_empty(path.parent, [f"{name.rpartition('/')[0]}/*"])

    def _delete_empty(self, folder: Path, patterns: Sequence[str]) -> None:
        while folder != self.folder and self.folder in folder.parents:
            inside = f"{folder.relative_to(self.folder).as_posix()}/"
            if not any(fnmatch(inside, pattern) for pattern in patterns):
                return
            try:
                folder.rmdir()
            except OSError:
                return  # holds something, or is gone
            folder = folder.parent

    def _records(self) -> list[Path]:
        if not self.folder.is_dir():
            return []
        return sorted(path for path in self.folder.iterdir() if self.is_record(path.name))

    def _name(self, path: Path) -> str:
        """The path below the folder; empty if it is elsewhere."""
        try:
            return path.absolute().relative_to(self.folder.absolute()).as_posix()
        except ValueError:
            return ""


@contextmanager
def run_folder(
    folder: Path,
    is_run: Callable[[Path], bool],
    older: Sequence[str],
    process: int = 0,
) -> Iterator[Written]:
    """The folder of a run, for one process at a time; all that is written there is recorded.

    Args:
        folder: new, empty, or of a run.
        is_run: whether a folder without record is that of a run all the same, of an older version.
        older: patterns of the files that such a run has written.
        process: of several that share the run; the first keeps other runs out.

    Raises:
        InputError: if the folder holds something else, or another process is at work there.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; give a folder for the run")
    with translate_os_errors(folder):
        written = Written(folder, RUN_RECORD, process)
        found = [path.name for path in folder.iterdir()] if folder.exists() else []
    foreign = sorted(name for name in found if name not in IGNORED and not written.is_record(name))
    adopted = bool(foreign) and not written.exists()
    # Of several processes the others may come when the first has begun.
    if adopted and not is_run(folder) and process == 0:
        raise InputError(
            f"{folder}: holds files that are not of a run ({', '.join(foreign[:3])}"
            f"{', ...' if len(foreign) > 3 else ''}); give a new or empty folder"
        )
    was_there = folder.exists()
    try:
        with folder_lock(folder) if process == 0 else nullcontext():
            if adopted and process == 0:
                adopt(written, older)
            written.delete_temporary()
            with kept_by(written):
                yield written
    except InputError:
        # What was given cannot be used: nothing is left of a run that had not begun.
        if process == 0 and not found and not _has_begun(folder):
            written.delete("*")
            for path in (written.record, folder / ".lock"):
                path.unlink(missing_ok=True)
            if not was_there:
                with suppress(OSError):
                    folder.rmdir()
        raise


def _has_begun(folder: Path) -> bool:
    """Whether a run's ``run.json`` has the settings that it trains with."""
    try:
        return "settings" in read_json(folder / "run.json")
    except (OSError, ValueError, TypeError):
        return False


def adopt(written: Written, patterns: Sequence[str]) -> None:
    """Record the files that a run of an older version has written, which kept no record."""
    for pattern in patterns:
        for path in sorted(written.folder.glob(pattern)):
            if path.is_file():
                written.add(path)
