"""DICOM as archives, anonymizers and interrupted copies leave it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from MISSUCore.core.errors import InputError
from MISSUCore.io.geometry import shrink_factors
from MISSUCore.io.reading import read_image
from MISSUCore.preprocessing.brain_extraction import has_skull
from MISSUCore.sequences.case_folder import FoundCase, find_case

pydicom = pytest.importorskip("pydicom")
# Names of pydicom 2.4, which pydicom 3 still takes.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
ROOT = "1.2.826.0.1.3680043.2.1125"
MR, ENHANCED_MR, SECONDARY_CAPTURE = (
    f"1.2.840.10008.5.1.4.1.1.{kind}" for kind in ("4", "4.1", "7")
)
EXPLICIT = "1.2.840.10008.1.2.1"
RLE = "1.2.840.10008.1.2.5"
SLICES = 12


def pixels(seed: int, slices: int = SLICES) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 1000, (slices, 16, 14)).astype(np.uint16)


def data_set(voxels: np.ndarray, number: int, index: int, description: str, **changes: Any) -> Any:
    """A slice, or several frames, with attributes changed or, where they are None, left out."""
    made = pydicom.Dataset()
    values: dict[str, Any] = {
        "SOPClassUID": MR,
        "SOPInstanceUID": f"{ROOT}.{number}.{index + 1}",
        "SeriesInstanceUID": f"{ROOT}.{number}",
        "StudyInstanceUID": f"{ROOT}.999",
        "PatientID": "P1",
        "Modality": "MR",
        "SeriesDescription": description,
        "SliceThickness": "3",
        "PixelSpacing": [2, 2],
        "ImagePositionPatient": [-10, -20, 3 * index],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "Rows": voxels.shape[-2],
        "Columns": voxels.shape[-1],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 0,
        "PixelData": voxels.tobytes(),
        **changes,
    }
    for keyword, value in values.items():
        if value is not None:
            setattr(made, keyword, value)
    return made


def save(made: Any, path: Path, syntax: str = EXPLICIT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    made.file_meta = pydicom.dataset.FileMetaDataset()
    made.file_meta.TransferSyntaxUID = EXPLICIT
    if syntax != EXPLICIT:
        made.compress(syntax, encoding_plugin="pydicom")
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    made.is_little_endian, made.is_implicit_VR = True, False
    pydicom.dcmwrite(str(path), made, write_like_original=False)
    return path


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., list[Path]]:
    """Function that writes a series into a folder and gives its files."""

    def write_series(
        folder: str,
        number: int,
        description: str,
        shift_mm: float = 0.0,
        ending: str = ".dcm",
        syntax: str = EXPLICIT,
        **changes: Any,
    ) -> list[Path]:
        paths = []
        for index, voxels in enumerate(pixels(number)):
            made = data_set(voxels, number, index, description, **changes)
            if shift_mm:
                made.ImagePositionPatient = [-10, -20 + shift_mm * index, 3 * index]
            path = tmp_path / folder / f"{number}_{index:03d}{ending}"
            paths.append(save(made, path, syntax))
        return paths

    return write_series


def reasons(found: FoundCase) -> str:
    return "; ".join(f"{source}: {why}" for source, why in found.left_over.items())


def voxels_of(source: Any) -> np.ndarray:
    return sitk.GetArrayFromImage(read_image(source))


# Damaged files


@pytest.mark.parametrize("length", [0, 100, 500, -2])
@pytest.mark.parametrize("ending", [".dcm", ""])
@pytest.mark.parametrize("syntax", [EXPLICIT, RLE])
def test_damaged_files_are_named(
    tmp_path: Path, write: Callable[..., list[Path]], length: int, ending: str, syntax: str
) -> None:
    write("t1", 1, "AX T1")
    if syntax == RLE and length == -2:
        length = -20  # what is behind the last fragment may be missing
    for path in write("t2", 2, "AX T2", ending=ending, syntax=syntax)[-2:]:
        path.write_bytes(path.read_bytes()[: length or 0])
    found = find_case(tmp_path)
    assert list(found.scans) == ["t1"]
    message = f"2_010{ending}, 2_011{ending}: is damaged or cut off"
    assert message in reasons(found)
    with pytest.raises(InputError, match=message):
        read_image(tmp_path / "t2")


def test_reports_and_notes_are_no_damage(tmp_path: Path, write: Callable[..., list[Path]]) -> None:
    write("t1", 1, "AX T1")
    report = data_set(pixels(1)[0], 1, 50, "report", Rows=None, Columns=None, PixelData=None)
    report.SOPClassUID = "1.2.840.10008.5.1.4.1.1.88.11"  # Basic Text SR
    save(report, tmp_path / "t1" / "report.dcm")
    (tmp_path / "t1" / "notes.txt").write_bytes(b"")
    assert list(find_case(tmp_path).scans) == ["t1"]
    assert voxels_of(tmp_path / "t1").shape == (SLICES, 16, 14)


# Attributes that are missing


@pytest.mark.parametrize("spacing", [None, [0, 0]])
def test_pixels_without_a_size(
    tmp_path: Path, write: Callable[..., list[Path]], spacing: list[int] | None
) -> None:
    write("t1", 1, "AX T1", PixelSpacing=spacing)
    with pytest.raises(InputError, match="does not say how large its pixels are"):
        find_case(tmp_path)
    with pytest.raises(InputError, match="does not say how large its pixels are"):
        read_image(tmp_path / "t1")


def test_slices_without_a_place(tmp_path: Path, write: Callable[..., list[Path]]) -> None:
    write("t1", 1, "AX T1", ImagePositionPatient=None)
    with pytest.raises(InputError, match="slice 0 does not say where it is"):
        read_image(tmp_path / "t1")
    with pytest.raises(InputError, match="does not say where its slices are"):
        find_case(tmp_path)


def test_slices_without_a_direction(tmp_path: Path, write: Callable[..., list[Path]]) -> None:
    write("t1", 1, "AX T1", ImageOrientationPatient=None)
    for read in (find_case, lambda folder: read_image(folder / "t1")):
        with pytest.raises(InputError, match="does not say in which direction its slices lie"):
            read(tmp_path)


def test_pixels_of_several_sizes(tmp_path: Path, write: Callable[..., list[Path]]) -> None:
    paths = write("t1", 1, "AX T1")
    for path in paths[::2]:
        made = pydicom.dcmread(path)
        made.PixelSpacing = [1.5, 1.5]
        made.save_as(path)
    for read in (find_case, lambda folder: read_image(folder / "t1")):
        with pytest.raises(InputError, match=r"pixels of several sizes \(Pixel Spacing\)"):
            read(tmp_path)


def test_a_tilted_gantry(tmp_path: Path, write: Callable[..., list[Path]]) -> None:
    write("t1", 1, "AX T1", shift_mm=0.8)
    for read in (find_case, lambda folder: read_image(folder / "t1")):
        with pytest.raises(InputError, match="gantry tilt"):
            read(tmp_path)


def test_files_without_preamble(tmp_path: Path, write: Callable[..., list[Path]]) -> None:
    for path in write("t1", 1, "AX T1", ending=""):
        made = pydicom.dcmread(path)
        content = path.read_bytes()
        # The data set alone: behind preamble, mark and the group of the file's meta information.
        length = 144 + made.file_meta.FileMetaInformationGroupLength
        path.write_bytes(content[length:])
    found = find_case(tmp_path)
    assert list(found.scans) == ["t1"]
    np.testing.assert_array_equal(voxels_of(found.scans["t1"]), pixels(1))


# Series that are mixed


def test_one_uid_for_two_series(tmp_path: Path, write: Callable[..., list[Path]]) -> None:
    shared = f"{ROOT}.77"
    write("a", 1, "AX T1", SeriesInstanceUID=shared)
    write("b", 2, "AX T1 GD", SeriesInstanceUID=shared)
    write("c", 3, "AX T2")
    found = find_case(tmp_path)
    assert list(found.scans) == ["t1", "t1ce", "t2"]
    np.testing.assert_array_equal(voxels_of(found.scans["t1ce"]), pixels(2))


def test_one_uid_for_two_series_of_a_folder(
    tmp_path: Path, write: Callable[..., list[Path]]
) -> None:
    shared = f"{ROOT}.77"
    write("a", 1, "AX T1", SeriesInstanceUID=shared)
    write("a", 2, "AX T1 GD", SeriesInstanceUID=shared)
    found = find_case(tmp_path)
    for number, name in enumerate(("t1", "t1ce"), start=1):
        np.testing.assert_array_equal(voxels_of(found.scans[name]), pixels(number))


def test_a_picture_among_the_slices(tmp_path: Path, write: Callable[..., list[Path]]) -> None:
    write("t1", 1, "AX T1")
    picture = data_set(
        pixels(5)[0],
        *(1, 30, "AX T1"),
        SOPClassUID=SECONDARY_CAPTURE,
        ImageOrientationPatient=[0, 1, 0, 0, 0, -1],
    )
    save(picture, tmp_path / "t1" / "capture.dcm")
    found = find_case(tmp_path)
    assert list(found.scans) == ["t1"]
    assert "capture.dcm: is a picture among the slices of" in reasons(found)
    np.testing.assert_array_equal(voxels_of(found.scans["t1"]), pixels(1))
    np.testing.assert_array_equal(voxels_of(tmp_path / "t1"), pixels(1))


def test_the_agent_in_all_series(tmp_path: Path, write: Callable[..., list[Path]]) -> None:
    for number, name in enumerate(("AX T1", "AX T1 GD", "AX T2"), start=1):
        write(f"s{number}", number, name, ContrastBolusAgent="Gadovist")
    found = find_case(tmp_path)
    assert {name: scan.uid for name, scan in found.scans.items()} == {  # type: ignore[union-attr]
        "t1": f"{ROOT}.1",
        "t1ce": f"{ROOT}.2",
        "t2": f"{ROOT}.3",
    }


# Frames


def enhanced(slopes: Sequence[float | None], syntax: str, path: Path, places: bool = True) -> None:
    """A file of frames, each with its own scale, unless its slope is None."""
    stored = pixels(4)
    made = data_set(
        stored,
        *(4, 0, "AX T1"),
        **dict.fromkeys(("ImagePositionPatient", "PixelSpacing", "ImageOrientationPatient")),
        SOPClassUID=ENHANCED_MR,
        NumberOfFrames=len(stored),
    )

    def group(**values: Any) -> Any:
        item = pydicom.Dataset()
        for keyword, value in values.items():
            setattr(item, keyword, value)
        return item

    made.SharedFunctionalGroupsSequence = [
        group(
            PlaneOrientationSequence=[group(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
            PixelMeasuresSequence=[group(PixelSpacing=[2, 2], SliceThickness=3)],
        )
    ]
    frames = []
    for index, slope in enumerate(slopes):
        place = [group(ImagePositionPatient=[-10, -20, 3 * index])]
        frame = group(PlanePositionSequence=place) if places else group()
        if slope is not None:
            scale = group(RescaleSlope=slope, RescaleIntercept=index, RescaleType="US")
            frame.PixelValueTransformationSequence = [scale]
        frames.append(frame)
    made.PerFrameFunctionalGroupsSequence = frames
    save(made, path, syntax)


@pytest.mark.parametrize("syntax", [EXPLICIT, RLE])
def test_each_frame_has_its_own_scale(tmp_path: Path, syntax: str) -> None:
    slopes = [1 + 0.5 * (index % 4) for index in range(SLICES)]
    enhanced(slopes, syntax, tmp_path / "t1" / "frames.dcm")
    expected = pixels(4) * np.array(slopes)[:, None, None] + np.arange(SLICES)[:, None, None]
    (source,) = find_case(tmp_path).scans.values()
    for read in (source, tmp_path / "t1", tmp_path / "t1" / "frames.dcm"):
        np.testing.assert_allclose(voxels_of(read), expected)


def test_frames_of_which_some_have_no_scale(tmp_path: Path) -> None:
    enhanced([None if index % 3 else 2.0 for index in range(SLICES)], EXPLICIT, tmp_path / "a.dcm")
    for read in (find_case, read_image, lambda folder: read_image(folder / "a.dcm")):
        with pytest.raises(InputError, match="says of some frames only how their values are sca"):
            read(tmp_path)


def test_frames_without_a_scale_are_taken_as_they_are(tmp_path: Path) -> None:
    enhanced([None] * SLICES, EXPLICIT, tmp_path / "a.dcm")
    np.testing.assert_array_equal(voxels_of(tmp_path / "a.dcm"), pixels(4))


def test_frames_without_a_place(tmp_path: Path) -> None:
    enhanced([1.0] * SLICES, EXPLICIT, tmp_path / "t2" / "frames.dcm", places=False)
    for given in (tmp_path / "t2", tmp_path / "t2" / "frames.dcm"):
        with pytest.raises(InputError, match="slice 0 does not say where it is"):
            read_image(given)
    with pytest.raises(InputError, match="does not say where its slices are"):
        find_case(tmp_path)


# Thin volumes


def test_a_volume_thinner_than_a_coarse_voxel() -> None:
    image = sitk.GetImageFromArray(pixels(1, slices=5).astype(np.float32))
    image.SetSpacing((1, 1, 0.3))
    assert has_skull(image) in (True, False)
    assert sitk.BinShrink(image, shrink_factors(image, 4.0)).GetSize() == (3, 4, 1)
