"""One published case through MISSU and through the networks of others, with all around it alike.

    python Testing/Benchmarks/side_by_side.py CASE_FOLDER [--threads 2] [--repeats 2]
        [--only DynUNet ...] [--mirrored]

The case is a BraTS folder with its segmentation. MISSU is ``segment_files`` with both bundled
models, as the button calls it. The others are DynUNet (nnU-Net's network), SegResNet and UNETR of
MONAI with the same reading, registration check, working grid (1 mm), restoring, clean-up and
writing; their networks slide a window of 128 voxels with half overlap, as nnU-Net and UNETR do.
nnU-Net averages over 8 mirror images by default: that is 8 times its network's time, computed, or
measured with ``--mirrored``. Their weights are random, on which the time does not depend; what they
answer is replaced by the case's own segmentation, so that what follows has a tumor to work on.

Every run is a process of its own, all take turns; medians. The time begins after the imports (MONAI
would take longer) and ends with the label map on the disk. Peak memory is that of the process.
On two idle cores two repeats take about five minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import torch
from networks import PEERS, peer

from MISSUCore.contract.labels import BRATS
from MISSUCore.contract.modalities import BRATS_MODALITIES
from MISSUCore.contract.model_card import ModelCard
from MISSUCore.contract.options import SegmentationOptions
from MISSUCore.core.memory import peak_bytes
from MISSUCore.inference.case_files import segment_files
from MISSUCore.inference.case_scans import read_scans
from MISSUCore.inference.predictor import Predictor
from MISSUCore.inference.segmentation import Prediction, restored
from MISSUCore.io.writing import write_image
from MISSUCore.preprocessing.working_grid import prepare, prepare_labels
from MISSUCore.training.cases.brats import find_brats_cases
from MISSUCore.training.cases.labeled import LabeledCase
from MISSUCore.training.cases.labels import read_labels

OURS = {"MISSU precise": "missu-brats-precise", "MISSU fast": "missu-brats-fast"}
WINDOW = (128, 128, 128)
SPACING_MM = (1.0, 1.0, 1.0)
MIRRORS = 8
SURE = 0.95  # probability in the answer that replaces a network's
MIRRORED = "DynUNet, mirrored"


def run_ours(model: str, case: LabeledCase, output: Path) -> dict[str, float]:
    """Seconds of a case with one of the bundled models: all, and the networks alone."""
    began = time.perf_counter()
    report = segment_files(case.images, output, model=model, overwrite=True)
    return {"whole": time.perf_counter() - began, "network": report.seconds["predict"]}


def run_peer(name: str, case: LabeledCase, output: Path, mirror: bool) -> dict[str, float]:
    """Seconds of a case with another network: all, and the network alone."""
    network = peer(name, 3, WINDOW)
    membership = torch.from_numpy(BRATS.membership)
    began = time.perf_counter()
    scans = read_scans(case.images, BRATS)
    prepared = prepare(scans.prepared.images, BRATS_MODALITIES, SPACING_MM)
    predict = Predictor(
        network, membership, "regions", torch.device("cpu"), WINDOW, sliding=True, mirror=mirror
    )
    before = time.perf_counter() - began
    began = time.perf_counter()
    predict(torch.from_numpy(prepared.volume))
    alone = time.perf_counter() - began
    answer = BRATS.membership[:, prepare_labels(read_labels(case, BRATS), BRATS, prepared.grid)]
    probabilities = (answer * SURE + ~answer * (1 - SURE)).astype("float32")
    began = time.perf_counter()
    found = Prediction(probabilities, prepared.grid, [], {}, predict.windows, "cpu")
    card = ModelCard(name="peer", modalities=BRATS_MODALITIES, scheme=BRATS.as_dict())
    result = restored(found, card, (), scans.reference, SegmentationOptions().cleanup)
    with ExitStack() as stack:
        write_image(stack, scans.where_it_was(result.labels), output)
    return {"whole": before + alone + time.perf_counter() - began, "network": alone}


def run_one(name: str, folder: Path, threads: int, place: Path) -> dict[str, float]:
    """A run in a process of its own: seconds, and peak memory in GiB."""
    command = [sys.executable, __file__, str(folder), "--one", name, "--place", str(place)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(
        [*command, "--threads", str(threads)], env=environment, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(f"{name} failed:\n{done.stderr}")
    told: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return told


def row(name: str, runs: list[dict[str, float]], yardstick: float) -> str:
    """A line of the table: medians."""
    whole, alone, peak = (
        statistics.median(run[key] for run in runs) for key in ("whole", "network", "peak_gib")
    )
    return f"| {name} | {whole:.1f} | {alone:.1f} | {whole / yardstick:.1f} | {peak:.2f} |"


def main() -> None:
    """Run all in turn and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--only", nargs="+", choices=[*PEERS], default=[*PEERS])
    parser.add_argument("--mirrored", action="store_true", help="measure it: minutes more")
    parser.add_argument("--one", help=argparse.SUPPRESS)  # this script calls itself
    parser.add_argument("--place", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        torch.set_num_threads(options.threads)
        (case,) = find_brats_cases(options.folder)
        output = options.place / "seg.nii.gz"
        if options.one in OURS:
            told = run_ours(OURS[options.one], case, output)
        else:
            mirror = options.one == MIRRORED
            told = run_peer(options.one.removesuffix(", mirrored"), case, output, mirror)
        print(json.dumps({**told, "peak_gib": (peak_bytes() or 0) / 2**30}))
        return
    names = [*OURS, *options.only, *([MIRRORED] if options.mirrored else [])]
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as place:
        for _ in range(options.repeats):
            for name in names:
                runs[name].append(run_one(name, options.folder, options.threads, Path(place)))
    if "DynUNet" in runs and not options.mirrored:
        runs[f"{MIRRORED} (computed)"] = [
            {**run, "whole": run["whole"] + (MIRRORS - 1) * run["network"]}
            | {"network": MIRRORS * run["network"]}
            for run in runs["DynUNet"]
        ]
    yardstick = statistics.median(run["whole"] for run in runs["MISSU precise"])
    print("| what | whole, s | network, s | whole, of MISSU precise | peak GiB |")
    print("|---|---|---|---|---|")
    for name, taken in runs.items():
        print(row(name, taken, yardstick))


if __name__ == "__main__":
    main()
