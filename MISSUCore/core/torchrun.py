"""Which of the processes that torchrun started this one is."""

from __future__ import annotations

import os
from typing import NamedTuple


class TorchrunProcess(NamedTuple):
    """One of several processes; without torchrun the only one.

    A process that ends with an error code makes torchrun stop the others.

    Attributes:
        rank: its number among all.
        ranks: how many there are.
        local_rank: its number among those of this machine.
    """

    rank: int
    ranks: int
    local_rank: int


def torchrun_process() -> TorchrunProcess:
    """This process, as the environment says."""
    return TorchrunProcess(
        int(os.environ.get("RANK", "0")),
        int(os.environ.get("WORLD_SIZE", "1")),
        int(os.environ.get("LOCAL_RANK", "0")),
    )
