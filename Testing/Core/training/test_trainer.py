"""The training loop: it learns, stops and resumes exactly, and survives what goes wrong."""

from __future__ import annotations

import csv
import errno
import pickle
import signal
import subprocess
import sys
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from MISSUCore.contract.labels import BRATS
from MISSUCore.contract.model_card import ModelCard
from MISSUCore.core.errors import InputError, MISSUError, ResourceError
from MISSUCore.core.events import Progress
from MISSUCore.models.store import load_model, save_model
from MISSUCore.network.transunet import TransUNet
from MISSUCore.training import trainer as trainer_module
from MISSUCore.training import validation as validation_module
from MISSUCore.training.patches.settings import AugmentationConfig
from MISSUCore.training.trainer import LOG_COLUMNS, MAXIMUM_BAD_STEPS, Stopped

pytestmark = pytest.mark.slow

VARIED = AugmentationConfig(
    affine_probability=0.5,
    tumor_probability=0.5,
    gamma_probability=0.5,
    noise_probability=0.5,
    blur_probability=0.5,
    rim_probability=0.5,
    enhancement_dropout=0.5,
    modality_dropout=0.5,
)


def state(trainer) -> dict[str, torch.Tensor]:
    """All that a trainer has learned, by name."""
    tensors = {f"model {name}": value for name, value in trainer.model.state_dict().items()}
    tensors |= {f"average {name}": value for name, value in trainer.average.state_dict().items()}
    for number, values in trainer.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer {number} {name}": value for name, value in values.items()}
    return {name: value.clone() for name, value in tensors.items()}


def assert_same(found, expected) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


def first_gradient(trainer) -> dict[str, torch.Tensor]:
    """Gradient of the only step taken, as Adam's first moment keeps it."""
    moments = trainer.optimizer.state_dict()["state"]
    return {number: values["exp_avg"] / 0.1 for number, values in moments.items()}


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def steps_of(trainer, name="training.csv") -> list[int]:
    return [int(row["step"]) for row in read_rows(trainer.folder / name)]


def test_it_learns_two_cases_by_heart(make_trainer, tiny_config, memory_cases):
    config = tiny_config(
        network={"channels": (8, 16)},
        targets="regions",
        loss="dice_cross_entropy",
        epochs=40,
        validate_every=20,
        average_decay=0.9,
    )
    cases = memory_cases(range(2))
    trainer = make_trainer(config, cases, cases)
    trainer._validate()
    untrained = trainer.best_score
    trainer.run()
    losses = [float(row["loss"]) for row in read_rows(trainer.folder / "training.csv")]
    assert losses[-1] < 0.5 * losses[0]
    assert untrained < 0.2
    assert trainer.best_score > 0.5
    assert steps_of(trainer, "validation.csv") == [0, 40, 80]
    last = read_rows(trainer.folder / "validation.csv")[-1]
    assert list(last) == ["step", "WT", "TC", "ET"]
    assert float(last["WT"]) > 0.9
    assert float(last["TC"]) > 0.8


@pytest.mark.parametrize("normalization", ["instance", "batch"])
def test_a_resumed_run_is_the_run_that_was_never_stopped(
    make_trainer, tiny_config, memory_cases, normalization
):
    config = tiny_config(
        network={"normalization": normalization},
        augmentation=VARIED,
        epochs=7,
        average_decay=0.5,
        accumulation=2,
        warm_up=0.2,
        loss="dice_cross_entropy",
    )
    whole = make_trainer(config, folder="whole")
    whole.run()
    assert whole.steps == whole.step == 10
    cases = memory_cases(range(3), lambda count: first.stop() if count == 9 else None)
    first = make_trainer(config, cases, folder="parts")
    with pytest.raises(Stopped, match=r"stopped at step 5 of 10") as stopped:
        first.run()
    assert stopped.value.exit_code == 130
    torch.manual_seed(77)
    second = make_trainer(config, folder="parts")
    assert second.step == 5
    assert_same(state(second), state(first))
    second.run()
    assert_same(state(second), state(whole))
    # The row at step 10 is the mean of ten steps, also of those before the stop.
    rows = [read_rows(trainer.folder / "training.csv") for trainer in (second, whole)]
    for row in (*rows[0], *rows[1]):
        del row["seconds"]
    assert rows[0] == rows[1] and len(rows[0]) == 1
    assert second.seconds > first.seconds > 0


KILLED_PROGRAM = """
import os, runpy, signal, sys
from pathlib import Path
import torch
from MISSUCore.core.events import Progress
from MISSUCore.training.trainer import Trainer

torch.set_num_threads(1)
shared = runpy.run_path(sys.argv[1])
config = shared["replace"](shared["TINY"], epochs=10, validate_every=5, average_decay=0.5)

def kill_at_20(event):
    if event.message.startswith("step 20 of 30"):
        os.kill(os.getpid(), signal.SIGKILL)

cases = shared["MemoryCases"]
Trainer(
    config, cases(range(3)), cases([7]), Path(sys.argv[2]), torch.device("cpu"),
    progress=Progress(kill_at_20),
).run()
"""


def test_a_killed_run_goes_on_from_its_checkpoint(
    make_trainer, tiny_config, memory_cases, tmp_path
):
    shared = str(Path(__file__).with_name("conftest.py"))
    folder = tmp_path / "killed"
    program = [sys.executable, "-c", KILLED_PROGRAM, shared, str(folder)]
    root = Path(trainer_module.__file__).parents[2]
    done = subprocess.run(program, cwd=root, timeout=300, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    config = tiny_config(epochs=10, validate_every=5, average_decay=0.5)
    whole, killed = (
        make_trainer(config, None, memory_cases([7]), name) for name in ("whole", "killed")
    )
    assert killed.step == 15
    assert killed.best_score >= 0
    assert steps_of(killed) == [10]  # the row of step 20, beyond the checkpoint, is dropped
    assert steps_of(killed, "validation.csv") == [15]
    killed.run()
    whole.run()
    assert_same(state(killed), state(whole))
    assert_same(killed.best, whole.best)
    assert steps_of(killed) == [10, 20, 30]
    for name in ("training.csv", "validation.csv"):
        rows = [read_rows(trainer.folder / name) for trainer in (killed, whole)]
        for row in (*rows[0], *rows[1]):
            row.pop("seconds", None)
        assert rows[0] == rows[1]


def test_a_finished_run_stays_finished(make_trainer):
    first = make_trainer()
    first.run()
    again = make_trainer()
    again.run()
    assert again.step == again.steps == 6
    assert_same(state(again), state(first))


def test_a_new_trainer_goes_on_only_when_it_is_told_to(make_trainer):
    first = make_trainer()
    first.run()
    log = (first.folder / "training.csv").read_text()
    again = type(first)(first.config, first.training, first.validation, first.folder, first.device)
    assert again.step == 0
    assert not again.optimizer.state
    assert (first.folder / "training.csv").read_text() == log
    again.resume()
    assert again.step == again.steps == 6
    assert_same(state(again), state(first))


def test_rows_that_a_kill_left_beyond_the_checkpoint_are_dropped(make_trainer):
    trainer = make_trainer()
    trainer.run()
    log = trainer.folder / "training.csv"
    whole = log.read_text()
    assert steps_of(trainer) == [6]
    log.write_text(whole + whole.splitlines()[-1].replace("6,", "16,", 1) + "\n20,0.5,0.0")
    assert steps_of(make_trainer()) == [6]
    assert log.read_text() == whole
    log.write_text("")
    make_trainer()
    (trainer.folder / "checkpoint.pt").unlink()
    log.write_text(whole)
    assert steps_of(make_trainer()) == []  # a new run in the folder of an old one


@pytest.mark.parametrize("augmentation", [AugmentationConfig(), VARIED], ids=["paper", "varied"])
def test_accumulating_two_patches_is_a_batch_of_two(make_trainer, tiny_config, augmentation):
    gradients = []
    for batch_size, accumulation in ((1, 2), (2, 1)):
        config = tiny_config(
            batch_size=batch_size, accumulation=accumulation, epochs=1, augmentation=augmentation
        )
        trainer = make_trainer(config, folder=str(batch_size))
        trainer.run()
        assert trainer.step == 1
        gradients.append(first_gradient(trainer))
    for number, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][number], rtol=1e-3, atol=1e-6)


def test_the_gradient_is_clipped(make_trainer, tiny_config):
    trainer = make_trainer(tiny_config(epochs=1, gradient_clip=0.01, weight_decay=0.0))
    trainer._train_step(iter(trainer._loader()))
    norm = torch.cat([g.flatten() for g in first_gradient(trainer).values()]).norm()
    assert norm.item() == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize("decoupled", [True, False])
def test_the_optimizer_is_the_one_asked_for(make_trainer, tiny_config, decoupled):
    config = tiny_config(
        decoupled_weight_decay=decoupled, weight_decay=0.02, learning_rate=0.5, warm_up=0.5
    )
    trainer = make_trainer(config)
    trainer._train_step(iter(trainer._loader()))
    (group,) = trainer.optimizer.param_groups
    assert type(trainer.optimizer) is (torch.optim.AdamW if decoupled else torch.optim.Adam)
    assert group["amsgrad"] is not decoupled
    assert group["weight_decay"] == 0.02
    assert group["lr"] == pytest.approx(0.5 / 3)


class Poisoned:
    """Gives a case that is not a number at the given accesses."""

    def __init__(self, accesses):
        self.accesses = accesses

    def __call__(self, count):
        if count in self.accesses:
            shape = (16, 16, 16)
            return torch.full((4, *shape), torch.nan), torch.zeros(shape, dtype=torch.uint8)
        return None


@pytest.mark.parametrize("normalization", ["instance", "batch"])
def test_a_poisoned_batch_is_skipped(make_trainer, tiny_config, memory_cases, normalization):
    config = tiny_config(network={"normalization": normalization}, gradient_clip=1.0)
    trainer = make_trainer(config, memory_cases(range(3), Poisoned([2])))
    batches = iter(trainer._loader())
    trainer._train_step(batches)
    before = state(trainer)
    terms = trainer._train_step(batches)
    assert np.isnan(terms[0])
    after = state(trainer)
    learned = [name for name in before if not name.startswith("average")]
    assert_same({name: after[name] for name in learned}, {name: before[name] for name in learned})
    trainer._train_step(batches)
    assert trainer.bad_steps == 0
    assert all(value.isfinite().all() for value in state(trainer).values())
    name = "model network.head.weight"
    assert not torch.equal(state(trainer)[name], before[name])


def test_a_loss_that_stays_not_finite_ends_the_run(make_trainer, tiny_config, memory_cases):
    poison = Poisoned([*range(1, MAXIMUM_BAD_STEPS), *range(MAXIMUM_BAD_STEPS + 1, 90)])
    trainer = make_trainer(tiny_config(epochs=30), memory_cases(range(3), poison))
    with pytest.raises(MISSUError, match=r"not finite in 20 steps.*start anew in another folder"):
        trainer.run()
    # The good step among the bad ones began the count anew.
    assert trainer.step == 2 * MAXIMUM_BAD_STEPS - 1
    assert all(value.isfinite().all() for value in state(trainer).values())


def test_the_average_by_hand(make_trainer, tiny_config):
    config = tiny_config(network={"normalization": "batch"}, average_decay=0.15, epochs=1)
    trainer = make_trainer(config)
    expected = {name: value.clone() for name, value in trainer.model.network.state_dict().items()}
    batches = iter(trainer._loader())
    for decay in (1 / 10, 0.15, 0.15):  # (1 + step) / (10 + step) until it exceeds the setting
        trainer._train_step(batches)
        trainer.step += 1
        for name, value in trainer.model.network.state_dict().items():
            if value.is_floating_point():
                expected[name] = decay * expected[name] + (1 - decay) * value
            else:
                expected[name] = value.clone()
    assert expected["encoder.0.entry.1.num_batches_tracked"] == 3
    for name, value in trainer.average.state_dict().items():
        torch.testing.assert_close(value, expected[name], msg=name)
    assert not torch.equal(trainer.average.head.weight, trainer.model.network.head.weight)


def test_without_averaging_the_weights_are_the_last(make_trainer, tiny_config):
    trainer = make_trainer(tiny_config(network={"normalization": "batch"}, average_decay=0.0))
    trainer.run()
    assert_same(trainer.average.state_dict(), trainer.model.network.state_dict())


def test_steps_follow_from_epochs_and_batches(make_trainer, tiny_config):
    config = tiny_config(epochs=40, batch_size=2, accumulation=3, validate_every=10)
    trainer = make_trainer(config)
    assert trainer.steps == 40 * 3 // 6
    assert trainer.steps_per_validation == 5
    assert make_trainer(tiny_config(epochs=1, batch_size=9), folder="short").steps == 1


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"learning_rate": 0.5, "epochs": 3}, "epochs, learning_rate"),
        ({"network": {"layers": 2}}, "network"),
    ],
)
def test_a_run_with_other_settings_is_not_resumed(make_trainer, tiny_config, changes, named):
    make_trainer(tiny_config()).run()
    with pytest.raises(InputError, match=rf"run: holds a run with other settings \({named}\)"):
        make_trainer(tiny_config(**changes))


@pytest.mark.parametrize(
    ("training", "validation", "named"),
    [(range(1, 4), [5], "training cases"), (range(3), [6], "validation cases")],
)
def test_a_run_with_other_cases_is_not_resumed(
    make_trainer, memory_cases, training, validation, named
):
    make_trainer(None, memory_cases(range(3)), memory_cases([5])).run()
    with pytest.raises(InputError, match=rf"other settings \({named}\)"):
        make_trainer(None, memory_cases(training), memory_cases(validation))


@pytest.fixture
def tiny_start(tiny_config, tmp_path):
    """Function that saves and loads a model of the tiny settings; its card can be changed."""

    def make(name="start", **changes):
        config = tiny_config()
        network = replace(config.network, outputs=4)
        card = ModelCard(
            name=name, modalities=config.modalities, scheme=BRATS.as_dict(), network=network
        )
        card = replace(card, **changes)
        torch.manual_seed(5)
        save_model(tmp_path / "models", card, TransUNet(card.network).state_dict())
        return load_model(str(tmp_path / "models" / f"{name}.pt"))

    return make


def test_a_run_starts_from_a_model(make_trainer, tiny_start):
    start = tiny_start()
    trainer = make_trainer(start=start)
    assert_same(trainer.model.network.state_dict(), start.network.state_dict())
    assert_same(trainer.average.state_dict(), start.network.state_dict())
    before = {name: value.clone() for name, value in start.network.state_dict().items()}
    trainer.run()
    assert_same(start.network.state_dict(), before)  # the model itself does not learn
    trained = trainer.model.network.state_dict()
    assert not torch.equal(trained["head.weight"], before["head.weight"])


def test_a_run_that_started_from_a_model_resumes_from_its_checkpoint(make_trainer, tiny_start):
    trainer = make_trainer(start=tiny_start())
    trainer.run()
    again = make_trainer(start=tiny_start())
    assert again.step == trainer.steps
    assert_same(state(again), state(trainer))
    with pytest.raises(InputError, match="model to start from"):
        make_trainer()
    with pytest.raises(InputError, match="model to start from"):
        make_trainer(start=replace(tiny_start(), card=replace(tiny_start().card, sha256="0")))


@pytest.mark.parametrize(
    "changes",
    [
        {"modalities": ("t1", "t2", "t1ce", "flair")},
        {"targets": "regions", "network": {"outputs": 3}},
        {"network": {"channels": (4, 6)}},
        {"network": {"layers": 2}},
    ],
    ids=["order of modalities", "targets", "channels", "layers"],
)
def test_a_model_that_does_not_fit_is_no_start(make_trainer, tiny_config, tiny_start, changes):
    network = replace(tiny_config().network, outputs=4)
    changes["network"] = replace(network, **changes.get("network", {}))
    with pytest.raises(InputError, match="model other "):
        make_trainer(start=tiny_start("other", **changes))


def test_long_epochs_are_saved_in_between(make_trainer, monkeypatch):
    monkeypatch.setattr(trainer_module, "SECONDS_BETWEEN_SAVES", 0.0)
    trainer = make_trainer()
    saved = []
    save = trainer._save
    monkeypatch.setattr(trainer, "_save", lambda: (saved.append(trainer.step), save()))
    trainer.run()
    assert saved == list(range(1, trainer.steps + 1))


@pytest.fixture
def saved_run(make_trainer):
    trainer = make_trainer()
    trainer.run()
    return trainer


def test_a_checkpoint_holds_nothing_that_runs(saved_run):
    saved = torch.load(saved_run.checkpoint_path, weights_only=True)
    assert saved["step"] == 6
    assert saved["setup"]["training cases"] == ["case0", "case1", "case2"]


class Exploit:
    def __reduce__(self):
        return Path.touch, (Path("exploited"),)


@pytest.mark.parametrize("damage", ["cut off", "emptied", "garbage", "other content", "exploit"])
def test_a_damaged_checkpoint_is_refused(saved_run, make_trainer, tmp_path, monkeypatch, damage):
    path = saved_run.checkpoint_path
    monkeypatch.chdir(tmp_path)
    content = path.read_bytes()
    if damage == "other content":
        torch.save(OrderedDict(step=1), path)
    else:
        path.write_bytes(
            {
                "cut off": content[: len(content) // 2],
                "emptied": b"",
                "garbage": b"no checkpoint",
                "exploit": pickle.dumps({"config": Exploit()}, protocol=2),
            }[damage]
        )
    with pytest.raises(InputError, match=r"checkpoint\.pt: is damaged, or no checkpoint"):
        make_trainer()
    assert not Path("exploited").exists()


def test_a_checkpoint_with_other_weights_is_refused(saved_run, make_trainer):
    saved = torch.load(saved_run.checkpoint_path, weights_only=True)
    saved["model"]["network.head.bias"] = torch.zeros(9)
    torch.save(saved, saved_run.checkpoint_path)
    with pytest.raises(InputError, match="is damaged"):
        make_trainer()


def test_a_checkpoint_that_cannot_be_written_leaves_the_old_one(
    saved_run, make_trainer, monkeypatch
):
    before = state(saved_run)
    write = Path.write_bytes

    def full(path, data):
        write(path, bytes(data)[:1000])
        raise OSError(errno.ENOSPC, "No space left on device")

    again = make_trainer()
    with torch.no_grad():
        again.model.network.head.weight.zero_()
    with monkeypatch.context() as patched, pytest.raises(ResourceError, match="disk is full"):
        patched.setattr(Path, "write_bytes", full)
        again._save()
    assert_same(state(make_trainer()), before)
    names = {path.name for path in saved_run.folder.iterdir()}
    assert names - {"curves.png"} == {"checkpoint.pt", "training.csv"}


def test_validation_keeps_the_best_weights(make_trainer, tiny_config, memory_cases, monkeypatch):
    # One score for each of three validations, two cases and three regions.
    scores = iter([0.2] * 6 + [0.9, 0.7, 0.8] + [0.5, 0.7, 0.6] + [0.6] * 6)
    monkeypatch.setattr(validation_module, "dice", lambda *masks: next(scores))
    averages = []
    validation = memory_cases(
        [5, 6], lambda count: averages.append(state(trainer)) if count % 2 else None
    )
    trainer = make_trainer(tiny_config(epochs=3, average_decay=0.5), None, validation)
    trainer.run()
    assert trainer.best_score == pytest.approx(0.7)
    second = {name[8:]: value for name, value in averages[1].items() if name[:8] == "average "}
    assert_same(trainer.best, second)
    assert not torch.equal(second["head.weight"], trainer.average.head.weight)
    rows = read_rows(trainer.folder / "validation.csv")
    assert [list(row.values()) for row in rows] == [
        ["3", "0.2", "0.2", "0.2"],
        ["6", "0.7", "0.7", "0.7"],
        ["9", "0.6", "0.6", "0.6"],
    ]
    resumed = make_trainer(tiny_config(epochs=3, average_decay=0.5), None, memory_cases([5, 6]))
    assert resumed.best_score == trainer.best_score
    assert_same(resumed.best, second)


def test_groups_of_validation_cases_are_reported_apart(
    make_trainer, tiny_config, memory_cases, monkeypatch
):
    """The best weights are those with the best mean over all cases, not over the groups' means."""
    # Of each case WT, TC, ET; the second validation is better by group, and worse by case.
    first, second = "0.9 0.8 0.7 0.7 0.6 0.5 0.2 0.1 0", "0.6 0.6 0.6 0.6 0.4 0.2 0.5 0.4 0.3"
    scores = map(float, f"{first} {second}".split())
    monkeypatch.setattr(validation_module, "dice", lambda *masks: next(scores))
    events = []
    groups = ["gliomas", "gliomas", "african"]
    settings = {"progress": Progress(events.append)}
    config = tiny_config(epochs=2)
    trainer = make_trainer(config, None, memory_cases([5, 6, 7], groups=groups), **settings)
    trainer.run()
    assert trainer.best_score == pytest.approx(0.5)
    rows = read_rows(trainer.folder / "validation.csv")
    regions = ("WT", "TC", "ET")
    columns = [f"{group}{name}" for group in ("", "african ", "gliomas ") for name in regions]
    assert [list(row) for row in rows] == [["step", *columns]] * 2
    values = ["3", "0.6", "0.5", "0.4", "0.2", "0.1", "0", "0.8", "0.7", "0.6"]
    assert list(rows[0].values()) == values
    assert list(rows[1].values())[4:] == ["0.5", "0.4", "0.3", "0.6", "0.5", "0.4"]
    assert next(event.message for event in events if event.message.startswith("Dice")) == (
        "Dice WT 0.600, TC 0.500, ET 0.400; african: WT 0.200, TC 0.100, ET 0.000; "
        "gliomas: WT 0.800, TC 0.700, ET 0.600"
    )
    # The columns of the log would be others.
    with pytest.raises(InputError, match=r"other settings \(validation groups\)"):
        make_trainer(config, None, memory_cases([5, 6, 7]))


def test_a_run_that_knew_no_groups_goes_on_with_one(make_trainer, tiny_config, memory_cases):
    config, cases = tiny_config(), memory_cases([5, 6], groups=["one", "one"])
    trainer = make_trainer(config, None, memory_cases([5, 6]))
    trainer.run(until=4)
    saved = torch.load(trainer.checkpoint_path, weights_only=True)
    del saved["setup"]["validation groups"]
    torch.save(saved, trainer.checkpoint_path)
    again = make_trainer(config, None, cases)
    assert again.step == 4
    again.run()
    assert [len(row) for row in read_rows(again.folder / "validation.csv")] == [4, 4]
    with pytest.raises(InputError, match=r"other settings \(validation groups\)"):
        make_trainer(config, None, memory_cases([5, 6], groups=["one", "other"]))


def test_a_predictor_short_of_memory_does_not_move_the_average(
    make_trainer, tiny_config, memory_cases, monkeypatch
):
    class Mover(validation_module.Predictor):
        def __call__(self, volume, progress=None):
            self.network.to("meta")
            return torch.zeros(3, *volume.shape[1:])

    monkeypatch.setattr(validation_module, "Predictor", Mover)
    trainer = make_trainer(tiny_config(), None, memory_cases([5]))
    trainer.run()
    assert {value.device.type for value in trainer.average.state_dict().values()} == {"cpu"}


def test_running_out_of_memory_is_told(make_trainer, monkeypatch):
    trainer = make_trainer()

    def fail(volumes):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(trainer.parallel, "forward", fail)
    with pytest.raises(ResourceError, match="smaller batch_size") as refusal:
        trainer.run()
    assert refusal.value.exit_code == 3


def test_progress_and_log_tell_every_ten_steps(make_trainer, tiny_config, memory_cases):
    events = []
    config = tiny_config(epochs=8, validate_every=8)
    make_trainer(config, None, memory_cases([5]), progress=Progress(events.append)).run()
    assert [(event.stage, event.message.split(",")[0]) for event in events] == [
        ("train", "step 10 of 24"),
        ("train", "step 20 of 24"),
        ("train", "step 24 of 24"),
        ("validate", "case5"),
        ("train", f"Dice WT {float(events[-1].message[8:13]):.3f}"),
    ]
    assert events[0].fraction == pytest.approx(10 / 24, abs=1e-3)


def test_the_log_adds_up(make_trainer, tiny_config):
    config = tiny_config(epochs=4, teacher_weight=0.7, distillation_weight=0.4)
    trainer = make_trainer(config)
    trainer.run()
    rows = read_rows(trainer.folder / "training.csv")
    assert tuple(rows[0]) == LOG_COLUMNS
    first, last = ({name: float(value) for name, value in row.items()} for row in rows)
    total = first["segmentation"] + 0.7 * first["teacher"] + 0.4 * first["distillation"]
    assert first["loss"] == pytest.approx(total, rel=1e-4)
    assert last["step"] == 12
    assert last["learning_rate"] == pytest.approx(1e-2 * (1 / 12) ** 0.9, rel=1e-4)
    assert min(first["teacher"], first["distillation"], first["gradient_norm"]) > 0


@pytest.mark.parametrize("fusion", ["none", "local", "output"])
@pytest.mark.parametrize("transformer", [False, True])
@pytest.mark.parametrize("distillation", [0.0, 0.3])
@pytest.mark.parametrize("mixed_precision", [False, True])
def test_every_row_of_the_ablation_trains_all_its_weights(
    make_trainer, tiny_config, monkeypatch, fusion, transformer, distillation, mixed_precision
):
    monkeypatch.setattr("MISSUCore.training.trainer.has_bfloat16", lambda device: True)
    shape = {"channels": (4, 8, 8), "convolutions": (1, 2, 1), "skips": 2}
    config = tiny_config(
        network={**shape, "fusion": fusion, "transformer": transformer},
        distillation_weight=distillation,
        mixed_precision=mixed_precision,
        epochs=1,
    )
    trainer = make_trainer(config)
    row = trainer._train_step(iter(trainer._loader()))
    assert np.isfinite(row).all()
    # A weight without gradient would make training on several devices fail.
    assert set(trainer.optimizer.state) == set(trainer.model.parameters())
    assert (row[3] > 0) == (fusion == "local")


@pytest.mark.parametrize(("wanted", "there"), [(True, True), (True, False), (False, True)])
def test_half_precision_needs_a_device_that_has_it(
    make_trainer, tiny_config, monkeypatch, wanted, there
):
    monkeypatch.setattr("MISSUCore.training.trainer.has_bfloat16", lambda device: there)
    trainer = make_trainer(tiny_config(mixed_precision=wanted, epochs=1))
    kinds = set()
    trainer.model.network.head.register_forward_hook(lambda *given: kinds.add(given[2].dtype))
    trainer._train_step(iter(trainer._loader()))
    assert kinds == {torch.bfloat16 if wanted and there else torch.float32}


def test_workers_change_nothing(make_trainer, tiny_config):
    config = tiny_config(augmentation=VARIED, epochs=1)
    one, two = (make_trainer(config, folder=str(n), workers=n) for n in (0, 1))
    one.run()
    two.run()
    assert_same(state(two), state(one))
