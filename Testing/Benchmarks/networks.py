"""The networks of others that the benchmarks compare with, as MONAI has them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch.nn.functional as F
from monai.networks.nets import (
    UNETR,
    AttentionUnet,
    BasicUNet,
    DynUNet,
    SegResNet,
    SwinUNETR,
    VNet,
)
from torch import Tensor, nn

from MISSUCore.contract.network_config import NetworkConfig
from MISSUCore.network.transunet import SelfDistillingTransUNet, crop

# Those whose speed is compared.
PEERS = ("SegResNet", "UNETR", "DynUNet")

Size = tuple[int, int, int]


class AnySize(nn.Module):
    """Wraps a network that takes only certain sizes; others are padded with background.

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
        # Leave at least two voxels at the lowest level: a single one cannot be normalized.
        least = 2 * self.multiple
        wanted = self.size or [max(least, up(length, self.multiple)) for length in given]
        if any(length > end for length, end in zip(given, wanted)):
            raise ValueError(f"the network takes {tuple(wanted)} voxels, not {tuple(given)}")
        padding = [end - length for end, length in zip(wanted, given)]
        padded = F.pad(x, [end for length in reversed(padding) for end in (0, length)])
        return crop(self.network(padded), given)


def up(length: int, multiple: int) -> int:
    """The length rounded up to a multiple."""
    return -(-length // multiple) * multiple


def seg_res_net(inputs: int, outputs: int, size: Size) -> AnySize:
    """Myronenko 2018, 16 filters."""
    network = SegResNet(
        init_filters=16,
        in_channels=inputs,
        out_channels=outputs,
        blocks_down=(1, 2, 2, 4),
        blocks_up=(1, 1, 1),
        dropout_prob=0.2,
    )
    return AnySize(network, 8, None)


def unetr(inputs: int, outputs: int, size: Size) -> AnySize:
    """Hatamizadeh 2022; the size is fixed."""
    fixed = [up(length, 16) for length in size]
    return AnySize(UNETR(inputs, outputs, img_size=fixed, feature_size=16), 16, fixed)


def swin_unetr(inputs: int, outputs: int, size: Size) -> AnySize:
    """Hatamizadeh 2022, 48 features as for BraTS."""
    return AnySize(SwinUNETR(inputs, outputs, feature_size=48), 32, None)


def dyn_unet(inputs: int, outputs: int, size: Size) -> AnySize:
    """Isensee 2021, as nnU-Net plans it for patches of this size; without deep supervision.

    It halves until a side would be shorter than 4 voxels, at most five times, and has 32 to 320
    filters.
    """
    halvings = min(5, (min(size) // 4).bit_length() - 1)
    network = DynUNet(
        spatial_dims=3,
        in_channels=inputs,
        out_channels=outputs,
        kernel_size=[3] * (halvings + 1),
        strides=[1] + [2] * halvings,
        upsample_kernel_size=[2] * halvings,
        filters=[min(320, 32 * 2**stage) for stage in range(halvings + 1)],
        norm_name="instance",
    )
    return AnySize(network, 2**halvings, None)


def unet3d(inputs: int, outputs: int, size: Size) -> AnySize:
    """Cicek 2016, with instance normalization; 320 filters at the bottom, where it has 512."""
    features = (32, 64, 128, 256, 320, 32)
    return AnySize(BasicUNet(3, inputs, outputs, features=features), 16, None)


def v_net(inputs: int, outputs: int, size: Size) -> AnySize:
    """Milletari 2016."""
    return AnySize(VNet(3, inputs, outputs), 16, None)


def attention_unet(inputs: int, outputs: int, size: Size) -> AnySize:
    """Oktay 2018, Schlemper 2019."""
    return AnySize(AttentionUnet(3, inputs, outputs, (16, 32, 64, 128, 256), (2,) * 4), 16, None)


BUILDERS: dict[str, Callable[[int, int, Size], AnySize]] = {
    "SegResNet": seg_res_net,
    "UNETR": unetr,
    "SwinUNETR": swin_unetr,
    "DynUNet": dyn_unet,
    "3D U-Net": unet3d,
    "V-Net": v_net,
    "attention U-Net": attention_unet,
}


def peer(name: str, outputs: int, size: Size, modalities: int = 4) -> AnySize:
    """One of ``BUILDERS``, in the configuration that its authors use where they use one for BraTS.

    Args:
        name: name of the network.
        outputs: output channels.
        size: (depth, height, width) of the largest volume; UNETR has a fixed size.
        modalities: input channels.
    """
    if name not in BUILDERS:
        raise ValueError(f"no network {name!r}; there are {', '.join(BUILDERS)}")
    return BUILDERS[name](modalities, outputs, size)


def peer_model(name: str, config: NetworkConfig, size: Size) -> SelfDistillingTransUNet:
    """One of ``BUILDERS`` wrapped like MISSU for training, without a teacher.

    Args:
        name: name of the network.
        config: a MISSU network without fusion; the peer has its inputs and outputs.
        size: as :func:`peer` takes it.
    """
    model = SelfDistillingTransUNet(config)
    model.network = peer(name, config.outputs, size, config.modalities)  # type: ignore[assignment]
    return model
