"""Modalities of file names as they are published."""

from __future__ import annotations

import pytest

from MISSUCore.imaging.modalities import modality_of_file_name


@pytest.mark.parametrize(
    ("file_name", "modality"),
    [
        # BraTS 2019 to 2021
        ("BraTS19_CBICA_AAB_1_flair.nii.gz", "flair"),
        ("BraTS19_CBICA_AAB_1_t1.nii.gz", "t1"),
        ("BraTS20_Training_001_t1ce.nii", "t1ce"),
        ("BraTS2021_00000_t2.nii.gz", "t2"),
        ("BraTS2021_00000_seg.nii.gz", "segmentation"),
        # BraTS 2023
        ("BraTS-GLI-00012-000-t1n.nii.gz", "t1"),
        ("BraTS-GLI-00012-000-t1c.nii.gz", "t1ce"),
        ("BraTS-GLI-00012-000-t2w.nii.gz", "t2"),
        ("BraTS-GLI-00012-000-t2f.nii.gz", "flair"),
        ("BraTS-GLI-00012-000-seg.nii.gz", "segmentation"),
        # By hand
        ("T1Gd.nrrd", "t1ce"),
        ("patient 7 FLAIR.NII.GZ", "flair"),
        ("flair.mha", "flair"),
        ("t2.seg.nrrd", "segmentation"),
        # The last part decides.
        ("t1_registered_to_t2.nii.gz", "t2"),
    ],
)
def test_published_names(file_name: str, modality: str) -> None:
    assert modality_of_file_name(file_name) == modality


@pytest.mark.parametrize(
    "file_name",
    [
        "",
        "t1",
        "t1.txt",
        "t1.nii.gz.md5",
        "patient.nii.gz",
        "not1.nii.gz",
        "t1_brain.nii.gz",
        "dwi.nii",
        ".nii.gz",
    ],
)
def test_names_that_do_not_say(file_name: str) -> None:
    assert modality_of_file_name(file_name) is None
