"""The bars of the house: no file, function, class or folder grows beyond what is read at once."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILE_LINES, FUNCTION_LINES, CLASS_LINES, FOLDER_FILES = 350, 60, 250, 14
FILES = sorted(
    path for name in ("MISSUCore", "MISSUSegmentation") for path in (ROOT / name).rglob("*.py")
)


def relative(path: Path) -> str:
    """A path as the list above has it."""
    return path.relative_to(ROOT).as_posix()


def too_long(source: str) -> Iterator[str]:
    """Names and lengths of the functions and classes that are too long."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            most = CLASS_LINES if isinstance(node, ast.ClassDef) else FUNCTION_LINES
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > most:
                yield f"{node.name}: {lines} lines, at most {most}"


def test_what_is_too_long_is_found() -> None:
    body = "    pass\n"
    source = "def good():\n" + 59 * body + "def bad():\n" + 60 * body + "class Good:\n" + 249 * body
    assert list(too_long(source)) == ["bad: 61 lines, at most 60"]


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_files_functions_and_classes_are_short(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert source.count("\n") <= FILE_LINES
    assert not list(too_long(source))


def test_folders_are_small() -> None:
    folders: dict[str, int] = {}
    for path in FILES:
        folder = relative(path.parent)
        folders[folder] = folders.get(folder, 0) + (path.name != "__init__.py")
    grown = {name for name, files in folders.items() if files > FOLDER_FILES}
    assert not grown
