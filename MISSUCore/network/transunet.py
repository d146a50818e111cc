"""The complete MISSU network: encoder, Transformer, decoder and the training-time teacher.

References:
    Wang et al., MISSU: 3D Medical Image Segmentation via Self-distilling TransUNet, IEEE TMI
    2023 (arXiv:2206.00902). Equation numbers refer to this paper.

Two networks share their weights:

- :class:`TransUNet` segments: encoder, Transformer, decoder.
- :class:`SelfDistillingTransUNet` is used for training: a TransUNet and the multi-scale fusion
  that teaches its encoder. A shipped model contains no part of the teacher.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from ..contract.network_config import NetworkConfig
from .blocks import DecoderStep, EncoderStage, GlobalContext
from .multiscale_fusion import FusionPyramid


class TransUNet(nn.Module):
    """Segmentation network: CNN encoder, Transformer bottleneck, decoder with skip connections.

    Args:
        config: size and variant of the network.

    Examples:
        >>> import torch
        >>> from MISSUCore import NetworkConfig, TransUNet
        >>> network = TransUNet(NetworkConfig(modalities=4, outputs=3))
        >>> network(torch.zeros(1, 4, 20, 24, 18)).shape
        torch.Size([1, 3, 20, 24, 18])
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        widths, kind = config.channels, config.normalization
        self.encoder = nn.ModuleList(
            EncoderStage(inputs, outputs, convolutions, 1 if stage == 0 else 2, kind)
            for stage, (inputs, outputs, convolutions) in enumerate(
                zip((config.modalities, *widths), widths, config.convolutions)
            )
        )
        self.context = (
            GlobalContext(
                widths[-1],
                config.embedding,
                config.layers,
                config.heads,
                config.feed_forward,
                config.position_grid,
            )
            if config.transformer
            else nn.Identity()
        )
        self.fusion = FusionPyramid(widths[:-1]) if config.fusion == "output" else None
        # Decoder steps run from deep to shallow; the first `skips` of them have a skip.
        self.decoder = nn.ModuleList(
            DecoderStep(deep, shallow if step < config.skips else 0, shallow, kind)
            for step, (deep, shallow) in enumerate(zip(widths[:0:-1], widths[-2::-1]))
        )
        self.head = nn.Conv3d(widths[0], config.outputs, kernel_size=1)

    def encode(self, x: Tensor) -> list[Tensor]:
        """Local features F_1 (full size) to F_4 (an eighth) of padded scans."""
        features = []
        for stage in self.encoder:
            x = stage(x)
            features.append(x)
        return features

    def decode(self, context: Tensor, skips: Sequence[Tensor]) -> Tensor:
        """Logits from the global features and the skip connections, given shallow to deep."""
        x = context
        for step, block in enumerate(self.decoder):
            x = block(x, skips[-1 - step] if step < self.config.skips else None)
        return self.head(x)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, outputs, D, H, W) of scans (B, modalities, D, H, W) of any size."""
        size = x.shape[2:]
        *local, deepest = self.encode(self.pad(x))
        skips = local if self.fusion is None else self.fusion(local)
        return crop(self.decode(self.context(deepest), skips), size)

    def pad(self, x: Tensor) -> Tensor:
        """Scans zero-padded at the end of each axis (as background), so every stage halves evenly.

        The deepest stage keeps at least two voxels along each axis, since a single one cannot be
        normalized.
        """
        if x.shape[1] != self.config.modalities:
            raise ValueError(
                f"the network takes {self.config.modalities} modalities, not {x.shape[1]}"
            )
        stride = self.config.stride
        padding = [max(-length % stride, 2 * stride - length) for length in x.shape[2:]]
        return F.pad(x, [end for length in reversed(padding) for end in (0, length)])


class TrainingOutput(NamedTuple):
    """Output of the training network.

    Attributes:
        logits: (B, outputs, D, H, W).
        local: local features F_i, shallow to deep; empty without a teacher.
        fused: fused features M_i, of the same shapes; empty without a teacher.
        fused_logits: logits read from each M_i, at the size of its stage; empty without a teacher.
    """

    logits: Tensor
    local: list[Tensor]
    fused: list[Tensor]
    fused_logits: list[Tensor]


class SelfDistillingTransUNet(nn.Module):
    """Training network: a :class:`TransUNet` and, for 'MSF (local)', its teacher.

    The teacher is the fusion pyramid over the local features. With 'MSF (local)' its features do
    not enter the decoder, yet the paper's segmentation loss depends on its parameters: a 1x1x1
    head predicts a segmentation from every M_i, which makes the teacher worth imitating and adds
    deep supervision of the encoder.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.network = TransUNet(config)
        self.teacher = self.teacher_heads = None
        if config.fusion == "local":
            shallow = config.channels[:-1]
            self.teacher = FusionPyramid(shallow)
            self.teacher_heads = nn.ModuleList(
                nn.Conv3d(width, config.outputs, kernel_size=1) for width in shallow
            )

    def forward(self, x: Tensor) -> TrainingOutput:
        """Logits and, with a teacher, the features and logits for eq. 5 and its supervision."""
        if self.teacher is None or self.teacher_heads is None:
            return TrainingOutput(self.network(x), [], [], [])
        size = x.shape[2:]
        *local, deepest = self.network.encode(self.network.pad(x))
        logits = crop(self.network.decode(self.network.context(deepest), local), size)
        fused = self.teacher(local)
        fused_logits = [head(features) for head, features in zip(self.teacher_heads, fused)]
        return TrainingOutput(logits, local, fused, fused_logits)


def crop(x: Tensor, size: Sequence[int]) -> Tensor:
    """The first ``size`` voxels along each axis, which removes the padding."""
    depth, height, width = size
    return x[..., :depth, :height, :width]
