"""Scores of a segmentation against a reference, by case and region, and their JSON file."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path

from ..core.errors import InputError
from ..core.files import read_json
from ..core.messages import a_file
from ..core.serialization import JsonObject, settings_from_dict


@dataclass(frozen=True)
class RegionScores:
    """One region of one case; NaN where there is no number.

    The metrics are those of MISSUCore.evaluation: metrics, surfaces, lesions and brats2023.
    """

    case: str = ""
    region: str = ""
    dice: float = math.nan
    accuracy: float = math.nan
    sensitivity: float = math.nan
    specificity: float = math.nan
    hausdorff_mm: float = math.nan
    hausdorff95_mm: float = math.nan
    average_hausdorff_mm: float = math.nan
    surface_dice: float = math.nan
    nsd_1mm: float = math.nan
    lesions_found: float = math.nan
    lesions_missed: float = math.nan
    lesions_invented: float = math.nan
    lesion_dice: float = math.nan
    lesion_hausdorff95_mm: float = math.nan
    lesion_surface_dice: float = math.nan
    lesion_wise_dice: float = math.nan
    lesion_wise_hausdorff95_mm: float = math.nan
    prediction_ml: float = math.nan
    reference_ml: float = math.nan

    def to_dict(self) -> JsonObject:
        """In plain JSON types; null for NaN and infinity, for which JSON has no number."""
        return finite(asdict(self))


def finite(values: JsonObject) -> JsonObject:
    """The values with None for NaN and infinity."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in values.items()
    }


def read_region_scores(path: Path) -> list[RegionScores]:
    """The rows in a JSON file of ``missu evaluate``.

    Raises:
        InputError: if it cannot be read, or is something else.
    """
    try:
        values = read_json(path)
        if not isinstance(values, dict) or not isinstance(values.get("rows"), list):
            raise ValueError("it holds no rows")
        return [_row(row) for row in values["rows"]]
    except (OSError, ValueError) as error:
        raise InputError(a_file(path), f": cannot be read: {error}; compare again") from error


def _row(values: object) -> RegionScores:
    if not isinstance(values, dict):
        raise ValueError(f"a row is {values!r}")
    known = {name: value for name, value in values.items() if value is not None}
    return settings_from_dict(RegionScores, known)
