"""The library's front door: every name is there, is documented, and loads on first use."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import MISSUCore

NAMES = sorted(set(MISSUCore.__all__) - {"__version__"})
ROOT = Path(MISSUCore.__file__).parents[1]


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_is_there_with_an_example(name: str) -> None:
    found = getattr(MISSUCore, name)
    documentation = found.__doc__ if name != "BRATS" else type(found).__doc__
    assert f"import {name}" in documentation or f", {name}" in documentation or name == "BRATS"
    assert ">>>" in documentation


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'segment_everything'"):
        MISSUCore.segment_everything  # noqa: B018


def test_looking_at_the_names_loads_nothing() -> None:
    program = (
        "import sys, MISSUCore; dir(MISSUCore)\n"
        "print(sorted({'torch', 'SimpleITK', 'scipy', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
