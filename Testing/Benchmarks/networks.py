"""The networks that the benchmarks compare: MISSU, what is left without a part, and MONAI's."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from monai.networks.nets import UNETR, DynUNet, SegResNet
from torch import Tensor, nn

from MISSUCore.contract.network_config import NetworkConfig
from MISSUCore.network.transunet import SelfDistillingTransUNet, crop

# Settings that make a variant of MISSU, as `missu train --set` takes them.
VARIANTS = {
    "MISSU": {},
    "MISSU without distillation": {"distillation_weight": "0"},
    "MISSU without MSF": {"network.fusion": "none"},
    "MISSU without Transformer": {"network.transformer": "false"},
}
PEERS = ("SegResNet", "UNETR", "DynUNet")


class AnySize(nn.Module):
    """A network that takes certain sizes only, made to take any by padding with background.

    Args:
        network: from (B, modalities, D, H, W) to logits (B, outputs, D, H, W).
        multiple: every length must be a multiple of it.
        size: lengths (depth, height, width) that are always padded to; None pads to the multiple.
    """

    def __init__(self, network: nn.Module, multiple: int, size: Sequence[int] | None) -> None:
        super().__init__()
        self.network = network
        self.multiple = multiple
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        given = x.shape[2:]
        wanted = self.size or [-(-length // self.multiple) * self.multiple for length in given]
        padding = [end - length for end, length in zip(wanted, given)]
        padded = F.pad(x, [end for length in reversed(padding) for end in (0, length)])
        return crop(self.network(padded), given)


def peer(name: str, outputs: int, size: tuple[int, int, int]) -> nn.Module:
    """One of ``PEERS``, in the configuration that its authors use for BraTS.

    SegResNet with 16 filters (Myronenko 2018, MONAI's default blocks), UNETR (Hatamizadeh 2022),
    DynUNet as nnU-Net plans it for 128-voxel patches (Isensee 2021), without deep supervision.

    Args:
        name: of the network.
        outputs: output channels.
        size: (depth, height, width) of the largest volume; UNETR has a fixed size.
    """
    if name == "SegResNet":
        network = SegResNet(
            init_filters=16,
            in_channels=4,
            out_channels=outputs,
            blocks_down=(1, 2, 2, 4),
            blocks_up=(1, 1, 1),
            dropout_prob=0.2,
        )
        return AnySize(network, 8, None)
    if name == "UNETR":
        fixed = [-(-length // 16) * 16 for length in size]
        return AnySize(UNETR(4, outputs, img_size=fixed, feature_size=16), 16, fixed)
    if name == "DynUNet":
        network = DynUNet(
            spatial_dims=3,
            in_channels=4,
            out_channels=outputs,
            kernel_size=[3] * 5,
            strides=[1, 2, 2, 2, 2],
            upsample_kernel_size=[2] * 4,
            norm_name="instance",
        )
        return AnySize(network, 16, None)
    raise ValueError(f"no network {name!r}; there are {', '.join(PEERS)}")


def peer_model(
    name: str, config: NetworkConfig, size: tuple[int, int, int]
) -> SelfDistillingTransUNet:
    """One of ``PEERS`` in the shell that MISSU is trained in, without a teacher.

    Args:
        name: of the network.
        config: a MISSU network without fusion; the peer has its outputs.
        size: as :func:`peer` takes it.
    """
    model = SelfDistillingTransUNet(config)
    model.network = peer(name, config.outputs, size)  # type: ignore[assignment]
    return model
