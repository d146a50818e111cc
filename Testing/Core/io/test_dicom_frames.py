"""DICOM files of many frames, as PS3.3 A.36 (Enhanced MR) has them, written byte by byte."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from MISSUCore.core.errors import InputError
from MISSUCore.io.reading import read_image
from MISSUCore.sequences.case_folder import find_case

ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4.1"
EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
SLICES = 12
STEP_MM = 4.0


def element(group: int, number: int, kind: str, value: str | bytes | int) -> bytes:
    """A data element (PS3.5, 7.1.2)."""
    if isinstance(value, int):
        value = struct.pack("<H", value)
    raw = value.encode() if isinstance(value, str) else value
    raw += (b"\0" if kind == "UI" else b" ") * (len(raw) % 2)
    head = struct.pack("<HH2s", group, number, kind.encode())
    long = kind in ("SQ", "OW", "OB")
    return head + struct.pack("<xxI" if long else "<H", len(raw)) + raw


def sequence(group: int, number: int, *items: bytes) -> bytes:
    content = b"".join(struct.pack("<HHI", 0xFFFE, 0xE000, len(item)) + item for item in items)
    return element(group, number, "SQ", content)


def write_frames(path: Path, description: str, heights_mm: Sequence[float]) -> None:
    """One axial frame at each height, all voxels of which are 100 + its height."""
    measures = element(0x18, 0x50, "DS", f"{STEP_MM}") + element(0x28, 0x30, "DS", "2\\2")
    shared = sequence(0x20, 0x9116, element(0x20, 0x37, "DS", "1\\0\\0\\0\\1\\0"))
    shared += sequence(0x28, 0x9110, measures)
    frames = [
        sequence(0x20, 0x9113, element(0x20, 0x32, "DS", f"-5\\-6\\{height:g}"))
        for height in heights_mm
    ]
    voxels = np.repeat(100 + np.array(heights_mm, np.uint16), 16 * 16)
    meta = element(2, 2, "UI", ENHANCED_MR) + element(2, 3, "UI", "1.2.3.4")
    meta += element(2, 0x10, "UI", EXPLICIT_LITTLE_ENDIAN)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        bytes(128)
        + b"DICM"
        + element(2, 0, "UL", struct.pack("<I", len(meta)))
        + meta
        + element(0x08, 0x16, "UI", ENHANCED_MR)
        + element(0x08, 0x18, "UI", "1.2.3.4")
        + element(0x08, 0x60, "CS", "MR")
        + element(0x08, 0x103E, "LO", description)
        + element(0x20, 0x0D, "UI", "1.2.3")
        + element(0x20, 0x0E, "UI", f"1.2.3.{len(description)}")
        + element(0x28, 0x02, "US", 1)
        + element(0x28, 0x04, "CS", "MONOCHROME2")
        + element(0x28, 0x08, "IS", str(len(heights_mm)))
        + element(0x28, 0x10, "US", 16)
        + element(0x28, 0x11, "US", 16)
        + element(0x28, 0x100, "US", 16)
        + element(0x28, 0x101, "US", 16)
        + element(0x28, 0x102, "US", 15)
        + element(0x28, 0x103, "US", 0)
        + sequence(0x5200, 0x9229, shared)
        + sequence(0x5200, 0x9230, *frames)
        + element(0x7FE0, 0x10, "OW", voxels.astype("<u2").tobytes())
    )


UPWARDS = [STEP_MM * index for index in range(SLICES)]


@pytest.mark.parametrize("heights_mm", [UPWARDS, UPWARDS[::-1]])
def test_frames_lie_where_they_say(tmp_path: Path, heights_mm: list[float]) -> None:
    write_frames(tmp_path / "scan", "AX T1", heights_mm)
    (source,) = find_case(tmp_path).scans.values()
    image = read_image(source)
    assert image.GetSize() == (16, 16, SLICES)
    assert image.GetSpacing() == (2.0, 2.0, STEP_MM)
    for index in range(SLICES):
        place_mm = image.TransformIndexToPhysicalPoint((0, 0, index))
        assert place_mm == pytest.approx((-5, -6, image[0, 0, index] - 100))


@pytest.mark.parametrize(
    "heights_mm", [UPWARDS[::2] + UPWARDS[1::2], UPWARDS[:5] + UPWARDS[6:]], ids=["order", "gap"]
)
def test_frames_that_are_no_even_stack(tmp_path: Path, heights_mm: list[float]) -> None:
    write_frames(tmp_path / "scan", "AX T1", heights_mm)
    (source,) = find_case(tmp_path).scans.values()
    with pytest.raises(InputError, match="not evenly spaced; one is missing, there twice or out"):
        read_image(source)
    with pytest.raises(InputError, match="not evenly spaced"):
        read_image(tmp_path / "scan")


def test_a_stack_in_two_files_of_frames(tmp_path: Path) -> None:
    # ITK would read the first of them, and say nothing.
    write_frames(tmp_path / "scan" / "a", "AX T1", UPWARDS[:6])
    write_frames(tmp_path / "scan" / "b", "AX T1", UPWARDS[6:])
    with pytest.raises(InputError, match="spread over several files of many frames"):
        read_image(tmp_path / "scan")
    with pytest.raises(InputError, match="spread over several files of many frames"):
        find_case(tmp_path)


def test_several_frames_of_each_slice(tmp_path: Path) -> None:
    write_frames(tmp_path / "one", "AX T1", UPWARDS)
    write_frames(tmp_path / "echoes", "AX T2 twice", UPWARDS * 2)
    found = find_case(tmp_path)
    assert list(found.scans) == ["t1"]
    assert list(found.left_over.values()) == ["has several images of each slice"]
