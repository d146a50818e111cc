"""From a folder of cases to a model that loads, with its card, logs and curves."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

import MISSUCore
from MISSUCore.core.errors import InputError
from MISSUCore.core.events import Progress, parse_line
from MISSUCore.core.files import folder_lock
from MISSUCore.models.store import load_model
from MISSUCore.network.transunet import TransUNet
from MISSUCore.training import logs, trainer
from MISSUCore.training.cases.brats import find_brats_cases
from MISSUCore.training.logs import read_log, write_curves
from MISSUCore.training.patches.settings import AugmentationConfig
from MISSUCore.training.run import train
from MISSUCore.training.trainer import LOG_COLUMNS, Trainer

pytestmark = pytest.mark.slow

ROOT = Path(MISSUCore.__file__).parents[1]


@pytest.fixture
def train_tiny(tmp_path, brats_folder, tiny_config):
    """Trains a tiny model in the folder "run"; the last ``held_out`` cases are for validation."""

    def start(held_out=1, name="tiny", progress=None, **changes):
        cases = find_brats_cases(brats_folder)
        return train(
            tiny_config(**changes),
            cases[: 4 - held_out],
            cases[4 - held_out :],
            tmp_path / "run",
            name,
            "cpu",
            progress=progress,
        )

    return start


def test_a_run_ends_with_a_model_that_loads(train_tiny, tmp_path):
    pytest.importorskip("matplotlib")
    events = []
    card = train_tiny(
        augmentation=AugmentationConfig(modality_dropout=0.2),
        epochs=4,
        validate_every=2,
        average_decay=0.5,
        progress=Progress(events.append),
    )
    folder = tmp_path / "run"
    model = load_model(str(folder / "model" / "tiny.pt"))
    assert model.card == card
    assert (card.name, card.may_miss, card.targets) == ("tiny", 1, "labels")
    assert card.modalities == ("t1", "t1ce", "t2", "flair")
    assert card.spacing_mm == (1, 1, 1)
    assert card.task == "Segments whole tumor, tumor core, enhancing tumor"
    assert card.training_data == "3 cases"
    assert card.label_scheme().region_names == ("WT", "TC", "ET")
    assert card.metrics["cases"] == ["BraTS2021_00003"]

    # Of the network trained, the segmenting part alone is written, as it was at its best.
    saved = torch.load(folder / "checkpoint.pt", weights_only=True)
    assert any(name.startswith("teacher") for name in saved["model"])
    assert card.metrics["mean_dice"] == round(saved["best_score"], 4)
    weights = torch.load(folder / "model" / "tiny.pt", weights_only=True)
    assert weights.keys() == TransUNet(card.network).state_dict().keys() == saved["best"].keys()
    for name, value in model.network.state_dict().items():
        torch.testing.assert_close(value, saved["best"][name], rtol=1e-3, atol=1e-6)

    with (folder / "training.csv").open() as stream:
        assert tuple(next(csv.reader(stream))) == LOG_COLUMNS
    validation = read_log(folder / "validation.csv")
    assert list(validation) == ["step", "WT", "TC", "ET"]
    assert validation["step"] == [6, 12]
    regions = ("WT", "TC", "ET")
    means = [sum(validation[name][row] for name in regions) / 3 for row in range(2)]
    assert max(means) == pytest.approx(saved["best_score"], abs=1e-5)
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert {path.name for path in folder.iterdir()} == {
        "prepared",
        "checkpoint.pt",
        "training.csv",
        "validation.csv",
        "curves.png",
        "model",
        "run.json",
        ".lock",
        ".written.sha256",
    }
    fractions = [event.fraction for event in events]
    assert fractions == sorted(fractions)
    assert fractions[0] == 0
    assert fractions[-1] == 1
    assert [event.message for event in events[:4]] == [f"BraTS2021_0000{n}" for n in range(4)]


def test_without_validation_the_last_weights_are_written(train_tiny, tmp_path):
    card = train_tiny(held_out=0, targets="regions", average_decay=0.5)
    assert (card.metrics, card.may_miss, card.network.outputs) == ({}, 0, 3)
    model = load_model(str(tmp_path / "run" / "model" / "tiny.pt"))
    saved = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)
    for name, value in model.network.state_dict().items():
        torch.testing.assert_close(value, saved["average"][name], rtol=1e-3, atol=1e-6)
    assert not (tmp_path / "run" / "validation.csv").exists()


def test_a_finished_run_can_be_asked_for_again(train_tiny, tmp_path):
    first = train_tiny()
    (tmp_path / "run" / "model" / "tiny.pt").unlink()
    assert train_tiny() == first


@pytest.mark.parametrize("name", ["my model", "a/b", "", "../x"])
def test_a_name_that_would_not_load_is_refused_at_once(train_tiny, tmp_path, name):
    with pytest.raises(InputError, match="model name"):
        train_tiny(name=name)
    assert not (tmp_path / "run").exists()


def test_a_name_too_long_for_a_file_is_refused_at_once(train_tiny, tmp_path):
    with pytest.raises(InputError, match="cannot be written: File name too long"):
        train_tiny(name="n" * 300)
    assert not (tmp_path / "run").exists()


def test_a_bad_case_is_refused_before_the_first_step(train_tiny, tmp_path, brats_folder):
    (brats_folder / "BraTS2021_00003" / "BraTS2021_00003_t1.nii.gz").write_bytes(b"")
    with pytest.raises(InputError, match="case BraTS2021_00003"):
        train_tiny()
    begun = {path.name for path in (tmp_path / "run").glob("*.*")}
    assert begun <= {".lock", ".written.sha256", "run.json"}


@pytest.mark.parametrize(
    "name",
    ["validation.csv", "curves.png", "model/tiny.pt", "model/other.json", "checkpoint.pt", ".x"],
)
def test_a_folder_of_the_user_is_left_as_it_is(train_tiny, tmp_path, name):
    path = tmp_path / "run" / name
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    with pytest.raises(InputError, match="holds files that are not of a run"):
        train_tiny()
    assert [path for path in (tmp_path / "run").rglob("*") if path.is_file()] == [path]
    assert path.read_text() == "mine"


def test_a_file_that_the_user_put_into_a_run_is_not_replaced(train_tiny, tmp_path):
    train_tiny()
    (tmp_path / "run" / "model" / "second.pt").write_text("mine")
    with pytest.raises(InputError, match=r"second\.pt: is there, and not written by"):
        train_tiny(name="second")
    assert (tmp_path / "run" / "model" / "second.pt").read_text() == "mine"


def test_another_run_replaces_nothing_where_the_checkpoint_is_gone(train_tiny, tmp_path):
    train_tiny()
    (tmp_path / "run" / "checkpoint.pt").unlink()
    model = (tmp_path / "run" / "model" / "tiny.pt").read_bytes()
    with pytest.raises(InputError, match=r"holds a run with other settings \(seed\)"):
        train_tiny(seed=7)
    assert (tmp_path / "run" / "model" / "tiny.pt").read_bytes() == model


def test_a_run_of_an_older_version_goes_on(train_tiny, tmp_path):
    card = train_tiny()
    for name in (".written.sha256", "run.json"):
        (tmp_path / "run" / name).unlink()
    assert train_tiny() == card


def test_a_second_training_in_the_folder_is_refused(train_tiny, tmp_path):
    with (
        folder_lock(tmp_path / "run"),
        pytest.raises(InputError, match="another process is at work"),
    ):
        train_tiny()
    assert {path.name for path in (tmp_path / "run").iterdir()} == {".lock"}


def test_it_can_run_beside_the_main_thread(train_tiny, tmp_path):
    thread = threading.Thread(target=train_tiny)
    thread.start()
    thread.join()
    assert (tmp_path / "run" / "model" / "tiny.pt").exists()


def test_a_second_signal_stops_at_once(train_tiny, tmp_path, monkeypatch):
    def step(trainer, batches):
        os.kill(os.getpid(), signal.SIGTERM)
        assert trainer.stop_requested
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("still running")

    monkeypatch.setattr(Trainer, "_train_step", step)
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with pytest.raises(KeyboardInterrupt):
        train_tiny()
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before
    assert not (tmp_path / "run" / "checkpoint.pt").exists()


def test_a_command_that_is_terminated_goes_on_when_given_again(tmp_path, brats_folder):
    output = tmp_path / "run"
    settings = {
        "network.channels": "[4, 8]",
        "network.convolutions": "[1, 1]",
        "network.skips": "1",
        "network.layers": "1",
        "network.embedding": "16",
        "network.position_grid": "4",
        "patch_size": "[16, 16, 16]",
        "epochs": "1000",
        "batch_size": "1",
        "mixed_precision": "false",
    }
    changes = [part for item in settings.items() for part in ("--set", "=".join(item))]
    command = [sys.executable, "-m", "MISSUCore", "train", "--brats", brats_folder]
    command += ["--output", output, "--device", "cpu", "--json-progress", *changes]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        for line in process.stdout:
            if parse_line(line).message.startswith("step 10 of 4000"):
                process.terminate()
                break
        rest = process.stdout.read().splitlines()
        assert process.wait(timeout=120) == 130
    saved = torch.load(output / "checkpoint.pt", weights_only=True)
    assert 10 <= saved["step"] < 4000
    assert all(parse_line(line) for line in rest)
    assert not (output / "model").exists()
    # Nearly at the end, so that the test is not.
    saved["step"] = 3990
    torch.save(saved, output / "checkpoint.pt")
    done = subprocess.run(
        command, cwd=ROOT, env=environment, timeout=300, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    events = [parse_line(line) for line in done.stdout.splitlines()]
    assert events[-1].message.startswith("step 4000 of 4000")
    assert (
        json.loads((output / "model" / "my-model.json").read_text())["training_data"] == "4 cases"
    )
    assert load_model(str(output / "model" / "my-model.pt")).card.network.channels == (4, 8)


def write_log(path: Path, *rows: str) -> Path:
    path.write_text("\n".join(rows) + "\n")
    return path


def test_a_log_is_read_by_column(tmp_path):
    path = write_log(tmp_path / "a.csv", "step,loss", "10,0.5", "20,nan")
    assert read_log(path)["step"] == [10, 20]
    assert str(read_log(path)["loss"]) == "[0.5, nan]"
    assert read_log(write_log(path, "step,loss")) == {}
    assert read_log(tmp_path / "gone.csv") == {}


def drawn(folder: Path, monkeypatch) -> list[dict[str, list[float]]]:
    """The curves of both halves of the picture, by their names in the legend."""
    figure = pytest.importorskip("matplotlib.figure")
    figures = []

    class Kept(figure.Figure):
        def __init__(self, *arguments, **settings):
            super().__init__(*arguments, **settings)
            figures.append(self)

    monkeypatch.setattr(figure, "Figure", Kept)
    assert write_curves(folder) == folder / "curves.png"
    return [
        {line.get_label(): list(line.get_ydata()) for line in axes.lines}
        for axes in figures[0].axes
    ]


def test_curves_show_both_logs(tmp_path, monkeypatch):
    write_log(
        tmp_path / "training.csv",
        "step,seconds,loss,segmentation,teacher,distillation",
        "10,1,4,3,2,1",
        "20,2,3,2,1,nan",
    )
    write_log(tmp_path / "validation.csv", "step,WT,ET", "20,0.5,0.25")
    losses, dice = drawn(tmp_path, monkeypatch)
    assert list(losses) == ["loss", "segmentation", "teacher", "distillation"]
    assert losses["loss"] == [4, 3]
    assert dice == {"WT": [0.5], "ET": [0.25]}


def test_curves_without_logs_are_empty(tmp_path, monkeypatch):
    assert drawn(tmp_path, monkeypatch) == [{}, {}]


def test_without_matplotlib_there_are_no_curves_but_a_model(train_tiny, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    train_tiny()
    assert logs.write_curves(tmp_path / "run") is None
    assert not (tmp_path / "run" / "curves.png").exists()
    assert (tmp_path / "run" / "model" / "tiny.pt").exists()


def test_curves_that_cannot_be_drawn_cost_no_model(train_tiny, tmp_path, monkeypatch):
    def fail(folder):
        raise RuntimeError("no fonts")

    with monkeypatch.context() as patched:
        patched.setattr(trainer, "write_curves", fail)
        with pytest.raises(RuntimeError, match="no fonts"):
            train_tiny()
    train_tiny()  # goes on from the checkpoint
    assert load_model(str(tmp_path / "run" / "model" / "tiny.pt")).card.name == "tiny"
