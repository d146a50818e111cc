"""CHAOS cases: every mask must land on its own slice, however the slices are numbered."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from MISSUCore.contract.labels import BRATS, CHAOS_LIVER, LabelScheme
from MISSUCore.core.errors import InputError
from MISSUCore.io.reading import read_image
from MISSUCore.training.cases.chaos import find_chaos_cases, read_chaos_masks
from MISSUCore.training.cases.labeled import LabeledCase
from MISSUCore.training.cases.labels import read_labels

SPACING_MM = (1.5, 2.0, 6.0)
ORIGIN = np.array((-30.0, -40.0, 50.0))
AXIAL = np.eye(3)
TILTED = np.array(  # columns: the patient directions of a slice's rows, columns and normal
    [[1.0, 0.0, 0.0], [0.0, np.cos(0.2), -np.sin(0.2)], [0.0, np.sin(0.2), np.cos(0.2)]]
)
# Lopsided along z, y and x: no turned or mirrored copy equals it.
LIVER = np.zeros((5, 7, 9), dtype=bool)
LIVER[1, 1:4, 2:8] = LIVER[2, 1:3, 2:7] = LIVER[4, 5, 0] = True


def write_series(folder: Path, voxels: np.ndarray, axes: np.ndarray, numbers: list[int]) -> None:
    """A DICOM series of the slices of voxels (z, y, x); the file of slice z is numbers[z]."""
    folder.mkdir(parents=True)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for z, number in enumerate(numbers):
        image = sitk.GetImageFromArray(voxels[z].astype(np.int16))
        image.SetSpacing(SPACING_MM[:2])
        position = ORIGIN + z * SPACING_MM[2] * axes[:, 2]
        for tag, value in {
            "0008|0060": "MR",
            "0008|0018": f"1.2.3.{number}",
            "0020|000d": "1.2",
            "0020|000e": "1.2.3",
            "0020|0013": str(number),
            "0020|0032": "\\".join(f"{value:.6f}" for value in position),
            "0020|0037": "\\".join(f"{value:.6f}" for value in axes[:, :2].T.flat),
        }.items():
            image.SetMetaData(tag, value)
        writer.SetFileName(str(folder / f"IMG-0004-{number:05d}.dcm"))
        writer.Execute(image)


def write_masks(folder: Path, gray: np.ndarray, numbers: list[int]) -> None:
    folder.mkdir(parents=True)
    for z, number in enumerate(numbers):
        mask = sitk.GetImageFromArray(gray[z].astype(np.uint8))
        sitk.WriteImage(mask, str(folder / f"IMG-0004-{number:05d}.png"))


def make_patient(folder: Path, axes: np.ndarray = AXIAL, downward: bool = False) -> Path:
    """A patient whose T1 shows the liver bright; in-phase slices have the even numbers."""
    even = [2, 4, 6, 8, 10]
    if downward:
        even.reverse()
    gray = np.where(LIVER, 63, 0)
    gray[0, 0], gray[3, 1], gray[3, 2] = 126, 189, 252  # kidneys and spleen
    gray[2, 1, 2], gray[2, 1, 3] = 55, 70
    brightness = np.where(LIVER, 1000, 100)
    dual = folder / "T1DUAL" / "DICOM_anon"
    write_series(dual / "InPhase", brightness, axes, even)
    write_series(dual / "OutPhase", brightness, axes, [number - 1 for number in even])
    write_masks(folder / "T1DUAL" / "Ground", gray, even)
    write_series(folder / "T2SPIR" / "DICOM_anon", brightness[:, :5, :5], axes, [1, 2, 3, 4, 5])
    return folder


@pytest.mark.parametrize("axes", [AXIAL, TILTED], ids=["axial", "tilted"])
@pytest.mark.parametrize("downward", [False, True], ids=["numbered upward", "numbered downward"])
def test_every_mask_lands_on_its_own_slice(tmp_path, axes, downward):
    patient = make_patient(tmp_path / "MR" / "1", axes, downward)
    (case,) = find_chaos_cases(tmp_path)
    labels = read_labels(case, CHAOS_LIVER)
    t1 = read_image(patient / "T1DUAL" / "DICOM_anon" / "InPhase")
    assert labels.IsSameImageGeometryAs(t1)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(labels), sitk.GetArrayFromImage(t1) > 500)
    # And where it was drawn, said without the reader of images: by position in the patient.
    found = {labels.TransformIndexToPhysicalPoint(index) for index in indices_of_liver(labels)}
    drawn = [ORIGIN + axes @ (np.array(SPACING_MM) * zyx[::-1]) for zyx in np.argwhere(LIVER)]
    np.testing.assert_allclose(sorted(found), sorted(map(tuple, drawn)), atol=1e-4)


def indices_of_liver(labels: sitk.Image) -> list[list[int]]:
    """Indices (x, y, z) of the voxels with label 1."""
    return np.argwhere(sitk.GetArrayViewFromImage(labels) == 1)[:, ::-1].tolist()


@pytest.mark.parametrize("given", [".", "Train_Sets", "Train_Sets/MR"])
def test_cases_are_found_from_any_folder_above_them(tmp_path, given):
    mr = tmp_path / "Train_Sets" / "MR"
    make_patient(mr / "2")
    shutil.copytree(mr / "2", mr / "13")
    (mr / "2" / "T1DUAL" / "Ground" / "._IMG-0004-00002.png").touch()
    cases = find_chaos_cases(tmp_path / given)
    assert [case.name for case in cases] == ["13", "2"]
    assert cases[1] == LabeledCase(
        "2",
        {
            "t1": mr / "2" / "T1DUAL" / "DICOM_anon" / "InPhase",
            "t2": mr / "2" / "T2SPIR" / "DICOM_anon",
        },
        mr / "2" / "T1DUAL" / "Ground",
    )


def test_a_folder_without_cases_is_refused(tmp_path):
    (tmp_path / "CT" / "1" / "DICOM_anon").mkdir(parents=True)
    with pytest.raises(InputError, match="holds no CHAOS MR case"):
        find_chaos_cases(tmp_path)


@pytest.mark.parametrize(
    ("left_out", "message"),
    [
        ("T1DUAL", "InPhase: holds no DICOM slices"),
        ("T1DUAL/DICOM_anon/InPhase", "InPhase: holds no DICOM slices"),
        ("T2SPIR", "DICOM_anon: holds no DICOM slices"),
        ("T1DUAL/Ground", "Ground: holds 0 PNG masks for the 5 slices"),
        ("T1DUAL/Ground/IMG-0004-00004.png", "Ground: holds 4 PNG masks for the 5 slices"),
    ],
)
def test_an_incomplete_patient_is_refused(tmp_path, left_out, message):
    path = make_patient(tmp_path / "1") / left_out
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(InputError, match=message):
        find_chaos_cases(tmp_path)


def read_again(patient: Path) -> sitk.Image:
    dual = patient / "T1DUAL"
    return read_chaos_masks(dual / "Ground", dual / "DICOM_anon" / "InPhase")


def test_masks_that_do_not_fit_are_refused(tmp_path):
    patient = make_patient(tmp_path / "1")
    mask = patient / "T1DUAL" / "Ground" / "IMG-0004-00004.png"
    sitk.WriteImage(sitk.Image(5, 5, sitk.sitkUInt8), str(mask))
    with pytest.raises(InputError, match=r"00004\.png: is not of the same size"):
        read_again(patient)
    mask.write_bytes(b"cut off")
    with pytest.raises(InputError, match=r"00004\.png: cannot be read as a PNG mask"):
        read_again(patient)


def test_masks_without_a_liver_are_refused(tmp_path):
    patient = make_patient(tmp_path / "1")
    ground = patient / "T1DUAL" / "Ground"
    shutil.rmtree(ground)
    write_masks(ground, LIVER.astype(int), [2, 4, 6, 8, 10])
    with pytest.raises(InputError, match="no mask has the gray values of a liver"):
        read_again(patient)


def test_two_slices_in_one_place_are_refused(tmp_path):
    patient = make_patient(tmp_path / "1")
    series = patient / "T1DUAL" / "DICOM_anon" / "InPhase"
    shutil.rmtree(series)
    write_series(series, np.where(LIVER, 1000, 100), AXIAL * (1, 1, 0), [2, 4, 6, 8, 10])
    with pytest.raises(
        InputError, match="not evenly spaced; one is missing, there twice or out of order"
    ):
        read_again(patient)


def test_masks_need_the_series_they_were_drawn_on(tmp_path):
    patient = make_patient(tmp_path / "1")
    case = LabeledCase("1", {}, patient / "T1DUAL" / "Ground")
    with pytest.raises(InputError, match="no t1 series"):
        read_labels(case, CHAOS_LIVER)


def test_masks_come_in_the_numbering_of_the_scheme(tmp_path):
    make_patient(tmp_path / "1")
    (case,) = find_chaos_cases(tmp_path)
    other = {
        "name": "my liver",
        "labels": [{"value": 6, "name": "liver"}],
        "regions": [{"name": "liver", "labels": [6]}],
    }
    labels = sitk.GetArrayFromImage(read_labels(case, LabelScheme.from_dict(other)))
    assert np.unique(labels).tolist() == [0, 6]
    with pytest.raises(InputError, match="CHAOS liver cannot be used as those of BraTS"):
        read_labels(case, BRATS)
