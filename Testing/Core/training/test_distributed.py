"""Two processes train as one: same weights, one writer, and a request to stop that all follow."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import MISSUCore
from MISSUCore.contract.labels import label_scheme
from MISSUCore.core.errors import InputError
from MISSUCore.training.cases.brats import find_brats_cases
from MISSUCore.training.cases.labeled import split_cases
from MISSUCore.training.datasets import PreparedCases
from MISSUCore.training.presets import training_config
from MISSUCore.training.run import train
from MISSUCore.training.trainer import Stopped, Trainer

# Runs a command, and beside it tells what each process has learned.
PROGRAM = """
import os, signal, sys
import torch
from MISSUCore.cli.main import main
from MISSUCore.training import checkpoint, run

torch.set_num_threads(1)
rank, stop_at = os.environ.get("RANK"), int(sys.argv[1])
if rank == "1":
    checkpoint.atomic_write = None  # only the first process writes

class Telling(run.Trainer):
    def _train_step(self, batches):
        values = super()._train_step(batches)
        if rank == "1" and self.step + 1 == stop_at:
            os.kill(os.getpid(), signal.SIGTERM)
        return values

    def run(self):
        assert self.ranks == 2 and str(self.rank) == rank
        try:
            super().run()
        finally:
            known = {"step": self.step, "weights": self.model.state_dict(), "best": self.best}
            torch.save(known, f"{sys.argv[2]}/rank{rank}.pt")

run.Trainer = Telling
sys.exit(main(sys.argv[3:]))
"""
SETTINGS = {
    "network.channels": "[4, 8]",
    "network.convolutions": "[1, 1]",
    "network.skips": "1",
    "network.layers": "1",
    "network.embedding": "16",
    "network.heads": "2",
    "network.feed_forward": "16",
    "network.position_grid": "4",
    "network.normalization": "instance",
    "augmentation.affine_probability": "0.5",
    "patch_size": "[16, 16, 16]",
    "batch_size": "1",
    "epochs": "4",
    "validate_every": "2",
    "learning_rate": "0.01",
    "average_decay": "0.5",
    "mixed_precision": "false",
}
HELD_OUT = {"BraTS2021_00000": "easy", "BraTS2021_00001": "hard"}  # groups


def command(data: Path, output: Path) -> list[str]:
    line = ["train", "--brats", data, "--output", output, "--name", "tiny"]
    for case, group in HELD_OUT.items():
        names = output.with_name(f"{group}.txt")
        names.write_text(case)
        line += ["--validation", names]
    for name, value in SETTINGS.items():
        line += ["--set", f"{name}={value}"]
    return [*map(str, line), "--device", "cpu"]


def run_two(stop_at: int, told: Path, arguments: list[str]) -> list[int]:
    """Start both processes as torchrun would; returns their exit codes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(stop_at), str(told), *arguments],
            cwd=Path(MISSUCore.__file__).parents[1],
            env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        for process in processes:
            print(process.communicate(timeout=300)[0])
    finally:
        for process in processes:
            process.kill()
    return [process.returncode for process in processes]


def told_by(folder: Path) -> list[dict]:
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in range(2)]


def first_gradient(output: Path) -> list[torch.Tensor]:
    """Gradient of the only step taken, as Adam's first moment keeps it."""
    saved = torch.load(output / "checkpoint.pt", weights_only=True)
    assert saved["step"] == 1
    return [values["exp_avg"] / 0.1 for values in saved["optimizer"]["state"].values()]


@pytest.mark.skipif(not torch.distributed.is_available(), reason="PyTorch without distributed")
@pytest.mark.slow
def test_two_processes_train_as_one(tmp_path, brats_folder, monkeypatch, capsys):
    told, two, one = (tmp_path / name for name in ("told", "two", "one"))
    told.mkdir()
    # The second process alone is asked to stop, after its first step: both stop, and one writes.
    assert run_two(1, told, command(brats_folder, two)) == [130, 130]
    assert capsys.readouterr().out.count("prepare: BraTS2021_00003") == 1
    assert [known["step"] for known in told_by(told)] == [1, 1]
    records = {".written.sha256", ".written-1.sha256", ".lock", "run.json"}
    assert {path.name for path in two.iterdir()} == {"prepared", "checkpoint.pt"} | records
    assert len(list((two / "prepared").iterdir())) == 4

    # One process with twice the batch sees the same patches and takes the same step.
    training, validation = split_cases(find_brats_cases(brats_folder), HELD_OUT)
    config = training_config("paper-brats", SETTINGS)
    with monkeypatch.context() as patched, pytest.raises(Stopped):
        take_step = Trainer._train_step
        patched.setattr(
            Trainer, "_train_step", lambda self, batches: self.stop() or take_step(self, batches)
        )
        train(replace(config, batch_size=2), training, validation, one, "tiny", "cpu")
    for together, alone in zip(first_gradient(two), first_gradient(one)):
        torch.testing.assert_close(together, alone, rtol=1e-3, atol=1e-6)

    # Another number of processes would be another run.
    with pytest.raises(InputError, match=r"other settings \(number of processes\)"):
        train(config, training, validation, two, "tiny", "cpu")

    # Both go on to the end with the same weights, and the model is written once.
    assert run_two(0, told, command(brats_folder, two)) == [0, 0]
    assert capsys.readouterr().out.count("wrote ") == 1
    first, second = told_by(told)
    assert first["step"] == second["step"] == 4
    for what in ("weights", "best"):
        assert first[what].keys() == second[what].keys()
        for name, value in first[what].items():
            assert torch.equal(value, second[what][name]), name
    assert {path.name for path in two.rglob(".*")} <= records
    assert (two / "model" / "tiny.pt").exists()
    assert len((two / "training.csv").read_text().splitlines()) == 2

    # Validation, shared between the processes, says what one process alone finds.
    scheme = label_scheme(config.scheme)
    learned, held_out = (
        PreparedCases(cases, config.modalities, scheme, config.spacing_mm, two / "prepared")
        for cases in (training, validation)
    )
    alone = Trainer(config, learned, held_out, tmp_path / "alone", torch.device("cpu"))
    saved = torch.load(two / "checkpoint.pt", weights_only=True)
    alone.average.load_state_dict(saved["average"])
    alone.step = 4
    alone._validate()
    rows = [(folder / "validation.csv").read_text().splitlines() for folder in (two, alone.folder)]
    assert rows[0][0] == "step,WT,TC,ET,easy WT,easy TC,easy ET,hard WT,hard TC,hard ET"
    assert len(rows[0]) == 3
    assert rows[0][-1] == rows[1][-1]
