"""Python numbers drawn from a torch generator, which can be seeded."""

from __future__ import annotations

import torch
from torch import Generator


def uniform(generator: Generator, low: float = 0.0, high: float = 1.0) -> float:
    """A uniform random number in [low, high)."""
    draw = torch.rand((), generator=generator, device=generator.device).item()
    return low + (high - low) * draw
