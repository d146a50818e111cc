"""How long whole-case inference and a training step take, side by side in one run.

    python Testing/Benchmarks/speed.py [--device auto] [--repeats 5] [--spacing 1]

Needs no data: the time does not depend on what the scans show. The volume is as large as the box
around a brain (140 x 175 x 145 mm). All variants take turns, so that a busy machine slows all of
them; read the ratios of the medians, not the seconds.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from dataclasses import replace
from typing import Callable

import torch

from MISSUCore.inference.predictor import Predictor, choose_device
from MISSUCore.network.transunet import NetworkConfig, SelfDistillingTransUNet, TransUNet
from MISSUCore.regions import BRATS
from MISSUCore.training.losses import MISSULoss, SegmentationLoss

BRAIN_MM = (145, 175, 140)
MEMBERSHIP = torch.from_numpy(BRATS.membership)


def inference(size: tuple[int, ...], device: torch.device, sliding: bool) -> Callable[[], object]:
    """Segments a whole brain of random intensities."""
    network = TransUNet(NetworkConfig(outputs=3))
    predictor = Predictor(network, MEMBERSHIP, "regions", device, sliding=sliding)
    volume = torch.randn(4, *size)
    return lambda: predictor(volume)


def training_step(
    size: tuple[int, int, int], device: torch.device, config: NetworkConfig
) -> Callable[[], object]:
    """Forward, loss and backward of one patch, as the trainer does it."""
    model = SelfDistillingTransUNet(config).to(device)
    loss = MISSULoss(SegmentationLoss(MEMBERSHIP, "regions", "dice_cross_entropy"), 0.5, 0.3)
    loss.to(device)
    volume = torch.randn(1, 4, *size, device=device)
    volume = volume.contiguous(memory_format=torch.channels_last_3d)
    classes = torch.randint(0, 4, (1, *size), device=device)

    def step() -> None:
        model.zero_grad()
        with torch.autocast(device.type, torch.bfloat16):
            output = model(volume)
        loss(output, classes).total.backward()

    return step


def main() -> None:
    """Time all variants in turn and print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--spacing", type=float, default=1.0, help="working spacing in mm")
    options = parser.parse_args()
    device = choose_device(options.device)
    size = tuple(round(length / options.spacing) for length in BRAIN_MM)
    patch = (64, 64, 64)
    local = NetworkConfig(outputs=3)
    variants = {
        f"case {'x'.join(map(str, size))}, single pass": inference(size, device, sliding=False),
        "the same, sliding window 128, half overlap": inference(size, device, sliding=True),
        "training step 64^3, MSF and distillation": training_step(patch, device, local),
        "the same, without MSF": training_step(patch, device, replace(local, fusion="none")),
    }
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for turn in range(options.repeats + 1):
        for name, run in variants.items():
            began = time.perf_counter()
            run()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if turn:  # the first turn warms up
                seconds[name].append(time.perf_counter() - began)
    print(f"{device}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    first = statistics.median(next(iter(seconds.values())))
    for name, times in seconds.items():
        median = statistics.median(times)
        print(f"{name:46} {median:8.2f} s   x {median / first:.2f}")
    peak_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak memory of the process {peak_gib:.1f} GiB")


if __name__ == "__main__":
    main()
