"""The whole MISSU network, read from top to bottom.

References:
    Wang et al., MISSU: 3D Medical Image Segmentation via Self-distilling TransUNet, IEEE TMI
    2023 (arXiv:2206.00902). Numbers of equations are those of the paper.

Two networks share their weights:

- :class:`TransUNet` is what segments: encoder, Transformer, decoder.
- :class:`SelfDistillingTransUNet` is what trains: a TransUNet, and around it the multi-scale
  fusion that teaches its encoder. Nothing of the teacher remains in a shipped model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from .blocks import DecoderStep, EncoderStage, GlobalContext, normalization
from .multiscale_fusion import FusionPyramid


@dataclass(frozen=True)
class NetworkConfig:
    """What a MISSU network looks like. The defaults are the paper's, as far as it is known.

    The paper leaves the convolutions per stage and the feed-forward width open; these meet its
    10.50 M parameters and 132.11 G multiply-adds within 1 %.

    Args:
        modalities: input channels (BraTS: 4, CHAOS: 2).
        outputs: output channels.
        channels: encoder channels, shallow to deep; every stage after the first halves the size.
        convolutions: 3x3x3 convolutions of each stage, the one into the stage included.
        transformer: whether the Transformer stands between encoder and decoder.
        layers: Transformer layers L.
        embedding: token width d.
        heads: attention heads.
        feed_forward: hidden width of the feed-forward network.
        position_grid: side of the stored position embedding.
        skips: number of skip connections, 0 to 3; the deepest are dropped last.
        fusion: multi-scale fusion: ``"none"``; ``"local"``, which teaches the encoder and is
            absent at inference; or ``"output"``, whose outputs are the skip connections, in
            training and at inference.
        normalization: ``"batch"`` or ``"instance"``.

    Raises:
        ValueError: if the values contradict each other.
    """

    modalities: int = 4
    outputs: int = 4
    channels: tuple[int, ...] = (16, 32, 64, 128)
    convolutions: tuple[int, ...] = (1, 2, 3, 3)
    transformer: bool = True
    layers: int = 4
    embedding: int = 512
    heads: int = 8
    feed_forward: int = 512
    position_grid: int = 16
    skips: int = 3
    fusion: str = "local"
    normalization: str = "batch"

    def __post_init__(self) -> None:
        if self.modalities < 1 or self.outputs < 1:
            raise ValueError("a network needs at least one modality and one output")
        if len(self.channels) < 2 or len(self.channels) != len(self.convolutions):
            raise ValueError("channels and convolutions must name the same two or more stages")
        if min(self.channels) < 1 or min(self.convolutions) < 1:
            raise ValueError("every stage needs at least one channel and one convolution")
        sizes = (self.layers, self.embedding, self.heads, self.feed_forward, self.position_grid)
        if self.transformer and min(sizes) < 1:
            raise ValueError("every size of the Transformer must be at least 1")
        if self.transformer and self.embedding % self.heads:
            raise ValueError(f"{self.heads} heads do not divide an embedding of {self.embedding}")
        if not 0 <= self.skips < len(self.channels):
            raise ValueError(f"skips must be 0 to {len(self.channels) - 1}, not {self.skips}")
        if self.fusion not in ("none", "local", "output"):
            raise ValueError(f"fusion must be 'none', 'local' or 'output', not {self.fusion!r}")
        if self.fusion == "output" and self.skips == 0:
            raise ValueError("fusion 'output' stands in the skip connections, and there are none")
        normalization(self.normalization, 1)

    @property
    def stride(self) -> int:
        """Voxels of the input that one token stands for, along each axis."""
        return 2 ** (len(self.channels) - 1)


class TransUNet(nn.Module):
    """The network that segments: CNN encoder, Transformer bottleneck, decoder with skips.

    Args:
        config: its size and variant.

    Example::

        network = TransUNet(NetworkConfig(modalities=4, outputs=3))
        logits = network(torch.zeros(1, 4, 100, 120, 90))  # (1, 3, 100, 120, 90)
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
        """Local features F_1 (full size) to F_4 (an eighth), of a padded scan."""
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
        """The scan with zeros (background) after its ends, so that every stage halves evenly.

        At least two voxels along each axis are left in the deepest stage: a single one cannot be
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
    """What the training network computes.

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
    """The network that trains: a :class:`TransUNet` and, for 'MSF (local)', its teacher.

    The teacher is the fusion pyramid over the local features. With 'MSF (local)' the decoder
    never sees it, yet the paper's segmentation loss depends on its parameters: a light 1x1x1
    head reads a segmentation from every M_i, which makes the teacher worth imitating, and
    supervises the encoder deeply on the way.
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
        """Logits and, where there is a teacher, what eq. 5 and its supervision need."""
        if self.teacher is None or self.teacher_heads is None:
            return TrainingOutput(self.network(x), [], [], [])
        size = x.shape[2:]
        *local, deepest = self.network.encode(self.network.pad(x))
        logits = crop(self.network.decode(self.network.context(deepest), local), size)
        fused = self.teacher(local)
        fused_logits = [head(features) for head, features in zip(self.teacher_heads, fused)]
        return TrainingOutput(logits, local, fused, fused_logits)


def crop(x: Tensor, size: Sequence[int]) -> Tensor:
    """The first ``size`` voxels along each axis: what padding added is cut off."""
    depth, height, width = size
    return x[..., :depth, :height, :width]
