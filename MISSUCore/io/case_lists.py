"""Lists of cases: a CSV table, a JSON file, or a folder with a folder for each case.

Only names and paths are checked here.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..core.errors import InputError
from .tables import read_table

MAXIMUM_NAME_BYTES = 120
_MAP = "map:"  # prefix of the titles of columns with further maps
_NO_MODALITIES = ("folder", "reference", "labels")
# What Windows does not allow in a file name; control characters are not printable.
_FORBIDDEN = re.compile(r'[<>:"/\\|?*]')
_WINDOWS_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


@dataclass(frozen=True)
class CasePaths:
    """A case as listed; the files need not exist.

    Attributes:
        name: of the case.
        images: by modality, an image file or the folder of a DICOM series.
        folder: holds the scans, if the list does not say which is which.
        reference: modality or image file whose grid the result gets.
        labels: reference segmentation.
        maps: further maps, as ADC, by name.
        problem: why the scans cannot be used, if that is already known.
    """

    name: str
    images: dict[str, Path] = field(default_factory=dict)
    folder: Path | None = None
    reference: str | Path | None = None
    labels: Path | None = None
    maps: dict[str, Path] = field(default_factory=dict)
    problem: str = ""


def read_cases(path: Path, modalities: Collection[str], output_folder: Path) -> list[CasePaths]:
    """The cases to segment, in the order of the list; their names are valid folder names.

    A CSV table (UTF-8; comma, semicolon or tab) has a heading with ``name`` and either ``folder``
    or modalities, and perhaps ``reference``, and ``map:ADC`` for further maps; cells may be empty
    where a scan is missing. JSON: see :func:`read_json_cases`. In a folder, each subfolder is a
    case. Paths are relative to the list.

    Args:
        path: CSV or JSON file, or folder.
        modalities: that are allowed.
        output_folder: where the results will go.

    Raises:
        InputError: if the list cannot be read or is empty, a case's entry or name cannot be used,
            or results would be written among the scans, and taken for scans the next time.
    """
    if path.is_dir():
        cases = _case_folders(path)
    elif path.suffix.lower() == ".json":
        cases = read_json_cases(path)
    elif path.suffix.lower() in (".csv", ".tsv", ".txt"):
        cases = _read_table(path, modalities)
    else:
        raise InputError(f"{path}: give a .csv or .json list of cases, or a folder of case folders")
    check_cases(path, cases, modalities, output_folder)
    return cases


def check_cases(
    source: object,
    cases: Sequence[CasePaths],
    modalities: Collection[str],
    output_folder: Path,
) -> None:
    """Check that cases can be segmented into folders named after them.

    Args:
        source: of the list: a path, or words for a message.
        cases: that are listed.
        modalities: that are allowed.
        output_folder: where the results will go.

    Raises:
        InputError: if a case has another modality, a name is no valid folder name or occurs twice,
            or results would be written among the scans.
    """
    places = [case.folder for case in cases if case.folder]
    _check_apart(output_folder, [source, *places] if isinstance(source, Path) else places)
    for case in cases:
        unknown = [name for name in case.images if name not in modalities]
        if unknown:
            raise InputError(
                f"{source}: case {case.name}: {unknown[0]!r} is not a modality of the model; "
                f"it takes {', '.join(modalities)}"
            )
    _check_names(source, [case.name for case in cases])


def read_json_cases(path: Path) -> list[CasePaths]:
    """The cases of a JSON file, in its order.

    It holds ``[{"name": "p1", "images": {"t1": "p1/t1.nii.gz"}, "labels": "p1/seg.nii.gz"}, ...]``;
    also ``"reference"``, ``"maps"`` in the form of ``"images"``, and ``"folder"`` in place of
    ``"images"``. Paths are relative to the file.

    Raises:
        InputError: if the file is not such a list or an entry is incomplete.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read as a case list: {error}") from error
    if not isinstance(entries, list) or not entries:
        raise InputError(f"{path}: is not a case list; a JSON list of cases is expected")
    return [_json_case(path, number, entry) for number, entry in enumerate(entries, start=1)]


def _json_case(path: Path, number: int, entry: Any) -> CasePaths:
    name = entry.get("name") if isinstance(entry, dict) else None
    if not isinstance(name, str) or not name:
        raise InputError(f'{path}: case {number} has no "name"')
    images = entry.get("images") or {}
    others = {key: entry[key] for key in _NO_MODALITIES if entry.get(key)}
    if not isinstance(images, dict) or not (images or "folder" in others):
        raise InputError(f'{path}: case {name} has no "images", a file for each modality')
    maps = entry.get("maps") or {}
    if not isinstance(maps, dict):
        raise InputError(f'{path}: case {name}: "maps" is not a file for each map')
    for what, place in {**images, **others, **{_MAP + key: maps[key] for key in maps}}.items():
        if not isinstance(place, str):
            raise InputError(f"{path}: case {name}: {what} is {place!r}, and no path")
    return _listed_case(path, name, images, others, maps)


def _listed_case(
    path: Path, name: str, images: dict[str, str], others: dict[str, str], maps: dict[str, str]
) -> CasePaths:
    if images and "folder" in others:
        raise InputError(f"{path}: case {name} has a folder and images; give one of them")
    places = {what: path.parent / place for what, place in {**images, **others}.items()}
    reference = others.get("reference")
    return CasePaths(
        name=name,
        images={modality: places[modality] for modality in images},
        folder=places.get("folder"),
        reference=reference if reference in images else places.get("reference"),
        labels=places.get("labels"),
        maps={key: path.parent / place for key, place in maps.items()},
    )


def _read_table(path: Path, modalities: Collection[str]) -> list[CasePaths]:
    columns = ("name", *_NO_MODALITIES, *modalities)
    rows = read_table(path, "case list", columns, ("name",), _MAP)
    if not rows:
        raise InputError(f"{path}: lists no case")
    return [_table_case(path, number, cells) for number, cells in rows]


def _table_case(path: Path, number: int, entry: dict[str, str]) -> CasePaths:
    where = f"{path}: line {number}"
    name = entry.pop("name", "")
    if not name:
        raise InputError(f"{where}: the case has no name")
    others = {key: entry.pop(key) for key in _NO_MODALITIES if key in entry}
    columns = [title for title in entry if _is_map_column(title)]
    maps = {title.partition(":")[2].strip(): entry.pop(title) for title in columns}
    if not entry and "folder" not in others:
        raise InputError(f"{where}: case {name} has neither scans nor a folder")
    return _listed_case(path, name, entry, others, maps)


def _is_map_column(title: str) -> bool:
    """Whether a column title is that of a further map, such as ``map:ADC``."""
    return title.casefold().startswith(_MAP) and bool(title.partition(":")[2].strip())


def _case_folders(path: Path) -> list[CasePaths]:
    try:
        folders = sorted(
            place for place in path.iterdir() if place.is_dir() and not place.name.startswith(".")
        )
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    if not folders:
        raise InputError(f"{path}: holds no folders; a folder for each case is expected")
    return [CasePaths(folder.name, folder=folder) for folder in folders]


def _check_apart(output_folder: Path, places: Sequence[Path]) -> None:
    output_folder = output_folder.resolve()
    for place in places:
        if place.resolve() in (output_folder, *output_folder.parents):
            raise InputError(
                f"{output_folder}: lies among the scans in {place}; give an output folder elsewhere"
            )


def _check_names(source: object, names: Sequence[str]) -> None:
    """Check that the names are valid and distinct folder names on every file system."""
    seen: dict[str, str] = {}
    for name in names:
        if not _is_folder_name(name):
            raise InputError(
                f"{source}: {name!r} cannot be the name of a case and its folder of results: "
                'begin with a letter or digit, and do without < > : " / \\ | ? *'
            )
        # Windows and macOS ignore case, and in which Unicode form accents are written.
        same = unicodedata.normalize("NFC", name).casefold()
        if same in seen:
            raise InputError(f"{source}: two cases have the name {name} (or {seen[same]})")
        seen[same] = name


def _is_folder_name(name: str) -> bool:
    return (
        name.isprintable()
        and (name[:1].isalnum() or name[:1] == "_")
        and not name.endswith((".", " "))
        and len(name.encode()) <= MAXIMUM_NAME_BYTES
        and not _FORBIDDEN.search(name)
        and not _WINDOWS_DEVICES.fullmatch(name)
    )
