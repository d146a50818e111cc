"""What can go wrong between the scene and MISSUCore."""

from __future__ import annotations


class ExchangeError(ValueError):
    """A node cannot be used. The message is one sentence: which, why, and what to do."""
