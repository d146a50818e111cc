"""Finding cases in a folder of BraTS."""

from __future__ import annotations

from pathlib import Path

import pytest

from MISSUCore.core.errors import InputError
from MISSUCore.training.cases.brats import find_brats_cases

SUFFIXES = ("t1", "t1ce", "t2", "flair", "seg")


def make_case(folder: Path, suffixes=SUFFIXES, separator="_", ending=".nii.gz") -> Path:
    """A case folder of empty files: only names matter to the finder."""
    folder.mkdir(parents=True)
    for suffix in suffixes:
        (folder / f"{folder.name}{separator}{suffix}{ending}").touch()
    return folder


@pytest.mark.parametrize(
    ("folder", "suffixes", "separator", "ending"),
    [
        ("HGG/brats_2013_pat0001_1", SUFFIXES, "_", ".mha"),
        ("LGG/Brats18_TCIA10_637_1", SUFFIXES, "_", ".nii.gz"),
        ("HGG/BraTS19_CBICA_ASK_1", SUFFIXES, "_", ".nii"),
        ("BraTS20_Training_001", SUFFIXES, "_", ".nii"),
        ("BraTS2021_00000", SUFFIXES, "_", ".nii.gz"),
        ("BraTS-GLI-00012-000", ("t1n", "t1c", "t2w", "t2f", "seg"), "-", ".nii.gz"),
    ],
)
def test_every_release_of_brats_is_found(tmp_path, folder, suffixes, separator, ending):
    place = make_case(tmp_path / folder, suffixes, separator, ending)
    (tmp_path / "survival_data.csv").touch()
    (case,) = find_brats_cases(tmp_path)
    files = [place / f"{place.name}{separator}{suffix}{ending}" for suffix in suffixes]
    assert case.name == place.name
    assert list(case.images.items()) == list(zip(("t1", "t1ce", "t2", "flair"), files))
    assert case.labels == files[-1]


def test_brats_cases_are_sorted_by_name_over_all_folders(tmp_path):
    make_case(tmp_path / "HGG" / "b")
    make_case(tmp_path / "LGG" / "a")
    assert [case.name for case in find_brats_cases(tmp_path)] == ["a", "b"]


def test_only_the_wanted_modalities_are_needed(tmp_path):
    make_case(tmp_path / "a", ("t1ce", "flair", "flair2", "seg"))
    make_case(tmp_path / "b")
    cases = find_brats_cases(tmp_path, modalities=("flair", "t1ce"))
    assert [list(case.images) for case in cases] == [["flair", "t1ce"]] * 2


def test_hidden_twins_of_macos_are_passed_over(tmp_path):
    place = make_case(tmp_path / "a")
    (place / "._a_t1.nii.gz").touch()
    assert len(find_brats_cases(tmp_path)) == 1


def test_a_folder_without_cases_is_refused(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(InputError, match=r"holds no BraTS case.*BraTS2021_00000_t1\.nii\.gz"):
        find_brats_cases(tmp_path)


@pytest.mark.parametrize(("left_out", "named"), [("t2", "t2"), ("seg", "segmentation")])
def test_an_incomplete_case_is_refused(tmp_path, left_out, named):
    make_case(tmp_path / "complete")
    make_case(tmp_path / "short", [suffix for suffix in SUFFIXES if suffix != left_out])
    with pytest.raises(InputError, match=rf"short: has no file of {named};"):
        find_brats_cases(tmp_path)


def test_two_files_of_one_modality_are_refused(tmp_path):
    make_case(tmp_path / "a", (*SUFFIXES, "t1gd"))
    with pytest.raises(InputError, match=r"two files of t1ce, a_t1ce\.nii\.gz and a_t1gd\.nii\.gz"):
        find_brats_cases(tmp_path)


def test_two_cases_of_one_name_are_refused(tmp_path):
    make_case(tmp_path / "HGG" / "a")
    make_case(tmp_path / "LGG" / "a")
    with pytest.raises(InputError, match=r"two cases have the name a.*HGG.*LGG"):
        find_brats_cases(tmp_path)


def test_case_folders_may_be_links(tmp_path: Path) -> None:
    case = make_case(tmp_path / "elsewhere" / "BraTS2021_00000")
    (tmp_path / "brats").mkdir()
    (tmp_path / "brats" / case.name).symlink_to(case)
    (case / "circle").symlink_to(tmp_path / "brats")
    (found,) = find_brats_cases(tmp_path / "brats")
    assert found.name == "BraTS2021_00000"
