"""The recipes of the containers agree with the package, and with each other; nothing is built."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

import MISSUCore
from MISSUCore.models.store import BUNDLED_FOLDER, DEFAULT_MODEL

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "containers" / "Dockerfile").read_text(encoding="utf-8")
APPTAINER = (ROOT / "containers" / "missu.def").read_text(encoding="utf-8")
IGNORED = (ROOT / "containers" / "Dockerfile.dockerignore").read_text(encoding="utf-8")
PROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
PINNED = dict(
    line.split("==")
    for line in (ROOT / "containers" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
)
recipes = pytest.mark.parametrize("recipe", [DOCKERFILE, APPTAINER], ids=["docker", "apptainer"])


def numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def bases(recipe: str) -> set[str]:
    return set(re.findall(r"^from:? (\S+)", recipe, re.MULTILINE | re.IGNORECASE))


@recipes
def test_the_version_is_that_of_the_package(recipe):
    found = re.findall(r"image\.version[= ]\"?([\d.]+)", recipe)
    assert found == [MISSUCore.__version__]


def test_both_begin_with_the_same_base_to_the_last_digit():
    (base,) = bases(DOCKERFILE)
    assert bases(APPTAINER) == {base}
    version = re.fullmatch(r"python:(\d+\.\d+\.\d+)-slim-bookworm", base)
    least = re.search(r'requires-python = ">=([\d.]+)"', PROJECT)
    assert version and least and numbers(version[1]) >= numbers(least[1])


def test_what_is_pinned_is_all_that_the_package_needs_and_new_enough():
    needed = re.findall(r'^    "(\w+)>=([\d.]+)",', PROJECT.split("[project.optional")[0], re.M)
    optional = " ".join(re.findall(r"^(?:raw|dicom) = \[(.+)\]", PROJECT, re.MULTILINE))
    extras = re.findall(r'"(\w+)>=([\d.]+)"', optional)
    assert len(needed) >= 6 and len(extras) == 3
    assert {name for name, _ in needed + extras} == set(PINNED)
    for name, least in needed + extras:
        assert numbers(PINNED[name]) >= numbers(least), name


def test_torch_is_that_of_the_tests():
    assert f'"torch=={PINNED["torch"]}"' in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_what_is_copied_is_there_and_not_ignored():
    lines = [shlex.split(line) for line in DOCKERFILE.splitlines() if line.startswith("COPY ")]
    sources = [name for words in lines if "--from=build" not in words for name in words[1:-1]]
    files = APPTAINER.split("%files")[1].split("%post")[0].splitlines()
    assert {line.split()[0] for line in files if line.strip()} == set(sources)
    assert sources and all((ROOT / name).exists() for name in sources)
    assert IGNORED.splitlines()[0] == "*"
    assert set(re.findall(r"^!(.+)$", IGNORED, re.MULTILINE)) == set(sources)
    # The license and the page that the project's description names are among them.
    for name in re.findall(r'^(?:readme|license-files) = \[?"([^"]+)"', PROJECT, re.MULTILINE):
        assert name in sources


def test_the_weights_are_in_the_package():
    assert (BUNDLED_FOLDER / f"{DEFAULT_MODEL}.pt").is_file()
    assert BUNDLED_FOLDER == ROOT / "MISSUCore" / "weights"
    assert '"weights/*.pt", "weights/*.json"' in PROJECT


def test_it_starts_missu_as_another_user_than_root():
    assert 'ENTRYPOINT ["missu"]' in DOCKERFILE
    (user,) = re.findall(r"^USER (\d+)$", DOCKERFILE, re.MULTILINE)
    assert int(user) > 0 and f"useradd --uid {user} " in DOCKERFILE
    assert DOCKERFILE.index("\nUSER ") < DOCKERFILE.index("\nENTRYPOINT ")
    assert 'exec missu "$@"' in APPTAINER
    assert 'missu = "MISSUCore.__main__:main"' in PROJECT
