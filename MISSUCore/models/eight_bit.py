"""Weights as 8-bit integers with a scale per output channel: half the size of half precision.

In a file, an 8-bit tensor is followed by its scales, under its name plus ``.scale``. Only matrices
and convolutions are stored so, which are nearly all of a network; the rest is in half precision.
"""

from __future__ import annotations

import torch
from torch import Tensor

LARGEST = 127
_SCALE = ".scale"
# Candidate clipping limits as fractions of the largest value; the least squared error wins.
_CUTS = (1.0, 0.95, 0.9, 0.85, 0.8)


def pack(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """State of a network (in half precision or wider) in the form stored in a file."""
    packed = {}
    for name, value in weights.items():
        if value.is_floating_point() and value.dim() >= 2:
            packed[name], packed[name + _SCALE] = _rounded(value.float())
        else:
            packed[name] = value.half() if value.is_floating_point() else value
    return packed


def unpack(stored: dict[str, Tensor]) -> dict[str, Tensor]:
    """State of a network from its stored form, in single precision; integers stay integers.

    Raises:
        KeyError: if scales are missing.
    """
    weights = {}
    for name, value in stored.items():
        if value.dtype == torch.int8:
            weights[name] = value.float() * stored[name + _SCALE].float()
        elif name.removesuffix(_SCALE) == name:
            kind = torch.float32 if value.is_floating_point() else value.dtype
            weights[name] = value.to(kind, copy=True)
    return weights


def _rounded(value: Tensor) -> tuple[Tensor, Tensor]:
    """Integers and scales of a tensor; the channel is the first axis longer than one."""
    channel = next((axis for axis, length in enumerate(value.shape) if length > 1), 0)
    others = [axis for axis in range(value.dim()) if axis != channel]
    largest = value.abs().amax(others, keepdim=True).clamp(min=torch.finfo(torch.float16).tiny)
    best = torch.zeros_like(value)
    best_scale, least = largest / LARGEST, torch.full_like(largest, torch.inf)
    for cut in _CUTS:
        scale = cut * largest / LARGEST
        whole = (value / scale).round().clamp(-LARGEST, LARGEST)
        error = (whole * scale - value).square().sum(others, keepdim=True)
        better = error < least
        best = torch.where(better, whole, best)
        best_scale, least = torch.where(better, scale, best_scale), torch.minimum(error, least)
    return best.to(torch.int8), best_scale
