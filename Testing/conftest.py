"""Fixtures for all tests: a tiny model, a model with a known answer, a simulated full disk."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from MISSUCore.contract.labels import BRATS
from MISSUCore.contract.model_card import ModelCard
from MISSUCore.contract.network_config import NetworkConfig
from MISSUCore.models.store import save_model
from MISSUCore.network.transunet import TransUNet

TINY_NETWORK = NetworkConfig(
    outputs=3,
    channels=(4, 8),
    convolutions=(1, 1),
    layers=1,
    embedding=8,
    heads=2,
    feed_forward=8,
    position_grid=2,
    skips=1,
)


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Collect doctests only from the library, not from programs in the test folders."""
    is_program = collection_path.suffix == ".py" and not collection_path.name.startswith("test_")
    return True if is_program else None


@pytest.fixture
def file_size_limit() -> Callable[[int], AbstractContextManager[None]]:
    """Context in which files cannot grow beyond a number of bytes, like on a full disk.

    It is limited to a context because the output of the tests may go to a file, too.
    """
    resource = pytest.importorskip("resource", reason="needs POSIX")

    @contextmanager
    def limited(size: int) -> Iterator[None]:
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, handler)

    return limited


@pytest.fixture
def tiny_card() -> ModelCard:
    """Card of a BraTS model small enough for tests; one scan may be missing."""
    return ModelCard(
        name="tiny",
        task="Segments nothing well",
        modalities=("t1", "t1ce", "t2", "flair"),
        may_miss=1,
        scheme=BRATS.as_dict(),
        targets="regions",
        spacing_mm=(1.0, 1.0, 1.0),
        network=TINY_NETWORK,
    )


@pytest.fixture
def tiny_model(tmp_path: Path, tiny_card: ModelCard) -> Path:
    """Weight file of a tiny model with random weights."""
    torch.manual_seed(0)
    save_model(tmp_path / "models", tiny_card, TransUNet(tiny_card.network).state_dict())
    return tmp_path / "models" / "tiny.pt"


@pytest.fixture
def bright_model(tmp_path: Path, tiny_card: ModelCard) -> Callable[..., Path]:
    """Function that saves a model with a known answer; the fields of its card can be changed.

    WT is where FLAIR, TC where T2, and ET where T1ce is two standard deviations above the brain's
    mean. It is a real network with weights set by hand: the input bypasses all but the head.
    """

    def save(**changes: object) -> Path:
        config = replace(TINY_NETWORK, transformer=False)
        network = TransUNet(config)
        weights = {
            name: torch.full_like(value, float("running_var" in name))
            for name, value in network.state_dict().items()
        }
        for stage, first in (("encoder.0.entry", 0), ("decoder.0.convolution", 8)):
            weights[f"{stage}.1.weight"] += 1
            for channel in range(4):
                weights[f"{stage}.0.weight"][channel, first + channel, 1, 1, 1] = 1
        for region, channel in enumerate((3, 2, 1)):
            weights["head.weight"][region, channel] = 20
        weights["head.bias"] -= 40
        card = replace(tiny_card, name="bright", network=config, **changes)
        save_model(tmp_path / "models", card, weights)
        return tmp_path / "models" / "bright.pt"

    return save
