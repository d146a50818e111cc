"""Finding labeled cases, holding some out, and reading their labels in one numbering."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from MISSUCore import training
from MISSUCore.contract.labels import BRATS, BRATS_2023, CHAOS_LIVER, LabelScheme
from MISSUCore.core.errors import InputError
from MISSUCore.training.brats import (
    LabeledCase,
    find_brats_cases,
    read_case_list,
    read_groups,
    read_names,
    split_cases,
)
from MISSUCore.training.labels import read_labels

SUFFIXES = ("t1", "t1ce", "t2", "flair", "seg")
VALIDATION_BRATS = Path(training.__file__).parent / "validation_brats.txt"


def make_case(folder: Path, suffixes=SUFFIXES, separator="_", ending=".nii.gz") -> Path:
    """A case folder of empty files: only names matter to the finder."""
    folder.mkdir(parents=True)
    for suffix in suffixes:
        (folder / f"{folder.name}{separator}{suffix}{ending}").touch()
    return folder


def write_labels(path: Path, values: list[int]) -> Path:
    """A label map of 4x5x6 voxels that holds these values, with a geometry of its own."""
    voxels = np.zeros((4, 5, 6), dtype=np.uint8)
    voxels.flat[: len(values)] = values
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing((0.5, 1.0, 3.0))
    image.SetOrigin((-7.0, 8.0, 9.0))
    sitk.WriteImage(image, str(path))
    return path


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


@pytest.fixture
def entries(tmp_path) -> list[dict]:
    """Two entries of a case list, whose files exist."""
    for name in ("a", "b"):
        make_case(tmp_path / "scans" / name)
    return [
        {
            "name": name,
            "images": {"t1": f"scans/{name}/{name}_t1.nii.gz", "t2": f"scans/{name}"},
            "labels": f"scans/{name}/{name}_seg.nii.gz",
        }
        for name in ("b", "a")
    ]


def write_list(folder: Path, content: object) -> Path:
    path = folder / "cases.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_a_case_list_names_paths_relative_to_itself(tmp_path, entries):
    scans = tmp_path / "scans"
    first, second = read_case_list(write_list(tmp_path, entries))
    assert first == LabeledCase(
        "a", {"t1": scans / "a/a_t1.nii.gz", "t2": scans / "a"}, scans / "a/a_seg.nii.gz"
    )
    assert second.name == "b"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": None}, 'case 2 has no "name"'),
        ({"images": {}}, 'case a has no "images"'),
        ({"images": "t1.nii.gz"}, 'case a has no "images"'),
        ({"labels": None}, 'case a has no "labels"'),
        ({"labels": 3}, "case a: labels is 3, and no path"),
        ({"images": {"t1": "gone.nii.gz"}}, "case a: t1 does not exist: .*gone.nii.gz"),
        ({"images": {"t1": "scans/a"}}, "case a has t1 and case b has t1, t2"),
        ({"name": "b"}, "two cases have the name b"),
    ],
)
def test_a_wrong_entry_is_named(tmp_path, entries, change, message):
    entries[1].update(change)
    with pytest.raises(InputError, match=message):
        read_case_list(write_list(tmp_path, entries))


@pytest.mark.parametrize("content", [[], {"name": "a"}])
def test_a_file_that_is_no_list_of_cases_is_refused(tmp_path, content):
    with pytest.raises(InputError, match="is no case list"):
        read_case_list(write_list(tmp_path, content))


def test_an_entry_that_is_no_case_is_refused(tmp_path):
    with pytest.raises(InputError, match='case 1 has no "name"'):
        read_case_list(write_list(tmp_path, ["a"]))


def test_an_unreadable_case_list_is_refused(tmp_path):
    (tmp_path / "cases.json").write_text("[{")
    for name in ("cases.json", "gone.json"):
        with pytest.raises(InputError, match="cannot be read as a case list"):
            read_case_list(tmp_path / name)


def test_names_are_read_one_a_line(tmp_path):
    path = tmp_path / "names.txt"
    path.write_text("# held out\n\nb  # difficult\n a\n", encoding="utf-8")
    assert read_names(path) == ["b", "a"]
    with pytest.raises(InputError, match="cannot be read as a list of names"):
        read_names(tmp_path / "gone.txt")


def test_each_list_of_names_is_a_group(tmp_path):
    one, other = tmp_path / "gliomas.txt", tmp_path / "far, away.txt"
    one.write_text("b\na\nb\n", encoding="utf-8")
    other.write_text("c\n", encoding="utf-8")
    assert read_groups([]) == {}
    assert read_groups([one, other]) == {"b": "gliomas", "a": "gliomas", "c": "far__away"}
    other.write_text("c\na\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"case a is named in .*gliomas\.txt, too"):
        read_groups([one, other])
    with pytest.raises(InputError, match="are one group, gliomas; rename"):
        read_groups([one, tmp_path / "other" / "gliomas.txt"])


def test_split_holds_out_the_named_cases():
    cases = [LabeledCase(name, {}, Path()) for name in "abc"]
    training_cases, validation = split_cases(cases, {"c": "hard", "b": "easy"})
    assert [case.name for case in training_cases] == ["a"]
    assert [(case.name, case.group) for case in validation] == [("b", "easy"), ("c", "hard")]
    with pytest.raises(InputError, match="no such case to validate on: x, y"):
        split_cases(cases, dict.fromkeys("yax", ""))
    with pytest.raises(InputError, match="none is left to train on"):
        split_cases(cases, dict.fromkeys("abc", ""))


def test_the_published_split_holds_out_eleven_cases():
    names = read_names(VALIDATION_BRATS)
    assert len(set(names)) == len(names) == 11
    assert "BraTS2021_00000" in names


@pytest.mark.parametrize(
    ("stored", "scheme", "expected"),
    [
        ([0, 1, 2, 4], BRATS, [0, 1, 2, 4]),
        ([0, 1, 2, 3], BRATS, [0, 1, 2, 4]),
        ([0, 1, 2, 4], BRATS_2023, [0, 1, 2, 3]),
        ([0, 1, 2, 0], BRATS, [0, 1, 2, 0]),
        ([0, 1, 1, 0], CHAOS_LIVER, [0, 1, 1, 0]),
    ],
)
def test_labels_come_in_the_numbering_of_the_scheme(
    tmp_path: Path, stored: list[int], scheme: LabelScheme, expected: list[int]
):
    path = write_labels(tmp_path / "seg.nii.gz", stored)
    image = read_labels(LabeledCase("a", {}, path), scheme)
    assert sitk.GetArrayFromImage(image).flat[:4].tolist() == expected
    assert image.GetPixelID() == sitk.sitkUInt8
    assert image.GetSpacing() == (0.5, 1.0, 3.0)
    assert image.GetOrigin() == (-7.0, 8.0, 9.0)


@pytest.mark.parametrize("stored", [[1, 2, 3, 4], [7]])
def test_labels_of_another_scheme_are_refused(tmp_path, stored):
    path = write_labels(tmp_path / "seg.nii.gz", stored)
    with pytest.raises(InputError, match=r"seg\.nii\.gz: label values \[0, .* BraTS"):
        read_labels(LabeledCase("a", {}, path), BRATS)


def test_case_folders_may_be_links(tmp_path: Path) -> None:
    case = make_case(tmp_path / "elsewhere" / "BraTS2021_00000")
    (tmp_path / "brats").mkdir()
    (tmp_path / "brats" / case.name).symlink_to(case)
    (case / "circle").symlink_to(tmp_path / "brats")
    (found,) = find_brats_cases(tmp_path / "brats")
    assert found.name == "BraTS2021_00000"
