"""``missu measure`` for the archive: SEG and TID 1500 report, read back with pydicom alone."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from MISSUCore.cli.main import main
from MISSUCore.contract.labels import BRATS
from MISSUCore.contract.measurement.report import MeasurementReport, read_measurement
from MISSUCore.contract.model_identity import ModelIdentity
from MISSUCore.contract.segmentation_report import SegmentationReport
from MISSUCore.evaluation.verification import grid_of, mask_facts
from MISSUCore.io.reading import read_image

pytest.importorskip("highdicom", reason="needs highdicom, the extra 'dicom'")
SHAPE, SPACING = (14, 40, 36), (0.9, 1.1, 3.0)
LONG, SHORT, VOLUME = "103339001", "103340004", "118565006"
VALIDATOR = shutil.which("dciodvfy") or ""


class Case:
    """A DICOM T1ce with two lesions, and how it is measured."""

    def __init__(self, folder: Path, scan: Path) -> None:
        self.folder, self.scan = folder, scan
        self.image = read_image(scan)
        labels = np.zeros(SHAPE, np.uint8)
        labels[3:9, 5:25, 4:30] = 2
        labels[4:8, 8:20, 8:28] = 4
        labels[5:7, 12:15, 14:20] = 1
        labels[11:13, 30:36, 5:11] = 2
        made = sitk.GetImageFromArray(labels)
        made.CopyInformation(self.image)
        self.labels, self.map = labels, folder / "seg.nrrd"
        sitk.WriteImage(made, str(self.map))
        self.seg, self.sr = folder / "seg.dcm", folder / "sr.dcm"
        self.report = folder / "report.json"

    def run(self, *more: object, made_by: object = "manual") -> int:
        options = ["--t1ce", self.scan, "--dicom-seg", self.seg, "--dicom-sr", self.sr]
        named = ["--output", self.report, "--made-by", made_by, *more]
        return main(["measure", str(self.map), *map(str, [*options, *named])])

    def measured(self) -> MeasurementReport:
        return read_measurement(self.report)


@pytest.fixture
def case(tmp_path: Path, write_dicom: Callable[..., Path]) -> Callable[..., Case]:
    """Function to a case in some direction."""

    def make(direction: NDArray[np.float64] | None = None) -> Case:
        voxels = np.random.default_rng(0).integers(1, 1000, SHAPE).astype(np.int16)
        return Case(tmp_path, write_dicom("t1ce", voxels, SPACING, direction=direction))

    return make


def items(data: Any) -> Iterator[Any]:
    """All content items below one."""
    for item in data.get("ContentSequence", []):
        yield item
        yield from items(item)


def value_of(groups: list[Any], code: str) -> Any:
    """The measurement in some groups by the code of its name; None if there is none."""
    for item in (item for group in groups for item in group.ContentSequence):
        if item.ValueType == "NUM" and item.ConceptNameCodeSequence[0].CodeValue == code:
            return item
    return None


def number(item: Any) -> float:
    return float(item.MeasuredValueSequence[0].NumericValue)


def groups(path: Path) -> dict[str, list[Any]]:
    """The measurement groups of a report, by their tracking identifier."""
    found: dict[str, list[Any]] = {}
    for item in items(pydicom.dcmread(path)):
        if item.ConceptNameCodeSequence[0].CodeValue == "125007":
            (name,) = (
                child.TextValue
                for child in item.ContentSequence
                if child.ConceptNameCodeSequence[0].CodeValue == "112039"
            )
            found.setdefault(name, []).append(item)
    return found


def ends_mm(item: Any, scan: Path) -> NDArray[np.float64]:
    """End points of a measurement in mm, as the header of the slice places them."""
    (place,) = (child for child in item.ContentSequence if child.ValueType.startswith("SCOORD"))
    points = np.array(place.GraphicData, float)
    if place.ValueType == "SCOORD3D":
        return points.reshape(-1, 3)
    (source,) = place.ContentSequence
    wanted = source.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
    (header,) = (
        data for data in map(pydicom.dcmread, scan.iterdir()) if data.SOPInstanceUID == wanted
    )
    cosines = np.array(header.ImageOrientationPatient, float)
    row_mm, column_mm = map(float, header.PixelSpacing)
    # PS3.3, C.18.6: the corner of the first pixel is (0, 0), its middle (0.5, 0.5).
    columns, rows = (points.reshape(-1, 2) - 0.5).T[:, :, None]
    return (
        np.array(header.ImagePositionPatient, float)
        + columns * column_mm * cosines[:3]
        + rows * row_mm * cosines[3:]
    )


def test_volumes_and_diameters_come_back_with_their_places(
    case: Callable[..., Case], direction: NDArray[np.float64]
) -> None:
    made = case(direction)
    assert made.run() == 0
    found, measured = groups(made.sr), made.measured()
    assert sorted(found) == ["lesion 1 ET", "lesion 1 TC", "lesion 1 WT", "lesion 2 WT"]
    voxel_ml = np.prod(SPACING) / 1000
    counts = {
        "WT": made.labels[:10] > 0,
        "TC": np.isin(made.labels, (1, 4)),
        "ET": made.labels == 4,
    }
    for region, mask in counts.items():
        told = number(value_of(found[f"lesion 1 {region}"], VOLUME))
        assert told == pytest.approx(mask.sum() * voxel_ml, abs=1e-4)
    assert value_of(found["lesion 1 WT"], LONG) is None
    for code, line in (
        (LONG, measured.lesions[0].longest),
        (SHORT, measured.lesions[0].perpendicular),
    ):
        assert line is not None
        item = value_of(found["lesion 1 ET"], code)
        assert number(item) == pytest.approx(line.length_mm, abs=1e-3)
        ends = ends_mm(item, made.scan)
        np.testing.assert_allclose(ends, [line.start, line.end], atol=2e-3)
        assert np.linalg.norm(ends[1] - ends[0]) == pytest.approx(number(item), abs=5e-3)


def test_every_group_refers_to_the_segment_of_its_lesion(case: Callable[..., Case]) -> None:
    made = case()
    assert made.run() == 0
    seg = pydicom.dcmread(made.seg)
    segments = {segment.SegmentNumber: segment for segment in seg.SegmentSequence}
    for name, own in groups(made.sr).items():
        (reference,) = (
            child.ReferencedSOPSequence[0]
            for group in own
            for child in group.ContentSequence
            if child.ConceptNameCodeSequence[0].CodeValue == "121191"
        )
        assert reference.ReferencedSOPInstanceUID == seg.SOPInstanceUID
        segment = segments[reference.ReferencedSegmentNumber]
        assert segment.TrackingID == name
        voxels = sum(
            int(pixels.sum())
            for frame, pixels in zip(seg.PerFrameFunctionalGroupsSequence, seg.pixel_array)
            if frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber
            == segment.SegmentNumber
        )
        told = number(value_of(own, VOLUME))
        assert told == pytest.approx(voxels * np.prod(SPACING) / 1000, abs=1e-4)
    assert segments[1].SegmentAlgorithmType == "MANUAL"


def test_diameters_across_the_slices_are_points_in_space(case: Callable[..., Case]) -> None:
    made = case()
    assert made.run("--plane", "sagittal") == 0
    assert pydicom.dcmread(made.sr).SOPClassUID == "1.2.840.10008.5.1.4.1.1.88.34"  # 3D SR
    line = made.measured().lesions[0].longest
    assert line is not None
    ends = ends_mm(value_of(groups(made.sr)["lesion 1 ET"], LONG), made.scan)
    np.testing.assert_allclose(ends, [line.start, line.end], atol=2e-3)


@pytest.mark.parametrize(("edited", "kind"), [(False, "AUTOMATIC"), (True, "SEMIAUTOMATIC")])
def test_an_edit_makes_it_semiautomatic(
    case: Callable[..., Case], tmp_path: Path, edited: bool, kind: str
) -> None:
    made = case()
    voxel_ml = float(np.prod(SPACING)) / 1000
    volumes = {
        "WT": (made.labels > 0).sum() * voxel_ml,
        "TC": np.isin(made.labels, (1, 4)).sum() * voxel_ml,
        "ET": ((made.labels == 4).sum() + edited) * voxel_ml,
    }
    report = SegmentationReport(model=ModelIdentity("missu-brats-fast", ""), volumes_ml=volumes)
    path = tmp_path / "made.json"
    path.write_text(json.dumps({**report.to_dict(), "missu_version": "0.1.0"}))
    assert made.run(made_by=path) == 0
    for segment in pydicom.dcmread(made.seg).SegmentSequence:
        assert segment.SegmentAlgorithmType == kind
        assert segment.SegmentAlgorithmName == "missu-brats-fast"


@pytest.mark.parametrize(("shift", "kind"), [(0, "AUTOMATIC"), (1, "SEMIAUTOMATIC")])
def test_an_edit_that_leaves_the_volumes_is_noticed(
    case: Callable[..., Case], tmp_path: Path, shift: int, kind: str
) -> None:
    made = case()
    computed = sitk.GetImageFromArray(np.roll(made.labels, shift, axis=2))
    computed.CopyInformation(made.image)
    masks = mask_facts(computed, BRATS)
    volumes = {name: fact.volume_ml for name, fact in masks.items()}
    report = SegmentationReport(volumes_ml=volumes, grid=grid_of(computed), masks=masks)
    path = tmp_path / "made.json"
    path.write_text(json.dumps(report.to_dict()))
    assert made.run(made_by=path) == 0
    kinds = {one.SegmentAlgorithmType for one in pydicom.dcmread(made.seg).SegmentSequence}
    assert kinds == {kind}


def test_a_person_is_one_however_it_is_written(case: Callable[..., Case]) -> None:
    made = case()
    assert made.run(made_by="Manual") == 0
    for segment in pydicom.dcmread(made.seg).SegmentSequence:
        assert segment.SegmentAlgorithmType == "MANUAL"
        assert "SegmentAlgorithmName" not in segment


@pytest.mark.parametrize("made_by", ["results/p1", "a\\b", "a\nb", "x" * 65, "seg.nrrd"])
def test_what_is_no_name_of_a_program_is_not_taken_for_one(
    case: Callable[..., Case],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    made_by: str,
) -> None:
    made = case()
    monkeypatch.chdir(made.folder)
    assert made.run(made_by=made_by) == 2
    assert "is neither a report nor the name of a program" in capsys.readouterr().err
    assert not made.seg.exists()


@pytest.mark.parametrize(
    ("left_out", "words"),
    [
        ("--dicom-seg", "give --dicom-seg FILE, too"),
        ("--t1ce", "give --t1ce with a DICOM series"),
        ("--made-by", "DICOM asks who drew the segments"),
        ("dicom", "is not DICOM"),
    ],
)
def test_what_is_missing_ends_with_2(
    case: Callable[..., Case], capsys: pytest.CaptureFixture[str], left_out: str, words: str
) -> None:
    made = case()
    scan = made.scan
    if left_out == "dicom":
        scan = made.folder / "t1ce.nrrd"
        sitk.WriteImage(made.image, str(scan))
    options = {
        "--t1ce": scan,
        "--dicom-seg": made.seg,
        "--dicom-sr": made.sr,
        "--made-by": "manual",
        "--output": made.report,
    }
    options.pop(left_out, None)
    given = [str(part) for option in options.items() for part in option]
    assert main(["measure", str(made.map), *given]) == 2
    assert words in capsys.readouterr().err
    assert not (made.seg.exists() or made.sr.exists() or made.report.exists())


@pytest.mark.skipif(not VALIDATOR, reason="needs dciodvfy (Debian: dicom3tools)")
@pytest.mark.parametrize("plane", ["auto", "sagittal"])
def test_a_validator_finds_no_error(case: Callable[..., Case], plane: str) -> None:
    made = case()
    assert made.run("--plane", plane) == 0
    for path in (made.seg, made.sr):
        done = subprocess.run([VALIDATOR, str(path)], capture_output=True, text=True, check=False)
        assert "Error" not in done.stdout + done.stderr
