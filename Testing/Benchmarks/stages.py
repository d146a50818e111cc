"""How long a case takes from the shell, by stage, and what memory: the budget of a click.

    python Testing/Benchmarks/stages.py CASE_FOLDER [CASE_FOLDER ...] [--moved CASE_FOLDER]
        [--runs 5] [--threads 2]

Each case is segmented by ``missu segment`` as a process of its own, and between any two runs there
are two yardsticks: a process that only imports torch, and a forward pass of the bundled network
over a brain. ``--moved`` takes a BraTS case and makes four scans of it that are moved, tilted, each
on a grid of its own with slices of 5 mm. Medians; a busy machine slows all alike, so read the
ratios, and on a very busy one the time of the processor (CPU) instead of that of the clock.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from raw_cases import THICK_AXES, filled, random_move, thick, thick_grid

from MISSUCore.io.reading import read_image
from MISSUCore.models.store import load_model
from MISSUCore.preprocessing.registration.rigid import moved

BRAIN = (72, 88, 72)  # voxels of 2 mm
IMPORT_TORCH = "import torch"
FORWARD = "forward pass at 2 mm"


@dataclass
class Times:
    """What the runs of one thing took: clock and processor in seconds, memory in GiB."""

    clock: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    stages: list[dict[str, float]] = field(default_factory=list)

    def add(self, command: list[str], environment: dict[str, str]) -> None:
        """Run a process and keep what it took."""
        began = time.perf_counter()
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        assert process.stderr
        told = process.stderr.read().decode()
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            sys.exit(f"{command} failed:\n{told}")
        self.clock.append(time.perf_counter() - began)
        self.processor.append(usage.ru_utime + usage.ru_stime)
        # Not ru_maxrss, which begins with that of this process.
        self.memory += [float(peak) for peak in re.findall(r"memory +([\d.]+) GiB", told)]


def moved_case(folder: Path, target: Path) -> Path:
    """Write the scans of a BraTS case as four examinations would have made them."""
    generator = np.random.default_rng(0)
    for modality, axis in THICK_AXES.items():
        image = read_image(next(folder.glob(f"*_{modality}.nii.gz")))
        grid = thick_grid(image, axis, generator)
        move = random_move(image, generator, 15, 20)
        brain = sitk.GetArrayViewFromImage(image) != 0
        scan = sitk.Mask(thick(image, grid), filled(brain, image, grid))
        sitk.WriteImage(moved(scan, move), str(target / f"{modality}.nii.gz"))
    return target


def measure(cases: dict[str, Path], runs: int, threads: int, place: Path) -> dict[str, Times]:
    """Time all cases and both yardsticks in turn."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    torch.set_num_threads(threads)
    network = load_model("missu-brats-fast").network
    volume = torch.randn(1, 4, *BRAIN)
    times = {name: Times() for name in (IMPORT_TORCH, FORWARD, *cases)}
    output, report = place / "seg.nii.gz", place / "report.json"
    for _ in range(runs):
        for name, folder in cases.items():
            times[IMPORT_TORCH].add([sys.executable, "-c", IMPORT_TORCH], environment)
            clock, processor = time.perf_counter(), time.process_time()
            with torch.inference_mode():
                network(volume)
            times[FORWARD].clock.append(time.perf_counter() - clock)
            times[FORWARD].processor.append(time.process_time() - processor)
            command = [sys.executable, "-m", "MISSUCore", "segment", str(folder)]
            files = ["--output", str(output), "--report", str(report), "--overwrite", "--profile"]
            times[name].add([*command, *files], environment)
            seconds = json.loads(report.read_text(encoding="utf-8"))["seconds"]
            seconds["start"] = times[name].clock[-1] - seconds.pop("total")
            times[name].stages.append(seconds)
    return times


def main() -> None:
    """Print a row for each yardstick and case, and then the stages of each case."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", type=Path, nargs="*")
    parser.add_argument("--moved", type=Path, metavar="CASE_FOLDER")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        cases = {folder.name: folder for folder in options.cases}
        if options.moved:
            (place / "scans").mkdir()
            cases["moved"] = moved_case(options.moved, place / "scans")
        times = measure(cases, options.runs, options.threads, place)
    yardstick = times[IMPORT_TORCH]
    middle = statistics.median
    print("| what | clock s | CPU s | CPU, of import torch | peak GiB |\n|---|---|---|---|---|")
    for name, taken in times.items():
        ratio = middle(taken.processor) / middle(yardstick.processor)
        memory = f"{middle(taken.memory):.2f}" if taken.memory else ""
        clock, processor = middle(taken.clock), middle(taken.processor)
        print(f"| {name} | {clock:.2f} | {processor:.2f} | {ratio:.2f} | {memory} |")
    forward = middle(times[FORWARD].clock)
    for name in cases:
        print(f"\n| {name}: stage | clock s | forward passes |\n|---|---|---|")
        for stage in times[name].stages[0]:
            seconds = middle(run[stage] for run in times[name].stages)
            print(f"| {stage} | {seconds:.2f} | {seconds / forward:.1f} |")


if __name__ == "__main__":
    main()
