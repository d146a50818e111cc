"""Computational cost of a network: parameters, and multiply-adds for one input.

Networks are counted on torch's "meta" device, where tensors have a shape but no data: nothing is
computed and no memory is used. Only matrix products and convolutions count, not normalization,
activation or trilinear upsampling, which add about 1 %.

Two conventions are in use, and they differ by half. Counters that know only convolutions and linear
layers (thop) miss the token-by-token products of the attention. At d = 512, four layers and 4096
tokens these products take 68.7 G, with the linear layers 95 G, so the paper's 132.11 G (Table III)
can only be a count without them. (thop would also omit the position embedding, 2.10 M, from the
parameters; here it is included.)

    At 4 x 128 x 128 x 128       parameters   multiply-adds   without attention     paper
    inference                       10.40 M         199.3 G             130.6 G   10.50 M / 132.11 G
    explicit multi-scale fusion     10.92 M         310.0 G             241.3 G   17.38 M / 196.61 G

Why explicit fusion does not match the paper: there fusion costs 6.88 M parameters and 64.50 G, or
9375 multiply-adds per parameter. On the three stages that the paper fuses, of 128, 64 and 32
voxels a side, every weight is used at 32 ** 3 = 32768 places or more. So 64.50 G allow at most
2.0 M parameters, and 6.88 M parameters would cost 225 G: no reading matches both numbers.

- The smallest reading applies four 3x3x3 convolutions per stage (rate 1, rate 3 on the input and
  on rate 1, rate 5), 27 C^2 products per voxel: 14.5 + 7.2 + 3.6 = 25.4 G per convolution over
  three stages, 101.5 G in all.
- Branches that share their convolutions (three stored, four applied; used here, as in CE-Net), with
  1x1x1 convolutions and pyramid: 0.52 M and 110.7 G.
- Branches that do not (seven stored and applied, three 1x1x1): 1.11 M and 186.8 G.
- Fusion on all four stages: 2.10 M and 119.1 G shared, 4.49 M and 200.6 G not shared: closer in
  parameters, farther in multiply-adds, and the paper distills three stages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from ..contract.network_config import NetworkConfig
from .transunet import TransUNet

# Parameters and multiply-adds of Table III, in millions and in billions.
PAPER = {"inference": (10.50, 132.11), "explicit_msf": (17.38, 196.61)}


@dataclass(frozen=True)
class Cost:
    """Computational cost of a network.

    Attributes:
        parameters: number of learned values.
        multiply_adds: multiply-adds of every matrix product for one input.
        multiply_adds_without_attention: those of convolutions and linear layers only, the
            convention that fits the paper's Table III.
    """

    parameters: int
    multiply_adds: int
    multiply_adds_without_attention: int


def network_cost(network: nn.Module, input_size: Sequence[int]) -> Cost:
    """Cost of a network for one input of size (channels, D, H, W), without a batch axis."""
    layer_products = 0

    def count(layer: nn.Conv3d | nn.Linear, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal layer_products
        layer_products += output.numel() * layer.weight[0].numel()

    weights = {
        name: torch.empty_like(tensor, device="meta")
        for name, tensor in (*network.named_parameters(), *network.named_buffers())
    }
    scan = torch.empty(1, *input_size, device="meta")
    # On a CPU the counter would miss the fused attention; on "meta" it is two batched products.
    counter = FlopCounterMode(display=False)
    with ExitStack() as hooks, torch.no_grad(), counter:
        for layer in network.modules():
            if isinstance(layer, (nn.Conv3d, nn.Linear)):
                hooks.enter_context(layer.register_forward_hook(count))
        functional_call(network, weights, (scan,))
    return Cost(
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        # The counter counts a multiply-add as two operations.
        multiply_adds=counter.get_total_flops() // 2,
        multiply_adds_without_attention=layer_products,
    )


def cost_report(
    config: NetworkConfig | None = None, size: Sequence[int] = (128, 128, 128)
) -> dict[str, dict[str, int]]:
    """Cost of the network at inference, and of the variant that keeps its multi-scale fusion.

    Args:
        config: the network; the default one if None. Its ``fusion`` is ignored.
        size: depth, height and width of the scan, in voxels.

    Returns:
        The fields of :class:`Cost` for ``inference`` and ``explicit_msf``, ready for JSON.
    """
    config = config or NetworkConfig()
    report = {}
    for variant, fusion in (("inference", "local"), ("explicit_msf", "output")):
        with torch.device("meta"):
            network = TransUNet(replace(config, fusion=fusion))
        report[variant] = asdict(network_cost(network, (config.modalities, *size)))
    return report


def cost_table(report: Mapping[str, Mapping[str, int]]) -> str:
    """A :func:`cost_report` as a text table, with the paper's figures (128^3 voxels)."""
    lines = [
        f"{'':<14}{'parameters':>12}{'multiply-adds':>16}{'multiply-adds':>16}{'paper':>21}",
        f"{'':<14}{'':>12}{'every product':>16}{'no attention':>16}{'no attention':>21}",
    ]
    for variant, cost in report.items():
        paper_parameters, paper_multiply_adds = PAPER[variant]
        paper = f"{paper_parameters:.2f} M / {paper_multiply_adds:.2f} G"
        lines.append(
            f"{variant:<14}{cost['parameters'] / 1e6:>10.2f} M"
            f"{cost['multiply_adds'] / 1e9:>14.2f} G"
            f"{cost['multiply_adds_without_attention'] / 1e9:>14.2f} G{paper:>21}"
        )
    return "\n".join(lines)
