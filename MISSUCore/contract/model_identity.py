"""Which model it was, in reports, records and verdicts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelIdentity:
    """A model by its name and the checksum of its weights; both are empty if it is unknown."""

    name: str = ""
    sha256: str = ""
