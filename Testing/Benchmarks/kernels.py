"""How much faster the network's kernels are than PyTorch's own on a CPU, taking turns in one run.

    python Testing/Benchmarks/kernels.py [--size 80 80 80] [--repeats 7] [--threads 1]

Needs no data. Times are those of the processor, which other programs disturb least; read the
ratios (medians over the turns), not the seconds.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from MISSUCore.contract.network_config import NetworkConfig
from MISSUCore.network import blocks
from MISSUCore.network.kernels import InstanceNorm
from MISSUCore.network.transunet import TransUNet

BFLOAT16 = {"float32": False, "bfloat16": True}
LAYOUTS = {"": torch.contiguous_format, ", channels last": torch.channels_last_3d}


def trilinear(x: Tensor) -> Tensor:
    """PyTorch's own trilinear upsampling by 2."""
    return F.interpolate(x, scale_factor=2, mode="trilinear", align_corners=False)


@contextmanager
def plain_kernels() -> Iterator[None]:
    """Context in which PyTorch's own kernels replace the network's."""
    with (
        mock.patch.object(blocks, "upsample2", trilinear),
        mock.patch.object(blocks, "attention", F.scaled_dot_product_attention),
        mock.patch.object(InstanceNorm, "forward", nn.InstanceNorm3d.forward),
    ):
        yield


def passes(size: tuple[int, ...], training: bool) -> dict[str, Callable[[], None]]:
    """The functions to time, by name: a forward pass, or a training step without its update."""
    network = TransUNet(NetworkConfig(outputs=3, fusion="none", normalization="instance"))
    scan = torch.randn(1, 4, *size)

    def run(layout: torch.memory_format, bfloat16: bool, fast: bool) -> None:
        network.to(memory_format=layout)  # type: ignore[call-overload]
        network.zero_grad()
        with (
            torch.inference_mode(not training),
            torch.autocast("cpu", torch.bfloat16, enabled=bfloat16),
            nullcontext() if fast else plain_kernels(),
        ):
            logits = network(scan.contiguous(memory_format=layout))
        if training:
            logits.float().square().mean().backward()

    return {
        f"{precision}{name}{', fast' if fast else ''}": partial(run, layout, half, fast)
        for precision, half in BFLOAT16.items()
        for name, layout in LAYOUTS.items()
        for fast in (False, True)
        if fast <= bool(name)
    }


def main() -> None:
    """Time all variants in turn, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, nargs=3, default=[80, 80, 80])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    size = " x ".join(map(str, options.size))
    print(f"{size}, {options.threads} threads, torch {torch.__version__}\n")
    for training in (False, True):
        runs = passes(tuple(options.size), training)
        seconds: dict[str, list[float]] = {name: [] for name in runs}
        for turn in range(options.repeats + 1):
            for name, run in runs.items():
                began = time.process_time()
                run()
                if turn:  # the first turn warms up
                    seconds[name].append(time.process_time() - began)
        print(f"| {'training step' if training else 'forward'} | s | of the first |\n|---|---|---|")
        first = seconds[next(iter(seconds))]
        for name, times in seconds.items():
            ratio = statistics.median(one / other for one, other in zip(times, first))
            print(f"| {name} | {statistics.median(times):.2f} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()
