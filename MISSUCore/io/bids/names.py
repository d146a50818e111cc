"""Names, sidecars and ``.bidsignore`` of a BIDS dataset.

Brain Imaging Data Structure 1.10, https://bids-specification.readthedocs.io: "Filenames", "The
Inheritance Principle" and "Files outside the scope of BIDS".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path

from ...core.errors import InputError
from ...core.files import read_json
from ...core.serialization import JsonObject

LABEL = re.compile(r"[0-9a-zA-Z+]+")
_NAME = re.compile(
    r"(?P<entities>(?:[a-zA-Z]+-[0-9a-zA-Z+]+_)*)(?P<suffix>[0-9a-zA-Z]+)"
    r"(?P<ending>\.nii\.gz|\.nii|\.json)"
)


@dataclass(frozen=True)
class BidsFile:
    """A file and the parts of its name, such as ``sub-01_ce-gadolinium_run-2_T1w.nii.gz``.

    Attributes:
        path: of the file.
        entities: label by entity, as ``{"sub": "01", "ce": "gadolinium", "run": "2"}``.
        suffix: as ``T1w``.
        ending: ``.nii.gz``, ``.nii`` or ``.json``.
    """

    path: Path
    entities: Mapping[str, str]
    suffix: str
    ending: str

    @classmethod
    def of(cls, path: Path) -> BidsFile | None:
        """The file with its name parsed; None if that is not a BIDS name."""
        found = _NAME.fullmatch(path.name)
        if not found:
            return None
        pairs = (entity.partition("-") for entity in found["entities"].split("_")[:-1])
        entities = {entity: label for entity, _, label in pairs}
        return cls(path, entities, found["suffix"], found["ending"])

    def describes(self, other: BidsFile) -> bool:
        """Whether this is a sidecar of another file, in the same folder or above it."""
        return (
            (self.ending, self.suffix) == (".json", other.suffix)
            and self.path.parent in other.path.parents
            and self.entities.items() <= other.entities.items()
        )


class BidsFolder:
    """The files of a BIDS dataset, except those that its ``.bidsignore`` excludes.

    Args:
        folder: top of the dataset.

    Raises:
        InputError: if there is a ``.bidsignore`` that cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = folder / ".bidsignore"
        try:
            text = path.read_text(encoding="utf-8-sig") if path.exists() else ""
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: cannot be read: {error}") from error
        self._is_ignored = _ignored(text.splitlines())

    def folders(self, place: Path, entity: str) -> list[Path]:
        """Folders of an entity directly in a place, as ``sub-01`` for ``sub``, sorted by name.

        Raises:
            InputError: if the place cannot be read, or a label is not valid in BIDS.
        """
        found = [path for path in self._inside(place) if path.name.startswith(f"{entity}-")]
        folders = [path for path in found if path.is_dir()]
        for path in folders:
            if not LABEL.fullmatch(path.name.partition("-")[2]):
                raise InputError(
                    f"{path}: is not a name of BIDS, whose labels have letters and digits only; "
                    "rename it, or name it in .bidsignore"
                )
        return folders

    def files(self, place: Path) -> list[BidsFile]:
        """Files with BIDS names directly in a folder, sorted; none if it is missing or ignored.

        Raises:
            InputError: if the folder cannot be read.
        """
        is_there = place.is_dir() and not self._is_ignored(self._parts(place), True)
        found = map(BidsFile.of, self._inside(place) if is_there else ())
        return [file for file in found if file]

    def metadata(self, file: BidsFile) -> JsonObject:
        """The merged sidecars of a file; where they differ, the nearer one takes precedence.

        Raises:
            InputError: if a sidecar cannot be read, or holds no JSON object.
        """
        above = [place for place in file.path.parents if self.folder in (place, *place.parents)]
        facts: JsonObject = {}
        for place in reversed(above):
            files = self._top if place == self.folder else self.files(place)
            sidecars = [other for other in files if other.describes(file)]
            for sidecar in sorted(sidecars, key=lambda other: len(other.entities)):
                facts.update(_json_object(sidecar.path))
        return facts

    @cached_property
    def _top(self) -> list[BidsFile]:
        """Files directly in the dataset; cached, since every scan looks for sidecars there."""
        return self.files(self.folder)

    def _inside(self, place: Path) -> list[Path]:
        try:
            paths = sorted(place.iterdir())
        except OSError as error:
            raise InputError(f"{place}: cannot be read: {error.strerror or error}") from error
        return [path for path in paths if not self._is_ignored(self._parts(path), path.is_dir())]

    def _parts(self, path: Path) -> Sequence[str]:
        return path.relative_to(self.folder).parts


def _json_object(path: Path) -> JsonObject:
    try:
        facts = read_json(path)
        if not isinstance(facts, dict):
            raise ValueError("it is not a JSON object")
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as a sidecar: {error}") from error
    return facts


def _ignored(lines: Sequence[str]) -> Callable[[Sequence[str], bool], bool]:
    """A function of a path's parts, and whether it is a folder, that tells if it is ignored.

    The lines are in the syntax of gitignore(5), but character classes and backslashes are those of
    :mod:`fnmatch`. The caller does not search ignored folders.
    """
    patterns = []
    for line in map(str.rstrip, lines):
        pattern = line.removeprefix("!")
        if pattern.strip("/") and not line.startswith("#"):
            anchored = "/" in pattern.rstrip("/")
            parts = pattern.strip("/").split("/")
            parts = parts if anchored else ["**", *parts]
            patterns.append((parts, pattern.endswith("/"), not line.startswith("!")))

    def is_ignored(path: Sequence[str], is_folder: bool) -> bool:
        ignored = False
        for pattern, only_folders, ignores in patterns:
            if (is_folder or not only_folders) and _matches(pattern, path):
                ignored = ignores
        return ignored

    return is_ignored


def _matches(pattern: Sequence[str], path: Sequence[str]) -> bool:
    if not pattern:
        return not path
    if pattern[0] == "**":
        return any(_matches(pattern[1:], path[start:]) for start in range(len(path) + 1))
    return bool(path) and fnmatchcase(path[0], pattern[0]) and _matches(pattern[1:], path[1:])
