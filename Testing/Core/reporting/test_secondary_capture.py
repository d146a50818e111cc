"""The picture of a measurement as DICOM Secondary Capture, read back with pydicom alone."""

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

from MISSUCore.cli.main import main
from MISSUCore.contract.measurement.lesions import Line
from MISSUCore.contract.measurement.report import read_measurement
from MISSUCore.io.reading import read_image
from MISSUCore.reporting.capture.drawing import COLORS, NOTICE

pytest.importorskip("highdicom", reason="needs highdicom, the extra 'dicom'")
SHAPE, SPACING = (14, 40, 36), (0.9, 1.1, 3.0)
TILE, MARGIN, TOP = 512, 12, 46
VALIDATOR = shutil.which("dciodvfy") or ""


@pytest.fixture
def capture(tmp_path: Path, write_dicom: Callable[..., Path]) -> Callable[..., Any]:
    """Function that measures two lesions on a scan, and reads the picture of it."""
    voxels = np.random.default_rng(0).integers(1, 1000, SHAPE).astype(np.int16)
    labels = np.zeros(SHAPE, np.uint8)
    labels[4:8, 8:20, 8:28] = 4
    labels[11:13, 30:36, 5:11] = 4

    def run(*more: str, direction: NDArray[np.float64] | None = None) -> Any:
        scan = write_dicom("t1ce", voxels, SPACING, direction=direction)
        for path in scan.iterdir():
            data = pydicom.dcmread(path)
            data.PatientID, data.PatientName, data.StudyDate = "P-7", "Müller^Eva", "20240110"
            data.SpecificCharacterSet = "ISO_IR 100"
            data.save_as(path)
        made = sitk.GetImageFromArray(labels)
        made.CopyInformation(read_image(scan))
        sitk.WriteImage(made, str(tmp_path / "seg.nrrd"))
        files = ["--secondary-capture", "picture.dcm", "--output", "report.json"]
        outputs = [str(tmp_path / each) if "." in each else each for each in files]
        command = ["measure", str(tmp_path / "seg.nrrd"), "--t1ce", str(scan), *outputs, *more]
        assert main(command) == 0
        return pydicom.dcmread(tmp_path / "picture.dcm")

    return run


def test_it_belongs_to_the_patient_and_the_study(capture: Callable[..., Any]) -> None:
    data = capture()
    assert data.SOPClassUID == "1.2.840.10008.5.1.4.1.1.7"
    assert (data.PatientID, data.PatientName, data.StudyDate) == ("P-7", "Müller^Eva", "20240110")
    assert data.StudyInstanceUID == "1.2.826.0.1.3680043.2.1125"
    assert data.SeriesInstanceUID != "1.2.826.0.1.3680043.2.1125.1"
    assert data.BurnedInAnnotation == "NO"
    assert "not a medical device" in data.DerivationDescription
    assert list(data.PatientOrientation) == ["L", "P"]
    # Nobody is to measure on a picture.
    assert "PixelSpacing" not in data and "ImagePositionPatient" not in data


def test_the_diameters_are_where_the_report_has_them(
    capture: Callable[..., Any], tmp_path: Path
) -> None:
    pixels = capture().pixel_array
    lesion = read_measurement(tmp_path / "report.json").lesions[0]
    per_mm = TILE / (SHAPE[1] * SPACING[1])  # rows are the longer side
    aside = (TILE - SHAPE[2] * SPACING[0] * per_mm) / 2
    for kind, line in (("longest", lesion.longest), ("perpendicular", lesion.perpendicular)):
        assert isinstance(line, Line)
        tile = pixels[TOP : TOP + TILE, MARGIN : MARGIN + TILE]
        rows, columns = np.nonzero((tile == COLORS[kind]).all(axis=2))
        # In mm from the outer corner of the slice; the scan begins at (-20, 15).
        found = np.array([(columns - aside) / per_mm, rows / per_mm])
        ends = np.array([line.start[:2], line.end[:2]]).T
        ends = ends - [[-20 - SPACING[0] / 2], [15 - SPACING[1] / 2]]
        np.testing.assert_allclose(found.min(axis=1), ends.min(axis=1), atol=0.3)
        np.testing.assert_allclose(found.max(axis=1), ends.max(axis=1), atol=0.3)


def test_it_says_that_it_is_research_software(capture: Callable[..., Any]) -> None:
    from PIL import Image, ImageDraw, ImageFont

    pixels = capture().pixel_array
    strip = Image.new("RGB", (pixels.shape[1], TOP))
    font = ImageFont.load_default(size=16)
    ImageDraw.Draw(strip).text((MARGIN, MARGIN), NOTICE, (255, 255, 255), font=font)
    np.testing.assert_array_equal(pixels[:TOP], np.asarray(strip))


def test_other_planes_say_where_the_patient_is(capture: Callable[..., Any]) -> None:
    assert list(capture("--plane", "sagittal").PatientOrientation) == ["P", "F"]
    pages = capture("--plane", "coronal", "--overwrite")
    assert list(pages.PatientOrientation) == ["L", "F"]


@pytest.mark.skipif(not VALIDATOR, reason="needs dciodvfy (Debian: dicom3tools)")
def test_a_validator_finds_no_error(capture: Callable[..., Any], tmp_path: Path) -> None:
    capture("--made-by", "manual")
    command = [VALIDATOR, str(tmp_path / "picture.dcm")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "SCImage" in done.stderr
    assert "Error" not in done.stdout + done.stderr


def test_a_scan_that_is_not_dicom_is_refused(
    tmp_path: Path, write_image: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    voxels = np.ones(SHAPE, np.float32)
    voxels[2:12, 4:36, 4:32] = 500
    scan = write_image("t1ce.nii.gz", voxels)
    labels = write_image("seg.nii.gz", (voxels == 500).astype(np.uint8))
    picture = tmp_path / "picture.dcm"
    command = ["measure", labels, "--t1ce", scan, "--secondary-capture", picture]
    assert main(list(map(str, command))) == 2
    assert "is not DICOM" in capsys.readouterr().err
    assert not picture.exists()
