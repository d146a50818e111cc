"""Faster CPU kernels for the slow operations of the network, with the same results.

PyTorch's own kernels copy every feature map, or are slow in channels last and in bfloat16. Each
function here has the values and gradients of the PyTorch layer that it replaces, and calls PyTorch
where that is faster. Figures: ``Testing/Benchmarks/kernels.py``.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

# Above this, the tokens x tokens matrix (74 MiB for 8 heads) makes plain products slower.
MOST_TOKENS = 2200


class InstanceNorm(nn.InstanceNorm3d):
    """Instance normalization that keeps channels last on a CPU.

    PyTorch's layer makes its input contiguous: two copies of every feature map, each way. Batch
    normalization of a single sample gives the same result and keeps the layout.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Features of the same shape, each channel of each sample normalized."""
        if x.device.type != "cpu" or not is_channels_last(x):
            return super().forward(x)
        samples = [
            F.batch_norm(sample, None, None, self.weight, self.bias, True, 0.0, self.eps)
            for sample in x.split(1)
        ]
        return samples[0] if len(samples) == 1 else torch.cat(samples)


def is_channels_last(x: Tensor) -> bool:
    """Whether a volume is stored in channels last, and is not contiguous as well."""
    return x.is_contiguous(memory_format=torch.channels_last_3d) and not x.is_contiguous()


def upsample2(x: Tensor) -> Tensor:
    """Twice the size along each axis, trilinear: (B, C, D, H, W) to (B, C, 2 D, 2 H, 2 W)."""
    if x.device.type != "cpu" or not is_channels_last(x):
        return F.interpolate(x, scale_factor=2, mode="trilinear", align_corners=False)
    doubled: Tensor = _Upsample2.apply(x)
    return doubled


def attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Scaled dot-product attention of query, key and value; all (B, heads, tokens, d).

    PyTorch's fused kernel never holds the tokens x tokens matrix in memory, and is faster in
    float32. In bfloat16 on a CPU plain matrix products are faster, as long as the matrix is small.
    """
    few = query.shape[-2] <= MOST_TOKENS and query.dtype == torch.bfloat16
    if few and query.device.type == "cpu":
        return plain_attention(query, key, value)
    return F.scaled_dot_product_attention(query, key, value)


def plain_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Scaled dot-product attention by two matrix products."""
    weights = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
    return weights.softmax(-1) @ value


class _Upsample2(torch.autograd.Function):
    """Linear interpolation along one axis after another, over even and odd voxels."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        for axis in (2, 3, 4):
            x = _double(x, axis)
        return x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        gradient = gradient.contiguous(memory_format=torch.channels_last_3d)
        for axis in (4, 3, 2):
            gradient = _double_adjoint(gradient, axis)
        return gradient


def _double(x: Tensor, axis: int) -> Tensor:
    """Upsample an axis by 2: 3/4 of the nearest voxel, 1/4 of the next; the ends are repeated."""
    length, shape = x.shape[axis], list(x.shape)
    shape[axis] = 2 * length
    y = torch.empty(shape, dtype=x.dtype, memory_format=torch.channels_last_3d)
    even, odd = y[_along(axis, 0, None, 2)], y[_along(axis, 1, None, 2)]
    before, after = x[_along(axis, 0, -1)], x[_along(axis, 1, None)]
    torch.lerp(after, before, 0.25, out=even[_along(axis, 1, None)])
    torch.lerp(before, after, 0.25, out=odd[_along(axis, 0, -1)])
    even[_along(axis, 0, 1)] = x[_along(axis, 0, 1)]
    odd[_along(axis, -1, None)] = x[_along(axis, -1, None)]
    return y


def _double_adjoint(gradient: Tensor, axis: int) -> Tensor:
    """The transpose of :func:`_double`."""
    even, odd = gradient[_along(axis, 0, None, 2)], gradient[_along(axis, 1, None, 2)]
    x = (even + odd) * 0.75
    x[_along(axis, 0, -1)].add_(even[_along(axis, 1, None)], alpha=0.25)
    x[_along(axis, 1, None)].add_(odd[_along(axis, 0, -1)], alpha=0.25)
    x[_along(axis, 0, 1)].add_(even[_along(axis, 0, 1)], alpha=0.25)
    x[_along(axis, -1, None)].add_(odd[_along(axis, -1, None)], alpha=0.25)
    return x


def _along(axis: int, start: int, stop: int | None, step: int = 1) -> tuple[slice, ...]:
    """A slice along one axis of a volume (B, C, D, H, W)."""
    return tuple(slice(start, stop, step) if a == axis else slice(None) for a in range(5))
