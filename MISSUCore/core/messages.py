"""Sentences for the user in which scans, files and options can be called by another name.

A :class:`Text` is an ordinary string. Beside its words it knows which of them name a modality, a
file or an option of the command line, so that whoever shows it (the Slicer module) can say "T1ce"
and the name of a volume there, and need not tell of options that a user there cannot give.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

MODALITY, FILE, OPTION = "modality", "file", "option"


@dataclass(frozen=True)
class Name:
    """What a sentence speaks of; ``kind`` is MODALITY, FILE or OPTION."""

    kind: str
    value: str

    def __str__(self) -> str:
        return self.value


def a_modality(name: str) -> Name:
    """A modality in a sentence."""
    return Name(MODALITY, name)


def a_file(path: object) -> Name:
    """A file or folder in a sentence."""
    return Name(FILE, str(path))


def an_option(text: str) -> Name:
    """An option of the command line in a sentence, as ``--bias-field never``."""
    return Name(OPTION, text)


def modalities(names: Sequence[str]) -> Text:
    """Several modalities in a sentence, separated by commas."""
    parts: list[object] = []
    for name in names:
        parts += [", ", a_modality(name)] if parts else [a_modality(name)]
    return Text(*parts)


Part = str | Name


class Text(str):
    """A sentence of parts; one that is a Text itself keeps the names in it."""

    parts: tuple[Part, ...]

    def __new__(cls, *parts: object) -> Text:
        """Join parts: strings, names, and other texts, whose names are kept."""
        flat: list[Part] = []
        for part in parts:
            if isinstance(part, Text):
                flat += part.parts
            else:
                flat.append(part if isinstance(part, (str, Name)) else str(part))
        text = super().__new__(cls, "".join(map(str, flat)))
        text.parts = tuple(flat)
        return text

    def in_words(self, name_of: Callable[[Name], str]) -> str:
        """The sentence with names as ``name_of`` has them."""
        return "".join(name_of(part) if isinstance(part, Name) else part for part in self.parts)

    def to_json(self) -> list[str | dict[str, str]]:
        """The parts in plain JSON types."""
        return [{p.kind: p.value} if isinstance(p, Name) else str(p) for p in self.parts]

    @classmethod
    def from_json(cls, parts: object) -> Text:
        """What :meth:`to_json` gave, or a plain string.

        Raises:
            ValueError: if it is neither.
        """
        if isinstance(parts, str):
            return cls(parts)
        if not isinstance(parts, list):
            raise ValueError(f"{parts!r} is not a sentence")
        return cls(*(_part(part) for part in parts))


def _part(part: object) -> Part:
    if isinstance(part, str):
        return part
    if isinstance(part, dict) and len(part) == 1:
        ((kind, value),) = part.items()
        if kind in (MODALITY, FILE, OPTION) and isinstance(value, str):
            return Name(kind, value)
    raise ValueError(f"{part!r} is not a part of a sentence")


def path_in(name: Name) -> Path | None:
    """The path of a file that a sentence names; None for anything else."""
    return Path(name.value) if name.kind == FILE else None
