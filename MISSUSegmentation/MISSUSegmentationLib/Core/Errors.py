"""Errors in the exchange between the scene and MISSUCore."""

from __future__ import annotations


class ExchangeError(ValueError):
    """A node cannot be used. The message says in one sentence which, why, and what to do."""
