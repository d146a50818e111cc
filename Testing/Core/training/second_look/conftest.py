"""Fixtures for the tests of training the second look: a first look with a known answer."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from MISSUCore.contract.labels import BRATS
from MISSUCore.contract.model_card import FirstLook, ModelCard
from MISSUCore.inference import predictor
from MISSUCore.models.store import Model
from MISSUCore.training.cases.brats import find_brats_cases
from MISSUCore.training.patches.settings import SamplingConfig
from MISSUCore.training.second_look.cases import SeenCases

MODALITIES = ("t1", "t1ce", "t2", "flair")
ISOTROPIC = (1.0, 1.0, 1.0)
FIRST_LOOK = FirstLook("reader", averaged=("WT",))


class Reader(nn.Module):
    """Network whose log-odds are scan values minus 1: WT of FLAIR, TC of T2, ET of T1ce."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * x[:, [3, 2, 1]] - 1


def reader(**changes) -> Model:
    """The first look, at 2 mm; fields of its card can be changed."""
    card = ModelCard(
        name="reader",
        modalities=MODALITIES,
        scheme=BRATS.as_dict(),
        targets="regions",
        spacing_mm=(2.0, 2.0, 2.0),
        sha256="1" * 64,
    )
    return Model(Reader(), replace(card, **changes))  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def full_precision(monkeypatch):
    """Make predictors compute in float32, as on a processor without bfloat16."""
    monkeypatch.setattr(predictor, "has_bfloat16", lambda device: False)


@pytest.fixture
def seen_cases(tmp_path, brats_folder):
    """Function that makes cases with the reader's first look, by number in the tiny folder."""

    def make(numbers=range(4), first_look=FIRST_LOOK, **changes) -> SeenCases:
        cases = find_brats_cases(brats_folder)
        return SeenCases(
            [cases[number] for number in numbers],
            MODALITIES,
            BRATS,
            ISOTROPIC,
            tmp_path / "prepared",
            reader(**changes),
            first_look,
            torch.device("cpu"),
        )

    return make


@pytest.fixture
def second_look_config(tiny_config):
    """Function that makes the settings of a tiny training of the second look, with changes."""

    def make(**changes):
        settings = {
            "targets": "regions",
            "loss": "dice_cross_entropy",
            "first_look": FIRST_LOOK,
            "sampling": SamplingConfig(jitter=2),
            "steps": 6,
            "network": {"fusion": "none"},
        }
        return tiny_config(**{**settings, **changes})

    return make
