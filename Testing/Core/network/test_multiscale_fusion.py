"""Multi-scale fusion: what each branch sees, and equation 3 from its parts."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from MISSUCore.network.multiscale_fusion import FusionPyramid, MultiScaleFusion

SIDE = 23
CENTER = SIDE // 2


def field(seen: Tensor, source: Tensor) -> list[int]:
    """Extent along each axis of what the central voxel of ``seen`` depends on."""
    (gradient,) = torch.autograd.grad(
        seen[0, :, CENTER, CENTER, CENTER].sum(), source, retain_graph=True
    )
    where = gradient[0, 0].nonzero()
    return (where.max(0).values - where.min(0).values + 1).tolist()


def test_branches_see_3_7_9_and_19_voxels() -> None:
    fusion = MultiScaleFusion(channels=1)
    for parameter in fusion.parameters():
        nn.init.uniform_(parameter, 0.1, 1)
    ends = []
    # A branch ends in the activation, and no weight is negative: nothing can cancel.
    fusion.activation.register_forward_hook(lambda module, inputs, output: ends.append(output))
    features = torch.rand(1, 1, SIDE, SIDE, SIDE, requires_grad=True)
    fused = fusion(features)
    assert [field(end, features) for end in ends] == [[3] * 3, [7] * 3, [9] * 3, [19] * 3]
    assert field(fused, features) == [19] * 3


def test_fused_features_are_the_input_plus_four_branches() -> None:
    fusion = MultiScaleFusion(channels=2).double()
    x = torch.randn(1, 2, 12, 10, 11, dtype=torch.float64)

    def atrous(x: Tensor, convolution: nn.Conv3d, rate: int) -> Tensor:
        return F.conv3d(x, convolution.weight, convolution.bias, padding=rate, dilation=rate)

    def mixed(x: Tensor) -> Tensor:
        matrix = fusion.mix.weight[:, :, 0, 0, 0]
        return torch.einsum("oc,bcdhw->bodhw", matrix, x) + fusion.mix.bias.view(1, 2, 1, 1, 1)

    one = atrous(x, fusion.rate1, 1)
    two = mixed(atrous(x, fusion.rate3, 3))
    three = mixed(atrous(one, fusion.rate3, 3))
    four = mixed(atrous(atrous(one, fusion.rate3, 3), fusion.rate5, 5))
    expected = x + sum(branch.clamp(min=0) for branch in (one, two, three, four))
    torch.testing.assert_close(fusion(x), expected)


def test_pyramid_is_equation_3() -> None:
    channels = (2, 3, 4)
    pyramid = FusionPyramid(channels).double()
    local = [
        torch.randn(1, width, *(side // 2**stage for side in (8, 12, 16)), dtype=torch.float64)
        for stage, width in enumerate(channels)
    ]

    def lateral(stage: int) -> Tensor:
        convolution = pyramid.laterals[stage]
        matrix = convolution.weight.flatten(1)
        mixed = torch.einsum("oc,bcdhw->bodhw", matrix, pyramid.fusions[stage](local[stage]))
        return mixed + convolution.bias.view(1, -1, 1, 1, 1)

    def halved(stage: int, x: Tensor) -> Tensor:
        convolution = pyramid.downsamplings[stage]
        everywhere = F.conv3d(x, convolution.weight, convolution.bias, padding=1)
        return everywhere[:, :, ::2, ::2, ::2]

    m1 = lateral(0)
    m2 = lateral(1) + halved(0, m1)
    m3 = lateral(2) + halved(1, m2)
    for output, expected, features in zip(pyramid(local), (m1, m2, m3), local):
        assert output.shape == features.shape
        torch.testing.assert_close(output, expected)


def test_pyramid_runs_from_shallow_to_deep() -> None:
    pyramid = FusionPyramid((2, 2, 2))
    local = [torch.randn(1, 2, side, side, side, requires_grad=True) for side in (8, 4, 2)]
    for stage, output in enumerate(pyramid(local)):
        gradients = torch.autograd.grad(output.sum(), local, retain_graph=True, allow_unused=True)
        reached = [gradient is not None for gradient in gradients]
        assert reached == [source <= stage for source in range(3)]
