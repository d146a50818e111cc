"""Scans are found in folders as hospitals, archives and people leave them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
import SimpleITK as sitk

from MISSUCore.core.errors import InputError
from MISSUCore.core.events import Progress
from MISSUCore.io.dicom import DicomSeries
from MISSUCore.io.reading import checksum, read_case, read_image
from MISSUCore.sequences.case_folder import MINIMUM_SLICES, FoundCase, find_case

WriteImage = Callable[..., Path]
WriteSeries = Callable[..., DicomSeries]
ROOT = "1.2.826.0.1.3680043.2.1125"


def noise(slices: int = 12, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 1000, (slices, 16, 14)).astype(np.int16)


def found_names(found: FoundCase) -> dict[str, str]:
    return {name: source.name for name, source in found.scans.items() if isinstance(source, Path)}


def reason(found: FoundCase, name: str) -> str:
    (told,) = (why for source, why in found.left_over.items() if name in str(source))
    return told


@pytest.fixture
def write_file(tmp_path: Path, write_image: WriteImage) -> WriteImage:
    """Function that writes a scan into a subfolder, each with voxels of its own."""

    def write(name: str, voxels: np.ndarray | None = None, **geometry: object) -> Path:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        return write_image(
            name, noise(seed=crc32(name.encode())) if voxels is None else voxels, **geometry
        )

    return write


@pytest.fixture
def write_series(tmp_path: Path) -> WriteSeries:
    """Function that writes a DICOM series with attributes into a folder, among others."""

    def write(
        folder: str,
        number: int,
        description: str,
        slices: int = 12,
        ending: str = ".dcm",
        slice_mm: float = 3.0,
        pixel_mm: float = 1.0,
        first_mm: float = 0.0,
        pixels: int = 16,
        **tags: str,
    ) -> DicomSeries:
        place = tmp_path / folder
        place.mkdir(parents=True, exist_ok=True)
        writer = sitk.ImageFileWriter()
        writer.SetImageIO("GDCMImageIO")
        writer.KeepOriginalImageUIDOn()
        uid = f"{ROOT}.{number}"
        for index, voxels in enumerate(noise(slices, number)):
            image = sitk.GetImageFromArray(voxels[:pixels])
            image.SetSpacing((pixel_mm, pixel_mm))
            values = {
                "0008|0016": "1.2.840.10008.5.1.4.1.1.4",  # MR Image Storage
                "0008|0018": f"{uid}.{index + 1}",
                "0008|0060": "MR",
                "0008|103e": description,
                "0010|0020": "P1",
                "0018|0050": f"{slice_mm}",
                "0020|000d": f"{ROOT}.999",
                "0020|000e": uid,
                "0020|0011": f"{number}",
                "0020|0013": f"{index + 1}",
                "0020|0032": f"-10\\-20\\{first_mm + index * slice_mm}",
                "0020|0037": "1\\0\\0\\0\\1\\0",
                **{tag.replace("_", "|").lstrip("x"): value for tag, value in tags.items()},
            }
            for tag, value in values.items():
                image.SetMetaData(tag, value)
            writer.SetFileName(str(place / f"IM{number:02d}{index:03d}.dcm"))
            writer.Execute(image)
            if ending != ".dcm":
                (place / f"IM{number:02d}{index:03d}.dcm").rename(
                    place / f"IM{number:02d}{index:03d}{ending}"
                )
        return DicomSeries(place, uid)

    return write


# Image files


def test_a_brats_case(tmp_path: Path, write_file: WriteImage) -> None:
    for name in ("t1n", "t1c", "t2w", "t2f", "seg"):
        write_file(f"BraTS-GLI-00001-000-{name}.nii.gz")
    found = find_case(tmp_path)
    assert found_names(found) == {
        "t1": "BraTS-GLI-00001-000-t1n.nii.gz",
        "t1ce": "BraTS-GLI-00001-000-t1c.nii.gz",
        "t2": "BraTS-GLI-00001-000-t2w.nii.gz",
        "flair": "BraTS-GLI-00001-000-t2f.nii.gz",
    }
    assert list(found.scans) == list(found.guesses) == ["t1", "t1ce", "t2", "flair"]
    assert found.guesses["t1ce"].reason == "name 'BraTS-GLI-00001-000-t1c.nii.gz'"
    assert reason(found, "seg").startswith("a segmentation")
    read_case(found.scans)


def test_files_at_any_depth_in_any_format(tmp_path: Path, write_file: WriteImage) -> None:
    write_file("anat/sub-01_T1w.nii")
    write_file("anat/post/sub-01_ce-gadolinium_T1w.nrrd")
    write_file("b/FLAIR/scan.mha")  # only its folder says
    write_file("dwi/sub-01_dwi.nii.gz")
    write_file(".hidden/t2.nii.gz")
    (tmp_path / "._t2.nii.gz").write_bytes(b"left by macOS")
    (tmp_path / "notes.txt").write_text("T2 is missing")
    found = find_case(tmp_path)
    assert found_names(found) == {
        "t1": "sub-01_T1w.nii",
        "t1ce": "sub-01_ce-gadolinium_T1w.nrrd",
        "flair": "scan.mha",
    }
    assert [path.name for path in found.left_over if isinstance(path, Path)] == [
        "sub-01_dwi.nii.gz"
    ]
    assert reason(found, "dwi").startswith("a diffusion scan")


def test_finer_voxels_win(tmp_path: Path, write_file: WriteImage) -> None:
    write_file("AX_T2.nii.gz", spacing=(0.5, 0.5, 5.0))
    write_file("SAG_T2_CUBE.nii.gz", spacing=(1.0, 1.0, 1.0))
    found = find_case(tmp_path)
    assert found_names(found) == {"t2": "SAG_T2_CUBE.nii.gz"}
    assert "the finest or surest of 2" in found.guesses["t2"].reason
    assert "t2 too, but coarser" in reason(found, "AX_T2")


def test_equals_are_left_out(tmp_path: Path, write_file: WriteImage) -> None:
    write_file("a/T2.nii.gz")
    write_file("b/T2.nii.gz")
    write_file("FLAIR.nii.gz")
    found = find_case(tmp_path)
    assert list(found.scans) == ["flair"]
    assert all("not to be told apart" in why for why in found.left_over.values())


def test_what_is_no_volume_is_left_over(tmp_path: Path, write_file: WriteImage) -> None:
    write_file("t1.nii.gz", noise(MINIMUM_SLICES))
    write_file("t2.nii.gz", noise(MINIMUM_SLICES - 1))
    (tmp_path / "flair.nii.gz").write_bytes(b"no image at all" * 99)
    series = sitk.GetImageFromArray(np.stack([noise()] * 3), isVector=False)
    sitk.WriteImage(series, str(tmp_path / "t1c.nii.gz"))
    colors = sitk.GetImageFromArray(np.zeros((12, 12, 12, 3), np.uint8), isVector=True)
    sitk.WriteImage(colors, str(tmp_path / "t1gd.mha"))
    found = find_case(tmp_path)
    assert found_names(found) == {"t1": "t1.nii.gz"}
    assert reason(found, "t2.nii") == f"has only {MINIMUM_SLICES - 1} slices"
    assert reason(found, "flair") == "cannot be read as an image"
    assert reason(found, "t1c.nii") == "is 4-D"
    assert reason(found, "t1gd") == "is a color or vector image"


def test_attributes_beside_a_file(tmp_path: Path, write_file: WriteImage) -> None:
    write_file("5_head.nii.gz")
    facts = {
        "Modality": "MR",
        "ScanningSequence": "SE\\IR",
        "ImageType": ["ORIGINAL", "PRIMARY", "M"],
        "EchoTime": 0.12,
        "RepetitionTime": 9,
        "InversionTime": 2.5,
    }
    (tmp_path / "5_head.json").write_text(json.dumps(facts))
    found = find_case(tmp_path)
    assert found_names(found) == {"flair": "5_head.nii.gz"}
    assert "inversion time 2500 ms" in found.guesses["flair"].reason


# DICOM


def test_series_in_one_folder_without_endings(tmp_path: Path, write_series: WriteSeries) -> None:
    written = {
        "t1": write_series("dicom", 1, "AX T1 PRE", ending="", x0018_0010="GADAVIST"),
        "t1ce": write_series("dicom", 2, "AX T1 POST", ending="", x0018_0010="GADAVIST"),
        "t2": write_series("dicom", 3, "t2_tse_tra", ending=""),
        "flair": write_series("dicom", 4, "t2_tirm_tra_dark-fluid", ending=""),
    }
    adc = write_series("dicom", 5, "ep2d_diff_ADC", ending="")
    (tmp_path / "dicom" / "DICOMDIR").write_bytes(bytes(128) + b"DICM" + bytes(64))
    found = find_case(tmp_path)
    assert found.scans == written
    assert found.guesses["t1ce"].reason == (
        "series description 'AX T1 POST'; contrast agent GADAVIST"
    )
    assert list(found.left_over) == [adc]
    case = read_case(found.scans)
    for number, image in enumerate(case.images.values(), start=1):
        np.testing.assert_array_equal(sitk.GetArrayFromImage(image), noise(seed=number))
        assert image.GetSpacing() == (1.0, 1.0, 3.0)
    assert len(set(case.checksums.values())) == 4
    assert str(found.scans["t1ce"]) == f"{tmp_path / 'dicom'} (DICOM series AX T1 POST)"


def test_a_series_alone_has_the_checksum_of_its_folder(write_series: WriteSeries) -> None:
    series = write_series("one", 1, "AX T2")
    assert checksum(series) == checksum(series.folder)


def test_a_series_that_is_not_there(write_series: WriteSeries) -> None:
    series = write_series("one", 1, "AX T2")
    with pytest.raises(InputError, match="the folder holds no such series"):
        read_image(DicomSeries(series.folder, "1.2.3"))


def test_times_tell_where_descriptions_do_not(tmp_path: Path, write_series: WriteSeries) -> None:
    times = {"x0018_0020": "SE", "x0018_0080": "5000", "x0018_0081": "100"}
    t2 = write_series("a", 1, "head", **times)
    assert find_case(tmp_path).scans == {"t2": t2}


def test_the_folder_of_a_series_tells(tmp_path: Path, write_series: WriteSeries) -> None:
    flair = write_series("study/12-AX_FLAIR", 1, "")
    assert find_case(tmp_path).scans == {"flair": flair}


def test_original_before_derived(tmp_path: Path, write_series: WriteSeries) -> None:
    original = write_series("a", 1, "FLAIR 3D", slice_mm=1.5)
    derived = write_series("a", 2, "FLAIR 3D", x0008_0008="DERIVED\\SECONDARY\\MPR", slice_mm=1.0)
    found = find_case(tmp_path)
    assert found.scans == {"flair": original}
    assert list(found.left_over) == [derived]


def test_gaps_between_slices_count(tmp_path: Path, write_series: WriteSeries) -> None:
    thick = write_series("a", 1, "AX T2", slice_mm=6.0, pixel_mm=0.9, x0018_0050="1")
    thin = write_series("a", 2, "COR T2", slice_mm=4.0, pixel_mm=1.0)
    found = find_case(tmp_path)
    assert found.scans == {"t2": thin}
    assert list(found.left_over) == [thick]


def test_series_that_are_no_single_volume(tmp_path: Path, write_series: WriteSeries) -> None:
    write_series("a", 1, "AX T1")
    write_series("a", 2, "T2 cor", slices=5)
    write_series("a", 3, "FLAIR", ending=".echo1")
    write_series("a", 3, "FLAIR", ending=".echo2")
    write_series("a", 4, "T2 tra", ending=".axial")
    write_series("a", 4, "T2 tra", ending=".sagittal", x0020_0037="0\\1\\0\\0\\0\\1")
    found = find_case(tmp_path)
    assert list(found.scans) == ["t1"]
    assert reason(found, "T2 cor") == "has only 5 slices"
    assert reason(found, "FLAIR") == "has several images of each slice"
    assert reason(found, "T2 tra") == "has slices in several directions, as a localizer"


def test_why_a_series_is_no_volume(tmp_path: Path, write_series: WriteSeries) -> None:
    write_series("a", 1, "T1")
    for path in write_series("a", 2, "T2").files():
        path.write_bytes(path.read_bytes().replace(b"\x20\0\x32\0", b"\x20\0\x33\0"))
    write_series("a", 3, "FLAIR", ending=".first")
    write_series("a", 3, "FLAIR", ending=".second", slices=1, slice_mm=99, pixels=8)
    found = find_case(tmp_path)
    assert list(found.scans) == ["t1"]
    assert reason(found, "T2") == "does not say where its slices are"
    assert reason(found, "FLAIR") == "has slices of several sizes"


def test_directions_that_were_rounded_differently(
    tmp_path: Path, write_series: WriteSeries
) -> None:
    for ending, direction in ((".a", "1\\0\\0\\0\\1\\0"), (".b", "1\\0\\1e-5\\0\\1\\-1e-5")):
        # Every other slice.
        first = 0.0 if ending == ".a" else 3.0
        write_series(
            "a", 1, "T1", ending=ending, first_mm=first, slice_mm=6.0, x0020_0037=direction
        )
    assert list(find_case(tmp_path).scans) == ["t1"]


def test_a_copy_in_another_folder(tmp_path: Path, write_series: WriteSeries) -> None:
    series = write_series("a", 1, "AX T1")
    write_series("b", 1, "AX T1")
    found = find_case(tmp_path)
    assert found.scans == {"t1": series}
    assert list(found.left_over.values()) == [f"is a copy of {tmp_path / 'a'} (DICOM series AX T1)"]


def test_a_series_in_pieces(tmp_path: Path, write_series: WriteSeries) -> None:
    write_series("a", 1, "AX T1")
    write_series("b", 1, "AX T1", first_mm=36.0)
    with pytest.raises(InputError, match="has its files in several folders; put them into one"):
        find_case(tmp_path)


@pytest.mark.parametrize(
    ("character_set", "codec", "description", "sequence"),
    [
        ("ISO_IR 100", "latin_1", "T1 après gado", "t1ce"),
        ("ISO_IR 101", "iso8859_2", "T1 po kontraście", "t1ce"),
        ("ISO_IR 144", "iso8859_5", "T1 без контраста", "t1"),
        ("ISO_IR 192", "utf_8", "T1 造影後", "t1ce"),
        ("\\ISO 2022 IR 87", "iso2022_jp", "T1 造影", "t1ce"),
        ("GB18030", "gb18030", "T1 增强", "t1ce"),
        ("", "utf_8", "T1 nach KM", "t1ce"),
    ],
)
def test_descriptions_in_any_character_set(
    tmp_path: Path,
    write_series: WriteSeries,
    character_set: str,
    codec: str,
    description: str,
    sequence: str,
) -> None:
    raw = description.encode(codec)
    series = write_series("a", 1, "X" * len(raw), x0008_0005=character_set)
    for path in series.files():
        path.write_bytes(path.read_bytes().replace(b"X" * len(raw), raw))
    (found,) = find_case(tmp_path).guesses.items()
    assert found[0] == sequence
    assert found[1].reason == f"series description '{description}'"


@pytest.mark.parametrize(
    ("tag", "message"),
    [("x0010_0020", "several patients"), ("x0020_000d", "2 examinations")],
)
def test_one_examination_of_one_patient(
    tmp_path: Path, write_series: WriteSeries, tag: str, message: str
) -> None:
    write_series("a", 1, "AX T1")
    write_series("b", 2, "AX T2", **{tag: "1.2.3"})
    with pytest.raises(InputError, match=message):
        find_case(tmp_path)


def test_the_finer_of_two_examinations_is_no_choice(
    tmp_path: Path, write_series: WriteSeries
) -> None:
    write_series("a", 1, "AX T1")
    follow_up = write_series("b", 2, "AX T1", slice_mm=1.0, x0020_000d="1.2.3")
    with pytest.raises(InputError, match="2 examinations"):
        find_case(tmp_path)
    # What was computed elsewhere from a scan that is there does no harm.
    write_series("b", 2, "AX T1", slice_mm=1.0, x0020_000d="1.2.3", x0008_0008="DERIVED\\MPR")
    assert list(find_case(tmp_path).left_over) == [follow_up]


def test_series_without_numbers_of_two_days(tmp_path: Path, write_series: WriteSeries) -> None:
    nobody = {"x0010_0020": "", "x0020_000d": ""}
    write_series("a", 1, "AX T1", x0008_0020="20190301", **nobody)
    write_series("b", 2, "AX T2", x0008_0020="20210709", **nobody)
    with pytest.raises(InputError, match=r"of 20190301 and 20210709, .*AX T1.* and .*AX T2"):
        find_case(tmp_path)


def test_dicom_of_one_and_an_image_file_of_another(
    tmp_path: Path, write_series: WriteSeries, write_file: WriteImage
) -> None:
    write_series("a", 1, "AX T1")
    write_file("bert_t2.nii.gz")
    with pytest.raises(InputError, match=r"holds DICOM, .*AX T1.*, and image files, .*bert_t2"):
        find_case(tmp_path)


def test_a_series_beside_what_was_made_of_it(tmp_path: Path, write_series: WriteSeries) -> None:
    series = write_series("a", 1, "AX T1")
    image = sitk.DICOMOrient(read_image(series), "RAS")  # another order, the same voxels
    sitk.WriteImage(image, str(tmp_path / "t1.nii.gz"))
    found = find_case(tmp_path)
    assert found.scans == {"t1": series}
    assert reason(found, "t1.nii.gz") == f"is a copy of {series.folder} (DICOM series AX T1)"


def test_names_without_separators(tmp_path: Path, write_file: WriteImage) -> None:
    names = {
        "t1": "annat1.nii",
        "t1ce": "annat1ce.nii",
        "t2": "annat2.nii",
        "flair": "annaflair.nii",
    }
    for name in names.values():
        write_file(name)
    found = find_case(tmp_path)
    assert found_names(found) == names
    assert found.guesses["t1"].reason == "name 'annat1.nii'"


def test_the_search_reports_how_far_it_is(tmp_path: Path, write_series: WriteSeries) -> None:
    write_series("a", 1, "AX T1")
    events: list[str] = []
    find_case(tmp_path, Progress(lambda event: events.append(event.message)))
    assert events == ["looking through 12 DICOM files"]


# Nothing to go by


def test_images_are_looked_at_only_where_nothing_else_tells(
    tmp_path: Path, write_file: WriteImage
) -> None:
    write_file("scan7.nii.gz")
    write_file("t1.nii.gz")
    found = find_case(tmp_path)
    assert found_names(found) == {"t1": "t1.nii.gz"}
    assert reason(found, "scan7") == "the image shows no brain"


def test_simulated_scans_without_names(tmp_path: Path) -> None:
    pytest.importorskip("nilearn", reason="needs the package nilearn")
    from MISSUCore.simulation.case import simulate_case

    images = simulate_case(seed=3, spacing_mm=2.0).images
    for number, name in enumerate(("flair", "t1ce", "t2", "t1")):
        sitk.WriteImage(images[name], str(tmp_path / f"scan{number}.nii.gz"))
    found = find_case(tmp_path)
    assert found_names(found) == {
        "t1": "scan3.nii.gz",
        "t1ce": "scan1.nii.gz",
        "t2": "scan2.nii.gz",
        "flair": "scan0.nii.gz",
    }
    assert found.guesses["t1ce"].reason == "the image looks like t1ce"


def test_nothing_usable_is_listed(tmp_path: Path, write_file: WriteImage) -> None:
    write_file("adc.nii.gz")
    write_file("sub/t1_mask.nii.gz")
    with pytest.raises(InputError) as caught:
        find_case(tmp_path)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path}: no scan is recognized as t1, t1ce, t2, flair; found ")
    assert "adc.nii.gz (a diffusion scan" in message
    assert str(Path("sub") / "t1_mask.nii.gz") in message
    assert message.endswith("give the scans by name, as --t1 FILE")


def test_folders_without_images(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no NIfTI, NRRD, MetaImage or DICOM image"):
        find_case(tmp_path)
    with pytest.raises(InputError, match="is not a folder"):
        find_case(tmp_path / "missing")
