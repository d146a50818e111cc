"""Headers of NRRD files on which ITK's reader would crash, and the whole process with it."""

from __future__ import annotations

import re
from pathlib import Path

from ..core.errors import InputError
from ..core.messages import a_file

MAGIC = b"NRRD"
# Of a line that is neither a comment nor a key with its value: ITK (5.4) tells of one that it does
# not understand in a buffer of fixed size. Fields of the format are shorter by far.
LONGEST_FIELD = 1000
LONGEST_HEADER = 1 << 24


def check_nrrd(path: Path) -> None:
    """Make sure that the header of a NRRD file can be read; others are passed over.

    Raises:
        InputError: if it is damaged.
    """
    try:
        with path.open("rb") as stream:
            if stream.read(len(MAGIC)) != MAGIC:
                return
            header = stream.read(LONGEST_HEADER)
    except OSError:
        return  # the reader tells of it
    for line in re.split(b"\r\n|\n|\r", header):
        if not line:
            return  # voxels follow
        if len(line) > LONGEST_FIELD and b":=" not in line and not line.startswith(b"#"):
            raise InputError(
                a_file(path), f": its header is damaged, a line of it has {len(line)} characters"
            )
