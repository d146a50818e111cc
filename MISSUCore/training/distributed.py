"""Distributed training under torchrun; with a single process all of this does nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ..core.torchrun import torchrun_process


@contextmanager
def process_group(device: torch.device) -> Iterator[torch.device]:
    """Join the other processes if torchrun started this one; yields this process's device."""
    process = torchrun_process()
    if process.ranks == 1:
        yield device
        return
    if device.type == "cuda":
        device = torch.device("cuda", process.local_rank)
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    yield device
    # Not after an error: the other processes might never answer.
    dist.destroy_process_group()


def rank_in_group() -> tuple[int, int]:
    """Rank of this process, and number of processes in its group."""
    ranks = dist.get_world_size() if dist.is_initialized() else 1
    return (dist.get_rank() if ranks > 1 else 0), ranks


def data_parallel(model: nn.Module, device: torch.device) -> nn.Module:
    """The model wrapped for data-parallel training; the model itself in a single process."""
    if rank_in_group()[1] == 1:
        return model
    if device.type == "cuda":
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    return DistributedDataParallel(model)


def gradients_shared(model: nn.Module, now: bool) -> AbstractContextManager[None]:
    """Context in which backward passes average gradients over the processes only if ``now``."""
    if now or not isinstance(model, DistributedDataParallel):
        return nullcontext()
    return model.no_sync()


def sum_over_ranks(values: Tensor, device: torch.device) -> Tensor:
    """The sum over all processes, on the CPU."""
    if rank_in_group()[1] == 1:
        return values
    shared = values.to(device)
    dist.all_reduce(shared)
    return shared.cpu()


def any_rank(flag: bool, device: torch.device) -> bool:
    """Whether a flag is set in any process of the group; all get the same answer."""
    return bool(sum_over_ranks(torch.tensor(float(flag)), device) > 0)
