"""Trains MISSU, its ablations and other networks alike, and puts their Dice into one table.

    python Testing/Benchmarks/compare_networks.py BRATS_FOLDER OUTPUT_FOLDER
        [--epochs 8] [--rows NAME ...]

Same cases, same order, same patches and augmentation, same loss, rate, steps and weight averaging;
every row begins with random weights. The Dice are those of the averaged weights after the last
step, not of the best one, on the held-out cases at the working spacing. A run that was stopped goes
on where it was. Needs MONAI and einops: ``pip install -e ".[benchmarks]"``.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import torch
from held_out import split
from networks import PEERS, VARIANTS, peer_model

from MISSUCore.contract.labels import label_scheme
from MISSUCore.contract.network_config import NetworkConfig
from MISSUCore.core.events import Progress, TerminalBar
from MISSUCore.network.transunet import SelfDistillingTransUNet
from MISSUCore.training.config import training_config
from MISSUCore.training.datasets import PreparedCases
from MISSUCore.training.trainer import Trainer

BRAIN_VOXELS = (80, 96, 80)  # at 2 mm; no brain is larger


class PeerTrainer(Trainer):
    """Trains another network, as if it were MISSU's without a teacher."""

    peer_name = ""

    def new_model(self, config: NetworkConfig) -> SelfDistillingTransUNet:
        """The other network, as MISSU's trainer wants it."""
        return peer_model(self.peer_name, config, BRAIN_VOXELS)


def train_row(name: str, options: argparse.Namespace, progress: Progress) -> list[str]:
    """Train one row of the table, or go on with it; returns its cells."""
    changes = VARIANTS.get(name, {"network.fusion": "none"})
    config = training_config(
        options.preset,
        {
            **changes,
            "epochs": str(options.epochs),
            "validate_every": str(max(1, options.epochs // 4)),
        },
    )
    scheme = label_scheme(config.scheme)
    training, validation = (
        PreparedCases(
            cases, config.modalities, scheme, config.spacing_mm, options.output / "prepared"
        )
        for cases in split(options.folder)
    )
    folder = options.output / name.replace(" ", "-")
    folder.mkdir(parents=True, exist_ok=True)
    kind = type("RowTrainer", (PeerTrainer,), {"peer_name": name}) if name in PEERS else Trainer
    trainer = kind(config, training, validation, folder, torch.device(options.device))
    trainer.progress = progress
    trainer.resume()
    trainer.run()
    with (folder / "validation.csv").open(newline="") as stream:
        *_, last = csv.DictReader(stream)
    parameters = sum(value.numel() for value in trainer.average.parameters()) / 1e6
    dice = [f"{float(last[region]):.3f}" for region in scheme.region_names]
    return [name, f"{parameters:.1f} M", *dice, f"{trainer.seconds / trainer.steps:.2f}"]


def main() -> None:
    """Train row after row; the table is written anew after each."""
    names = [*VARIANTS, *PEERS]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--preset", default="brats-fast")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rows", nargs="+", choices=names, default=names)
    options = parser.parse_args()
    lines = ["| network | parameters | WT | TC | ET | s / step |", "|---|---|---|---|---|---|"]
    for name in options.rows:
        lines.append(f"| {' | '.join(train_row(name, options, Progress(TerminalBar())))} |")
        (options.output / "table.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
