"""Files: written so that nothing is lost or left half-written, locked, listed, and hashed."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Protocol

from .errors import InputError, ResourceError
from .messages import a_file, an_option

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

# What models, cases and modalities may be called: a file name on every system.
NAME = r"[\w.-]+"
_TEMPORARY = re.compile(r"(\.[0-9a-f]{8}-)+(?P<name>.+)")
_INPUTS = (Path("/dev/stdin"), Path("/dev/fd/0"))
# Between attempts to replace a file that somebody reads just now.
REPLACE_SECONDS = (0.01, 0.05, 0.2, 0.5)


class Keeper(Protocol):
    """Is called before a file is written, and may refuse it; see :func:`kept_by`."""

    def about_to_write(self, path: Path, temporary: Path | None = None) -> None:
        """A file is to be written, at first under another name if that is given."""

    def about_to_appear(self, path: Path, temporary: Path) -> None:
        """A file that is whole now is to take its place."""


_keeper: ContextVar[Keeper | None] = ContextVar("keeper", default=None)


@contextmanager
def kept_by(keeper: Keeper) -> Iterator[None]:
    """Call a keeper for every file that is written in the block."""
    token = _keeper.set(keeper)
    try:
        yield
    finally:
        _keeper.reset(token)


def tell_keeper(path: Path) -> None:
    """Call the keeper for a file that is written by other means than this module's."""
    keeper = _keeper.get()
    if keeper:
        keeper.about_to_write(path)


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path``, with its ending, that replaces it if the block succeeds.

    A device or pipe is written to, and not replaced.

    Raises:
        InputError: if the place cannot be written.
        ResourceError: if the disk is full.
    """
    with translate_os_errors(path):
        if is_stream(path):
            with _written_to_stream(path) as temporary:
                yield temporary
            return
        if not path.name:
            raise InputError(a_file(path), ": is a folder, give a file name")
        temporary = path.with_name(f".{secrets.token_hex(4)}-{path.name}")
        path.parent.mkdir(parents=True, exist_ok=True)
        keeper = _keeper.get()
        if keeper:
            keeper.about_to_write(path, temporary)
        try:
            yield temporary
            if keeper:
                keeper.about_to_appear(path, temporary)
            _replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def is_stream(path: Path) -> bool:
    """Whether a path names a device or a pipe; ``/dev/stdout`` may also be a file by its link."""
    special = path.exists() and not path.is_file() and not path.is_dir()
    return special or (path.exists() and str(path.absolute()).startswith(("/dev/fd/", "/dev/std")))


@contextmanager
def _written_to_stream(path: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        temporary = Path(folder) / path.name
        yield temporary
        # Where standard output goes to a file, that keeps what others have written to it.
        with temporary.open("rb") as source, path.open("ab") as stream:
            shutil.copyfileobj(source, stream)


def _replace(source: Path, target: Path) -> None:
    """Windows refuses while the target is read, as by the Slicer panel or a virus scanner."""
    for seconds in REPLACE_SECONDS:
        try:
            source.replace(target)
        except PermissionError:
            time.sleep(seconds)
        else:
            return
    source.replace(target)


def write_json(path: Path, values: Any) -> None:
    """Write values as a JSON file, which appears only when it is whole.

    Raises:
        InputError: if the place cannot be written.
        ResourceError: if the disk is full.
    """
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def append_text(path: Path, text: str) -> None:
    """Add to the end of a text file, for logs that are too long to be written anew every time.

    Raises:
        InputError: if the place cannot be written.
        ResourceError: if the disk is full.
    """
    with translate_os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        tell_keeper(path)
        with path.open("a", encoding="utf-8", newline="") as stream:
            stream.write(text)


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Keep other processes out of a folder, if they ask like this one.

    The system lets go of the lock (on ``folder/.lock``) when a process ends, however it ends. Where
    a network file system knows no locks, the work goes on without.

    Not by the package filelock, though torch brings it: versions that torch allows (3.16) take a
    file system without locks for another process at work, and this room must load in Slicer where
    torch is not installed yet.

    Raises:
        InputError: if another process is at work there, or the folder cannot be written.
    """
    path = folder / ".lock"
    with translate_os_errors(path):
        folder.mkdir(parents=True, exist_ok=True)
        stream = path.open("a")
    with stream:
        try:
            if sys.platform == "win32":
                msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)
            else:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            raise InputError(
                a_file(folder), ": another process is at work there; wait until it has ended"
            ) from error
        except OSError:
            pass  # no locks here
        yield


@contextmanager
def translate_os_errors(path: Path) -> Iterator[None]:
    """Errors of the file system as errors with a message for the user.

    Raises:
        InputError: if the place cannot be written.
        ResourceError: if the disk is full.
    """
    try:
        yield
    except OSError as error:
        shown = a_file(_without_mark(path))
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ResourceError(shown, ": the disk is full; nothing was changed") from error
        raise InputError(shown, f": cannot be written: {error.strerror or error}") from error


def _without_mark(path: Path) -> Path:
    """The file that a temporary one is to become; users never see the other."""
    found = _TEMPORARY.fullmatch(path.name)
    return path.with_name(found["name"]) if found else path


def check_output(path: Path, overwrite: bool) -> None:
    """Find out before hours of work whether a file can be written; leaves nothing behind.

    Raises:
        InputError: if it exists and may not be overwritten, or its folder cannot be written.
    """
    try:
        if path.is_dir():
            raise InputError(a_file(path), ": is a folder, give a file name")
        if path.is_block_device():
            raise InputError(a_file(path), ": is a disk, give a file name")
        if path.absolute() in _INPUTS:  # a file that it comes from would be written to
            raise InputError(a_file(path), ": is what is read from, give a file name")
        if is_stream(path):
            return
        # A link to nothing, too: it may be of a disk that is not there now.
        if (path.exists() or path.is_symlink()) and not overwrite:
            raise InputError(
                a_file(path), ": exists already; add ", an_option("--overwrite"), " to replace it"
            )
        # Folders that are still to be made are made only when there is something to write.
        folder = next(parent for parent in path.parents if parent.exists())
        probe = folder / f".{secrets.token_hex(4)}-{path.name}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(a_file(path), f": cannot be written: {error.strerror or error}") from error


def itk_name(path: Path) -> str:
    """A path as ITK takes it, in UTF-8 whatever the locale; anything else ends the whole process.

    Raises:
        InputError: if it is none, as names in Latin-1 from an old archive or network drive.
    """
    try:
        name = os.fsencode(path).decode("utf-8")
    except UnicodeError as error:
        shown = str(path).encode("utf-8", "backslashreplace").decode("utf-8")
        raise InputError(
            f"{shown}: the name cannot be read by ITK, it is not in UTF-8; rename it"
        ) from error
    return name


def sha256(*paths: Path) -> str:
    """SHA-256 of files, one after the other; a folder stands for its files by name.

    Raises:
        InputError: if it cannot be read.
    """
    digest = hashlib.sha256()
    for path in paths:
        try:
            files = [path]
            if path.is_dir():
                files = sorted(file for file in path.iterdir() if file.is_file())
            for file in files:
                with file.open("rb") as stream:
                    while block := stream.read(1 << 20):
                        digest.update(block)
        except OSError as error:
            raise InputError(
                a_file(path), f": cannot be read: {error.strerror or error}"
            ) from error
    return digest.hexdigest()


def files_below(folder: Path, seen: set[Path] | None = None) -> Iterator[Path]:
    """Files of a folder at any depth, sorted, also behind links, without what is hidden.

    Links that lead nowhere are among them; a folder that links lead to again is passed over.

    Args:
        folder: to look through.
        seen: folders that were looked through already.

    Raises:
        InputError: if a folder cannot be read.
    """
    seen = set() if seen is None else seen
    if folder.resolve() in seen:
        return
    seen.add(folder.resolve())
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise InputError(f"{folder}: cannot be read: {error.strerror or error}") from error
    for path in paths:
        # macOS leaves hidden twins ("._name") of every file on foreign disks.
        if path.name.startswith("."):
            continue
        if path.is_dir():
            yield from files_below(path, seen)
        elif path.is_file() or path.is_symlink():
            yield path
