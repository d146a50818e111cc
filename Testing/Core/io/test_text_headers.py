"""Headers of NRRD and MetaImage files: what crashes ITK, voxel sizes, sides, files of voxels."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from MISSUCore.core.errors import InputError
from MISSUCore.io.reading import checksum, read_case, read_image, read_label_map, read_map
from MISSUCore.io.text_headers import check_text_header, data_files

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
    check_text_header(path)
    other = tmp_path / "a.nii"
    other.write_bytes(b"x" * 5000)
    check_text_header(other)
    check_text_header(tmp_path / "missing.nrrd")


def test_the_whole_header_is_looked_at(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="5000 characters"):
        check_text_header(written(tmp_path / "a.nrrd", b"a:=b\n" * 1000 + b"x" * 5000 + b"\n"))


META_IMAGE = """ObjectType = Image
NDims = 3
TransformMatrix = 1 0 0 0 1 0 0 0 1
Offset = 0 0 0
AnatomicalOrientation = RAI
ElementSpacing = 1 2 3
DimSize = 5 4 4
ElementType = MET_UCHAR
ElementDataFile = LOCAL
"""
LOCAL = "ElementDataFile = LOCAL\n"


def text_file(folder: Path, name: str, old: str, new: str) -> Path:
    """A small NRRD or MetaImage file with another header."""
    header = HEADER.decode() + "\n" if name.endswith("nrrd") else META_IMAGE
    assert old in header
    (folder / name).write_bytes(header.replace(old, new).encode() + VOXELS)
    return folder / name


SPACE = "space: left-posterior-superior\n"
AXES = "TransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = 0 0 0\nAnatomicalOrientation = RAI\n"
DIRECTIONS = "space directions: (1,0,0) (0,1,0) (0,0,1)\n"


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("a.nrrd", SPACE + "sizes: 5 4 4\n" + DIRECTIONS, "sizes: 5 4 4\n"),  # as pynrrd writes
        ("a.nrrd", DIRECTIONS, "space directions: (1,0,0) (0,1,0) none\n"),
        ("a.mha", "ElementSpacing = 1 2 3\n", ""),
    ],
)
def test_a_voxel_size_that_is_not_told_is_not_guessed(
    tmp_path: Path, name: str, old: str, new: str
) -> None:
    """ITK takes 1 mm."""
    path = text_file(tmp_path, name, old, new)
    for read in (read_image, read_label_map, read_map):
        with pytest.raises(InputError, match=r"a.*: its header does not say how large the voxels"):
            read(path)


def test_a_voxel_size_below_zero_is_refused(tmp_path: Path) -> None:
    """ITK turns the axis around: what was up is down."""
    path = text_file(tmp_path, "a.mha", "ElementSpacing = 1 2 3", "ElementSpacing = 1 2 -3")
    with pytest.raises(InputError, match="a voxel spacing of 1 x 2 x -3 mm, which cannot be"):
        read_image(path)


@pytest.mark.parametrize("field", ["ElementSize = 1 2 3", "ElementSpacing = 1 2 3"])
def test_a_voxel_size_that_is_told_is_taken(tmp_path: Path, field: str) -> None:
    path = text_file(tmp_path, "a.mha", "ElementSpacing = 1 2 3", field)
    assert read_image(path).GetSpacing() == (1.0, 2.0, 3.0)


def test_values_that_are_to_be_scaled_are_refused(tmp_path: Path) -> None:
    scaled = "ElementToIntensityFunctionSlope = {}\nElementDataFile"
    path = text_file(tmp_path, "a.mha", "ElementDataFile", scaled.format("0.5"))
    with pytest.raises(InputError, match=r"ElementToIntensityFunctionSlope is 0\.5.*not done"):
        read_map(path)
    read_map(text_file(tmp_path, "a.mha", "ElementDataFile", scaled.format("1")))


@pytest.mark.parametrize(
    ("name", "old", "new", "told"),
    [
        ("a.nrrd", SPACE, SPACE, True),
        ("a.nrrd", SPACE, "space: RAS\n", True),
        ("a.nrrd", SPACE, "space: scanner-xyz\n", False),
        ("a.nrrd", SPACE, "space dimension: 3\n", False),
        ("a.mha", "AnatomicalOrientation = RAI\n", "", True),
        ("a.mha", "TransformMatrix = 1 0 0 0 1 0 0 0 1\n", "", True),
        ("a.mha", AXES, "Offset = 0 0 0\n", False),
    ],
)
def test_a_side_that_is_not_told_is_warned_of(
    tmp_path: Path, name: str, old: str, new: str, told: bool
) -> None:
    warnings = read_case({"t1": text_file(tmp_path, name, old, new)}).warnings
    assert [text for text in warnings if "where the patient's left is" not in text] == []
    assert len(warnings) == (not told)


@pytest.mark.parametrize("ending", ["nrrd", "mha"])
@pytest.mark.parametrize("compressed", [True, False])
def test_what_is_left_of_a_nifti_header_is_none(
    tmp_path: Path, ending: str, compressed: bool
) -> None:
    """SimpleITK keeps the fields of a NIfTI header, as vox_offset, in the metadata."""
    voxels = np.ones((10, 10, 10), dtype=np.float32)
    voxels[5, 5, 5] = 2
    sitk.WriteImage(sitk.GetImageFromArray(voxels), str(tmp_path / "a.nii"))
    path = tmp_path / f"a.{ending}"
    sitk.WriteImage(sitk.ReadImage(str(tmp_path / "a.nii")), str(path), compressed)
    assert np.array_equal(sitk.GetArrayFromImage(read_image(path)), voxels)
    assert np.array_equal(sitk.GetArrayFromImage(read_map(path)[0]), voxels)


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("a.nhdr", "data file: a.raw\n"),
        ("a.mhd", "ElementDataFile = a.raw\n"),
        ("a.mhd", "ElementDataFile = LIST\n" + "".join(f"{n}.raw\n" for n in range(4))),
    ],
)
def test_voxels_in_a_file_of_their_own_count(tmp_path: Path, name: str, field: str) -> None:
    header = HEADER.decode() if name == "a.nhdr" else META_IMAGE.removesuffix(LOCAL)
    path = tmp_path / name
    path.write_text(header + field)
    parts = [VOXELS[n * 20 : n * 20 + 20] for n in range(4)] if "LIST" in field else [VOXELS]
    files = [tmp_path / (f"{n}.raw" if "LIST" in field else "a.raw") for n in range(len(parts))]
    for file, part in zip(files, parts):
        file.write_bytes(part)
    assert data_files(path) == files
    image, before = read_image(path), checksum(path)
    assert np.array_equal(sitk.GetArrayViewFromImage(image).ravel(), np.arange(80))
    files[-1].write_bytes(parts[-1][::-1])
    assert checksum(path) != before


@pytest.mark.parametrize("files", ["LIST 3\na.raw", "a%d.raw 0 2 1", "LIST\na.raw\na0.raw"])
def test_voxels_in_another_number_of_files_are_refused(tmp_path: Path, files: str) -> None:
    """ITK takes what lies in the memory."""
    (tmp_path / "a.mhd").write_text(META_IMAGE.replace("LOCAL", files))
    for name in ("a.raw", "a0.raw"):
        (tmp_path / name).write_bytes(VOXELS)
    with pytest.raises(InputError, match=r"keeps its voxels in many files.*write it into one"):
        read_image(tmp_path / "a.mhd")
