"""Tuning on a few cases: end to end on tiny ones, stopping and killing, other tasks."""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import MISSUCore
from MISSUCore.errors import InputError
from MISSUCore.files import sha256
from MISSUCore.model_store import Model, load_model, save_model
from MISSUCore.network.transunet import TransUNet
from MISSUCore.progress import Progress
from MISSUCore.regions import BRATS, LabelScheme
from MISSUCore.training.case_lists import find_brats_cases
from MISSUCore.training.fine_tuning import FineTuningOptions, fine_tune
from MISSUCore.training.trainer import Stopped

CHANGES = {"steps": "6", "patch_size": "[16,16,16]", "mixed_precision": "false"}
OPTIONS = FineTuningOptions(rehearsal="none", changes=CHANGES, device="cpu")


@pytest.fixture
def base(tiny_model: Path) -> Model:
    return load_model(str(tiny_model))


def test_a_run_leaves_table_and_candidate(
    brats_folder: Path, base: Model, tiny_model: Path, tmp_path: Path
) -> None:
    events = []
    gate = fine_tune(
        find_brats_cases(brats_folder),
        BRATS,
        base,
        tmp_path / "run",
        "mine",
        OPTIONS,
        Progress(events.append),
    )
    assert gate == json.loads((tmp_path / "run" / "gate.json").read_text())
    names = [case["case"] for case in gate["cases"]]
    assert sorted(names) == [f"BraTS2021_0000{number}" for number in range(4)]
    assert gate["verdict"] in ("better", "not better") and gate["forgetting"] is None
    assert gate["base"] == {"name": "tiny", "sha256": base.card.sha256}
    candidate = load_model(str(tmp_path / "run" / "model" / "mine.pt"))
    (entry,) = candidate.card.history
    assert entry["cases"] == sorted(names) and entry["verdict"] == gate["verdict"]
    assert entry["settings"]["learning_rate"] == 3e-4
    before, after = base.network.state_dict(), candidate.network.state_dict()
    assert any(not torch.equal(before[name], after[name]) for name in before)
    assert sha256(tiny_model) == base.card.sha256
    with (tmp_path / "run" / "validation.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert {(row["fold"], row["step"]) for row in rows} == {
        (str(fold), str(step)) for fold in (1, 2, 3) for step in (0, 2, 4, 6)
    }
    assert not list(tmp_path.glob("run/part-*/checkpoint.pt"))
    stages = list(dict.fromkeys(event.stage for event in events))
    assert stages == ["prepare", "tune", "done"]
    fractions = [event.fraction for event in events]
    assert fractions == sorted(fractions) and fractions[-1] == 1
