"""Headers of NRRD files that would crash the process are refused; long values are not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from MISSUCore.core.errors import InputError
from MISSUCore.io.nrrd import check_nrrd
from MISSUCore.io.reading import read_label_map

HEADER = b"""NRRD0004
type: unsigned char
dimension: 3
space: left-posterior-superior
sizes: 5 4 4
space directions: (1,0,0) (0,1,0) (0,0,1)
encoding: raw
space origin: (0,0,0)
"""
RUBBISH = [b"x" * 4000, b"content: " + b"x" * 3991, b"Segment0_Tags:=a\r" + b"x" * 4000]
VOXELS = np.arange(80, dtype=np.uint8).tobytes()


def written(path: Path, lines: bytes, end: bytes = b"\n") -> Path:
    path.write_bytes((HEADER + lines).replace(b"\n", end) + end + VOXELS)
    return path


@pytest.mark.parametrize("name", ["a.nrrd", "a.seg.nrrd"])
@pytest.mark.parametrize("line", RUBBISH, ids=["plain", "field", "torn value"])
def test_a_line_of_rubbish_is_refused(tmp_path: Path, name: str, line: bytes) -> None:
    path = written(tmp_path / name, line + b"\n")
    code = (
        "import sys; from pathlib import Path\n"
        "from MISSUCore.core.errors import InputError\n"
        "from MISSUCore.evaluation.verification import verify\n"
        "from MISSUCore.io.reading import read_label_map\n"
        "path = Path(sys.argv[1])\n"
        "try: (verify if '.seg.' in path.name else read_label_map)(path)\n"
        "except InputError as error: print(error)\n"
    )
    # In a process of its own: without the check it ends.
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    assert f"{name}: its header is damaged, a line of it has 4000 characters" in done.stdout


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_long_values_and_comments_are_read(tmp_path: Path, end: bytes) -> None:
    lines = b"Segment0_Tags:=" + b"x" * 100_000 + b"\n#" + b"y" * 5000 + b"\n"
    image = read_label_map(written(tmp_path / "a.nrrd", lines, end))
    assert image.GetSize() == (5, 4, 4)


def test_voxels_are_no_header(tmp_path: Path) -> None:
    path = tmp_path / "a.nrrd"
    path.write_bytes(HEADER + b"\n" + b"x" * 5000)
    check_nrrd(path)
    other = tmp_path / "a.nii"
    other.write_bytes(b"x" * 5000)
    check_nrrd(other)
    check_nrrd(tmp_path / "missing.nrrd")


def test_the_whole_header_is_looked_at(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="5000 characters"):
        check_nrrd(written(tmp_path / "a.nrrd", b"a:=b\n" * 1000 + b"x" * 5000 + b"\n"))
