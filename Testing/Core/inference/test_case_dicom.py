"""``segment_files`` with a DICOM segmentation for the archive."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from MISSUCore.cli.main import main
from MISSUCore.contract.labels import BRATS
from MISSUCore.contract.segmentation_report import SegmentationReport
from MISSUCore.core.errors import InputError
from MISSUCore.inference import case_files
from MISSUCore.inference.postprocessing import Cleanup
from MISSUCore.inference.result_files import ResultFiles
from MISSUCore.inference.segmentation import SegmentationOptions
from MISSUCore.preprocessing.pipeline import AS_THEY_ARE

pytest.importorskip("highdicom", reason="needs highdicom, the extra 'dicom'")


def segment_files(
    paths: Mapping[str, Path], labels: Path, *, dicom_seg: Path, **options: Any
) -> SegmentationReport:
    """Segment scans as they are into a label map and a DICOM segmentation."""
    files = ResultFiles(labels, dicom_seg=dicom_seg)
    how = SegmentationOptions(device="cpu")
    return case_files.segment_files(
        paths, files, preprocessing=AS_THEY_ARE, **{"options": how, **options}
    )


MakeScans = Callable[[NDArray[np.uint8]], dict[str, NDArray[np.float32]]]


@pytest.fixture
def write_case(write_dicom: Callable[..., Path], scans: MakeScans) -> Callable[..., dict]:
    """Function that writes the scans of a case as DICOM series."""

    def write(labels: NDArray[np.uint8]) -> dict[str, Path]:
        return {
            name: write_dicom(name, voxels.astype(np.int16), (1.0, 1.0, 1.0), series=number)
            for number, (name, voxels) in enumerate(scans(labels).items(), start=1)
        }

    return write


def voxels_by_segment(path: Path) -> dict[str, int]:
    """Number of voxels of each segment in a file."""
    data = pydicom.dcmread(path)
    names = {segment.SegmentNumber: segment.SegmentLabel for segment in data.SegmentSequence}
    counts = dict.fromkeys(names.values(), 0)
    for frame, pixels in zip(data.PerFrameFunctionalGroupsSequence, data.pixel_array):
        number = frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        counts[names[number]] += int(pixels.sum())
    return counts


def test_the_object_holds_what_the_label_map_does_and_refers_to_t1ce(
    tmp_path: Path, write_case: Callable, bright_model: Callable, truth: NDArray[np.uint8]
) -> None:
    paths = write_case(truth)
    labels, seg = tmp_path / "seg.nii.gz", tmp_path / "seg.dcm"
    report = segment_files(paths, labels, model=str(bright_model()), dicom_seg=seg)
    found = sitk.GetArrayFromImage(sitk.ReadImage(str(labels)))
    assert voxels_by_segment(seg) == {
        region.title: np.isin(found, region.labels).sum() for region in BRATS.regions
    }
    data = pydicom.dcmread(seg)
    series = pydicom.dcmread(next(paths["t1ce"].iterdir())).SeriesInstanceUID
    assert data.ReferencedSeriesSequence[0].SeriesInstanceUID == series
    assert data.SegmentSequence[0].SegmentAlgorithmType == "AUTOMATIC"
    assert data.SegmentSequence[0].SegmentAlgorithmName == "bright"
    assert not any("DICOM" in warning for warning in report.warnings)


def test_an_empty_region_is_left_out_with_a_word(
    tmp_path: Path, write_case: Callable, bright_model: Callable, truth: NDArray[np.uint8]
) -> None:
    seg = tmp_path / "seg.dcm"
    report = segment_files(
        write_case(truth),
        tmp_path / "seg.nii.gz",
        model=str(bright_model()),
        dicom_seg=seg,
        options=SegmentationOptions("cpu", cleanup=Cleanup(minimum_innermost_mm3=1e5)),
    )
    assert set(voxels_by_segment(seg)) == {"Whole tumor", "Tumor core"}
    assert report.warnings[-1] == "left out of the DICOM segmentation, being empty: ET"


def test_where_nothing_is_found_no_object_is_left(
    tmp_path: Path, write_case: Callable, bright_model: Callable, truth: NDArray[np.uint8]
) -> None:
    seg = tmp_path / "seg.dcm"
    seg.write_bytes(b"of an earlier result")
    report = segment_files(
        write_case(truth),
        tmp_path / "seg.nii.gz",
        model=str(bright_model()),
        dicom_seg=seg,
        overwrite=True,
        options=SegmentationOptions("cpu", cleanup=Cleanup(minimum_island_mm3=1e6)),
    )
    assert not seg.exists()
    assert report.warnings[-1] == "nothing was found, so no DICOM segmentation was written"


def test_another_reference_that_is_dicom_may_stand_in_for_t1ce(
    tmp_path: Path,
    write_case: Callable,
    paths: dict[str, Path],
    bright_model: Callable,
    truth: NDArray[np.uint8],
) -> None:
    # The files lie at another place than the series, so T1ce is left out.
    given = {name: path for name, path in write_case(truth).items() if name != "t1ce"}
    seg = tmp_path / "seg.dcm"
    segment_files(
        given,
        tmp_path / "seg.nii.gz",
        model=str(bright_model()),
        dicom_seg=seg,
        reference="flair",
    )
    flair = pydicom.dcmread(next(given["flair"].iterdir()))
    referenced = pydicom.dcmread(seg).ReferencedSeriesSequence[0]
    assert referenced.SeriesInstanceUID == flair.SeriesInstanceUID
    with pytest.raises(InputError, match=r"t1ce\.nii\.gz: is not DICOM.*--reference"):
        segment_files(
            {**given, "t1ce": paths["t1ce"]},
            tmp_path / "other.nii.gz",
            model=str(bright_model()),
            dicom_seg=tmp_path / "other.dcm",
        )
    assert not list(tmp_path.glob("other*"))


def test_a_slice_of_the_scan_is_not_replaced(
    tmp_path: Path, write_case: Callable, bright_model: Callable, truth: NDArray[np.uint8]
) -> None:
    paths, weights = write_case(truth), bright_model()
    slice_ = sorted(paths["t1ce"].iterdir())[3]
    before = slice_.read_bytes()
    with pytest.raises(InputError, match="is an input too"):
        segment_files(
            paths,
            tmp_path / "seg.nii.gz",
            model=str(weights),
            dicom_seg=slice_,
            overwrite=True,
        )
    assert slice_.read_bytes() == before


def test_from_the_command_line(
    tmp_path: Path,
    write_case: Callable,
    bright_model: Callable,
    truth: NDArray[np.uint8],
    paths: dict[str, Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    seg = tmp_path / "seg.dcm"
    common = ["--model", str(bright_model()), "--device", "cpu", "--brain-extraction", "never"]
    common += ["--registration", "never", "--dicom-seg", str(seg)]
    series = [part for name, path in write_case(truth).items() for part in (f"--{name}", str(path))]
    nifti = [part for name, path in paths.items() for part in (f"--{name}", str(path))]
    assert main(["segment", *nifti, "--output", str(tmp_path / "a.nii.gz"), *common]) == 2
    assert "is not DICOM" in capsys.readouterr().err
    assert not seg.exists() and not (tmp_path / "a.nii.gz").exists()
    assert main(["segment", *series, "--output", str(tmp_path / "a.nii.gz"), *common]) == 0
    assert voxels_by_segment(seg)["Enhancing tumor"] > 0
    listed = ["--cases", str(tmp_path), "--output-folder", str(tmp_path / "out"), *common]
    assert main(["segment", *listed]) == 2
    assert "--dicom-seg is for a single case" in capsys.readouterr().err
