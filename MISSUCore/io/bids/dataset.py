"""Raw BIDS datasets: the scans of every subject and session.

Brain Imaging Data Structure 1.10, https://bids-specification.readthedocs.io: "Anatomy imaging
data", and "Diffusion imaging data" for a scanner's ADC. Only names and sidecars are read here, and
the image headers where several scans of one sequence compete.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ...contract.modalities import BRATS_MODALITIES
from ...core.errors import InputError
from ...core.files import read_json
from ...core.serialization import JsonObject
from ..case_lists import CasePaths
from ..reading import read_information
from .names import BidsFile, BidsFolder

DESCRIPTION_NAME = "dataset_description.json"
_IMAGES = (".nii.gz", ".nii")
_MODALITIES = {"T1w": "t1", "T2w": "t2", "FLAIR": "flair"}
# Folders of maps that belong to the raw data: ADC in dwi, T1map in anat.
_MAP_FOLDERS = ("anat", "dwi", "perf")
_NO_MAPS: Mapping[str, str] = MappingProxyType({})
_AGENT = "ContrastBolusIngredient"
# Values of ce and of the ingredient for no contrast agent, and for an unknown one.
_NO_AGENTS = ("none", "no", "pre")
_UNKNOWN_AGENTS = ("", "unknown", "n/a")
_SAME_SIZE = 1e-3  # relative tolerance of voxel volumes, as headers round


@dataclass(frozen=True)
class BidsDataset:
    """A raw BIDS dataset.

    Attributes:
        folder: top of the dataset.
        description: contents of its ``dataset_description.json``.
        cases: of every subject and session, by name: ``sub-01``, or ``sub-01_ses-02``.
    """

    folder: Path
    description: Mapping[str, Any]
    cases: Sequence[CasePaths]

    def check_output(self, folder: Path) -> None:
        """Check that results written to a folder leave this a raw dataset.

        Raises:
            InputError: if the folder is the dataset or lies in it, but not in its derivatives.
        """
        top, place = self.folder.resolve(), folder.resolve()
        if top in (place, *place.parents) and top / "derivatives" not in place.parents:
            raise InputError(
                f"{folder}: lies among the raw data of {self.folder}; give "
                f"{self.folder / 'derivatives' / 'missu'}, or a folder elsewhere"
            )


def read_bids(
    folder: Path, participants: Sequence[str] = (), maps: Mapping[str, str] = _NO_MAPS
) -> BidsDataset:
    """The cases of a raw BIDS dataset: T1w, T1w with contrast, T2w and FLAIR of each session.

    A T1w has contrast if its name has the entity ``ce``, or its sidecars name a contrast agent
    (``ContrastBolusIngredient``). If there are several and neither tells, the case has a problem.
    Otherwise, of several scans of one sequence the one with the smallest voxels is taken, and if
    they are equal the higher run. Sessions without any of these scans are skipped, and so are phase
    images and files that ``.bidsignore`` names.

    Args:
        folder: top of the dataset.
        participants: to read, as ``01`` or ``sub-01``; all if empty.
        maps: suffixes of further maps by name, as ``{"ADC": "ADC"}`` for ``sub-01_ADC.nii.gz``. Of
            several in a session one is chosen as for scans; a session may lack them.

    Raises:
        InputError: if the folder is not a raw dataset, a participant does not exist, or no session
            has one of the maps. Errors in a single case become its ``problem`` instead.

    Examples:
        >>> from MISSUCore import read_bids
        >>> [(case.name, sorted(case.images)) for case in read_bids(bids_folder).cases]
        [('sub-01', ['flair', 't1', 't1ce', 't2']), ('sub-02', ['flair', 't1', 't1ce', 't2'])]
    """
    description = _description(folder)
    files = BidsFolder(folder)
    subjects = {place.name: place for place in files.folders(folder, "sub")}
    if not subjects:
        raise InputError(f"{folder}: holds no subject, no folder sub-01 or the like")
    asked = list(dict.fromkeys(f"sub-{label.removeprefix('sub-')}" for label in participants))
    for name in asked:
        if name not in subjects:
            raise InputError(f"{folder}: there is no participant {name}")
    cases = [
        case
        for name in asked or subjects
        for case in _cases_of_subject(files, subjects[name], maps)
    ]
    usable = [case for case in cases if not case.problem]
    for name, suffix in maps.items():
        if usable and not any(name in case.maps for case in usable):
            raise InputError(
                f"{folder}: no session has a map {name}, a file *_{suffix}.nii.gz in "
                f"{', '.join(_MAP_FOLDERS)} that is not named in .bidsignore; give --map "
                f"{name}=SUFFIX, or list the cases with their maps for --cases"
            )
    return BidsDataset(folder, description, cases)


def _description(folder: Path) -> JsonObject:
    path = folder / DESCRIPTION_NAME
    try:
        description = read_json(path)
    except FileNotFoundError as error:
        raise InputError(
            f"{folder}: holds no {DESCRIPTION_NAME}, and is not a BIDS dataset; give its top "
            "folder, or list the cases for --cases"
        ) from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error
    names = ("Name", "BIDSVersion")
    if not isinstance(description, dict) or not all(
        isinstance(description.get(name), str) for name in names
    ):
        raise InputError(f"{path}: does not say {' and '.join(names)} of a BIDS dataset")
    kind = description.get("DatasetType", "raw")
    if kind != "raw":
        raise InputError(f"{folder}: is a BIDS dataset of type {kind!r}; give a raw one")
    return description


def _cases_of_subject(files: BidsFolder, subject: Path, maps: Mapping[str, str]) -> list[CasePaths]:
    """The cases of a subject's sessions; if there are no scans, one case with a problem."""
    cases = []
    for place in (subject, *files.folders(subject, "ses")):
        name = "_".join(place.relative_to(files.folder).parts)
        scans = [
            file
            for file in files.files(place / "anat")
            if file.ending in _IMAGES
            and file.suffix in _MODALITIES
            and file.entities.get("part", "mag") == "mag"
        ]
        if scans:
            found = {key: _with_suffix(files, place, suffix) for key, suffix in maps.items()}
            cases.append(_case(files, name, scans, found))
    return cases or [
        CasePaths(subject.name, problem=f"{subject}: has no {', '.join(_MODALITIES)} in anat")
    ]


def _case(
    files: BidsFolder,
    name: str,
    scans: Sequence[BidsFile],
    maps: Mapping[str, Sequence[BidsFile]],
) -> CasePaths:
    try:
        for scan in chain(scans, *maps.values()):
            if not scan.path.name.startswith(f"{name}_"):
                raise InputError(f"{scan.path}: is a scan of another subject or session, by name")
        rivals = _by_modality(files, scans)
        images = {modality: _chosen(rivals[modality]).path for modality in rivals}
        chosen = {key: _chosen(found).path for key, found in maps.items() if found}
    except InputError as error:
        return CasePaths(name, problem=str(error))
    return CasePaths(name, images, maps=chosen)


def _with_suffix(files: BidsFolder, place: Path, suffix: str) -> list[BidsFile]:
    """The images of a subject or session that may be a map of this suffix."""
    return [
        file
        for folder in _MAP_FOLDERS
        for file in files.files(place / folder)
        if file.ending in _IMAGES and file.suffix == suffix
    ]


def _by_modality(files: BidsFolder, scans: Sequence[BidsFile]) -> dict[str, list[BidsFile]]:
    """The scans by modality, without empty modalities, in the order t1, t1ce, t2, flair.

    Raises:
        InputError: if there are several T1w and nothing tells which has contrast: the higher run is
            often the one with contrast, and would be taken for one without.
    """
    t1w = [scan for scan in scans if scan.suffix == "T1w"]
    contrast = {scan.path: _contrast(files, scan) for scan in t1w}
    unknown = [path for path, known in contrast.items() if known is None]
    if len(t1w) > 1 and unknown and True not in contrast.values():
        raise InputError(
            f"{unknown[0]}: is one of {len(t1w)} T1w, and nothing tells which has contrast; give "
            f"the entity ce or {_AGENT} in a sidecar (NONE is a value, too), or name all but one "
            "in .bidsignore"
        )
    found: dict[str, list[BidsFile]] = {name: [] for name in BRATS_MODALITIES}
    for scan in scans:
        enhanced = contrast.get(scan.path)
        found["t1ce" if enhanced else _MODALITIES[scan.suffix]].append(scan)
    return {name: rivals for name, rivals in found.items() if rivals}


def _contrast(files: BidsFolder, scan: BidsFile) -> bool | None:
    """Whether a T1w has contrast; None if neither its name nor a sidecar tells.

    Raises:
        InputError: if they contradict each other, or a sidecar cannot be read.
    """
    label = scan.entities.get("ce", "")
    named = (label.lower() not in _NO_AGENTS) if label else None
    ingredient = files.metadata(scan).get(_AGENT)
    told = ingredient.strip().lower() if isinstance(ingredient, str) else ""
    if told in _UNKNOWN_AGENTS:
        return named
    if named is not None and named != (told not in _NO_AGENTS):
        raise InputError(
            f"{scan.path}: is named ce-{label}, but by its sidecar {_AGENT} is {told}; correct one"
        )
    return told not in _NO_AGENTS


def _chosen(rivals: Sequence[BidsFile]) -> BidsFile:
    """The scan with the smallest voxels; if several are equal, that with the highest run.

    Raises:
        InputError: naming two that are equal in both, or one that cannot be read.
    """
    if len(rivals) == 1:
        return rivals[0]
    sizes = [math.prod(read_information(scan.path).GetSpacing()[:3]) for scan in rivals]
    fine = [scan for scan, size in zip(rivals, sizes) if size <= min(sizes) * (1 + _SAME_SIZE)]
    last = max(map(_run, fine))
    first, *others = (scan for scan in fine if _run(scan) == last)
    if others:
        raise InputError(
            f"{first.path} and {others[0].path}: are scans of one sequence, with voxels of one "
            "size and no higher run; name one of them in .bidsignore"
        )
    return first


def _run(scan: BidsFile) -> int:
    """The run number of a scan; 0 if its name has none.

    Raises:
        InputError: if the run is not a number.
    """
    label = scan.entities.get("run", "0")
    if not label.isdecimal():
        raise InputError(f"{scan.path}: its run is not a number")
    return int(label)
