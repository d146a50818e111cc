"""Weights of one task as the beginning of another."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from MISSUCore.contract.labels import BRATS, BRATS_2023, CHAOS_LIVER
from MISSUCore.finetuning.transfer import fits, interpolated, transfer
from MISSUCore.models.store import Model, load_model

BRATS_MODALITIES = ("t1", "t1ce", "t2", "flair")


@pytest.fixture
def base(tiny_model: Path) -> Model:
    return load_model(str(tiny_model))


def test_the_same_task_is_left_alone(base: Model) -> None:
    assert fits(base, BRATS_MODALITIES, BRATS)
    assert transfer(base, BRATS_MODALITIES, BRATS) is base
    assert not fits(base, BRATS_MODALITIES, BRATS_2023)
    assert not fits(base, ("t1ce", "t1", "t2", "flair"), BRATS)


def test_modalities_are_taken_over_by_name(base: Model) -> None:
    new = transfer(base, ("t2", "dwi", "t1"), BRATS)
    before = base.network.state_dict()
    after = new.network.state_dict()
    first = "encoder.0.entry.0.weight"
    assert torch.equal(after[first][:, 0], before[first][:, 2])
    assert torch.equal(after[first][:, 2], before[first][:, 0])
    torch.testing.assert_close(after[first][:, 1], before[first].mean(dim=1))
    assert all(torch.equal(after[name], before[name]) for name in before if name != first)
    assert new.card.modalities == ("t2", "dwi", "t1") and new.card.network.modalities == 3


def test_another_task_gets_a_new_head(base: Model) -> None:
    new = transfer(base, ("t1", "t2"), CHAOS_LIVER)
    before, after = base.network.state_dict(), new.network.state_dict()
    assert after["head.weight"].shape[0] == 1
    kept = [name for name in before if not name.startswith(("head", "encoder.0.entry.0"))]
    assert all(torch.equal(after[name], before[name]) for name in kept)
    assert new.card.label_scheme() == CHAOS_LIVER and new.card.task == "Segments liver"
    assert new.network(torch.zeros(1, 2, 8, 8, 8)).shape == (1, 1, 8, 8, 8)


def test_a_mixture_lies_between() -> None:
    base = {"a": torch.tensor([0.0, 10.0]), "steps": torch.tensor(3)}
    tuned = {"a": torch.tensor([1.0, 20.0]), "steps": torch.tensor(5)}
    torch.testing.assert_close(interpolated(base, tuned, 0.25)["a"], torch.tensor([0.25, 12.5]))
    assert torch.equal(interpolated(base, tuned, 1.0)["a"], tuned["a"])
    assert torch.equal(interpolated(base, tuned, 0.0)["a"], base["a"])
