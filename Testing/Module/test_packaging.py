"""The extension as Slicer builds it and its index takes it.

The rules are those of Slicer/ExtensionsIndex, scripts/check_description_files.py, and of its schema
slicer-extension-catalog-entry-schema-v1.0.1.json; nothing is downloaded.
"""

from __future__ import annotations

import ast
import json
import re
import struct
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

from MISSUCore.contract.labels import BRATS

REPOSITORY = Path(__file__).parents[2]
LIBRARY = REPOSITORY / "MISSUSegmentation" / "MISSUSegmentationLib"
TERMINOLOGY = "Resources/Terminologies/SegmentationCategoryTypeModifier-MISSU.term.json"
CMAKE = (REPOSITORY / "CMakeLists.txt").read_text(encoding="utf-8")
ENTRY_FILE = REPOSITORY / "Resources" / "MISSU.json"
ENTRY = json.loads(ENTRY_FILE.read_text(encoding="utf-8"))


def listed(folder: Path) -> list[str]:
    """Files that the CMakeLists.txt of a folder names as scripts and resources."""
    text = re.sub("#.*", "", (folder / "CMakeLists.txt").read_text(encoding="utf-8"))
    lists = re.findall(r"set\(MODULE_PYTHON_(?:SCRIPTS|RESOURCES)\s+([^)]*)\)", text)
    assert len(lists) == 2
    (name,) = re.findall(r"set\(MODULE_NAME (\w+)\)", text)
    return " ".join(lists).replace("${MODULE_NAME}", name).split()


def on_disk(folder: Path) -> set[str]:
    """Files of a folder that git knows, or would take."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    files = set(done.stdout.splitlines()) - {"CMakeLists.txt"}
    return {file for file in files if (folder / file).exists()}


def setting(name: str) -> str:
    """Value of an EXTENSION_ variable, found as the index finds it: on one line."""
    (value,) = re.findall(rf'set\s*\({name}\s*"([^"]+)"[ ]*\)', CMAKE, re.IGNORECASE)
    assert "\n" not in value
    return value


def size_of_png(path: Path) -> tuple[int, int]:
    header = path.read_bytes()[:24]
    assert header[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", header[16:])
    return width, height


@pytest.mark.parametrize("name", ["MISSUCore", "MISSUSegmentation"])
def test_cmake_lists_every_file(name: str) -> None:
    files = listed(REPOSITORY / name)
    assert sorted(files) == sorted(on_disk(REPOSITORY / name))


def test_cmake_adds_both_packages() -> None:
    assert re.findall(r"add_subdirectory\((\w+)\)", CMAKE) == ["MISSUCore", "MISSUSegmentation"]
    core = (REPOSITORY / "MISSUCore" / "CMakeLists.txt").read_text(encoding="utf-8")
    assert "WITH_SUBDIR" in core  # else its files would lie loose among Slicer's modules
    module = (REPOSITORY / "MISSUSegmentation" / "CMakeLists.txt").read_text(encoding="utf-8")
    assert "slicer_add_python_unittest(SCRIPT ${MODULE_NAME}.py)" in module


def test_the_extension_has_one_name() -> None:
    (project,) = re.findall(r"project\s*\(\s*([^\s\)\n\r]+)", CMAKE, re.IGNORECASE)
    assert project == ENTRY_FILE.stem
    assert not project.startswith("Slicer")


def test_the_index_entry_follows_the_schema() -> None:
    assert set(ENTRY) >= {"$schema", "category", "scm_url"}
    assert set(ENTRY) <= {
        *("$schema", "category", "scm_url", "scm_revision", "scm_type"),
        *("build_dependencies", "build_subdirectory", "enabled", "tier"),
    }
    assert ENTRY["$schema"].endswith("slicer-extension-catalog-entry-schema-v1.0.1.json#")
    assert ENTRY["category"] == "Segmentation"
    assert 1 <= ENTRY["tier"] <= 5
    assert ENTRY["build_dependencies"] == setting("EXTENSION_DEPENDS").split() == ["PyTorch"]


def test_the_repository_is_named_for_slicer() -> None:
    assert ENTRY["scm_url"].startswith("https://")
    assert Path(ENTRY["scm_url"]).stem.startswith("Slicer")
    assert ENTRY["scm_url"].removesuffix(".git") == setting("EXTENSION_HOMEPAGE")


def test_pictures_are_those_of_the_repository() -> None:
    path = setting("EXTENSION_HOMEPAGE").removeprefix("https://github.com/")
    root = f"https://raw.githubusercontent.com/{path}/{ENTRY['scm_revision']}/"
    urls = [setting("EXTENSION_ICONURL"), *setting("EXTENSION_SCREENSHOTURLS").split()]
    assert len(urls) >= 2
    for url in urls:
        assert url.startswith(root)
        size_of_png(REPOSITORY / url.removeprefix(root))


def test_icons_are_128_pixels() -> None:
    icons = ("Resources/MISSU.png", "MISSUSegmentation/Resources/Icons/MISSUSegmentation.png")
    assert {size_of_png(REPOSITORY / icon) for icon in icons} == {(128, 128)}


def test_the_description_is_one_or_two_sentences_and_no_more() -> None:
    description = setting("EXTENSION_DESCRIPTION")
    assert 1 <= len(re.findall(r"\.(?:\s|$)", description)) <= 2
    assert "not a medical device" in description


def test_a_license_is_in_the_root() -> None:
    assert "Apache License" in (REPOSITORY / "LICENSE.txt").read_text(encoding="utf-8")


def test_the_repository_is_small() -> None:
    tracked = on_disk(REPOSITORY) | {"CMakeLists.txt"}
    assert sum((REPOSITORY / file).stat().st_size for file in tracked) < 50e6  # of 100 MB with .git


def test_text_files_have_unix_line_ends() -> None:
    for file in on_disk(REPOSITORY):
        content = (REPOSITORY / file).read_bytes()
        assert b"\0" in content or b"\r\n" not in content, file


def test_no_image_of_a_patient_is_shipped() -> None:
    endings = (".nii", ".nii.gz", ".nrrd", ".mha", ".dcm")
    assert not [file for file in on_disk(REPOSITORY) if file.endswith(endings)]


def imported(path: Path) -> set[str]:
    """Full names of the modules that a file imports, at its top or inside a function."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add(node.module)
    return found


# StandBy.py is a program of its own: it runs in MISSUCore's process.
MODULE_FILES = [
    REPOSITORY / "MISSUSegmentation/MISSUSegmentation.py",
    *(path for path in LIBRARY.rglob("*.py") if path.name != "StandBy.py"),
]
# From the ground up: a room imports only rooms below it.
MODULE_ROOMS = ("Core", "Scene", "Logic", "Panel")
# The sample is drawn in Slicer: at once, before PyTorch is installed, and for its Sample Data
# module, which knows no process to wait for. No torch is loaded; test_imports.py holds that.
DRAWING = {"MISSUCore.simulation.anatomy", "MISSUCore.simulation.case"}


@pytest.mark.parametrize("path", MODULE_FILES, ids=lambda path: path.name)
def test_the_module_imports_what_it_may(path: Path) -> None:
    names = imported(path)
    assert "torch" not in {name.split(".")[0] for name in names}
    of_core = {name for name in names if name.startswith("MISSUCore")}
    may = DRAWING if path.name == "SampleCase.py" else set()
    assert not {name for name in of_core - may if name.split(".")[1] not in ("contract", "core")}
    if LIBRARY / "Panel" not in path.parents and path.name != "MISSUSegmentation.py":
        assert not names & {"qt", "ctk"}, "scripts have no Qt"


@pytest.mark.parametrize("path", sorted(LIBRARY.rglob("*/*.py")), ids=lambda path: path.name)
def test_imports_of_the_module_point_down(path: Path) -> None:
    room, *inner = path.relative_to(LIBRARY).parts
    lower = MODULE_ROOMS[: MODULE_ROOMS.index(room)]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == 1 + len(inner):
            assert str(node.module).split(".")[0] in lower


def test_files_are_short() -> None:
    lengths = {
        path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in MODULE_FILES
    }
    assert lengths.pop("MISSUSegmentation.py") < 400
    assert max(lengths.values()) < 300


def test_the_terminology_knows_every_segment() -> None:
    path = REPOSITORY / "MISSUSegmentation" / TERMINOLOGY
    terminology = json.loads(path.read_text(encoding="utf-8"))
    known = {}
    for category in terminology["SegmentationCodes"]["Category"]:
        for type_ in category["Type"]:
            for modifier in type_.get("Modifier", [{}]):
                codes = (category, type_, modifier)
                color = (modifier or type_)["recommendedDisplayRGBValue"]
                known[tuple(code.get("CodeValue") for code in codes)] = color
    for part in (*BRATS.regions, *BRATS.labels):
        codes = part.terminology
        modifier = codes.modifier.value if codes.modifier else None
        assert (codes.category.value, codes.type.value, modifier) in known
    for region in BRATS.regions:
        codes = region.terminology
        key = (codes.category.value, codes.type.value, codes.modifier.value)
        assert known[key] == list(region.color)


def test_the_scene_reaches_every_selector() -> None:
    path = REPOSITORY / "MISSUSegmentation/Resources/UI/MISSUSegmentation.ui"
    ui = ElementTree.parse(path)  # noqa: S314
    selectors = {
        widget.get("name")
        for widget in ui.iter("widget")
        if widget.get("class") == "qMRMLNodeComboBox"
    }
    connections = {
        connection.findtext("receiver")
        for connection in ui.iter("connection")
        if connection.findtext("slot") == "setMRMLScene(vtkMRMLScene*)"
    }
    assert len(selectors) == 6
    assert selectors == connections
