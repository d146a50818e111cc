"""What learns how fast: early stages, a teacher that starts alone, and steps without a teacher."""

from __future__ import annotations

import csv
from copy import deepcopy

import pytest
import torch

pytestmark = pytest.mark.slow


def weights(trainer) -> dict:
    return deepcopy(trainer.model.state_dict())


def moved(before: dict, after: dict, part: str) -> bool:
    return any(not torch.equal(before[name], after[name]) for name in before if part in name)


def test_frozen_stages_stay_and_the_rest_learns(make_trainer, tiny_config):
    trainer = make_trainer(tiny_config(early_stages=1, early_rate=0.0, average_decay=0.0))
    before = weights(trainer)
    trainer.run()
    after = weights(trainer)
    assert not moved(before, after, "network.encoder.0.")
    for part in ("network.encoder.1.", "network.decoder", "network.head", "teacher."):
        assert moved(before, after, part)


def test_early_stages_learn_at_their_own_rate(make_trainer, tiny_config):
    trainer = make_trainer(tiny_config(early_stages=1, early_rate=0.25, learning_rate=0.5))
    trainer.run(until=1)
    rates = {group["rate"]: group["lr"] for group in trainer.optimizer.param_groups}
    assert rates == {0.25: 0.125, 1.0: 0.5}
    early = {id(weight) for weight in trainer.model.network.encoder[0].parameters()}
    slow = next(group for group in trainer.optimizer.param_groups if group["rate"] == 0.25)
    assert {id(weight) for weight in slow["params"]} == early


def test_the_teacher_starts_alone(make_trainer, tiny_config):
    trainer = make_trainer(tiny_config(steps=4, teacher_start=0.5))
    before = weights(trainer)
    trainer.run(until=2)
    between = weights(trainer)
    assert not moved(before, between, "network.") and moved(before, between, "teacher.")
    trainer.run()
    assert moved(between, weights(trainer), "network.")


def test_a_teacher_that_comes_now_and_then(make_trainer, tiny_config, tmp_path):
    trainer = make_trainer(tiny_config(steps=5, teach_every=3))
    losses = []
    step = trainer._train_step
    trainer._train_step = lambda batches: losses.append(step(batches)) or losses[-1]
    trainer.run()
    assert [loss[2] > 0 for loss in losses] == [True, False, False, True, False]
    assert all(loss[1] > 0 for loss in losses)


def test_a_run_can_stop_at_a_step_and_go_on(make_trainer, tiny_config, tmp_path):
    config = tiny_config(steps=6, warm_up=0.5)
    whole = make_trainer(config, folder="whole")
    whole.run()
    parted = make_trainer(config)
    parted.run(until=2)
    assert parted.step == 2 and parted.checkpoint_path.exists()
    resumed = make_trainer(config)
    resumed.run(until=4)
    resumed.run(until=4)
    assert resumed.step == 4
    resumed.run()
    ours, theirs = resumed.average.state_dict(), whole.average.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    with (tmp_path / "run" / "training.csv").open() as stream:
        rows = {row["step"]: float(row["learning_rate"]) for row in csv.DictReader(stream)}
    # The rate is that of the whole run: it rises over three steps and then falls.
    assert list(rows) == ["2", "4", "6"]
    assert rows["2"] == pytest.approx(config.learning_rate_at(1, 6), rel=1e-5)


@pytest.mark.parametrize(
    "changes",
    [
        {"early_stages": 3},
        {"teacher_start": 1.0},
        {"teacher_start": 0.1, "network": {"fusion": "none"}},
        {"teach_every": 0},
        {"steps": -1},
    ],
)
def test_settings_that_make_no_sense_are_refused(tiny_config, changes):
    with pytest.raises(ValueError, match=r"\w"):
        tiny_config(**changes)
