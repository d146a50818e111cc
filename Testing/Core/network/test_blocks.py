"""Building blocks against formulas written out by hand and torch's own reference modules."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from MISSUCore.network.blocks import (
    Convolution,
    DecoderStep,
    EncoderStage,
    GlobalContext,
    SelfAttention,
    TransformerLayer,
    normalization,
)

# A fresh batch normalization, in evaluation mode, only divides by this.
FRESH_NORM = math.sqrt(1 + 1e-5)


def convolved(x: Tensor, block: Convolution, stride: int = 1) -> Tensor:
    """What a fresh block in evaluation mode must compute."""
    weight = next(block.parameters())
    return F.conv3d(x, weight, stride=stride, padding=1).clamp(min=0) / FRESH_NORM


def layer_norm(x: Tensor) -> Tensor:
    """Layer normalization with fresh weights."""
    deviation = x - x.mean(-1, keepdim=True)
    return deviation / (deviation.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt()


def test_normalization_kinds() -> None:
    x = 5 + 3 * torch.randn(4, 2, 6, 6, 6)
    of_batch = normalization("batch", 2)(x)
    of_instance = normalization("instance", 2)(x)
    torch.testing.assert_close(of_batch.mean((0, 2, 3, 4)), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(of_instance.mean((2, 3, 4)), torch.zeros(4, 2), atol=1e-5, rtol=0)
    assert of_batch.mean((2, 3, 4)).abs().max() > 1e-3
    # Both learn a scale and a shift for every channel.
    for kind in ("batch", "instance"):
        assert sum(p.numel() for p in normalization(kind, 2).parameters()) == 4
    with pytest.raises(ValueError, match="'group'"):
        normalization("group", 2)


@pytest.mark.parametrize("stride", [1, 2])
def test_encoder_stage_adds_its_residual_block(stride: int) -> None:
    stage = EncoderStage(3, 4, convolutions=3, stride=stride, normalized_by="batch").eval()
    x = torch.randn(2, 3, 8, 6, 4)
    first, second, third = (m for m in stage.modules() if isinstance(m, Convolution))
    entered = convolved(x, first, stride)
    expected = entered + convolved(convolved(entered, second), third)
    assert expected.shape == (2, 4, 8 // stride, 6 // stride, 4 // stride)
    torch.testing.assert_close(stage(x), expected)


def test_encoder_stage_of_one_convolution_has_no_residual() -> None:
    stage = EncoderStage(3, 4, convolutions=1, stride=1, normalized_by="batch").eval()
    (only,) = (m for m in stage.modules() if isinstance(m, Convolution))
    x = torch.randn(1, 3, 4, 4, 4)
    torch.testing.assert_close(stage(x), convolved(x, only))


def test_self_attention_is_that_of_torch() -> None:
    attention = SelfAttention(embedding=12, heads=3)
    reference = nn.MultiheadAttention(12, 3, batch_first=True)
    with torch.no_grad():
        reference.in_proj_weight.copy_(attention.query_key_value.weight)
        reference.in_proj_bias.copy_(attention.query_key_value.bias)
        reference.out_proj.weight.copy_(attention.output.weight)
        reference.out_proj.bias.copy_(attention.output.bias)
    tokens = torch.randn(2, 7, 12)
    expected, _ = reference(tokens, tokens, tokens)
    torch.testing.assert_close(attention(tokens), expected)


def test_transformer_layer_is_equation_2() -> None:
    layer = TransformerLayer(embedding=6, heads=2, feed_forward=10).double()
    z = torch.randn(1, 5, 6, dtype=torch.float64)
    attention = layer.attention
    projected = layer_norm(z[0]) @ attention.query_key_value.weight.T
    query, key, value = (projected + attention.query_key_value.bias).split(6, dim=1)
    mixed = []
    for head in (slice(0, 3), slice(3, 6)):
        scores = torch.exp(query[:, head] @ key[:, head].T / math.sqrt(3))
        mixed.append(scores / scores.sum(1, keepdim=True) @ value[:, head])
    z1 = torch.cat(mixed, 1) @ attention.output.weight.T + attention.output.bias + z[0]
    wide, _, narrow = layer.feed_forward
    hidden = layer_norm(z1) @ wide.weight.T + wide.bias
    hidden = hidden * (1 + torch.erf(hidden / math.sqrt(2))) / 2
    z2 = hidden @ narrow.weight.T + narrow.bias + z1
    torch.testing.assert_close(layer(z)[0], z2)


def context_without_layers(grid: int, position: Tensor | None = None) -> GlobalContext:
    """Embedding, position and mapping only, so that equation 1 shows in the output."""
    context = GlobalContext(3, embedding=8, layers=0, heads=2, feed_forward=8, grid=grid)
    if position is not None:
        context.position.data = position
    return context


def mapped(context: GlobalContext, features: Tensor, position: Tensor) -> Tensor:
    """Equation 1 and the feature mapping, one voxel after the other."""
    result = torch.empty_like(features)
    for z, y, x in torch.cartesian_prod(*(torch.arange(n) for n in features.shape[2:])).tolist():
        token = context.embed.weight @ features[0, :, z, y, x] + context.embed.bias
        token = layer_norm(token + position[0, :, z, y, x])
        result[0, :, z, y, x] = context.project.weight @ token + context.project.bias
    return result


def test_equation_1_takes_the_stored_positions_on_their_own_grid() -> None:
    context = context_without_layers(grid=2)
    features = torch.randn(1, 3, 2, 2, 2)
    expected = mapped(context, features, context.position)
    torch.testing.assert_close(context(features), expected)


@pytest.mark.parametrize("axis", [2, 3, 4])
def test_positions_are_resampled_linearly_along_their_axis(axis: int) -> None:
    start, step = torch.randn(1, 8, 1, 1, 1), torch.randn(1, 8, 1, 1, 1)
    shape = [1] * 5
    shape[axis] = -1
    stored = start + step * torch.tensor([0.0, 1.0]).view(shape)
    context = context_without_layers(2, stored.expand(1, 8, 2, 2, 2).clone())
    # Voxel centers of a grid of 4 lie at -1/4, 1/4, 3/4, 5/4 of one of 2, and the ends repeat.
    resampled = start + step * torch.tensor([0.0, 0.25, 0.75, 1.0]).view(shape)
    size = [3, 3, 3]
    size[axis - 2] = 4
    features = torch.randn(1, 3, *size)
    expected = mapped(context, features, resampled.expand(1, 8, *size))
    torch.testing.assert_close(context(features), expected)


def test_only_the_position_tells_tokens_apart() -> None:
    context = GlobalContext(3, embedding=8, layers=2, heads=2, feed_forward=8, grid=2)
    features = torch.randn(1, 3, 2, 2, 2)
    flipped_before, flipped_after = context(features.flip(2)), context(features).flip(2)
    assert not torch.allclose(flipped_before, flipped_after, atol=1e-4)
    nn.init.zeros_(context.position)
    torch.testing.assert_close(context(features.flip(2)), context(features).flip(2))


def test_every_voxel_sees_every_other() -> None:
    context = GlobalContext(3, embedding=8, layers=1, heads=2, feed_forward=8, grid=2)
    features = torch.randn(1, 3, 3, 2, 4, requires_grad=True)
    context(features)[0, :, 0, 0, 0].sum().backward()
    assert features.grad is not None
    assert (features.grad.abs().sum(1) > 0).all()


def test_decoder_step_upsamples_and_then_appends_the_skip() -> None:
    step = DecoderStep(inputs=1, skip=1, outputs=2, normalized_by="batch").eval()
    weight = step.convolution[0].weight
    nn.init.zeros_(weight)
    # Output 0 copies the first channel that comes in, output 1 the second.
    weight.data[0, 0, 1, 1, 1] = weight.data[1, 1, 1, 1, 1] = 1
    x = torch.tensor([0.0, 1.0]).view(1, 1, 1, 1, 2)
    skip = torch.rand(1, 1, 2, 2, 4)
    upsampled, copied = (step(x, skip) * FRESH_NORM).unbind(1)
    expected = torch.tensor([0.0, 0.25, 0.75, 1.0]).expand(1, 2, 2, 4)
    torch.testing.assert_close(upsampled, expected)
    torch.testing.assert_close(copied, skip[:, 0])


def test_decoder_step_without_a_skip() -> None:
    step = DecoderStep(inputs=3, skip=0, outputs=2, normalized_by="batch")
    assert step(torch.randn(2, 3, 2, 3, 4), None).shape == (2, 2, 4, 6, 8)
