"""Lists of cases as people and spreadsheets write them; names that are not names of folders."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from MISSUCore.core.errors import InputError
from MISSUCore.io.case_lists import CasePaths, read_cases, read_json_cases

MODALITIES = ("t1", "t1ce", "T2")


@pytest.fixture
def read(tmp_path):
    """Function that reads a list with this content."""

    def read_content(content: str | bytes, name: str = "cases.csv") -> list[CasePaths]:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return read_cases(path, MODALITIES, tmp_path / "out")

    return read_content


def test_a_table_names_scans_relative_to_itself(read, tmp_path):
    first, second, third = read(
        "name,t1,t1ce,t2,reference,folder\n"
        "b,scans/b t1.nii,,scans/b_t2.nii,t1,\n"
        "a,,/data/a.nii,,other.nii,\n"
        "c,,,,,dicom/c\n"
    )
    scans = {"t1": tmp_path / "scans/b t1.nii", "T2": tmp_path / "scans/b_t2.nii"}
    assert first == CasePaths("b", scans, reference="t1")
    assert second == CasePaths("a", {"t1ce": Path("/data/a.nii")}, None, tmp_path / "other.nii")
    assert third == CasePaths("c", folder=tmp_path / "dicom/c")


@pytest.mark.parametrize(
    "content",
    [
        "name,t1\r\np1,a.nii\r\n",
        "\ufeffname;t1\r\np1;a.nii\r\n;\r\n\r\n",
        'Name\tT1\n"p1"\t"a.nii"\n',
        " name , t1 ,\n p1 , a.nii ,\n",
        '"name","t1"\n"p1","a.nii"',
    ],
)
def test_tables_as_spreadsheets_write_them(read, tmp_path, content):
    assert read(content) == [CasePaths("p1", {"t1": tmp_path / "a.nii"})]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("\ufeff\r\n;;\r\n", "is empty"),
        ("name,t1\n", "lists no case"),
        ("t1,t2\na.nii,b.nii\n", "has no column 'name'"),
        ("name,t1,t1\np,a,b\n", "has two columns 't1'"),
        ("name,t1,T1\np,a,b\n", "has two columns 't1'"),
        ("name,t1,age\np,a,40\n", r"has a column 'age'; there may be name, .*t1, t1ce, T2"),
        ("name,t1\np1,a,b\n", "line 2: has a cell without a heading"),
        ("name,,t1\np1,x,b\n", "line 2: has a cell without a heading"),
        ("name,t1\n,a\n", "line 2: the case has no name"),
        ("name,t1\n\np1\n", "line 3: case p1 has neither scans nor a folder"),
        ("name,t1,folder\np1,a,b\n", "case p1 has a folder and images"),
        ('name,t1\np1,"a\n', "is not CSV"),
        ("name,t1\np1,a\np1,b\n", "two cases have the name p1"),
        ("name,t1\nP1,a\np1,b\n", "two cases have the name p1"),
        ("name,t1\nMu\u0308ller,a\nM\u00fcller,b\n", "two cases have the name"),
        ("name,t1\nM\u00fcller,a\n".encode("latin-1"), "save it as .CSV UTF-8"),
        ("name,t1\np1,a\n".encode("utf-16"), "save it as .CSV UTF-8"),
    ],
)
def test_a_wrong_table_is_refused(read, content, message):
    with pytest.raises(InputError, match=r"cases\.csv: .*" + message):
        read(content)


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "..",
        ".hidden",
        "a/b",
        "a\\b",
        "/etc",
        "C:",
        "con",
        "NUL.txt",
        "Lpt1",
        "a?",
        "a*",
        "-rf",
        "=1+1",
        "p1.",
        "\x00",
        "a\nb",
        "a\u202eb",
        "\ud800",
        "a" * 300,
        "\u00e4" * 100,
    ],
)
def test_a_name_that_is_none_of_a_folder_is_refused(read, name):
    entries = [{"name": name, "images": {"t1": "a"}}]
    with pytest.raises(InputError, match="cannot be the name of a case"):
        read(json.dumps(entries), "cases.json")


@pytest.mark.parametrize(
    "name", ["p1", "TCGA-FG-6692", "Müller, Jörg (2)", "患者1", "_x", "c.o.n", "a" * 120]
)
def test_names_in_any_language_will_do(read, name):
    (case,) = read(json.dumps([{"name": name, "images": {"t1": "a"}}]), "cases.json")
    assert case.name == name


def test_json_as_for_training(read, tmp_path):
    cases = read(
        json.dumps(
            [
                {"name": "b", "images": {"t1": "x/t1.nii"}, "labels": "x/seg.nii"},
                {"name": "a", "folder": "y", "reference": "z.nii"},
            ]
        ),
        "cases.json",
    )
    assert cases == [
        CasePaths("b", {"t1": tmp_path / "x/t1.nii"}, labels=tmp_path / "x/seg.nii"),
        CasePaths("a", folder=tmp_path / "y", reference=tmp_path / "z.nii"),
    ]
    assert read_json_cases(tmp_path / "cases.json") == cases


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"name": "a", "images": {"flair": "x"}}, "'flair' is not a modality of the model"),
        ({"name": "a"}, 'has no "images"'),
        ({"name": "a", "images": ["x"]}, 'has no "images"'),
        ({"name": "a", "images": {"t1": 1}}, "t1 is 1, and no path"),
        ({"name": "a", "folder": ["x"]}, "folder is .'x'., and no path"),
        ({"name": 3, "images": {"t1": "x"}}, 'case 1 has no "name"'),
        ([], 'case 1 has no "name"'),
    ],
)
def test_a_wrong_entry_is_refused(read, entry, message):
    with pytest.raises(InputError, match=message):
        read(json.dumps([entry]), "cases.json")


def test_every_folder_of_a_folder_is_a_case(tmp_path):
    data = tmp_path / "data"
    for name in ("b", "a", ".git"):
        (data / name).mkdir(parents=True)
    (data / "notes.txt").touch()
    cases = read_cases(data, MODALITIES, tmp_path / "out")
    assert cases == [CasePaths(name, folder=data / name) for name in "ab"]
    with pytest.raises(InputError, match="holds no folders"):
        read_cases(data / "a", MODALITIES, tmp_path / "out")


def test_results_do_not_go_among_the_scans(read, tmp_path):
    (tmp_path / "p1").mkdir()
    for output in (tmp_path, tmp_path / "results", tmp_path / "p1" / "results"):
        with pytest.raises(InputError, match=f"{re.escape(str(output))}: lies among the scans"):
            read_cases(tmp_path, MODALITIES, output)
    (tmp_path / "a.csv").write_text("name,folder\np1,p1\n")
    with pytest.raises(InputError, match="lies among the scans"):
        read_cases(tmp_path / "a.csv", MODALITIES, tmp_path / "p1" / "results")
    assert read_cases(tmp_path / "a.csv", MODALITIES, tmp_path / "results")


@pytest.mark.parametrize("name", ["gone.csv", "gone.json"])
def test_a_missing_list_is_named(tmp_path, name):
    with pytest.raises(InputError, match=f"{name}: cannot be read"):
        read_cases(tmp_path / name, MODALITIES, tmp_path / "out")


def test_another_kind_of_file_is_refused(read):
    with pytest.raises(InputError, match=r"give a \.csv or \.json list"):
        read("", "cases.xlsx")


def test_further_maps_are_listed(tmp_path: Path) -> None:
    table, listed = tmp_path / "cases.csv", tmp_path / "cases.json"
    table.write_text("name,folder,map:ADC,MAP: rCBV\np1,p1,p1/adc.nii,\np2,p2,,cbv\n")
    listed.write_text(
        '[{"name": "p1", "folder": "p1", "maps": {"ADC": "p1/adc.nii"}},'
        ' {"name": "p2", "folder": "p2", "maps": {"rCBV": "cbv"}}]'
    )
    for path in (table, listed):
        first, second = read_cases(path, ("t1",), tmp_path / "out")
        assert first.maps == {"ADC": tmp_path / "p1" / "adc.nii"}
        assert second.maps == {"rCBV": tmp_path / "cbv"}
    for text, message in (
        ("name,folder,map:ADC,map:adc\np1,p1,a,b\n", "two columns"),
        ("name,folder,map:\np1,p1,a\n", "has a column 'map:'.* and map:NAME for further ones"),
        ("name,map:ADC\np1,a\n", "neither scans nor a folder"),
    ):
        table.write_text(text)
        with pytest.raises(InputError, match=message):
            read_cases(table, ("t1",), tmp_path / "out")
    for maps in ('["a"]', '{"ADC": 3}'):
        listed.write_text(f'[{{"name": "p1", "folder": "p1", "maps": {maps}}}]')
        with pytest.raises(InputError, match=r"case p1: .*(not a file for each map|no path)"):
            read_cases(listed, ("t1",), tmp_path / "out")
