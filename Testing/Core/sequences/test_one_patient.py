"""Scans that were named one by one, whose tags or names tell that they do not belong together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest

from MISSUCore.contract.labels import BRATS
from MISSUCore.contract.options import PreprocessingOptions
from MISSUCore.core.errors import InputError
from MISSUCore.inference.case_scans import read_scans
from MISSUCore.sequences.one_patient import check_one_patient

NEVER = PreprocessingOptions(registration=False, brain_extraction=False, bias_field="never")
WriteSeries = Callable[..., Path]


@pytest.fixture
def write_series(write_dicom: WriteSeries) -> WriteSeries:
    """Function that writes a DICOM series with other attributes."""

    def write(number: int, **attributes: str) -> Path:
        voxels = np.random.default_rng(number).integers(50, 150, (12, 12, 12))
        folder = write_dicom(f"series{number}", voxels.astype(np.int16), series=number)
        for path in folder.iterdir():
            slice_ = pydicom.dcmread(path)
            slice_.update({"PatientID": "1", **attributes})
            slice_.save_as(path)
        return folder

    return write


def test_another_patient_is_refused_unless_that_is_wanted(write_series: WriteSeries) -> None:
    scans = {"t1": write_series(1), "flair": write_series(2, PatientID="2")}
    with pytest.raises(InputError) as caught:
        read_scans(scans, BRATS, preprocessing=NEVER)
    assert str(caught.value).startswith(
        f"{scans['flair']}: is of another patient than {scans['t1']}; give scans of one patient"
    )
    wanted = PreprocessingOptions(False, False, bias_field="never", different_anatomy=True)
    warnings = read_scans(scans, BRATS, preprocessing=wanted).prepared.warnings
    assert f"{scans['flair']}: is of another patient than {scans['t1']}" in warnings


def test_bids_names_tell_too(tmp_path: Path) -> None:
    own, other = tmp_path / "sub-01_ses-1_T1w.nii.gz", tmp_path / "sub-02_ses-1_FLAIR.nii.gz"
    later, plain = tmp_path / "sub-01_ses-2_FLAIR.nii.gz", tmp_path / "flair.nii.gz"
    with pytest.raises(InputError, match=r"sub-02.* is of another patient than .*sub-01"):
        check_one_patient({"t1": own, "flair": other}, only_warn=False, registered=True)
    (warning,) = check_one_patient({"t1": own, "flair": later}, only_warn=False, registered=True)
    assert "ses-2_FLAIR.nii.gz: is of another examination than" in warning
    assert check_one_patient({"t1": own, "flair": plain}, only_warn=False, registered=True) == []


def test_another_examination_is_warned_of_once(write_series: WriteSeries) -> None:
    later = {"StudyInstanceUID": "1.2.3", "StudyDate": "20250101"}
    scans = {"t1": write_series(1), "t2": write_series(2, **later)}
    scans["flair"] = write_series(3, **later)
    (warning,) = check_one_patient(scans, only_warn=False, registered=True)
    assert warning.startswith(f"{scans['t2']}: is of another examination than {scans['t1']}")


def test_places_of_two_frames_of_reference_are_not_trusted(write_series: WriteSeries) -> None:
    """The patient has been moved in between: only registration tells."""
    scans = {"t1": write_series(1), "t2": write_series(2, FrameOfReferenceUID="1.2.3")}
    assert check_one_patient(scans, only_warn=False, registered=True) == []
    (warning,) = check_one_patient(scans, only_warn=False, registered=False)
    assert "is of another frame of reference than" in warning
    same = {"t1": scans["t1"], "t2": write_series(3)}
    assert check_one_patient(same, only_warn=False, registered=False) == []
