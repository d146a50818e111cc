"""What is told of an installation, also where parts of it cannot be used."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

import MISSUCore
from MISSUCore.cli.main import CANCELLED, main
from MISSUCore.core.errors import EXIT_CODES, InputError, MISSUError, ResourceError
from MISSUCore.core.files import sha256
from MISSUCore.inference.installation import installation_facts
from MISSUCore.preprocessing.brain_extraction import BrainExtractionMissing

ROOT = Path(__file__).parents[3]


def test_the_facts_are_those_of_this_machine(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("MISSU_MODELS", str(tmp_path / "mine"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "broken.json").write_text("{")
    (tmp_path / "mine" / "broken.pt").write_bytes(b"weights")
    assert main(["info", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["missu"] == MISSUCore.__version__
    assert facts["packages"]["torch"] == torch.__version__
    assert facts["packages"]["numpy"] == np.__version__
    assert facts["packages"]["SimpleITK"] == sitk.Version.VersionString()
    assert facts["device"]["threads"] == torch.get_num_threads()
    assert facts["folders"]["own_models"] == str(tmp_path / "mine")
    assert facts["environment"]["MISSU_MODELS"] == str(tmp_path / "mine")
    models = {model["name"]: model for model in facts["models"]["installed"]}
    assert facts["models"]["default"] == "missu-brats-precise"
    fast, precise = models["missu-brats-fast"], models["missu-brats-precise"]
    assert precise["first_look"] == "missu-brats-fast" and fast["first_look"] is None
    assert fast["regions"] == ["WT", "TC", "ET"]
    (unusable,) = facts["models"]["unusable"]
    assert unusable.startswith(f"{tmp_path / 'mine' / 'broken.json'}: is not a model card")
    assert sha256(Path(fast["file"])) == fast["sha256"]


def test_it_is_told_in_lines_too(capsys):
    assert main(["info"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"missu: {MISSUCore.__version__}" in lines
    (models,) = (line for line in lines if line.startswith("models: "))
    assert "missu-brats-fast and missu-brats-precise" in models


@pytest.mark.slow
def test_it_is_told_where_torch_cannot_be_loaded():
    program = (
        "import sys\n"
        "sys.modules['torch'] = None\n"
        "from MISSUCore.cli.main import main\n"
        "sys.exit(main(['info', '--json']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert "ModuleNotFoundError" in facts["device"]["error"]
    assert facts["missu"] == MISSUCore.__version__
    assert facts["packages"]["numpy"] == np.__version__


def test_what_is_not_installed_is_null(monkeypatch):
    monkeypatch.setattr("MISSUCore.inference.installation.OPTIONAL", ("no-such-package",))
    assert installation_facts()["optional_packages"] == {"no-such-package": None}


def test_every_exit_code_is_explained_and_documented():
    errors = (MISSUError, InputError, ResourceError, BrainExtractionMissing)
    assert set(EXIT_CODES) == {0, CANCELLED, *(error.exit_code for error in errors)}
    text = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| (.+) \|$", text, re.M)
    assert {int(code): meaning for code, meaning in rows} == EXIT_CODES
