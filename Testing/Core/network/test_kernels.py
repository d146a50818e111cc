"""The faster kernels against PyTorch's own: the same values, the same gradients."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from MISSUCore.contract.network_config import NetworkConfig
from MISSUCore.network import blocks, kernels
from MISSUCore.network.kernels import (
    InstanceNorm,
    attention,
    is_channels_last,
    plain_attention,
    upsample2,
)
from MISSUCore.network.transunet import TransUNet

CHANNELS_LAST = torch.channels_last_3d
SIZES = [(1, 3, 4, 5, 6), (2, 3, 1, 2, 7), (1, 5, 2, 1, 1), (3, 2, 3, 3, 3)]


def volume(size: tuple[int, ...], dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(len(size) + size[-1])
    return torch.randn(size, generator=generator, dtype=dtype).contiguous(
        memory_format=CHANNELS_LAST
    )


def value_and_gradient(function: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """What a function gives, and the gradient of a random weighting of it."""
    x = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    y = function(x)
    weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(7), dtype=y.dtype)
    return y.detach(), torch.autograd.grad((y * weights).sum(), x)[0]


def trilinear(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="trilinear", align_corners=False)


@pytest.mark.parametrize("size", SIZES)
def test_upsampling_is_trilinear(size: tuple[int, ...]) -> None:
    x = volume(size)
    for found, expected in zip(value_and_gradient(upsample2, x), value_and_gradient(trilinear, x)):
        torch.testing.assert_close(found, expected, atol=1e-14, rtol=1e-14)


def test_upsampling_by_hand() -> None:
    """Along one axis: the ends repeat, and each new voxel takes 3/4 of the nearest."""
    x = torch.zeros(1, 2, 2, 2, 2).contiguous(memory_format=CHANNELS_LAST)
    x[..., 1] = 8.0
    assert upsample2(x)[0, 1, 3, 0].tolist() == [0.0, 2.0, 6.0, 8.0]


def test_the_gradient_of_upsampling_is_that_of_small_differences() -> None:
    x = volume((1, 2, 2, 3, 2)).requires_grad_()
    assert torch.autograd.gradcheck(kernels._Upsample2.apply, x)


@pytest.mark.parametrize("size", [size for size in SIZES if size[2] * size[3] * size[4] > 4])
def test_normalization_is_that_of_each_sample(size: tuple[int, ...]) -> None:
    torch.manual_seed(3)
    fast = InstanceNorm(size[1], affine=True).double()
    nn.init.normal_(fast.weight)
    nn.init.normal_(fast.bias)
    plain = nn.InstanceNorm3d(size[1], affine=True).double()
    plain.load_state_dict(fast.state_dict())
    x = 5 + 3 * volume(size)
    found, expected = value_and_gradient(fast, x), value_and_gradient(plain, x)
    for one, other in zip(found, expected):
        torch.testing.assert_close(one, other, atol=1e-12, rtol=1e-12)
    assert is_channels_last(fast(x))
    for one, other in zip(fast.parameters(), plain.parameters()):
        gradients = [
            torch.autograd.grad(layer(x).square().sum(), weight)[0]
            for layer, weight in ((fast, one), (plain, other))
        ]
        torch.testing.assert_close(*gradients, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("tokens", [1, 6, 50])
def test_plain_attention_is_scaled_dot_product_attention(tokens: int) -> None:
    parts = [volume((2, 3, tokens, 4, 1))[..., 0] for _ in range(3)]
    parts = [part + index * part.flip(2) for index, part in enumerate(parts)]
    for index in range(3):

        def run(function: Callable[..., Tensor], x: Tensor, index: int = index) -> Tensor:
            return function(*parts[:index], x, *parts[index + 1 :])

        pairs = zip(
            value_and_gradient(lambda x: run(plain_attention, x), parts[index]),
            value_and_gradient(lambda x: run(F.scaled_dot_product_attention, x), parts[index]),
        )
        for found, expected in pairs:
            torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-12)


def test_attention_is_fused_where_that_is_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "MOST_TOKENS", 10)
    fused: list[tuple[int, torch.dtype]] = []

    def note(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        fused.append((query.shape[-2], query.dtype))
        return value

    monkeypatch.setattr(kernels.F, "scaled_dot_product_attention", note)
    for dtype in (torch.float32, torch.bfloat16):
        for tokens in (10, 11):
            part = torch.randn(1, 2, tokens, 4, dtype=dtype)
            attention(part, part, part)
    assert fused == [(10, torch.float32), (11, torch.float32), (11, torch.bfloat16)]


@pytest.mark.parametrize("samples", [1, 2])
def test_the_whole_network_answers_and_learns_as_with_plain_kernels(
    monkeypatch: pytest.MonkeyPatch, samples: int
) -> None:
    monkeypatch.setattr(blocks, "attention", plain_attention)
    torch.manual_seed(5)
    config = NetworkConfig(
        modalities=2, outputs=3, channels=(4, 8, 8), convolutions=(1, 2, 2), layers=2,
        embedding=16, heads=4, feed_forward=16, position_grid=4, skips=2, fusion="none",
        normalization="instance",
    )  # fmt: skip
    fast = TransUNet(config).double().to(memory_format=CHANNELS_LAST)
    plain = copy.deepcopy(fast)
    x = volume((samples, 2, 9, 12, 10))
    logits = fast(x)
    logits.square().mean().backward()
    monkeypatch.setattr(blocks, "upsample2", trilinear)
    monkeypatch.setattr(blocks, "attention", F.scaled_dot_product_attention)
    monkeypatch.setattr(InstanceNorm, "forward", nn.InstanceNorm3d.forward)
    expected = plain(x)
    expected.square().mean().backward()
    torch.testing.assert_close(logits, expected, atol=1e-10, rtol=1e-10)
    for one, other in zip(fast.parameters(), plain.parameters()):
        torch.testing.assert_close(one.grad, other.grad, atol=1e-10, rtol=1e-8)
