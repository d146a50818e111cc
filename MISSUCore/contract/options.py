"""How scans are prepared, segmented and tuned on: in Python, on the command line, in Slicer."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from ..core.errors import InputError
from ..core.serialization import by_name, maybe


@dataclass(frozen=True)
class PreprocessingOptions:
    """What is done to scans before a model sees them.

    Args:
        registration: register scans that do not lie on each other; False trusts their headers.
        brain_extraction: take off skulls; False takes nonzero voxels for brain.
        bias_field: correct the bias field (N4): "always", "never", or "auto": in scans where it
            seems to be strong.
        different_anatomy: go on with scans that show different brains, with a warning.
    """

    registration: bool = True
    brain_extraction: bool = True
    bias_field: str = "auto"
    different_anatomy: bool = False


@dataclass(frozen=True)
class Cleanup:
    """How a segmentation is cleaned up.

    Args:
        minimum_island_mm3: remove connected parts of an outermost region (WT) below this volume,
            with the regions in them. Small parts of inner regions stay: they may be real foci.
        minimum_innermost_mm3: relabel the innermost region (ET) as its parent below this total
            volume, as participants of BraTS do: a few false voxels would score a Dice of 0. 0 turns
            it off.
        fill_holes: fill the holes of a region that has inner regions: no edema inside TC.
    """

    minimum_island_mm3: float = 0.0
    minimum_innermost_mm3: float = 0.0
    fill_holes: bool = False


@dataclass(frozen=True)
class SegmentationOptions:
    """How a case is segmented.

    Args:
        device: ``"auto"``, ``"cuda"``, ``"mps"`` or ``"cpu"``.
        mirror: average over mirror images: eight times slower, and hardly better.
        sliding: force the sliding window (True) or the single pass (False); None decides by
            memory.
        cleanup: what is put right afterwards.
    """

    device: str = "auto"
    mirror: bool = False
    sliding: bool | None = maybe(bool)
    cleanup: Cleanup = field(
        default_factory=lambda: Cleanup(minimum_island_mm3=100.0, fill_holes=True)
    )


@dataclass(frozen=True)
class FineTuningOptions:
    """How a model is tuned.

    Args:
        minutes: about how long it may take, all in all.
        rehearsal: against forgetting: ``"simulated"`` cases; ``"none"``; ``"auto"``: simulated
            where that is possible; or a folder of BraTS training data.
        changes: settings of the training to change, by name, as ``train --set`` does.
        device: ``"auto"``, ``"cuda"``, ``"mps"`` or ``"cpu"``.

    Raises:
        InputError: if the time is not a positive number.
    """

    minutes: float = 30.0
    rehearsal: str = "auto"
    changes: dict[str, str] = by_name(str)
    device: str = "auto"

    def __post_init__(self) -> None:
        if not 0 < self.minutes < math.inf:
            raise InputError(f"{self.minutes:g} minutes: give a positive number of them")
