"""The scans of a case as they are given: by name, in a folder, or both."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..contract.modalities import BRATS_MODALITIES
from ..core.errors import InputError
from ..core.events import Progress
from ..core.serialization import JsonObject
from ..io.dicom import ScanSource
from .case_folder import FoundCase, find_case


@dataclass(frozen=True)
class ChosenScans:
    """The scans of a case, each for a modality.

    Attributes:
        paths: by modality.
        sequences: why a scan that was found in a folder is taken for its modality, for reports:
            ``confidence`` from 0 to 1, and ``reason``.
    """

    paths: dict[str, ScanSource]
    sequences: dict[str, JsonObject]


def choose_scans(
    named: Mapping[str, ScanSource],
    folder: Path | None = None,
    allow_missing: bool = False,
    tell: Callable[[str], None] | None = None,
    progress: Progress | None = None,
) -> ChosenScans:
    """The scans of a case: those given by name, and those found in its folder.

    Args:
        named: by modality; a scan named here goes before one in the folder.
        folder: of the case, searched by :func:`.find_case`.
        allow_missing: go on without a scan of the folder that cannot be used.
        tell: is called with a sentence for every scan found: what it is taken for, or why it is
            left out.
        progress: reports the search.

    Raises:
        InputError: if there is no scan, none is recognized, or one cannot be used.
    """
    found = ChosenScans({}, {})
    if folder:
        # A scan that is named by itself need not be found in the folder.
        may_miss = BRATS_MODALITIES if allow_missing else tuple(named)
        found = scans_in_folder(folder, may_miss, tell, progress)
    paths = {**found.paths, **named}
    if not paths:
        raise InputError("no scan given; give --case FOLDER, or --t1, --t1ce, --t2 and --flair")
    return ChosenScans(paths, {name: found.sequences[name] for name in paths if name not in named})


def scans_in_folder(
    folder: Path,
    may_miss: Collection[str] = (),
    tell: Callable[[str], None] | None = None,
    progress: Progress | None = None,
) -> ChosenScans:
    """The scans of a case in a folder, by what they seem to be.

    Args:
        folder: of the case.
        may_miss: modalities that are gone without where their scan cannot be used.
        tell: as :func:`choose_scans` has it.
        progress: reports the search.

    Raises:
        InputError: if none is recognized, or one is there that cannot be used.
    """
    found = find_case(folder, progress)
    if tell:
        for sentence in _explained(found):
            tell(sentence)
    refused = {name: at for name, at in found.unusable.items() if name not in may_miss}
    if refused:
        listed = "; ".join(
            f"{name}: {source} {found.left_over[source]}" for name, source in refused.items()
        )
        raise InputError(
            f"{folder}: a scan is there that cannot be used: {listed}. Mend it, give the scan by "
            "name, or go on without it by --allow-missing"
        )
    sequences = {
        name: {"confidence": round(guess.confidence, 2), "reason": guess.reason}
        for name, guess in found.guesses.items()
    }
    return ChosenScans(dict(found.scans), sequences)


def _explained(found: FoundCase) -> list[str]:
    """A sentence for each scan in a folder: what it is taken for, or why it is left out."""
    taken = [
        f"{name}: {found.scans[name]} ({guess.reason})" for name, guess in found.guesses.items()
    ]
    left = [f"not used: {source} ({reason})" for source, reason in found.left_over.items()]
    return [*taken, *left]
