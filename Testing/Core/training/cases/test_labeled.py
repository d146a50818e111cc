"""Labeled cases of a list, and holding some out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from MISSUCore import training
from MISSUCore.core.errors import InputError
from MISSUCore.training.cases.labeled import (
    LabeledCase,
    read_case_list,
    read_groups,
    read_names,
    split_cases,
)

VALIDATION_BRATS = Path(training.__file__).parent / "validation_brats.txt"


@pytest.fixture
def entries(tmp_path) -> list[dict]:
    """Two entries of a case list, whose files exist."""
    for name in ("a", "b"):
        case = tmp_path / "scans" / name
        case.mkdir(parents=True)
        for kind in ("t1", "seg"):
            (case / f"{name}_{kind}.nii.gz").touch()
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
    with pytest.raises(InputError, match="is not a case list"):
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
