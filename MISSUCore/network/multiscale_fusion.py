"""Multi-scale fusion (MSF): the teacher of the encoder, dropped at inference.

Section III-C of the paper. Used in training; only the ablation 'MSF (MS-output)' keeps it at
inference.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn


def atrous(channels: int, rate: int) -> nn.Conv3d:
    """3x3x3 convolution with dilation ``rate`` that keeps the size."""
    return nn.Conv3d(channels, channels, kernel_size=3, padding=rate, dilation=rate)


class MultiScaleFusion(nn.Module):
    """Four atrous branches with receptive fields of 3, 7, 9 and 19 voxels, plus the input.

    The fields are those of CE-Net's dense atrous block (Gu et al. 2019), whose branches share
    their convolutions. The paper does not say whether MSF shares them too; here it does, since
    this comes closer to the paper's multiply-adds (see docs/method.md).

    The paper names no activation inside the branches, and without one they would fold into a
    single linear map; as in CE-Net each branch ends in a ReLU.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.rate1 = atrous(channels, 1)
        self.rate3 = atrous(channels, 3)
        self.rate5 = atrous(channels, 5)
        self.mix = nn.Conv3d(channels, channels, kernel_size=1)
        self.activation = nn.ReLU()

    def forward(self, features: Tensor) -> Tensor:
        """Input plus all branches, of the input's shape (B, channels, D, H, W)."""
        field3 = self.rate1(features)
        field7 = self.rate3(features)
        field9 = self.rate3(field3)
        field19 = self.rate5(field9)
        fused = features + self.activation(field3)
        for branch in (field7, field9, field19):
            fused = fused + self.activation(self.mix(branch))
        return fused


class FusionPyramid(nn.Module):
    """MSF on the shallow stages, combined from shallow to deep (paper eq. 3).

    M_1 = conv1(A_1); M_i = conv1(A_i) + conv3_stride2(M_{i-1}), with A_i the fused features of
    stage i. Each M_i has the channels and size of its stage.

    Args:
        channels: channels of the stages, shallow to deep.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.fusions = nn.ModuleList(MultiScaleFusion(width) for width in channels)
        self.laterals = nn.ModuleList(nn.Conv3d(width, width, kernel_size=1) for width in channels)
        self.downsamplings = nn.ModuleList(
            nn.Conv3d(shallow, deep, kernel_size=3, stride=2, padding=1)
            for shallow, deep in pairwise(channels)
        )

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Fused features M_i of the local features F_i, shallow to deep."""
        outputs: list[Tensor] = []
        for stage, local in enumerate(features):
            fused = self.laterals[stage](self.fusions[stage](local))
            if outputs:
                fused = fused + self.downsamplings[stage - 1](outputs[-1])
            outputs.append(fused)
        return outputs
