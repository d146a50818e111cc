"""Image files of one examination, and of two: names as BIDS, hospitals and people give them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from MISSUCore.sequences.examination import differences

FOLDER = Path("case")


def found(**scans: str) -> str:
    """What speaks against files given as ``sequence="name name"``."""
    return differences(
        FOLDER,
        {FOLDER / name: sequence for sequence, names in scans.items() for name in names.split()},
    )


@pytest.mark.parametrize(
    "scans",
    [
        {"t1": "t1.nii.gz", "t1ce": "t1ce.nii.gz", "t2": "t2.nii.gz", "flair": "flair.nii.gz"},
        {"t1": "BraTS2021_00000_t1.nii.gz", "t2": "BraTS2021_00000_t2.nii.gz"},
        {"t1": "BraTS-GLI-00012-000-t1n.nii", "t1ce": "BraTS-GLI-00012-000-t1c.nii"},
        {"t1": "sub-07_ses-01_T1w.nii.gz", "t1ce": "sub-07_ses-01_ce-GADOLINIUM_T1w.nii.gz"},
        {"t1": "ax_t1.nii ax_t1_pre.nii", "t2": "ax_t2.nii", "flair": "sag_flair.nii"},
        {"t1": "5_t1_mprage.nii", "t2": "7_t2_tse.nii", "flair": "9_flair.nii"},
        {"t1": "20190301_101500_t1.nii", "flair": "20190301_104200_flair.nii"},
        {"t1": "anna_t1.nii", "t2": "anna_t2.nii", "flair": "anna_5_flair.nii"},
        {"t1": "raw/t1.nii", "t2": "raw/t2.nii", "flair": "more/flair.nii"},
        {"t1": "t1/scan.nii", "t2": "t2/scan.nii"},
        {"t1": "301_t1.nii", "t2": "402_t2.nii"},
        {"t1": "raw/anna_t1.nii", "t2": "registered/anna_t2.nii"},
        {"t1": "anna_2019-03-01_t1.nii", "t2": "anna_20190301_t2.nii"},
        {"t2": "tse_t2.nii", "flair": "space_flair.nii"},
    ],
    ids=str,
)
def test_one_examination(scans: dict[str, str]) -> None:
    assert found(**scans) == ""


@pytest.mark.parametrize(
    ("scans", "message"),
    [
        ({"t1": "sub-01_T1w.nii", "t2": "sub-02_T2w.nii"}, "of two subjects, 01 .* and 02 "),
        (
            {"t1": "ses-01/anat/sub-7_ses-01_T1w.nii", "t2": "ses-02/anat/sub-7_ses-02_T2w.nii"},
            "of two sessions, 01 .* and 02 ",
        ),
        ({"t1": "2019-03-01_t1.nii", "t2": "2021-07-09_t2.nii"}, "of two dates, 2019-03-01 .*"),
        ({"t1": "20190301_t1.nii", "t2": "20210709_t2.nii"}, "of two dates, 2019-03-01 .*"),
        (
            {"t1": "anna_t1.nii", "t2": "anna_t2.nii", "t1ce": "bert_t1ce.nii"},
            "of two subjects, .*anna_t1.nii and .*bert_t1ce.nii",
        ),
        (
            {
                "t1": "P001_t1.nii",
                "t2": "P001_t2.nii",
                "t1ce": "P002_t1c.nii",
                "flair": "P002_fl.nii",
            },
            "of two subjects, .*P001_t1.nii",
        ),
        (
            {"t1": "001_t1.nii 002_t1.nii", "t2": "001_t2.nii 002_t2.nii"},
            "of two subjects, .*001_t1.nii and .*002_t1.nii",
        ),
        (
            {"t1": "t1_anna.nii t1_bert.nii", "t2": "t2_anna.nii t2_bert.nii"},
            "in two sets, .*t1_anna.nii and .*t1_bert.nii",
        ),
        (
            {"t1": "t1.nii prior_t1.nii", "t2": "t2.nii prior_t2.nii"},
            "in two sets, .*prior_t1.nii and .*t1.nii|in two sets, .*t1.nii and .*prior_t1.nii",
        ),
        (
            {"t1": "t1.nii t1_2.nii", "t2": "t2.nii t2_2.nii"},
            "in two sets, .*t1.nii and .*t1_2.nii",
        ),
        (
            {"t1": "t1.nii.gz t1.nrrd", "t2": "t2.nii.gz t2.nrrd"},
            "in two sets, .*t1.nii.gz and .*t1.nrrd",
        ),
        (
            {"t1": "BraTS-GLI-00011-000-t1n.nii", "t2": "BraTS-GLI-00011-001-t2w.nii"},
            "of two subjects, .*00011-000-t1n.nii and .*00011-001-t2w.nii",
        ),
        (
            {
                "t1": "anna/t1.nii",
                "t2": "anna/t2.nii",
                "t1ce": "bert/t1ce.nii",
                "flair": "bert/flair.nii",
            },
            "of two subjects, .*anna.* and .*bert",
        ),
        (
            {"t1": "before/t1.nii after/t1.nii", "t2": "before/t2.nii after/t2.nii"},
            "of two subjects, .*after.* and .*before",
        ),
    ],
    ids=str,
)
def test_two_examinations(scans: dict[str, str], message: str) -> None:
    assert re.match(message, found(**scans))


def test_a_number_is_not_a_date() -> None:
    assert found(t1="20191399_t1.nii", t2="20210709_t2.nii") == ""
    assert found(t1="1234567890_t1.nii", t2="1234567891_t2.nii") == ""
