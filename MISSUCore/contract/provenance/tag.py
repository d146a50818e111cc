"""The record as a tag of the segments in a file of 3D Slicer (``.seg.nrrd``).

Every segment has the whole record, since any of them may be deleted. Base64, for there colons and
bars separate tags.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
from collections.abc import Iterable

from .record import LONGEST_JSON, Provenance

TAG = "MISSU.Provenance"


def to_tag(record: Provenance) -> str:
    """The record as the value of a tag."""
    return base64.urlsafe_b64encode(record.to_json().encode()).decode("ascii")


def from_tag(text: str) -> Provenance:
    """What :func:`to_tag` gave.

    Raises:
        ValueError: if it is something else.
    """
    if len(text) > 2 * LONGEST_JSON:
        raise ValueError("the record is too long")
    try:
        return Provenance.from_json(base64.urlsafe_b64decode(text.encode()).decode())
    except binascii.Error as error:
        raise ValueError(f"not a record: {error}") from error


def newest(tags: Iterable[str]) -> Provenance | None:
    """The record with the latest event in the tags of several segments; None if none is sound.

    They may differ: undo in the Segment Editor brings back the tags of then.
    """
    found = []
    for tag in sorted(set(tags)):
        with contextlib.suppress(ValueError):
            found.append(from_tag(tag))
    return max(found, key=lambda record: record.latest, default=None)
