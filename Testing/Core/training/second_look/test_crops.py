"""Lesion crops: read at their place and size, and nothing from a file that is something else."""

from __future__ import annotations

import hashlib
import zipfile

import numpy as np
import pytest
import torch

from MISSUCore.contract.labels import BRATS
from MISSUCore.core.errors import InputError
from MISSUCore.training.second_look import crops as crops_module
from MISSUCore.training.second_look.crops import LesionCrops

MODALITIES = ("t1", "t1ce", "t2", "flair")


def arrays(count=3, size=(8, 6, 4)) -> dict[str, np.ndarray]:
    """Crops (x, y, z) whose values rise along x; the tumor is the half with the higher y."""
    volumes = np.ones((count, 4, *size), dtype=np.float16)
    volumes += np.arange(size[0], dtype=np.float16)[:, None, None]
    labels = np.zeros((count, *size), dtype=np.uint8)
    labels[:, :, size[1] // 2 :] = 4
    return {"volumes": volumes, "labels": labels, "inside": np.ones(labels.shape, dtype=bool)}


@pytest.fixture
def load(tmp_path):
    """Reads crops from a file with these arrays, at twice or three times the resolution."""

    def read(content, crop_spacing_mm=(2.0, 3.0, 1.0), spacing_mm=(1.0, 1.0, 1.0)) -> LesionCrops:
        path = tmp_path / "crops.npz"
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif content is not None:
            np.savez_compressed(path, **content)
        return LesionCrops(path, MODALITIES, BRATS, crop_spacing_mm, spacing_mm)

    return read


def test_a_crop_is_turned_to_depth_first_and_resampled(load):
    volume, classes = load(arrays())[1]
    assert (volume.shape, classes.shape) == ((4, 4, 18, 16), (4, 18, 16))
    assert (volume.dtype, classes.dtype) == (torch.float16, torch.uint8)
    # Values rise by 1 a crop voxel of 2 mm along the last axis; ends repeat.
    expected = (np.arange(16) - 0.5) / 2 + 1
    expected[[0, -1]] = 1, 8
    np.testing.assert_allclose(volume[2, 1, 7], expected, rtol=1e-3)
    assert torch.equal(classes[0, :, 0], torch.tensor([0] * 9 + [3] * 9, dtype=torch.uint8))


def test_the_background_stays_and_does_not_darken_the_edge(load):
    content = arrays(1)
    content["volumes"][:] = 5
    content["volumes"][:, :, 4:] = 0
    volume, _ = load(content)[0]
    line = volume[0, 2, 9]
    assert torch.equal(line, torch.tensor([5.0] * 8 + [0.0] * 8, dtype=torch.float16))


def test_only_crops_wholly_inside_their_scan_are_used(load, tmp_path):
    content = arrays()
    content["volumes"][2] *= 2
    content["inside"][1, 0, 0, 0] = False
    crops = load(content)
    assert (len(crops), crops.left_out) == (2, 1)
    assert crops[1][0].max() == 16
    expected = hashlib.sha256((tmp_path / "crops.npz").read_bytes()).hexdigest()
    assert crops.sha256 == expected
    content["inside"][:] = False
    with pytest.raises(InputError, match="no crop lies wholly inside"):
        load(content)


def test_enhancing_tumor_may_be_label_3_or_4(load):
    content = arrays()
    old = load(content)[0][1]
    content["labels"][content["labels"] == 4] = 3
    assert torch.equal(load(content)[0][1], old)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": None}, "has no array labels"),
        ({"volumes": np.zeros((3, 4, 8, 6, 4), dtype=int)}, "floating-point"),
        ({"labels": np.zeros((3, 8, 6, 4))}, "whole"),
        ({"inside": np.ones((3, 8, 6, 4), dtype=int)}, "True or False"),
        ({"volumes": np.ones((3, 4, 8, 6, 5))}, "do not fit"),
        ({"volumes": np.ones((2, 4, 8, 6, 4))}, "do not fit"),
        ({"inside": np.ones((3, 8, 6, 5), dtype=bool)}, "do not fit"),
        ({"volumes": np.ones((3, 2, 8, 6, 4))}, "have 2 modalities, and the training 4"),
        ({"volumes": np.full((3, 4, 8, 6, 4), np.nan)}, "crop 0 has values that are not z-scores"),
        ({"volumes": np.full((3, 4, 8, 6, 4), 1e4)}, "not z-scores"),
        ({"labels": np.full((3, 8, 6, 4), 9)}, "label"),
        ({"labels": np.array([{}], dtype=object)}, "cannot be read"),
    ],
)
def test_arrays_of_another_kind_are_refused(load, change, message):
    content = {name: value for name, value in {**arrays(), **change}.items() if value is not None}
    with pytest.raises(InputError, match=message) as error:
        load(content)
    assert "crops.npz" in str(error.value)


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04 not a zip file", b"text"])
def test_a_file_that_is_none_is_refused(load, content):
    with pytest.raises(InputError, match=r"crops\.npz: cannot be read as lesion crops"):
        load(content)


def test_a_cut_or_changed_file_is_refused(load, tmp_path):
    load(arrays())
    whole = (tmp_path / "crops.npz").read_bytes()
    with zipfile.ZipFile(tmp_path / "crops.npz") as packed:
        start = packed.infolist()[0].header_offset + 60
    for broken in (whole[: len(whole) // 2], whole[:start] + b"\xff" * 20 + whole[start + 20 :]):
        with pytest.raises(InputError, match="cannot be read as lesion crops"):
            load(broken)


def test_a_file_that_would_fill_the_memory_is_refused(load, monkeypatch):
    monkeypatch.setattr(crops_module, "MAXIMUM_BYTES", 1000)
    with pytest.raises(InputError, match="too much"):
        load(arrays())


def _header(text):
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


@pytest.mark.parametrize(
    "part",
    [
        b"no array",
        _header(b"{'descr': '''<f4\n"),
        _header(b"((((\n"),
        _header(b"{'descr': '<f4', 'fortran_order': False, 'shape': (%d, 4)}\n" % 10**22),
        _header(b"{'descr': '<f4', 'fortran_order': False, 'shape': (99999, 9999, 999)}\n"),
        b"\x93NUMPY\x09\x00" + bytes(80),
    ],
)
def test_a_part_that_is_made_up_is_refused(tmp_path, part):
    path = tmp_path / "crops.npz"
    with zipfile.ZipFile(path, "w") as packed:
        for name in ("volumes", "labels", "inside"):
            packed.writestr(f"{name}.npy", part)
    with pytest.raises(InputError, match="cannot be read as lesion crops"):
        LesionCrops(path, ("t1",), BRATS, (1.0, 1.0, 1.0), (1.0, 1.0, 1.0))
