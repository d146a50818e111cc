"""Segmentations of 3D Slicer, from files that are written here byte by byte."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from MISSUCore.core.errors import InputError
from MISSUCore.io.slicer_segments import read_slicer_segments

HEADER = """NRRD0004
type: unsigned char
dimension: {dimension}
space: left-posterior-superior
sizes: {sizes}
space directions: {none}(0,-2,0) (3,0,0) (0,0,5)
kinds: {list}domain domain domain
encoding: raw
space origin: (10,20,-30)
"""
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Function that writes layers (layers, k, j, i) with a dictionary of segments' fields."""

    def writer(layers: NDArray[Any], **fields: str) -> Path:
        count = len(layers)
        sizes = " ".join(map(str, layers.shape[:0:-1]))
        header = HEADER.format(
            dimension=4 if count > 1 else 3,
            sizes=f"{count} {sizes}" if count > 1 else sizes,
            none="none " if count > 1 else "",
            list="list " if count > 1 else "",
        )
        lines = "".join(f"{name}:={value}\n" for name, value in fields.items())
        path = tmp_path / "a.seg.nrrd"
        voxels = np.ascontiguousarray(np.moveaxis(layers.astype(np.uint8), 0, -1))
        path.write_bytes((header + lines + "\n").encode() + voxels.tobytes())
        return path

    return writer


def named(number: int, name: str, layer: object, value: object, tags: str = "") -> dict[str, str]:
    start = f"Segment{number}_"
    fields = {"ID": name, "Layer": str(layer), "LabelValue": str(value), "Tags": tags}
    return {start + key: text for key, text in fields.items()}


def test_segments_lie_in_layers_and_have_tags(write: Write) -> None:
    layers = np.zeros((2, 3, 4, 5))
    layers[0, 1, 2, 3], layers[0, 0, 0, 1], layers[1, 1:, 2, 3] = 1, 2, 1
    fields = {
        **named(0, "WT", 1, 1, "a:b:c|Segmentation.Status:inprogress|x|"),
        **named(1, "ET", 0, 1),
        **named(2, "ED", 0, 2),
    }
    found = read_slicer_segments(write(layers, **fields))
    assert found.segments["WT"].tags == {"a": "b:c", "Segmentation.Status": "inprogress"}
    masks = {name: segment.mask for name, segment in found.segments.items()}
    assert {name: (mask.start, mask.voxels.shape) for name, mask in masks.items()} == {
        "WT": ((1, 2, 3), (2, 1, 1)),
        "ET": ((1, 2, 3), (1, 1, 1)),
        "ED": ((0, 0, 1), (1, 1, 1)),
    }
    assert found.image.GetOrigin() == (10, 20, -30)
    assert found.image.TransformIndexToPhysicalPoint((1, 0, 0)) == (10, 18, -30)


def test_segments_that_exclude_each_other_share_a_layer(write: Write) -> None:
    layers = np.zeros((1, 3, 4, 5))
    layers[0, 1, 2, 3], layers[0, 0, 0, 1] = 4, 2
    found = read_slicer_segments(write(layers, **named(0, "ED", 0, 2), **named(1, "ET", 0, 4)))
    assert found.segments["ET"].mask.start == (1, 2, 3)
    assert found.segments["ED"].mask.start == (0, 0, 1)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "has no segments"),
        (named(0, "WT", 1, 1), "no layer 1"),
        (named(0, "WT", -1, 1), "'-1' is not a whole number"),
        (named(0, "WT", 0, "9" * 10_000), "is not a whole number"),
        ({"Segment0_ID": "WT"}, "'' is not a whole number"),
    ],
)
def test_what_is_not_of_slicer_is_refused(
    write: Write, fields: dict[str, str], message: str
) -> None:
    with pytest.raises(InputError, match=rf"a\.seg\.nrrd.*{message}"):
        read_slicer_segments(write(np.zeros((1, 3, 4, 5)), **fields))


@pytest.mark.parametrize("content", [b"", b"NRRD0004\n", b"not at all"])
def test_what_cannot_be_read_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.seg.nrrd"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.seg\.nrrd: cannot be read"):
        read_slicer_segments(path)


def test_a_file_that_is_cut_off_is_refused(write: Write) -> None:
    path = write(np.ones((1, 3, 4, 5)), **named(0, "WT", 0, 1))
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(InputError, match="cannot be read"):
        read_slicer_segments(path)


def test_a_header_that_lies_about_its_size_is_refused(write: Write) -> None:
    path = write(np.ones((1, 3, 4, 5)), **named(0, "WT", 0, 1))
    path.write_bytes(path.read_bytes().replace(b"sizes: 5 4 3", b"sizes: 50000 40000 30000"))
    with pytest.raises(InputError, match="absurdly large"):
        read_slicer_segments(path)
