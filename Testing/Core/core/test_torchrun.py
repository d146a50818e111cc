"""Which process this is, as torchrun's environment says."""

from __future__ import annotations

import pytest

from MISSUCore.core.torchrun import torchrun_process

NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK")


def test_a_process_alone_is_the_first_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    assert torchrun_process() == (0, 1, 0)


def test_the_environment_tells_which_of_several_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    # The second process of the third machine with four each.
    for name, value in zip(NAMES, ("9", "12", "1")):
        monkeypatch.setenv(name, value)
    process = torchrun_process()
    assert (process.rank, process.ranks, process.local_rank) == (9, 12, 1)
