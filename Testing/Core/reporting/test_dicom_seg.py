"""DICOM segmentations read back with pydicom alone: every voxel at its place in the patient."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from MISSUCore.contract.labels import BRATS
from MISSUCore.core.errors import InputError
from MISSUCore.io.reading import read_image
from MISSUCore.reporting.dicom_scan import read_dicom_scan
from MISSUCore.reporting.dicom_seg import (
    AUTOMATIC,
    MANUAL,
    SEMIAUTOMATIC,
    Algorithm,
    dicom_seg,
    region_segments,
    write_dicom_seg,
)

pytest.importorskip("highdicom", reason="needs highdicom, the extra 'dicom'")
SHAPE = (9, 14, 12)
MODEL = Algorithm(AUTOMATIC, "missu-brats-fast")


@pytest.fixture
def labels() -> NDArray[np.uint8]:
    """Label map without any symmetry: a mirrored or moved one has other points."""
    made = np.zeros(SHAPE, np.uint8)
    made[2:7, 3:9, 2:9] = 2
    made[3:6, 4:8, 3:7] = 1
    made[4:6, 4:6, 5:8] = 4
    made[8, 13, 11] = 2
    return made


@pytest.fixture
def voxels() -> NDArray[np.int16]:
    return np.random.default_rng(0).integers(1, 1000, SHAPE).astype(np.int16)


def points(mask: NDArray[np.bool_], image: sitk.Image) -> NDArray[np.float64]:
    """Where the voxels of a mask are, as SimpleITK has it: (voxels, 3) in mm, sorted."""
    found = [
        image.TransformIndexToPhysicalPoint(index[::-1].tolist()) for index in np.argwhere(mask)
    ]
    return in_order(np.array(found))


def points_in_dicom(data: Any, number: int) -> NDArray[np.float64]:
    """Where the voxels of a segment are, from the attributes of its frames (PS3.3, C.7.6.2.1.1)."""
    shared = data.SharedFunctionalGroupsSequence[0]
    row_mm, column_mm = map(float, shared.PixelMeasuresSequence[0].PixelSpacing)
    found = []
    for frame, pixels in zip(data.PerFrameFunctionalGroupsSequence, data.pixel_array):
        if frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber != number:
            continue
        plane = shared if "PlaneOrientationSequence" in shared else frame
        cosines = np.array(plane.PlaneOrientationSequence[0].ImageOrientationPatient, float)
        place = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, float)
        rows, columns = np.nonzero(pixels)
        found.append(
            place
            + columns[:, None] * column_mm * cosines[:3]
            + rows[:, None] * row_mm * cosines[3:]
        )
    return in_order(np.concatenate(found))


def in_order(found: NDArray[np.float64]) -> NDArray[np.float64]:
    return found[np.lexsort(np.round(found, 2).T)]


def written(folder: Path, labels: NDArray[np.uint8], algorithm: Algorithm = MODEL) -> Any:
    """The object of a label map, as a reader finds it in its file."""
    path = folder.with_suffix(".dcm")
    write_dicom_seg(path, read_dicom_scan(folder), region_segments(labels, BRATS), algorithm)
    return pydicom.dcmread(path)


def test_every_voxel_is_where_the_scan_has_it(
    write_dicom: Callable[..., Path],
    voxels: NDArray[np.int16],
    labels: NDArray[np.uint8],
    direction: NDArray[np.float64],
) -> None:
    folder = write_dicom("t1ce", voxels, direction=direction)
    image, data = read_image(folder), written(folder, labels)
    for number, region in enumerate(BRATS.regions, start=1):
        expected = points(np.isin(labels, region.labels), image)
        np.testing.assert_allclose(points_in_dicom(data, number), expected, atol=1e-3)


def test_every_frame_refers_to_the_slice_at_its_place(
    write_dicom: Callable[..., Path], voxels: NDArray[np.int16], labels: NDArray[np.uint8]
) -> None:
    # The axis of the slices is negated: the first file is the highest slice.
    folder = write_dicom("t1ce", voxels, direction=np.diag([1.0, 1.0, -1.0]))
    places = {
        str(file.SOPInstanceUID): file.ImagePositionPatient
        for file in map(pydicom.dcmread, folder.iterdir())
    }
    data = written(folder, labels)
    assert len(data.ReferencedSeriesSequence[0].ReferencedInstanceSequence) == SHAPE[0]
    for frame in data.PerFrameFunctionalGroupsSequence:
        (derived,) = frame.DerivationImageSequence
        (source,) = derived.SourceImageSequence
        own = frame.PlanePositionSequence[0].ImagePositionPatient
        np.testing.assert_allclose(places[source.ReferencedSOPInstanceUID], own, atol=1e-6)


def test_another_reader_finds_as_many_voxels(
    write_dicom: Callable[..., Path],
    voxels: NDArray[np.int16],
    labels: NDArray[np.uint8],
) -> None:
    folder = write_dicom("t1ce", voxels)
    written(folder, labels)
    read = sitk.GetArrayFromImage(sitk.ReadImage(str(folder.with_suffix(".dcm"))))
    regions = [np.isin(labels, region.labels) for region in BRATS.regions]
    assert (read > 0).sum() == sum(mask.sum() for mask in regions)
    assert len(read) == sum(mask.any(axis=(1, 2)).sum() for mask in regions)


def test_slices_keep_thickness_and_distance_whatever_the_header_says_of_it(
    write_dicom: Callable[..., Path], voxels: NDArray[np.int16], labels: NDArray[np.uint8]
) -> None:
    folder = write_dicom("t1ce", voxels, spacing=(0.8, 0.7, 5.5))
    for path in folder.iterdir():
        data = pydicom.dcmread(path)
        data.SliceThickness, data.SpacingBetweenSlices = "5", "1"
        data.save_as(path)
    measures = written(folder, labels).SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert measures.PixelSpacing == [0.7, 0.8]  # of rows first
    assert (measures.SliceThickness, measures.SpacingBetweenSlices) == (5, 5.5)


def test_segments_say_what_they_are_and_who_drew_them(
    write_dicom: Callable[..., Path], voxels: NDArray[np.int16], labels: NDArray[np.uint8]
) -> None:
    data = written(write_dicom("t1ce", voxels), labels)
    assert [segment.SegmentLabel for segment in data.SegmentSequence] == [
        "Whole tumor",
        "Tumor core",
        "Enhancing tumor",
    ]
    for segment, region in zip(data.SegmentSequence, BRATS.regions):
        assert segment.SegmentAlgorithmType == "AUTOMATIC"
        assert segment.SegmentAlgorithmName == "missu-brats-fast"
        category = segment.SegmentedPropertyCategoryCodeSequence[0]
        kind = segment.SegmentedPropertyTypeCodeSequence[0]
        modifier = kind.SegmentedPropertyTypeModifierCodeSequence[0]
        assert (category.CodingSchemeDesignator, category.CodeValue) == ("SCT", "49755003")
        assert (kind.CodingSchemeDesignator, kind.CodeValue) == ("SCT", "86049000")
        assert (modifier.CodingSchemeDesignator, modifier.CodeValue) == ("99MISSU", region.name)
        assert segment.AnatomicRegionSequence[0].CodeValue == "12738006"
    # A private scheme has to say what it is.
    assert data.CodingSchemeIdentificationSequence[0].CodingSchemeDesignator == "99MISSU"


@pytest.mark.parametrize(
    ("algorithm", "name"),
    [(Algorithm(SEMIAUTOMATIC, "other program"), "other program"), (Algorithm(MANUAL), None)],
)
def test_a_person_who_had_a_hand_in_it_is_not_left_out(
    write_dicom: Callable[..., Path],
    voxels: NDArray[np.int16],
    labels: NDArray[np.uint8],
    algorithm: Algorithm,
    name: str | None,
) -> None:
    data = written(write_dicom("t1ce", voxels), labels, algorithm)
    for segment in data.SegmentSequence:
        assert segment.SegmentAlgorithmType == algorithm.kind
        assert segment.get("SegmentAlgorithmName") == name


def test_a_region_that_is_empty_is_no_segment(
    write_dicom: Callable[..., Path], voxels: NDArray[np.int16], labels: NDArray[np.uint8]
) -> None:
    labels[labels == 4] = 1
    data = written(write_dicom("t1ce", voxels), labels)
    assert [segment.SegmentLabel for segment in data.SegmentSequence] == [
        "Whole tumor",
        "Tumor core",
    ]


def test_segments_of_another_shape_are_refused(
    write_dicom: Callable[..., Path], voxels: NDArray[np.int16], labels: NDArray[np.uint8]
) -> None:
    scan = read_dicom_scan(write_dicom("t1ce", voxels))
    with pytest.raises(ValueError, match="shape"):
        dicom_seg(scan, region_segments(labels[:-1], BRATS), MODEL)


@pytest.mark.parametrize("keyword", ["FrameOfReferenceUID", "StudyInstanceUID", "SOPInstanceUID"])
def test_a_scan_that_cannot_be_referred_to_is_refused_by_name(
    write_dicom: Callable[..., Path], voxels: NDArray[np.int16], keyword: str
) -> None:
    folder = write_dicom("t1ce", voxels)
    path = folder / "1-003.dcm"
    data = pydicom.dcmread(path)
    delattr(data, keyword)
    data.save_as(path)
    with pytest.raises(InputError, match=rf"1-003.dcm: has no {keyword}"):
        read_dicom_scan(folder)


def test_nifti_is_refused(write_image: Callable[..., Path], voxels: NDArray[np.int16]) -> None:
    with pytest.raises(InputError, match=r"t1ce\.nii\.gz: is not DICOM"):
        read_dicom_scan(write_image("t1ce.nii.gz", voxels))


def test_what_anonymizers_leave_out_may_be_missing(
    write_dicom: Callable[..., Path], voxels: NDArray[np.int16], labels: NDArray[np.uint8]
) -> None:
    folder = write_dicom("t1ce", voxels)
    for path in folder.iterdir():
        data = pydicom.dcmread(path)
        for keyword in ("PatientName", "PatientID", "AccessionNumber", "StudyDate", "StudyID"):
            delattr(data, keyword)
        data.PatientSex = "UNKNOWN"
        data.save_as(path)
    made = written(folder, labels)
    assert (made.PatientID, made.PatientSex) == ("", "")


@pytest.mark.parametrize(
    ("sets", "name", "program"),
    [
        ("ISO_IR 100", "Müller^Jörg", "nnU-Net"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎", "nnU-Net"),
        ("NONSENSE", "Doe^Jane", "nnU-Net"),
        (None, "Doe^Jane", "Ödemzeichner"),
    ],
)
def test_names_are_readable_whatever_character_set_the_scan_has(
    write_dicom: Callable[..., Path],
    voxels: NDArray[np.int16],
    labels: NDArray[np.uint8],
    sets: str | list[str] | None,
    name: str,
    program: str,
) -> None:
    folder = write_dicom("t1ce", voxels)
    for path in folder.iterdir():
        data = pydicom.dcmread(path)
        if sets:
            data.SpecificCharacterSet = sets
        data.PatientName = name
        data.save_as(path)
    made = written(folder, labels, Algorithm("AUTOMATIC", program, "1"))
    assert str(made.PatientName) == name
    assert made.SegmentSequence[0].SegmentAlgorithmName == program


@pytest.mark.parametrize(
    ("keyword", "words"),
    [
        ("SOPInstanceUID", r"t1ce: 1-00\d.dcm and 1-00\d.dcm have one SOP Instance UID"),
        ("ImagePositionPatient", "t1ce: has several images of a slice"),
    ],
)
def test_slices_that_cannot_be_told_apart_are_refused(
    write_dicom: Callable[..., Path], voxels: NDArray[np.int16], keyword: str, words: str
) -> None:
    folder = write_dicom("t1ce", voxels)
    first, second = (pydicom.dcmread(folder / f"1-00{number}.dcm") for number in (2, 3))
    setattr(second, keyword, getattr(first, keyword))
    second.save_as(folder / "1-003.dcm")
    with pytest.raises(InputError, match=words):
        read_dicom_scan(folder)


VALIDATOR = shutil.which("dciodvfy") or ""


@pytest.mark.skipif(not VALIDATOR, reason="needs dciodvfy (Debian: dicom3tools)")
def test_a_validator_finds_no_error(
    write_dicom: Callable[..., Path],
    voxels: NDArray[np.int16],
    labels: NDArray[np.uint8],
    direction: NDArray[np.float64],
) -> None:
    folder = write_dicom("t1ce", voxels, direction=direction)
    written(folder, labels)
    path = folder.with_suffix(".dcm")
    done = subprocess.run([VALIDATOR, str(path)], capture_output=True, text=True, check=False)
    assert "Segmentation" in done.stderr
    assert "Error" not in done.stdout + done.stderr
