"""Which scan of a folder is which sequence: image files and DICOM, at any depth, in any order."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..contract.modalities import BRATS_MODALITIES, IMAGE_ENDING
from ..contract.naming.rules import (
    Guess,
    assign,
    contrast_told_apart,
    guess_sequence,
    without_common_start,
)
from ..core.errors import InputError
from ..core.events import Progress, Stage
from ..core.files import files_below
from ..io.dicom import LOCALIZER, ScanSource, SeriesHeader, may_be_dicom, read_headers
from ..io.geometry import same_grid
from ..io.reading import read_image, read_information
from .appearance import with_images
from .examination import Identity, check_one_examination, identity_of

# Fewer slices are a localizer, or a part of the brain.
MINIMUM_SLICES = 10
# What was computed from a scan comes after all scans, however fine.
_DERIVED_PENALTY_MM3 = 1e6
# Attributes that dcm2niix writes beside a NIfTI file; BIDS has times in seconds.
_SIDECAR_TIMES = ("EchoTime", "RepetitionTime", "InversionTime")
_SAME_SIZE = 1e-3  # of voxels; headers round
_LISTED = 6  # in the message that no scan is recognized


@dataclass(frozen=True)
class FoundCase:
    """The scans found in a folder.

    Attributes:
        scans: by modality, in the order t1, t1ce, t2, flair.
        guesses: why each is taken for it.
        left_over: what else is there, and why it is not taken.
        unusable: by modality that no scan stands for: what seems to be one, but cannot be used.
    """

    scans: dict[str, ScanSource]
    guesses: dict[str, Guess]
    left_over: dict[ScanSource, str]
    unusable: dict[str, ScanSource]


@dataclass(frozen=True)
class _Candidate:
    """A scan, or what may be one.

    Attributes:
        guess: what its names and tags say.
        voxel_mm3: volume of a voxel.
        problem: why it cannot be one; or "".
        derived: whether it was computed from another.
        identities: whom and which examination its files show, as they say themselves.
    """

    guess: Guess
    voxel_mm3: float
    problem: str = ""
    derived: bool = False
    identities: tuple[Identity, ...] = ()


def find_case(folder: Path, progress: Progress | None = None) -> FoundCase:
    """Find out which scan in a folder is T1, T1ce, T2 and FLAIR.

    Names and DICOM attributes tell; the images are looked at only if some scan has neither. Of
    several scans of one sequence the one with the finest voxels is taken, original before derived.
    A sequence is left out where two scans are equally good, or none is one for sure.

    Args:
        folder: searched with all its subfolders, without what is hidden; may hold NIfTI, NRRD and
            MetaImage files and DICOM files of several series in one folder, with any names.
        progress: reports how far the search is.

    Raises:
        InputError: if no scan is recognized, or there are those of two patients or examinations.

    Examples:
        >>> from MISSUCore import find_case
        >>> sorted(find_case(folder).scans)
        ['flair', 't1', 't1ce', 't2']
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: is not a folder; give the folder with the scans of one case")
    progress = progress or Progress()
    candidates = _candidates(folder, progress.part(0.0, 0.8))
    if not candidates:
        raise InputError(f"{folder}: holds no NIfTI, NRRD, MetaImage or DICOM image")
    usable = {source: found for source, found in candidates.items() if not found.problem}

    def read(source: ScanSource) -> sitk.Image:
        progress(Stage.FIND, 0.9, f"looking at {source}, whose name does not tell")
        return read_image(source)

    guesses = with_images({source: found.guess for source, found in usable.items()}, read)
    guesses = contrast_told_apart(guesses)
    guesses = _without_copies(guesses, candidates)
    finer = {
        source: -found.voxel_mm3 - _DERIVED_PENALTY_MM3 * found.derived
        for source, found in usable.items()
        if source in guesses
    }
    scans = assign(guesses, finer)
    # How fine the voxels are is no reason to choose a patient, or a time.
    recognized = {
        source: guess.sequence
        for source, guess in guesses.items()
        if guess.sequence in BRATS_MODALITIES
        and (source in scans.values() or not usable[source].derived)
    }
    identities = {source: usable[source].identities for source in recognized}
    check_one_examination(folder, recognized, identities, list(scans.values()))
    left_over = {source: found.problem for source, found in candidates.items() if found.problem}
    for source, guess in guesses.items():
        if source not in scans.values():
            left_over[source] = _why_left(guess, scans)
    if not scans:
        raise _nothing_recognized(folder, left_over)
    chosen = {name: _with_rivals(guesses, source) for name, source in scans.items()}
    return FoundCase(scans, chosen, left_over, _unusable(candidates, guesses, scans))


def _nothing_recognized(folder: Path, left_over: Mapping[ScanSource, str]) -> InputError:
    """The error for a folder in which no scan was recognized as one of the four sequences."""
    listed = [f"{_name(source, folder)} ({why})" for source, why in left_over.items()]
    more = f" and {len(listed) - _LISTED} more" if len(listed) > _LISTED else ""
    return InputError(
        f"{folder}: no scan is recognized as {', '.join(BRATS_MODALITIES)}; found "
        f"{', '.join(listed[:_LISTED])}{more}; give the scans by name, as --t1 FILE"
    )


def _unusable(
    candidates: Mapping[ScanSource, _Candidate],
    guesses: Mapping[ScanSource, Guess],
    scans: Mapping[str, ScanSource],
) -> dict[str, ScanSource]:
    """What seems to be a scan of a modality for which there is none."""
    found: dict[str, ScanSource] = {}
    for source, candidate in candidates.items():
        sequence = guesses.get(source, candidate.guess).sequence
        missing = sequence in BRATS_MODALITIES and sequence not in scans
        if missing and LOCALIZER not in candidate.problem:
            found.setdefault(str(sequence), source)
    return found


def _without_copies(
    guesses: Mapping[ScanSource, Guess], candidates: dict[ScanSource, _Candidate]
) -> dict[ScanSource, Guess]:
    """The guesses without files that hold the same scan as another; those get a problem.

    Examples are ``t1.nii`` beside ``t1.nii.gz``, or beside the DICOM series it was made from.
    """
    kept: dict[ScanSource, Guess] = {}
    # DICOM goes before: it says whom it shows.
    for source, guess in sorted(guesses.items(), key=lambda item: isinstance(item[0], Path)):
        rivals = [other for other, own in kept.items() if own.sequence == guess.sequence]
        coarse = candidates[source].voxel_mm3
        twins = (
            other
            for other in rivals
            if guess.sequence in BRATS_MODALITIES
            and math.isclose(candidates[other].voxel_mm3, coarse, rel_tol=_SAME_SIZE)
            and _is_copy(source, other)
        )
        twin = next(twins, None)
        if twin is None:
            kept[source] = guess
        else:
            candidates[source] = replace(candidates[source], problem=f"is a copy of {twin}")
    return kept


def _is_copy(first: ScanSource, second: ScanSource) -> bool:
    """Whether an image file holds the same voxels at the same places as another or a series."""
    if not isinstance(first, Path):
        return False  # copies of DICOM series are known by their headers
    try:
        image, other = (sitk.DICOMOrient(read_image(each), "LPS") for each in (first, second))
    except InputError:
        return False  # reported where the scan is read
    return same_grid(image, other) and np.array_equal(
        sitk.GetArrayViewFromImage(image), sitk.GetArrayViewFromImage(other)
    )


def _candidates(folder: Path, progress: Progress) -> dict[ScanSource, _Candidate]:
    files = list(files_below(folder))
    found: dict[ScanSource, _Candidate] = {}
    images = [path for path in files if IMAGE_ENDING.search(path.name)]
    names: dict[Path, list[str]] = {}
    for path in images:
        names.setdefault(path.parent, []).append(path.name)
    ends = {place: without_common_start(own) for place, own in names.items()}
    for path in images:
        found[path] = _image_file(path, folder, ends[path.parent].get(path.name, ""))
    dicom = [path for path in files if path not in found and may_be_dicom(path)]

    def with_progress() -> Iterator[Path]:
        for number, path in enumerate(dicom):
            if number % 100 == 0:
                progress(
                    Stage.FIND, number / len(dicom), f"looking through {len(dicom)} DICOM files"
                )
            yield path

    headers, damaged = read_headers(with_progress())
    for header in headers:
        found[header.series] = _series(header, folder, _elsewhere(header, headers))
        for path in header.pictures:
            found[path] = _no_scan(f"is a picture among the slices of {header.series}")
    for path in damaged:
        found[path] = _no_scan("is damaged or cut off")
    return found


def _no_scan(problem: str) -> _Candidate:
    return _Candidate(Guess(None, 0.0, problem), 0.0, problem)


def _image_file(path: Path, folder: Path, name_end: str) -> _Candidate:
    """A file; ``name_end`` is where its name differs from all others in its folder, if it tells."""
    tags = _sidecar(path)
    guess = _named(path.name, path.parent, folder, tags)
    if not guess.confidence and name_end:
        guess = replace(guess_sequence(name_end, tags), reason=f"name '{path.name}'")
    try:
        reader = read_information(path)
    except InputError as error:
        return _Candidate(guess, 0.0, str(error).removeprefix(f"{path}: ").partition(";")[0])
    size = [count for count in reader.GetSize() if count > 1]
    problem = _shape_problem(len(size), reader.GetNumberOfComponents(), min(size, default=0))
    voxel_mm3 = float(np.prod(reader.GetSpacing()[:3]))
    return _Candidate(guess, voxel_mm3, problem, identities=(identity_of(tags),))


def _elsewhere(header: SeriesHeader, headers: Sequence[SeriesHeader]) -> str:
    """What is wrong if other folders hold files of the same series; "" if none does."""
    same_uid = [other for other in headers if other.series.uid == header.series.uid != ""]
    before = same_uid[: same_uid.index(header)] if same_uid else []
    for other in same_uid:
        apart = other.series.folder != header.series.folder
        if sorted(other.places) == sorted(header.places):
            # An anonymizer may give one UID to two series of the same slices.
            if other in before and header.shows_what(other):
                return f"is a copy of {other.series}"
        elif apart and other.tags == header.tags:
            return "has its files in several folders; put them into one"
    return ""


def _series(header: SeriesHeader, folder: Path, elsewhere: str) -> _Candidate:
    guess = _named("", header.series.folder, folder, header.tags)
    problem = header.problem() or elsewhere or _shape_problem(3, 1, header.frames)
    return _Candidate(
        guess,
        header.voxel_mm3(),
        problem,
        header.tags.get("ImageType", "").upper().startswith("DERIVED"),
        tuple(dict.fromkeys(identity_of(file.tags) for file in header.files)),
    )


def _shape_problem(dimensions: int, components: int, slices: int) -> str:
    if components != 1:
        return "is a color or vector image"
    if dimensions != 3:
        return f"is {dimensions}-D"
    if slices < MINIMUM_SLICES:
        return f"has only {slices} slices"
    return ""


def _named(name: str, place: Path, folder: Path, tags: Mapping[str, str]) -> Guess:
    """What tags and file name say, or else the folder in which the file lies."""
    guess = guess_sequence(name, tags)
    if guess.confidence or place == folder:
        return guess
    by_folder = guess_sequence(place.name, tags)
    return by_folder if by_folder.confidence else guess


def _sidecar(path: Path) -> dict[str, str]:
    """Attributes in the JSON file that dcm2niix writes beside an image, as DICOM has them."""
    sidecar = path.with_name(IMAGE_ENDING.sub("", path.name) + ".json")
    try:
        facts = json.loads(sidecar.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    tags = {}
    for keyword, value in facts.items() if isinstance(facts, dict) else ():
        if isinstance(value, list):
            value = "\\".join(map(str, value))
        elif keyword in _SIDECAR_TIMES and isinstance(value, (int, float)):
            value = f"{1000 * value:g}"
        tags[keyword] = str(value)
    return tags


def _why_left(guess: Guess, scans: Mapping[str, ScanSource]) -> str:
    if guess.sequence not in BRATS_MODALITIES:
        return guess.reason
    if guess.sequence in scans:
        return f"{guess.sequence} too, but coarser or less sure than {scans[guess.sequence]}"
    return f"one of several of {guess.sequence}, not to be told apart ({guess.reason})"


def _with_rivals(guesses: Mapping[ScanSource, Guess], source: ScanSource) -> Guess:
    guess = guesses[source]
    rivals = sum(other.sequence == guess.sequence for other in guesses.values())
    if rivals == 1:
        return guess
    return replace(guess, reason=f"{guess.reason}; the finest or surest of {rivals}")


def _name(source: ScanSource, folder: Path) -> str:
    return str(source.relative_to(folder)) if isinstance(source, Path) else str(source)
