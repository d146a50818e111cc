"""The building blocks of MISSU: convolution stages, Transformer layers, decoder steps.

Shapes are (batch, channels, depth, height, width) for volumes and (batch, tokens, embedding)
for token sequences.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .kernels import InstanceNorm, attention, upsample2


def normalization(kind: str, channels: int) -> nn.Module:
    """Normalization layer of a kind, ``"batch"`` or ``"instance"``."""
    if kind == "batch":
        return nn.BatchNorm3d(channels)
    if kind == "instance":
        return InstanceNorm(channels, affine=True)
    raise ValueError(f"normalization must be 'batch' or 'instance', not {kind!r}")


class Convolution(nn.Sequential):
    """3x3x3 convolution, normalization, ReLU."""

    def __init__(self, inputs: int, outputs: int, normalized_by: str, stride: int = 1) -> None:
        super().__init__(
            # No bias, since the normalization has its own.
            nn.Conv3d(inputs, outputs, kernel_size=3, stride=stride, padding=1, bias=False),
            normalization(normalized_by, outputs),
            nn.ReLU(inplace=True),
        )


class EncoderStage(nn.Module):
    """One resolution of the encoder: a convolution into the stage, then a residual block.

    Args:
        inputs: channels of the previous stage (or modalities of the scan).
        outputs: channels of this stage.
        convolutions: total number of 3x3x3 convolutions; all but the first form the residual
            block.
        stride: 2 halves the size, 1 keeps it.
        normalized_by: kind of normalization.
    """

    def __init__(
        self, inputs: int, outputs: int, convolutions: int, stride: int, normalized_by: str
    ) -> None:
        super().__init__()
        self.entry = Convolution(inputs, outputs, normalized_by, stride)
        self.residual = nn.Sequential(
            *(Convolution(outputs, outputs, normalized_by) for _ in range(convolutions - 1))
        )

    def forward(self, x: Tensor) -> Tensor:
        """Features (N, out, D, H, W), each axis halved if the stride is 2."""
        x = self.entry(x)
        return x + self.residual(x) if len(self.residual) else x


class SelfAttention(nn.Module):
    """Multi-head self-attention over a token sequence (MSA of paper eq. 2)."""

    def __init__(self, embedding: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query_key_value = nn.Linear(embedding, 3 * embedding)
        self.output = nn.Linear(embedding, embedding)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (B, N, embedding) after attention over all tokens."""
        query, key, value = (
            part.unflatten(2, (self.heads, -1)).transpose(1, 2)  # (B, heads, N, d / heads)
            for part in self.query_key_value(tokens).chunk(3, dim=2)
        )
        return self.output(attention(query, key, value).transpose(1, 2).flatten(2))


class TransformerLayer(nn.Module):
    """Pre-norm Transformer layer (paper eq. 2): z' = MSA(LN(z)) + z, then FFN(LN(z')) + z'."""

    def __init__(self, embedding: int, heads: int, feed_forward: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(embedding)
        self.attention = SelfAttention(embedding, heads)
        self.feed_forward_norm = nn.LayerNorm(embedding)
        self.feed_forward = nn.Sequential(
            nn.Linear(embedding, feed_forward), nn.GELU(), nn.Linear(feed_forward, embedding)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (B, N, embedding) after attention and feed-forward network."""
        tokens = tokens + self.attention(self.attention_norm(tokens))
        return tokens + self.feed_forward(self.feed_forward_norm(tokens))


class GlobalContext(nn.Module):
    """Transformer over the deepest features (paper eqs. 1-2 and the feature mapping).

    Every voxel of the feature map is a token. The position embedding is stored as a volume and
    resampled to the size of the input, so that one set of weights handles scans of any size.

    Args:
        channels: channels of the feature map, the same for input and output.
        embedding: width d of the tokens.
        layers: number of Transformer layers L.
        heads: attention heads; must divide ``embedding``.
        feed_forward: hidden width of the feed-forward network.
        grid: side of the stored position grid (16 for the paper's 128-voxel patches).
    """

    def __init__(
        self, channels: int, embedding: int, layers: int, heads: int, feed_forward: int, grid: int
    ) -> None:
        super().__init__()
        self.embed = nn.Linear(channels, embedding)
        self.position = nn.Parameter(torch.empty(1, embedding, grid, grid, grid))
        nn.init.trunc_normal_(self.position, std=0.02)
        self.layers = nn.Sequential(
            *(TransformerLayer(embedding, heads, feed_forward) for _ in range(layers))
        )
        self.norm = nn.LayerNorm(embedding)
        self.project = nn.Linear(embedding, channels)

    def forward(self, features: Tensor) -> Tensor:
        """Features (B, channels, D, H, W), the same shape as the input."""
        size = features.shape[2:]
        position: Tensor = self.position
        if position.shape[2:] != size:
            position = F.interpolate(position, size, mode="trilinear", align_corners=False)
        tokens = features.flatten(2).transpose(1, 2)  # (B, N, channels)
        tokens = self.embed(tokens) + position.flatten(2).transpose(1, 2)  # (B, N, d)
        tokens = self.project(self.norm(self.layers(tokens)))  # (B, N, channels)
        return tokens.transpose(1, 2).unflatten(2, size)


class DecoderStep(nn.Module):
    """Upsample by two, concatenate the skip connection if there is one, convolve."""

    def __init__(self, inputs: int, skip: int, outputs: int, normalized_by: str) -> None:
        super().__init__()
        self.convolution = Convolution(inputs + skip, outputs, normalized_by)

    def forward(self, x: Tensor, skip: Tensor | None) -> Tensor:
        """Upsample by 2, merge with the skip connection's features, and convolve."""
        x = upsample2(x)
        return self.convolution(x if skip is None else torch.cat([x, skip], dim=1))
