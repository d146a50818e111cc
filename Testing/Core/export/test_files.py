"""Exported bundled models segment a simulated case as ours do; their files are whole or absent."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from MISSUCore.cli.main import main
from MISSUCore.contract.options import Cleanup, SegmentationOptions
from MISSUCore.core.errors import InputError
from MISSUCore.evaluation.metrics import dice
from MISSUCore.export.files import export_model
from MISSUCore.export.network import onnx_runner
from MISSUCore.inference.segmentation import segment_case
from MISSUCore.models.store import Model, load_model
from MISSUCore.simulation.anatomy import drawn_brain
from MISSUCore.simulation.case import SimulatedCase, simulate_case

SCRIPT = Path(__file__).parents[3] / "Testing/Benchmarks/examples/run_onnx.py"
FAST, PRECISE = "missu-brats-fast", "missu-brats-precise"
ENDINGS = {"torchscript": ".ts", "onnx": ".onnx"}


@pytest.fixture(autouse=True)
def _single_precision(monkeypatch):
    """Exported networks compute in it; ours in bfloat16 where the processor has it."""
    monkeypatch.setattr("MISSUCore.inference.predictor.has_bfloat16", lambda device: False)


@pytest.fixture(scope="module")
def case() -> SimulatedCase:
    return simulate_case(seed=1, spacing_mm=2.0, anatomy=drawn_brain)


class Exported(nn.Module):
    """An exported network in the place of ours: it pads and cuts as the JSON file says."""

    def __init__(self, facts: dict[str, object], run: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.facts, self.run = facts, run

    def forward(self, volume: Tensor) -> Tensor:
        step, least = self.facts["side_multiple_of"], self.facts["least_side"]
        size = volume.shape[2:]
        padding = [max(-length % step, least - length) for length in size]
        ends = [end for length in reversed(padding) for end in (0, length)]
        depth, height, width = size
        return self.run(F.pad(volume, ends).contiguous())[..., :depth, :height, :width]


def exported(name: str, kind: str, folder: Path) -> Model:
    """A model whose networks are the exported ones."""
    files = export_model(name, kind, folder / f"model{ENDINGS[kind]}")
    networks = json.loads(files[-1].read_text(encoding="utf-8"))["networks"]

    def one(model: Model, role: str) -> Model:
        path = folder / networks[role]["file"]
        run = onnx_runner(path.read_bytes()) if kind == "onnx" else torch.jit.load(str(path))
        assert hashlib.sha256(path.read_bytes()).hexdigest() == networks[role]["sha256"]
        assert networks[role]["spacing_mm"] == list(model.card.spacing_mm)
        return replace(
            model,
            network=Exported(networks[role]["input"], run),
            card=replace(model.card, targets="regions"),
        )

    model = load_model(name)
    if model.finder is None:
        return one(model, "whole")
    return replace(one(model, "close"), finder=one(model.finder, "finder"))


def labels_of(case: SimulatedCase, model: Model, **options) -> np.ndarray:
    return sitk.GetArrayFromImage(
        segment_case(case.images, model, options=SegmentationOptions(**options)).labels
    )


def assert_same(found: np.ndarray, ours: np.ndarray) -> None:
    """A Dice of 1.000 for each label: rounding may turn a voxel, of thousands."""
    assert found.shape == ours.shape
    for value in (1, 2, 4):
        assert np.count_nonzero(ours == value) > 100
        assert dice(found == value, ours == value) >= 0.9995


@pytest.mark.slow
@pytest.mark.parametrize("kind", ENDINGS)
@pytest.mark.parametrize("name", [FAST, PRECISE])
def test_an_exported_model_segments_as_ours(name, kind, case, tmp_path):
    if kind == "onnx":
        pytest.importorskip("onnx")
        pytest.importorskip("onnxruntime")
    ours = labels_of(case, load_model(name))
    assert_same(labels_of(case, exported(name, kind, tmp_path)), ours)


@pytest.mark.slow
def test_the_example_segments_as_ours_with_numpy_and_onnxruntime_alone(case, tmp_path):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    *_, record = export_model(FAST, "onnx", tmp_path / "fast.onnx")
    scans = [sitk.GetArrayFromImage(case.images[name]) for name in ("t1", "t1ce", "t2", "flair")]
    np.save(tmp_path / "scans.npy", np.stack(scans))

    program = (
        "import runpy, sys\n"
        "for name in ('torch', 'MISSUCore'): sys.modules[name] = None\n"
        "script = sys.argv.pop(1)\n"
        "sys.argv[0] = script\n"
        "runpy.run_path(script, run_name='__main__')"
    )
    files = (SCRIPT, record, tmp_path / "scans.npy", tmp_path / "labels.npy")
    command = [sys.executable, "-c", program, *map(str, files)]
    subprocess.run(command, check=True, timeout=300)

    ours = labels_of(case, load_model(FAST), cleanup=Cleanup())
    assert_same(np.load(tmp_path / "labels.npy"), ours)


@pytest.mark.slow
def test_the_command_writes_all_files_and_none_over_another(tmp_path, capsys):
    output = tmp_path / "brain.ts"
    command = ["export", PRECISE, "--format", "torchscript", str(output)]
    assert main(command) == 0
    names = ["brain.ts", "brain-finder.ts", "brain.ts.json"]
    assert capsys.readouterr().out.split() == [str(tmp_path / name) for name in names]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    facts = json.loads((tmp_path / names[2]).read_text(encoding="utf-8"))
    assert facts["networks"]["finder"]["spacing_mm"] == [2.0, 2.0, 2.0]
    assert facts["two_looks"]["threshold"] == -1.0
    assert facts["postprocessing"]["cleanup"]["minimum_island_mm3"] == 100.0

    (tmp_path / names[1]).write_bytes(b"mine")
    (tmp_path / names[0]).unlink()
    assert main(command) == 2
    assert "brain-finder.ts: exists already" in capsys.readouterr().err
    assert (tmp_path / names[1]).read_bytes() == b"mine"
    assert not output.exists()


def test_the_ending_must_be_that_of_the_format(tmp_path):
    with pytest.raises(InputError, match=r"brain\.pt: a file of onnx ends in \.onnx"):
        export_model(FAST, "onnx", tmp_path / "brain.pt")
    assert not list(tmp_path.iterdir())


def test_the_model_itself_is_not_written_over(tmp_path):
    source = Path(load_model.__code__.co_filename).parents[1] / "weights"
    for ending in (".pt", ".json"):
        (tmp_path / f"{FAST}{ending}").write_bytes((source / f"{FAST}{ending}").read_bytes())
    weights = tmp_path / f"{FAST}.pt"
    with pytest.raises(InputError, match="is an input too"):
        export_model(str(weights), "torchscript", weights, overwrite=True)
