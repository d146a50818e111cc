"""Scans are read with their geometry, and everything that is not a scan is refused by name."""

from __future__ import annotations

import gzip
import hashlib
import os
import random
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from MISSUCore.core.errors import InputError
from MISSUCore.io.dicom import DicomSeries
from MISSUCore.io.geometry import overlap, physical_box
from MISSUCore.io.reading import (
    check_complete,
    read_case,
    read_image,
    read_label_map,
    read_map,
)

ENDINGS = ("nii.gz", "nii", "nrrd", "mha")
GEOMETRY: dict[str, Any] = {"spacing": (0.7, 0.9, 5.0), "origin": (-31.0, 42.5, 17.25)}


@pytest.fixture
def voxels() -> NDArray[np.float32]:
    """A scan of 6 x 8 x 10 voxels, no two alike."""
    return np.random.default_rng(0).permutation(480).reshape(6, 8, 10).astype(np.float32) - 100


def refused(path: Path, message: str, read: Callable[[Path], sitk.Image] = read_image) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: ")


# Scans that are none of the worse kind


@pytest.mark.parametrize("ending", ENDINGS)
def test_voxels_and_geometry(
    write_image: Callable[..., Path],
    voxels: NDArray[np.float32],
    direction: NDArray[np.float64],
    ending: str,
) -> None:
    path = write_image(f"scan.{ending}", voxels, **GEOMETRY, direction=direction)
    image = read_image(path)
    assert image.GetPixelID() == sitk.sitkFloat32
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), voxels)
    np.testing.assert_allclose(image.GetSpacing(), GEOMETRY["spacing"], rtol=1e-6)
    np.testing.assert_allclose(image.GetOrigin(), GEOMETRY["origin"], atol=1e-5)
    np.testing.assert_allclose(image.GetDirection(), direction.ravel(), atol=1e-6)


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint16, np.int32, np.float64])
def test_every_pixel_type_becomes_float(
    write_image: Callable[..., Path], voxels: NDArray[np.float32], kind: type
) -> None:
    whole = np.abs(voxels % 200).astype(kind)
    image = read_image(write_image("scan.nrrd", whole))
    assert image.GetPixelID() == sitk.sitkFloat32
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), whole)


@pytest.mark.parametrize("ending", ["nii.gz", "nrrd", "mha"])
def test_a_single_volume_of_four_dimensions(
    tmp_path: Path, voxels: NDArray[np.float32], direction: NDArray[np.float64], ending: str
) -> None:
    axes = np.eye(4)
    axes[:3, :3] = direction
    image = sitk.GetImageFromArray(voxels[None], isVector=False)
    image.SetSpacing((*GEOMETRY["spacing"], 1.0))
    image.SetOrigin((*GEOMETRY["origin"], 0.0))
    image.SetDirection(axes.ravel().tolist())
    path = tmp_path / f"scan.{ending}"
    sitk.WriteImage(image, str(path))
    found = read_image(path)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(found), voxels)
    np.testing.assert_allclose(found.GetSpacing(), GEOMETRY["spacing"], rtol=1e-6)
    np.testing.assert_allclose(found.GetOrigin(), GEOMETRY["origin"], atol=1e-5)
    np.testing.assert_allclose(found.GetDirection(), direction.ravel(), atol=1e-6)


def test_a_dicom_series(
    write_dicom: Callable[..., Path], voxels: NDArray[np.float32], direction: NDArray[np.float64]
) -> None:
    if np.linalg.det(direction) < 0:
        direction = direction @ np.diag([1.0, 1.0, -1.0])  # DICOM's axes are right-handed
    folder = write_dicom("series", voxels.astype(np.int16), direction=direction)
    (folder / "readme.txt").write_text("from the archive")
    image = read_image(folder)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), voxels)
    np.testing.assert_allclose(image.GetSpacing(), (0.9, 1.1, 3.0), rtol=1e-6)
    np.testing.assert_allclose(image.GetOrigin(), (-20.0, 15.0, 7.0), atol=1e-5)
    np.testing.assert_allclose(image.GetDirection(), direction.ravel(), atol=1e-6)


def test_slices_are_ordered_by_their_place_not_their_name(
    write_dicom: Callable[..., Path], voxels: NDArray[np.float32]
) -> None:
    folder = write_dicom("series", voxels.astype(np.int16))
    files = sorted(folder.iterdir())
    for number, path in enumerate(files):
        path.rename(folder / f"{hashlib.sha256(bytes([number])).hexdigest()}.dcm")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read_image(folder)), voxels)


# What is not a scan


def test_no_such_file(tmp_path: Path) -> None:
    refused(tmp_path / "t1.nii.gz", "no such file")


@pytest.mark.parametrize("name", ["t1.nii.gz", "t1.nii", "t1.nrrd", "t1.mha", "t1.txt", "t1"])
@pytest.mark.parametrize("content", [b"", b"not an image at all\n" * 50])
def test_not_an_image(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    refused(tmp_path / name, "cannot be read as an image; give NIfTI, NRRD, MetaImage or a DICOM")


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("part", [0.02, 0.5, 0.9, 0.99])
def test_a_file_that_is_cut_off(
    write_image: Callable[..., Path], voxels: NDArray[np.float32], ending: str, part: float
) -> None:
    path = write_image(f"scan.{ending}", voxels)
    content = path.read_bytes()
    path.write_bytes(content[: round(part * len(content))])
    refused(path, "cut off|cannot be read as an image")


@pytest.mark.parametrize("missing", [1, 8, 20])
def test_a_nifti_file_without_its_last_bytes(
    write_image: Callable[..., Path], voxels: NDArray[np.float32], missing: int
) -> None:
    for ending in ("nii", "nii.gz"):
        path = write_image(f"scan.{ending}", voxels)
        path.write_bytes(path.read_bytes()[:-missing])
        refused(path, "cut off")
    complete = gzip.compress((write_image("scan.nii", voxels)).read_bytes()[:-missing])
    path.write_bytes(complete)
    refused(path, f"is cut off, {missing} bytes are missing")


def test_damaged_compression(write_image: Callable[..., Path], voxels: NDArray[np.float32]) -> None:
    path = write_image("scan.nii.gz", voxels)
    content = bytearray(path.read_bytes())
    content[-6] ^= 1  # the checksum of the content
    path.write_bytes(content)
    refused(path, "cannot be read|damaged")


def test_a_complete_file_of_any_format_passes(
    write_image: Callable[..., Path], voxels: NDArray[np.float32]
) -> None:
    for ending in ENDINGS:
        check_complete(write_image(f"scan.{ending}", voxels))
        check_complete(write_image(f"labels.{ending}", voxels.astype(np.uint8)))


@pytest.mark.parametrize("shape", [(9, 10), (3, 8, 9, 10)])
@pytest.mark.parametrize("ending", ["nii.gz", "nrrd", "mha"])
def test_other_dimensions(tmp_path: Path, shape: tuple[int, ...], ending: str) -> None:
    values = np.random.default_rng(0).random(shape).astype(np.float32)
    path = tmp_path / f"scan.{ending}"
    sitk.WriteImage(sitk.GetImageFromArray(values, isVector=False), str(path))
    size = "x".join(map(str, reversed(shape)))
    refused(path, rf"is {len(shape)}-D \({size}\); give one 3-D volume")


@pytest.mark.parametrize("ending", ["nii.gz", "nrrd", "mha"])
def test_colors_vectors_and_complex_numbers(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"scan.{ending}"
    pixels = np.random.default_rng(0).integers(0, 255, (6, 8, 10, 3))
    for image in (
        sitk.GetImageFromArray(pixels.astype(np.uint8), isVector=True),
        sitk.GetImageFromArray(pixels.astype(np.float32), isVector=True),
    ):
        sitk.WriteImage(image, str(path))
        refused(path, "is a color or vector image")
    sitk.WriteImage(sitk.GetImageFromArray(pixels[..., 0].astype(np.complex64)), str(path))
    nifti = ending == "nii.gz"
    refused(path, "holds complex numbers" if nifti else "is a color or vector image")


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_voxels_that_are_no_number(
    write_image: Callable[..., Path], voxels: NDArray[np.float32], broken: float
) -> None:
    voxels[1, 2, 3] = voxels[5, 7, 9] = broken
    for ending in ("nrrd", "mha", "nii", "nii.gz"):  # in NIfTI, ITK would make them 0
        path = write_image(f"scan.{ending}", voxels)
        refused(path, r"has 2 voxels that are not numbers \(NaN or infinite\)")


@pytest.mark.parametrize("data_type", ["<f4", ">f4", "<f8", ">f8"])
def test_voxels_of_every_float_type_of_nifti(
    tmp_path: Path, voxels: NDArray[np.float32], data_type: str
) -> None:
    nibabel = pytest.importorskip("nibabel")
    path = tmp_path / "scan.nii.gz"
    header = nibabel.Nifti1Header(endianness=data_type[0])
    header.set_data_dtype(data_type)
    nibabel.save(nibabel.Nifti1Image(voxels.T.astype(data_type), np.eye(4), header), path)
    np.testing.assert_allclose(sitk.GetArrayFromImage(read_image(path)), voxels, rtol=1e-6)
    voxels[1, 2, 3] = np.nan
    nibabel.save(nibabel.Nifti1Image(voxels.T.astype(data_type), np.eye(4), header), path)
    refused(path, "has 1 voxels that are not numbers")


@pytest.mark.parametrize("value", [0.0, -3.5])
def test_a_constant_image(write_image: Callable[..., Path], value: float) -> None:
    path = write_image("scan.nii.gz", np.full((6, 8, 10), value, dtype=np.float32))
    refused(path, f"is empty, every voxel has the value {value:g}")


@pytest.mark.parametrize("shape", [(1, 20, 20), (20, 20, 3), (2, 2, 2)])
def test_too_few_voxels(write_image: Callable[..., Path], shape: tuple[int, ...]) -> None:
    path = write_image("scan.nii.gz", np.random.default_rng(0).random(shape, dtype=np.float32))
    refused(path, "is too small to be a scan" if min(shape) > 1 else "too small|2-D")


@pytest.fixture
def no_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes it an error to read voxels."""

    def execute(self: sitk.ImageFileReader) -> None:
        pytest.fail("voxels were read")

    monkeypatch.setattr(sitk.ImageFileReader, "Execute", execute)


@pytest.mark.usefixtures("no_reading")
def test_a_header_that_lies_about_the_size_allocates_nothing(
    tmp_path: Path, write_image: Callable[..., Path], voxels: NDArray[np.float32]
) -> None:
    nifti = bytearray(write_image("scan.nii", voxels).read_bytes())
    path = tmp_path / "liar.nii"
    struct.pack_into("<3h", nifti, 42, 4000, 4000, 4000)
    path.write_bytes(nifti)
    refused(path, r"is absurdly large \(4000x4000x4000 voxels\)")
    struct.pack_into("<3h", nifti, 42, 500, 500, 500)
    path.write_bytes(nifti)
    refused(path, "is cut off, 499998080 bytes are missing")
    sitk.WriteImage(sitk.GetImageFromArray(voxels), str(tmp_path / "scan.mha"))
    meta = (tmp_path / "scan.mha").read_bytes()
    path = tmp_path / "liar.mha"
    path.write_bytes(meta.replace(b"DimSize = 10 8 6", b"DimSize = 99999 99999 99999"))
    refused(path, "is absurdly large")


@pytest.mark.parametrize("spacing", [(150.0, 1.0, 1.0), (1.0, 1.0, 0.001), (0.001, 0.001, 0.001)])
def test_a_spacing_that_makes_no_head(
    write_image: Callable[..., Path],
    voxels: NDArray[np.float32],
    spacing: tuple[float, float, float],
) -> None:
    path = write_image("scan.nrrd", voxels, spacing=spacing)
    refused(path, r"its header says a voxel spacing of \(.*\) mm, which makes no head")


def meta_image(tmp_path: Path, voxels: NDArray[np.float32], old: bytes, new: bytes) -> Path:
    """A MetaImage file with one line of its header changed."""
    path = tmp_path / "scan.mha"
    sitk.WriteImage(sitk.GetImageFromArray(voxels), str(path))
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))
    return path


MATRIX = b"TransformMatrix = 1 0 0 0 1 0 0 0 1"


@pytest.mark.parametrize("matrix", [b"1 0 0 0.5 1 0 0 0 1", b"2 0 0 0 2 0 0 0 2"])
def test_axes_that_are_not_at_right_angles(
    tmp_path: Path, voxels: NDArray[np.float32], matrix: bytes
) -> None:
    path = meta_image(tmp_path, voxels, MATRIX, b"TransformMatrix = " + matrix)
    refused(path, "its axes are not at right angles")


def test_slanted_axes_in_nifti(tmp_path: Path, voxels: NDArray[np.float32]) -> None:
    nibabel = pytest.importorskip("nibabel")
    path = tmp_path / "scan.nii.gz"
    slanted = np.eye(4) + np.eye(4, k=1) * 0.1
    slanted[2, 3] = 0.0
    image = nibabel.Nifti1Image(voxels, slanted)
    image.set_qform(None, 0)
    nibabel.save(image, path)
    refused(path, "its axes are not at right angles")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (MATRIX, b"TransformMatrix = 0 0 0 0 0 0 0 0 0"),
        (b"ElementSpacing = 1 1 1", b"ElementSpacing = 0 1 1"),
        (b"ElementSpacing = 1 1 1", b"ElementSpacing = nan 1 1"),
    ],
)
def test_a_header_without_sense(
    tmp_path: Path, voxels: NDArray[np.float32], old: bytes, new: bytes
) -> None:
    refused(meta_image(tmp_path, voxels, old, new), "header (makes no sense|says a voxel spacing)")


def test_a_place_that_is_no_number(
    write_image: Callable[..., Path], voxels: NDArray[np.float32]
) -> None:
    path = write_image("scan.nii", voxels)
    content = bytearray(path.read_bytes())
    struct.pack_into("<f", content, 292, float("nan"))  # last number of the first matrix row
    path.write_bytes(content)
    refused(path, "its header says no place in space")


@pytest.mark.parametrize("offset", [0.0, float("nan"), float("inf"), -352.0, 4.0, 352.5, 1e30])
@pytest.mark.parametrize("ending", ["nii", "nii.gz"])
def test_voxels_that_begin_where_they_cannot(
    write_image: Callable[..., Path], voxels: NDArray[np.float32], offset: float, ending: str
) -> None:
    path = write_image(f"scan.{ending}", voxels)
    content = path.read_bytes()
    changed = bytearray(gzip.decompress(content) if ending == "nii.gz" else content)
    struct.pack_into("<f", changed, 108, offset)
    path.write_bytes(gzip.compress(bytes(changed)) if ending == "nii.gz" else changed)
    refused(path, "its header says that the voxels begin at byte")


def test_nifti_of_other_kinds_is_named(
    tmp_path: Path, write_image: Callable[..., Path], voxels: NDArray[np.float32]
) -> None:
    content = bytearray(write_image("scan.nii", voxels).read_bytes())
    hidden = tmp_path / "hidden.nii"
    hidden.write_bytes(gzip.compress(bytes(content)))
    refused(hidden, "is gzip-compressed; name it .nii.gz")
    second = tmp_path / "second.nii"
    second.write_bytes(struct.pack("<i", 540) + b"n+2\0\r\n\x1a\n" + bytes(content[12:]))
    refused(second, "is NIfTI-2")
    struct.pack_into("<2h", content, 70, 32, 64)
    numbers = tmp_path / "complex.nii"
    numbers.write_bytes(bytes(content) * 2)
    refused(numbers, "holds complex numbers")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="has no named pipes")
def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "scan.nii")
    refused(tmp_path / "scan.nii", "is a pipe or device")


# DICOM folders


def test_folders_without_one_series(
    tmp_path: Path, write_dicom: Callable[..., Path], voxels: NDArray[np.float32]
) -> None:
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "the folder holds no DICOM series")
    write_dicom("two", voxels.astype(np.int16), series=1)
    folder = write_dicom("two", voxels.astype(np.int16), series=2)
    refused(folder, "the folder holds 2 DICOM series; give one folder a series")


def test_one_series_of_several_in_a_folder(
    write_dicom: Callable[..., Path], voxels: NDArray[np.float32], direction: NDArray[np.float64]
) -> None:
    if np.linalg.det(direction) < 0:
        direction = direction @ np.diag([1.0, 1.0, -1.0])  # DICOM's axes are right-handed
    write_dicom("two", voxels.astype(np.int16), series=1)
    folder = write_dicom("two", voxels[:, ::-1].astype(np.int16), direction=direction, series=2)
    first, second = (
        DicomSeries(folder, f"1.2.826.0.1.3680043.2.1125.{number}") for number in (1, 2)
    )
    image = read_image(second)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), voxels[:, ::-1])
    np.testing.assert_allclose(image.GetSpacing(), (0.9, 1.1, 3.0), rtol=1e-6)
    np.testing.assert_allclose(image.GetDirection(), direction.ravel(), atol=1e-6)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read_image(first)), voxels)
    case = read_case({"t1": first, "t2": second})
    assert case.paths == {"t1": first, "t2": second}
    content = b"".join(path.read_bytes() for path in sorted(folder.glob("1-*.dcm")))
    assert case.checksums["t1"] == hashlib.sha256(content).hexdigest() != case.checksums["t2"]


@pytest.mark.parametrize("lost", [1, 2, 4])
def test_a_series_with_a_slice_missing(
    write_dicom: Callable[..., Path], voxels: NDArray[np.float32], lost: int
) -> None:
    folder = write_dicom("series", voxels.astype(np.int16))
    sorted(folder.iterdir())[lost].unlink()
    refused(folder, "the slices are not evenly spaced")


def test_a_series_with_a_slice_there_twice(
    write_dicom: Callable[..., Path], voxels: NDArray[np.float32]
) -> None:
    folder = write_dicom("series", voxels.astype(np.int16))
    shutil.copy(sorted(folder.iterdir())[2], folder / "copy.dcm")
    refused(folder, "the slices are not evenly spaced")


def test_a_series_in_color(write_dicom: Callable[..., Path]) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (6, 8, 10, 3)).astype(np.uint8)
    refused(write_dicom("series", pixels), "is a color or vector image")


def test_a_series_of_few_slices(
    write_dicom: Callable[..., Path], voxels: NDArray[np.float32]
) -> None:
    refused(write_dicom("series", voxels[:2].astype(np.int16)), r"too small .*\(10x8x2 voxels\)")


# Cases


def test_a_case(write_image: Callable[..., Path], voxels: NDArray[np.float32]) -> None:
    paths = {
        "flair": write_image("a.nii.gz", voxels),
        "t1": write_image("b.nrrd", voxels[::-1], **GEOMETRY | {"origin": (0.0, 0.0, 0.0)}),
    }
    case = read_case(paths)
    assert list(case.images) == ["flair", "t1"]
    np.testing.assert_array_equal(sitk.GetArrayFromImage(case.images["t1"]), voxels[::-1])
    assert case.paths == paths
    for name, path in paths.items():
        assert case.checksums[name] == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_case_without_scans() -> None:
    with pytest.raises(InputError, match="no scan given"):
        read_case({})


def test_the_same_scan_twice(
    tmp_path: Path, write_image: Callable[..., Path], voxels: NDArray[np.float32]
) -> None:
    path = write_image("a.nii.gz", voxels)
    copy = tmp_path / "copy.nii.gz"
    shutil.copy(path, copy)
    other_format = write_image("converted.nrrd", voxels)
    unlike = write_image("unlike.nrrd", voxels + 1)
    for again in (path, copy, other_format):
        with pytest.raises(InputError) as caught:
            read_case({"t2": unlike, "t1": path, "flair": again})
        assert str(caught.value).startswith(
            f"{again}: given as flair is the same scan as {path}, given as t1; "
        )


def test_boxes_in_space(
    make_image: Callable[..., sitk.Image],
    voxels: NDArray[np.float32],
    direction: NDArray[np.float64],
) -> None:
    image = make_image(voxels, **GEOMETRY, direction=direction)
    spacing, origin = np.array(GEOMETRY["spacing"]), np.array(GEOMETRY["origin"])
    for start, stop in (((0, 0, 0), (10, 8, 6)), ((2, 3, 1), (9, 5, 4))):
        indices = np.stack(
            np.meshgrid(*map(np.arange, start, stop), indexing="ij"), axis=-1
        ).reshape(-1, 3)
        places = origin + (indices * spacing) @ direction.T
        low, high = physical_box(image, start, stop)
        np.testing.assert_allclose(low, places.min(axis=0), atol=1e-9)
        np.testing.assert_allclose(high, places.max(axis=0), atol=1e-9)
    np.testing.assert_array_equal(physical_box(image), physical_box(image, (0, 0, 0), (10, 8, 6)))


def test_overlap_needs_all_three_axes(
    make_image: Callable[..., sitk.Image], voxels: NDArray[np.float32]
) -> None:
    first = make_image(voxels)  # 10 x 8 x 6 mm
    assert overlap(first, make_image(voxels, origin=(8.0, 6.0, 4.0)))
    assert overlap(first, make_image(voxels, origin=(-8.0, -6.0, -4.0)))
    for apart in ((9.5, 0.0, 0.0), (0.0, 7.5, 0.0), (0.0, 0.0, 5.5), (0.0, 0.0, -5.5)):
        assert not overlap(first, make_image(voxels, origin=apart))
        assert not overlap(make_image(voxels, origin=apart), first)


# Label maps


def test_a_label_map(write_image: Callable[..., Path], direction: NDArray[np.float64]) -> None:
    labels = np.random.default_rng(0).choice([0, 1, 2, 4, 255], (6, 8, 10)).astype(np.float64)
    path = write_image("seg.nii.gz", labels, **GEOMETRY, direction=direction)
    image = read_label_map(path)
    assert image.GetPixelID() == sitk.sitkUInt8
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), labels)
    np.testing.assert_allclose(image.GetDirection(), direction.ravel(), atol=1e-6)


def test_an_empty_label_map_is_one(write_image: Callable[..., Path]) -> None:
    image = read_label_map(write_image("seg.nii.gz", np.zeros((6, 8, 10), dtype=np.uint8)))
    assert not sitk.GetArrayFromImage(image).any()


@pytest.mark.parametrize("value", [0.5, 2.001, -1.0, 256.0, 1e30, np.nan, np.inf])
def test_values_that_are_no_labels(write_image: Callable[..., Path], value: float) -> None:
    labels = np.zeros((6, 8, 10), dtype=np.float32)
    labels[1, 2, 3] = value
    refused(write_image("seg.nrrd", labels), "is not a label map", read_label_map)


# Chance


@pytest.mark.parametrize("ending", ["nii", "nii.gz", "nrrd", "mha"])
def test_damaged_files_are_read_or_refused(
    tmp_path: Path, write_image: Callable[..., Path], voxels: NDArray[np.float32], ending: str
) -> None:
    content = write_image(f"scan.{ending}", voxels).read_bytes()
    path = tmp_path / f"damaged.{ending}"
    chance = random.Random(0)  # noqa: S311
    refusals = 0
    for _ in range(150):
        damaged = bytearray(content)
        for _ in range(chance.randint(1, 6)):
            header = chance.random() < 0.8
            damaged[chance.randrange(min(352, len(damaged)) if header else len(damaged))] = (
                chance.randrange(256)
            )
        path.write_bytes(damaged)
        try:
            image = read_image(path)
        except InputError as error:
            refusals += 1
            assert str(error).startswith(f"{path}: ")
        else:
            assert image.GetDimension() == 3
            assert np.isfinite(sitk.GetArrayViewFromImage(image)).all()
            assert np.isfinite(physical_box(image)).all()
    assert refusals > 10


def test_damaged_dicom_is_read_or_refused(
    write_dicom: Callable[..., Path], voxels: NDArray[np.float32]
) -> None:
    folder = write_dicom("series", voxels.astype(np.int16))
    path = sorted(folder.iterdir())[3]
    content = path.read_bytes()
    chance = random.Random(0)  # noqa: S311
    refusals = 0
    for _ in range(60):
        damaged = bytearray(content)
        for _ in range(chance.randint(1, 10)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        path.write_bytes(damaged[: chance.randint(1, len(damaged))])
        try:
            assert read_image(folder).GetDimension() == 3
        except InputError as error:
            refusals += 1
            assert str(error).startswith(f"{folder}: ")
    assert refusals > 10


# Maps of measured values


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_map_has_nan_where_it_has_no_number(
    write_image: Callable[..., Path], voxels: NDArray[np.float32], ending: str, kind: type
) -> None:
    """ITK alone reads these voxels of NIfTI as 0."""
    stored = voxels.astype(kind)
    stored[1, 2, 3], stored[4, 5, 6], stored[0, 0, 1] = np.nan, np.inf, 0
    image, warnings = read_map(write_image(f"adc.{ending}", stored, **GEOMETRY))
    stored[4, 5, 6] = np.nan
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), stored)
    assert not warnings


def test_a_map_that_is_cut_off_is_refused(
    write_image: Callable[..., Path], voxels: NDArray[np.float32]
) -> None:
    path = write_image("adc.nii", voxels)
    path.write_bytes(path.read_bytes()[:-8])
    refused(path, "is cut off, 8 bytes are missing", lambda given: read_map(given)[0])
