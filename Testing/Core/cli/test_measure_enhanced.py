"""``missu measure`` on an Enhanced MR file (PS3.3, A.36): one file, many frames."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset

from MISSUCore.cli.main import main
from MISSUCore.contract.measurement.report import read_measurement
from MISSUCore.io.reading import read_image

pytest.importorskip("highdicom", reason="needs highdicom, the extra 'dicom'")
ROOT = "1.2.826.0.1.3680043.2.1125"
ENHANCED_MR, EXPLICIT = "1.2.840.10008.5.1.4.1.1.4.1", "1.2.840.10008.1.2.1"
SHAPE, SPACING, ORIGIN = (14, 40, 36), (0.9, 1.1, 3.0), (-20.0, 15.0, 7.0)
VALIDATOR = shutil.which("dciodvfy") or ""


def group(**values: Any) -> Dataset:
    """A data set, as an item of a sequence."""
    made = Dataset()
    for keyword, value in values.items():
        setattr(made, keyword, value)
    return made


def place(axes: NDArray[np.float64], index: int) -> list[str]:
    return [f"{part:.8f}" for part in np.array(ORIGIN) + axes[:, 2] * SPACING[2] * index]


def write_enhanced(
    path: Path, voxels: NDArray[np.uint16], axes: NDArray[np.float64], order: list[int]
) -> None:
    """One file with a frame for each slice, in this order."""
    made = group(
        SOPClassUID=ENHANCED_MR,
        SOPInstanceUID=f"{ROOT}.8.1",
        StudyInstanceUID=ROOT,
        SeriesInstanceUID=f"{ROOT}.8",
        FrameOfReferenceUID=f"{ROOT}.7",
        Modality="MR",
        PatientID="7",
        PatientName="Enhanced",
        StudyDate="20240110",
        SeriesNumber=4,
        InstanceNumber=1,
        ImageType=["ORIGINAL", "PRIMARY", "T1", "NONE"],
        NumberOfFrames=len(order),
        Rows=SHAPE[1],
        Columns=SHAPE[2],
        SamplesPerPixel=1,
        PhotometricInterpretation="MONOCHROME2",
        BitsAllocated=16,
        BitsStored=16,
        HighBit=15,
        PixelRepresentation=0,
    )
    orientation = [f"{part:.10f}" for part in axes[:, :2].T.ravel()]
    made.SharedFunctionalGroupsSequence = [
        group(
            PlaneOrientationSequence=[group(ImageOrientationPatient=orientation)],
            PixelMeasuresSequence=[
                group(PixelSpacing=[SPACING[1], SPACING[0]], SliceThickness=SPACING[2])
            ],
        )
    ]
    made.PerFrameFunctionalGroupsSequence = [
        group(PlanePositionSequence=[group(ImagePositionPatient=place(axes, index))])
        for index in order
    ]
    made.PixelData = voxels[order].astype("<u2").tobytes()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = EXPLICIT
    made.file_meta.MediaStorageSOPClassUID = ENHANCED_MR
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    made.save_as(path, enforce_file_format=True)


class Case:
    """An Enhanced MR scan, and a lesion without any symmetry on it."""

    def __init__(self, folder: Path, axes: NDArray[np.float64], order: list[int]) -> None:
        self.scan, self.map = folder / "t1ce.dcm", folder / "seg.nrrd"
        voxels = np.random.default_rng(0).integers(100, 1000, SHAPE).astype(np.uint16)
        write_enhanced(self.scan, voxels, axes, order)
        self.image = read_image(self.scan)
        labels = np.zeros(SHAPE, np.uint8)
        labels[3:9, 5:25, 4:30] = 2
        labels[4:8, 8:20, 8:28] = 4
        self.labels = labels
        made = sitk.GetImageFromArray(labels)
        made.CopyInformation(self.image)
        sitk.WriteImage(made, str(self.map))
        self.seg, self.sr = folder / "out" / "seg.dcm", folder / "out" / "sr.dcm"
        self.report = folder / "out" / "report.json"

    def run(self) -> int:
        options = ["--t1ce", self.scan, "--dicom-seg", self.seg, "--dicom-sr", self.sr]
        named = ["--output", self.report, "--made-by", "manual"]
        return main(["measure", str(self.map), *map(str, [*options, *named])])


UPWARDS = list(range(SHAPE[0]))


def test_all_refers_to_the_frames_where_it_lies(
    tmp_path: Path, direction: NDArray[np.float64]
) -> None:
    _check(Case(tmp_path, direction, UPWARDS))


def test_frames_may_go_down(tmp_path: Path) -> None:
    _check(Case(tmp_path, np.eye(3), UPWARDS[::-1]))


def _check(made: Case) -> None:
    """Segments and diameters lie in the frames that they refer to."""
    assert made.run() == 0
    source, seg = pydicom.dcmread(made.scan), pydicom.dcmread(made.seg)
    places = [
        np.array(frame.PlanePositionSequence[0].ImagePositionPatient, float)
        for frame in source.PerFrameFunctionalGroupsSequence
    ]
    numbers = {int(segment.SegmentNumber): segment.SegmentLabel for segment in seg.SegmentSequence}
    voxels = dict.fromkeys(numbers, 0)
    for frame, pixels in zip(seg.PerFrameFunctionalGroupsSequence, seg.pixel_array, strict=True):
        number = int(frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
        voxels[number] += int(pixels.sum())
        own = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, float)
        (image,) = frame.DerivationImageSequence[0].SourceImageSequence
        assert image.ReferencedSOPInstanceUID == source.SOPInstanceUID
        np.testing.assert_allclose(places[int(image.ReferencedFrameNumber) - 1], own, atol=1e-5)
        # The voxels of that slice of the label map, wherever ITK counts it from.
        _, _, slice_index = made.image.TransformPhysicalPointToIndex(own.tolist())
        values = (4,) if numbers[number].startswith("Enhancing") else (2, 4)
        if not numbers[number].startswith("Tumor core"):
            np.testing.assert_array_equal(pixels, np.isin(made.labels[slice_index], values))
    by_label = {numbers[number]: count for number, count in voxels.items()}
    assert by_label["Enhancing tumor, lesion 1"] == (made.labels == 4).sum()
    _check_lines(made, source, places)


def _check_lines(made: Case, source: Any, places: list[NDArray[np.float64]]) -> None:
    """Both diameters lie where the report has them, by the header of the frame referred to."""
    lesion = read_measurement(made.report).lesions[0]
    shared = source.SharedFunctionalGroupsSequence[0]
    cosines = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float)
    row_mm, column_mm = map(float, shared.PixelMeasuresSequence[0].PixelSpacing)
    found = [item for item in _items(pydicom.dcmread(made.sr)) if item.ValueType == "SCOORD"]
    assert len(found) == 2
    for item, line in zip(found, (lesion.longest, lesion.perpendicular), strict=True):
        assert line is not None
        (image,) = item.ContentSequence
        reference = image.ReferencedSOPSequence[0]
        assert reference.ReferencedSOPInstanceUID == source.SOPInstanceUID
        corner = places[int(reference.ReferencedFrameNumber) - 1]
        columns, rows = (np.array(item.GraphicData, float).reshape(-1, 2) - 0.5).T[:, :, None]
        ends = corner + columns * column_mm * cosines[:3] + rows * row_mm * cosines[3:]
        np.testing.assert_allclose(ends, [line.start, line.end], atol=2e-3)


def _items(data: Any) -> list[Any]:
    """All content items below one."""
    below = list(data.get("ContentSequence", []))
    return [item for each in below for item in (each, *_items(each))]


@pytest.mark.skipif(not VALIDATOR, reason="needs dciodvfy (Debian: dicom3tools)")
def test_a_validator_finds_no_error(tmp_path: Path, direction: NDArray[np.float64]) -> None:
    made = Case(tmp_path, direction, UPWARDS)
    assert made.run() == 0
    for path in (made.seg, made.sr):
        done = subprocess.run([VALIDATOR, str(path)], capture_output=True, text=True, check=False)
        assert "Error" not in done.stdout + done.stderr
