"""How long a training step takes, beside another version of the library, taking turns in one run.

    git worktree add OTHER COMMIT
    python Testing/Benchmarks/training_step.py OTHER [--rounds 7] [--threads 1]

Each version trains in a process of its own as its ``brats-precise`` preset does (as ``brats-fast``
on the same patches, where it has no such preset): forward, backward, update, and the average of the
weights, on one made-up patch of 80 x 80 x 80 voxels, so that no data is needed; making patches is
not timed. Rounds take turns: a step without the teacher and one with it, of each version. Times are
those of the processor, which other programs disturb least; read the ratios (medians over the
rounds).
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import repeat
from pathlib import Path

HERE = Path(__file__).parents[2]
KINDS = ("without teacher", "with teacher")
SIZE = (80, 80, 80)
MANY = 40_000  # steps, of which none is near the start, where the teacher learns alone


class NoCases(list):
    """In the place of prepared cases: one, of which nothing is read."""

    cases = ()


def work(threads: int) -> None:
    """Be one version: make a step of the kind that is asked for, and print its seconds."""
    import time

    import torch

    from MISSUCore.training.presets import PRESETS, training_config
    from MISSUCore.training.trainer import Trainer

    torch.set_num_threads(threads)
    changes = {"patch_size": str(list(SIZE)), "steps": str(MANY), "teach_every": "8"}
    preset = "brats-precise" if "brats-precise" in PRESETS else "brats-fast"
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            training_config(preset, changes),
            NoCases([None]),  # type: ignore[arg-type]
            NoCases(),  # type: ignore[arg-type]
            Path(folder),
            torch.device("cpu"),
        )
        volume = torch.randn(1, 4, *SIZE).contiguous(memory_format=trainer.layout)
        batches = repeat((volume, torch.randint(0, 4, (1, *SIZE), dtype=torch.uint8)))
        # Older versions cut patches within the step.
        vars(trainer)["_next_batch"] = lambda patches, turn: next(patches)
        for line in sys.stdin:
            trainer.step = MANY // 2 + (KINDS[0] in line)  # the teacher takes part in every 8th
            began = time.process_time()
            trainer._train_step(batches)
            print(time.process_time() - began, flush=True)


@contextmanager
def version(folder: Path, threads: int) -> Iterator[subprocess.Popen[str]]:
    """A process that makes steps of the version in the folder."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, __file__, "--work", "--threads", str(threads)]
    with subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process


def step(process: subprocess.Popen[str], kind: str) -> float:
    """Seconds of the processor that a step of a version takes."""
    print(kind, file=process.stdin, flush=True)
    return float(process.stdout.readline())  # type: ignore[union-attr]


def main() -> None:
    """Time all in turn; print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("other", type=Path, nargs="?", help="folder of the other version")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options.threads)
        return
    if options.other is None:
        parser.error("name the folder of the other version")
    with (
        version(options.other.resolve(), options.threads) as other,
        version(HERE, options.threads) as this,
    ):
        seconds: dict[str, list[tuple[float, float]]] = {kind: [] for kind in KINDS}
        for turn in range(options.rounds + 1):
            for kind in KINDS:
                pair = step(other, kind), step(this, kind)
                if turn:  # the first turn warms up
                    seconds[kind].append(pair)
                    print(kind, *(f"{value:.2f}" for value in pair), flush=True)
        for process in (other, this):
            process.stdin.close()  # type: ignore[union-attr]
    print("\n| median of a step, s | other | this | ratio (least to most) |\n|---|---|---|---|")
    for kind, pairs in seconds.items():
        ratios = sorted(new / old for old, new in pairs)
        old, new = (statistics.median(values) for values in zip(*pairs))
        middle = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        print(f"| {kind} | {old:.2f} | {new:.2f} | {middle} |")
    means = [
        [(7 * plain + taught) / 8 for plain, taught in zip(*both)]
        for both in zip(*(zip(*pairs) for pairs in seconds.values()))
    ]
    old, new = (statistics.median(values) for values in means)
    print(f"| mean, teacher in every 8th step | {old:.2f} | {new:.2f} | {new / old:.2f} |")


if __name__ == "__main__":
    main()
