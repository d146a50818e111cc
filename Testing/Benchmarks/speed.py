"""How long whole cases and training steps take, beside other networks, in one run.

    python Testing/Benchmarks/speed.py [--device auto] [--repeats 5] [--spacing 2 1]

Needs no data: the time does not depend on what the scans show. The volume is as large as the box
around a brain (140 x 175 x 145 mm). All variants take turns, so that a busy machine slows all of
them; read the ratios of the medians, not the seconds. Peak memory is that of a process of its own
for each variant. Other networks need MONAI and einops: ``pip install -e ".[benchmarks]"``.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import torch
from networks import PEERS, peer, peer_model
from torch import nn

from MISSUCore.contract.labels import BRATS
from MISSUCore.contract.network_config import NetworkConfig
from MISSUCore.inference.predictor import Predictor, choose_device, fastest_layout
from MISSUCore.network.transunet import SelfDistillingTransUNet, TransUNet
from MISSUCore.training.losses import MISSULoss, SegmentationLoss

BRAIN_MM = (145, 175, 140)
PATCH = (72, 88, 72)  # a whole brain at 2 mm
MEMBERSHIP = torch.from_numpy(BRATS.membership)
MISSU = NetworkConfig(outputs=3, normalization="instance")
Run = Callable[[], object]


def inference(network: nn.Module, device: torch.device, spacing_mm: float, sliding: bool) -> Run:
    """Segments a whole brain of random intensities."""
    volume = torch.randn(4, *brain_voxels(spacing_mm))
    predictor = Predictor(network, MEMBERSHIP, "regions", device, sliding=sliding)
    return lambda: predictor(volume)


def brain_voxels(spacing_mm: float) -> tuple[int, int, int]:
    """Size (depth, height, width) of the box around a brain."""
    depth, height, width = (round(length / spacing_mm) for length in BRAIN_MM)
    return depth, height, width


def training_step(model: SelfDistillingTransUNet, device: torch.device) -> Run:
    """Forward, loss and backward of a whole brain at 2 mm, as the trainer does it."""
    layout = fastest_layout(model, device)
    model.to(device, memory_format=layout)
    loss = MISSULoss(SegmentationLoss(MEMBERSHIP, "regions", "dice_cross_entropy"), 0.5, 0.3)
    loss.to(device)
    volume = torch.randn(1, 4, *PATCH, device=device).contiguous(memory_format=layout)
    classes = torch.randint(0, 4, (1, *PATCH), device=device)

    def step() -> None:
        model.zero_grad()
        with torch.autocast(device.type, torch.bfloat16):
            output = model(volume)
        loss(output, classes).total.backward()

    return step


def variants(device: torch.device, spacings_mm: list[float]) -> dict[str, Callable[[], Run]]:
    """The variants to time, by name; calling one builds its network."""
    made: dict[str, Callable[[], Run]] = {}
    for spacing in spacings_mm:
        case = f"case at {spacing:g} mm"
        made[f"{case}, MISSU"] = lambda spacing=spacing: inference(
            TransUNet(MISSU), device, spacing, False
        )
        for name in PEERS:
            made[f"{case}, {name}"] = lambda name=name, spacing=spacing: inference(
                peer(name, 3, brain_voxels(spacing)), device, spacing, False
            )
    made["case at 1 mm, MISSU, sliding window 128"] = lambda: inference(
        TransUNet(MISSU), device, 1.0, True
    )
    made["training step at 2 mm, MISSU"] = lambda: training_step(
        SelfDistillingTransUNet(MISSU), device
    )
    plain = replace(MISSU, fusion="none")
    made["training step at 2 mm, MISSU without MSF"] = lambda: training_step(
        SelfDistillingTransUNet(plain), device
    )
    for name in PEERS:
        made[f"training step at 2 mm, {name}"] = lambda name=name: training_step(
            peer_model(name, plain, PATCH), device
        )
    return made


def peak_gib(device: torch.device, run: Run) -> float:
    """Peak memory of a run: of the GPU, or of this process."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        run()
        return torch.cuda.max_memory_allocated() / 2**30
    run()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    """Take the memory of all variants one by one, then time them in turn; print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--spacing", type=float, nargs="+", default=[2.0, 1.0])
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)  # this script calls itself
    options = parser.parse_args()
    device = choose_device(options.device)
    made = variants(device, options.spacing)
    if options.memory_of:
        print(peak_gib(device, made[options.memory_of]()))
        return
    # First, while this process is small: a child inherits its parent's peak.
    memory = {
        name: float(
            subprocess.run(
                [sys.executable, *sys.argv, "--memory-of", name],
                check=True,
                capture_output=True,
                text=True,
            ).stdout
        )
        for name in made
    }
    runs = {name: make() for name, make in made.items()}
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(options.repeats + 1):
        for name, run in runs.items():
            began = time.perf_counter()
            run()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if turn:  # the first turn warms up
                seconds[name].append(time.perf_counter() - began)
    print(f"{device}, {torch.get_num_threads()} threads, torch {torch.__version__}\n")
    print("| what | s | of MISSU's | peak GiB |\n|---|---|---|---|")
    own = 1.0
    for name, times in seconds.items():
        median = statistics.median(times)
        if name.endswith(", MISSU"):
            own = median
        print(f"| {name} | {median:.2f} | {median / own:.2f} | {memory[name]:.1f} |")


if __name__ == "__main__":
    main()
