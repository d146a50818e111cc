"""Random numbers of a generator of torch's, which can be seeded, as Python's own."""

from __future__ import annotations

import torch
from torch import Generator


def uniform(generator: Generator, low: float = 0.0, high: float = 1.0) -> float:
    """A number from [low, high)."""
    draw = torch.rand((), generator=generator, device=generator.device).item()
    return low + (high - low) * draw
