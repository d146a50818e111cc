"""Muon beside AdamW: the training of the second look goes on from a model, with other steps.

    python Testing/Benchmarks/muon.py BRATS_FOLDER OUTPUT_FOLDER --model missu-brats-precise
        --crops lesion_crops.npz [--names ...] [--steps 1100] [--rate 3e-4] [--seed 1]

What Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon) is to be held against is
``missu train --preset brats-precise --set network.fusion=none --set teacher_start=0`` with the same
start, steps, rate and seed, which learns from the same patches. Matrices and flattened kernels of
the inner layers are stepped by Muon, with updates as large as AdamW's (Liu et al. 2025,
arXiv:2502.16982), so that the rate means the same; all else by AdamW. A run that was stopped goes
on. Leaves a model in OUTPUT_FOLDER/model, for two_looks.py, and prints its Dice.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from held_out import measuring_parser, split
from torch import Tensor, nn

from MISSUCore.contract.labels import label_scheme
from MISSUCore.core.events import Progress, TerminalBar
from MISSUCore.models.store import load_model, save_model
from MISSUCore.training.config import TrainingConfig
from MISSUCore.training.presets import training_config
from MISSUCore.training.second_look.cases import SeenCases
from MISSUCore.training.second_look.crops import LesionCrops
from MISSUCore.training.second_look.trainer import SecondLookTrainer
from MISSUCore.training.trainer import Trainer

OUTER = ("encoder.0.", "head.", "context.position")  # layers for which Muon is not suited


class MuonAndAdamW:
    """Two optimizers that a :class:`.Trainer` can use like one."""

    def __init__(self, network: nn.Module, config: TrainingConfig) -> None:
        self.kernels: list[tuple[Tensor, nn.Parameter]] = []
        others = []
        for name, weight in network.named_parameters():
            if weight.ndim >= 2 and not name.startswith(OUTER):
                matrix = nn.Parameter(as_matrix(weight.data))
                assert matrix.data_ptr() == weight.data_ptr(), "a copy would learn for itself"
                self.kernels.append((weight, matrix))
            else:
                others.append(weight)
        matrices = [matrix for _, matrix in self.kernels]
        facts = {"weight_decay": config.weight_decay}
        self.muon = torch.optim.Muon(matrices, adjust_lr_fn="match_rms_adamw", **facts)
        self.adamw = torch.optim.AdamW(others, **facts)
        self.param_groups = [*self.muon.param_groups, *self.adamw.param_groups]
        for group in self.param_groups:
            group.update({"rate": 1.0, "waits": False})

    def step(self) -> None:
        """Take a step; each matrix shares the memory of its kernel."""
        for weight, matrix in self.kernels:
            matrix.grad = None if weight.grad is None else as_matrix(weight.grad)
        self.muon.step()
        self.adamw.step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Reset the gradients of both optimizers."""
        for weight, _ in self.kernels:
            weight.grad = None
        self.adamw.zero_grad(set_to_none)

    def state_dict(self) -> dict[str, Any]:
        """State of both optimizers."""
        return {"muon": self.muon.state_dict(), "adamw": self.adamw.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state of both optimizers."""
        self.muon.load_state_dict(state["muon"])
        self.adamw.load_state_dict(state["adamw"])
        self.param_groups[:] = [*self.muon.param_groups, *self.adamw.param_groups]


def as_matrix(kernel: Tensor) -> Tensor:
    """A kernel (outputs, inputs, D, H, W) as a matrix (outputs, the rest)."""
    # With channels last, follow the memory order, so that the matrix is a view.
    last = kernel.ndim == 5 and not kernel.is_contiguous()
    return (kernel.movedim(1, -1) if last else kernel).flatten(1)


@dataclass
class MuonTrainer(SecondLookTrainer):
    """Trains with Muon."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.optimizer = MuonAndAdamW(self.model.network, self.config)  # type: ignore[assignment]


def trained(trainer: Trainer, cases: Iterable[SeenCases]) -> dict[str, Tensor]:
    """The averaged weights after the last step."""
    trainer.resume()
    for some in cases:
        some.prepare_all(Progress())
    trainer.report_to(Progress(TerminalBar()))
    trainer.run()
    return trainer.average.state_dict()


def main() -> None:
    """Train, and keep the model."""
    parser = measuring_parser(__doc__)
    parser.add_argument("--crops", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=1100)
    parser.add_argument("--rate", type=float, default=3e-4)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    changes = {"network.fusion": "none", "teacher_start": "0", "epochs": "1"}
    given = {"steps": options.steps, "learning_rate": options.rate, "seed": options.seed}
    changes.update({name: str(value) for name, value in given.items()})
    config = training_config("brats-precise", changes)
    scheme = label_scheme(config.scheme)
    finder, device = load_model(config.first_look.model), torch.device("cpu")
    shape = (config.modalities, scheme, config.spacing_mm, options.output / "prepared")
    learned, held_out = (
        SeenCases(cases, *shape, finder, config.first_look, device)
        for cases in split(options.folder, options.names)
    )
    spacing_mm = config.sampling.crop_spacing_mm
    crops = LesionCrops(options.crops, config.modalities, scheme, spacing_mm, config.spacing_mm)
    start = load_model(options.model)
    options.output.mkdir(parents=True, exist_ok=True)
    trainer = MuonTrainer(
        config, learned, held_out, options.output, device, start=start, crops=crops
    )
    weights = trained(trainer, (learned, held_out))
    card = replace(start.card, name="muon", temperatures=(), doubtful_below=())
    save_model(options.output / "model", card, weights)
    means = {name: round(float(dice.mean()), 3) for name, dice in trainer.scores().items()}
    print(f"{trainer.seconds / trainer.steps:.2f} s a step; Dice {means}")


if __name__ == "__main__":
    main()
