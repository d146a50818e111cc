"""Image files of one examination, and of two: names as BIDS, hospitals and people give them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from MISSUCore.core.errors import InputError
from MISSUCore.io.dicom import DicomSeries
from MISSUCore.sequences.examination import (
    Identity,
    check_one_examination,
    differences,
    identity_of,
)

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


# Joined names, and names that tell no sequence


@pytest.mark.parametrize(
    "scans",
    [
        {"t1": "annaT1.nii", "t1ce": "annaT1ce.nii", "t2": "annaT2.nii", "flair": "annaFLAIR.nii"},
        {"t1": "scan1.nii", "t2": "scan2.nii", "flair": "image7.nii"},
        {"t1": "anna1.nii", "t2": "anna2.nii", "flair": "anna3.nii"},
    ],
    ids=str,
)
def test_names_of_one_subject_without_separators(scans: dict[str, str]) -> None:
    assert found(**scans) == ""


@pytest.mark.parametrize(
    "scans",
    [
        {"t1": "annaT1.nii", "t1ce": "bertT1ce.nii", "t2": "annaT2.nii", "flair": "bertFLAIR.nii"},
        {"t1": "annaT1.nii", "t2": "annaT2.nii", "flair": "bertflair.nii"},
        {"t1": "anna1.nii", "t2": "anna2.nii", "t1ce": "bert1.nii", "flair": "bert2.nii"},
    ],
    ids=str,
)
def test_names_of_two_subjects_without_separators(scans: dict[str, str]) -> None:
    assert re.match("of two subjects, .*anna.* and .*bert", found(**scans))


# What tags say


SERIES = DicomSeries(FOLDER / "a", "1.2"), DicomSeries(FOLDER / "b", "1.3")


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ({"PatientID": "1"}, {"PatientID": "2"}, "several patients"),
        ({"PatientName": "Doe^Anna"}, {"PatientName": "Doe^Bert"}, "several patients"),
        ({"PatientBirthDate": "19500101"}, {"PatientBirthDate": "19600101"}, "several patients"),
        ({"StudyDate": "20190301"}, {"StudyDate": "20210709"}, "of 20190301 and 20210709"),
        ({"SeriesDate": "20190301"}, {"AcquisitionDate": "20210709"}, "2 examinations"),
        ({"StudyInstanceUID": "1.5"}, {"StudyInstanceUID": "1.6"}, "2 examinations"),
        ({"PatientID": "1"}, {}, "2 examinations"),
    ],
)
def test_series_of_two_patients_or_examinations(
    first: dict[str, str], second: dict[str, str], message: str
) -> None:
    scans = dict(zip(SERIES, ("t1", "t2")))
    identities = {source: [identity_of(tags)] for source, tags in zip(SERIES, (first, second))}
    with pytest.raises(InputError, match=message) as caught:
        check_one_examination(FOLDER, scans, identities, SERIES)
    assert all(str(source) in str(caught.value) for source in SERIES)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({}, {}),
        ({"PatientName": "Doe^Anna"}, {"PatientName": "DOE ANNA"}),
        # One examination may end on the next day.
        (
            {"StudyInstanceUID": "1.5", "StudyDate": "20190301"},
            {"StudyInstanceUID": "1.5", "StudyDate": "20190302"},
        ),
        ({"PatientID": "1", "PatientName": "Doe"}, {"PatientID": "1", "PatientName": "Doe-Roe"}),
    ],
)
def test_series_of_one_examination(first: dict[str, str], second: dict[str, str]) -> None:
    scans = dict(zip(SERIES, ("t1", "t2")))
    identities = {source: [identity_of(tags)] for source, tags in zip(SERIES, (first, second))}
    check_one_examination(FOLDER, scans, identities, SERIES)


def test_files_of_two_patients_in_one_series() -> None:
    identities = {SERIES[0]: [identity_of({"PatientID": each}) for each in "12"]}
    with pytest.raises(InputError, match="several patients, both in"):
        check_one_examination(FOLDER, {SERIES[0]: "t1"}, identities, SERIES[:1])


def test_image_files_beside_dicom() -> None:
    file = FOLDER / "t2.nii.gz"
    scans = {SERIES[0]: "t1", file: "t2"}
    patient = identity_of({"PatientID": "1", "StudyDate": "20190301"})

    def check(other: Identity, chosen: tuple[object, ...] = (SERIES[0], file)) -> None:
        check_one_examination(FOLDER, scans, {SERIES[0]: [patient], file: [other]}, chosen)

    with pytest.raises(InputError, match="nothing tells that they show one patient") as caught:
        check(Identity())
    assert str(SERIES[0]) in str(caught.value) and str(file) in str(caught.value)
    check(Identity(), chosen=(SERIES[0],))  # which is not used
    # As dcm2niix writes them beside the file.
    check(identity_of({"PatientID": "1", "AcquisitionDateTime": "2019-03-01T10:15:00"}))
    with pytest.raises(InputError, match="of 20190301 and 20210709"):
        check(identity_of({"PatientID": "1", "AcquisitionDateTime": "2021-07-09T10:15:00"}))
