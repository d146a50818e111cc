"""What ``pip install`` copies. An editable installation does not show that a package is missing."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_wheel_holds_every_file_of_the_library(tmp_path):
    source, wheels = tmp_path / "source", tmp_path / "wheels"
    wheels.mkdir()
    skipped = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "MISSUCore", source / "MISSUCore", ignore=skipped)
    for name in ("pyproject.toml", "README.md", "LICENSE.txt"):
        shutil.copy(ROOT / name, source)
    build = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", build, wheels], cwd=source, check=True, timeout=120)
    (wheel,) = wheels.glob("*.whl")
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "MISSUCore"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    files = listed.stdout.splitlines()
    expected = {name for name in files if (ROOT / name).exists()} - {"MISSUCore/CMakeLists.txt"}
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if name.startswith("MISSUCore/")}
    assert len(expected) > 200
    assert held == expected
