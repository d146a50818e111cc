"""Segmentations against references: one pair of label-map files, or two folders of them."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from ..contract.labels import BRATS, LabelScheme, numbering_of
from ..contract.region_scores import RegionScores, finite
from ..core.errors import InputError
from ..core.events import Progress, Stage
from ..core.files import atomic_write
from ..core.messages import a_file
from ..io.dicom import ScanSource
from ..io.geometry import same_grid
from ..io.reading import read_label_map
from .brats2023 import score_lesion_wise
from .lesions import score_lesions
from .metrics import score_region
from .pairs import Pair, find_pairs
from .volumes import volumes_ml

RESAMPLINGS = 10_000  # bootstrap samples; interval ends then vary by about 0.001


@dataclass(frozen=True)
class Statistics:
    """Statistics of a metric over the cases that have a value.

    ``low`` and ``high`` are the ends of the 95 % bootstrap interval of the mean. These and the
    (sample) standard deviation are NaN for a single case.
    """

    mean: float
    standard_deviation: float
    median: float
    mean_low: float
    mean_high: float


# Usual names of the metrics. The last two for lesions are the ranking scores of BraTS 2023.
TITLES = {
    "dice": "Dice",
    "accuracy": "Accuracy",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "hausdorff_mm": "HD, mm",
    "hausdorff95_mm": "HD95, mm",
    "average_hausdorff_mm": "Average HD, mm",
    "surface_dice": "Surface Dice at a voxel",
    "nsd_1mm": "NSD at 1 mm",
    "lesions_found": "Lesions found (TP)",
    "lesions_missed": "Lesions missed (FN)",
    "lesions_invented": "Lesions invented (FP)",
    "lesion_dice": "Dice of lesions found",
    "lesion_hausdorff95_mm": "HD95 of lesions found, mm",
    "lesion_surface_dice": "NSD of lesions found",
    "lesion_wise_dice": "Lesion-wise Dice (2023)",
    "lesion_wise_hausdorff95_mm": "Lesion-wise HD95 (2023), mm",
    "prediction_ml": "Predicted volume, ml",
    "reference_ml": "Reference volume, ml",
}


@dataclass(frozen=True)
class Comparison:
    """Scores of all regions of one or more cases."""

    rows: tuple[RegionScores, ...]

    def summary(self) -> dict[str, dict[str, Statistics]]:
        """Statistics by region and metric."""
        regions = dict.fromkeys(row.region for row in self.rows)
        return {
            region: {
                metric: _statistics(
                    [getattr(row, metric) for row in self.rows if row.region == region]
                )
                for metric in TITLES
            }
            for region in regions
        }

    def write_csv(self, path: Path) -> None:
        """Write one line for each case and region.

        Raises:
            InputError, ResourceError: if the file cannot be written; an older one stays as it was.
        """
        with (
            atomic_write(path) as temporary,
            temporary.open("w", newline="", encoding="utf-8") as stream,
        ):
            writer = csv.DictWriter(stream, [field.name for field in fields(RegionScores)])
            writer.writeheader()
            writer.writerows(asdict(row) for row in self.rows)

    def write_json(self, path: Path) -> None:
        """Write rows and summary; numbers that do not exist are null.

        Raises:
            InputError, ResourceError: if the file cannot be written; an older one stays as it was.
        """
        plain = {
            "rows": [row.to_dict() for row in self.rows],
            "summary": {
                region: {metric: finite(asdict(values)) for metric, values in metrics.items()}
                for region, metrics in self.summary().items()
            },
        }
        with atomic_write(path) as temporary:
            temporary.write_text(json.dumps(plain, indent=2, allow_nan=False), encoding="utf-8")

    def format_table(self) -> str:
        """The summary for a terminal: a line for each metric, a column for each region."""
        summary = self.summary()
        cases = len({row.case for row in self.rows})
        lines = [" " * 28 + "".join(f"{region:>20}" for region in summary)]
        for metric, title in TITLES.items():
            cells = (_cell(metrics[metric], metric) for metrics in summary.values())
            lines.append(f"{title:<28}" + "".join(f"{cell:>20}" for cell in cells))
        lines.append("1 case" if cases == 1 else f"Mean (standard deviation) of {cases} cases")
        return "\n".join(lines)

    def format_intervals(self) -> str:
        """For a terminal: means with their bootstrap intervals, and medians."""
        summary = self.summary()
        lines = [" " * 28 + "".join(f"{region:>32}" for region in summary)]
        for metric, title in TITLES.items():
            cells = (_interval(metrics[metric], metric) for metrics in summary.values())
            lines.append(f"{title:<28}" + "".join(f"{cell:>32}" for cell in cells))
        cases = len({row.case for row in self.rows})
        lines.append(f"Mean (95 % bootstrap interval), median of {cases} cases")
        return "\n".join(lines)


def compare(
    prediction: Path,
    reference: Path,
    scheme: LabelScheme = BRATS,
    progress: Progress | None = None,
) -> Comparison:
    """Score a label map against its reference, or a folder of them against theirs.

    Raises:
        InputError: see :func:`find_pairs` and :func:`compare_pair`.

    Examples:
        >>> from MISSUCore import compare
        >>> comparison = compare(folder / "labels.nii.gz", folder / "labels.nii.gz")
        >>> [(row.region, row.dice) for row in comparison.rows]
        [('WT', 1.0), ('TC', 1.0), ('ET', 1.0)]
    """
    progress = progress or Progress()
    pairs = find_pairs(prediction, reference)
    rows: list[RegionScores] = []
    for number, pair in enumerate(pairs):
        progress(Stage.EVALUATION, number / len(pairs), pair.case)
        rows += compare_pair(pair, scheme)
    progress(Stage.EVALUATION, 1.0, f"cases compared: {len(pairs)}")
    return Comparison(tuple(rows))


def compare_pair(pair: Pair, scheme: LabelScheme) -> list[RegionScores]:
    """Score every region of a case, in the order of the scheme.

    Raises:
        InputError: if a file is not a label map of this scheme, or the two lie on different grids.
    """
    predicted_image, predicted = read_regions(pair.prediction, scheme)
    reference_image, expected = read_regions(pair.reference, scheme)
    check_grids((pair.prediction, predicted_image), (pair.reference, reference_image))
    spacing_mm = reference_image.GetSpacing()[::-1]
    predicted_ml = volumes_ml(predicted, spacing_mm, scheme.region_names)
    expected_ml = volumes_ml(expected, spacing_mm, scheme.region_names)
    return [
        RegionScores(
            case=pair.case,
            region=region,
            **asdict(score_region(predicted[index], expected[index], spacing_mm)),
            **asdict(score_lesions(predicted[index], expected[index], spacing_mm)),
            **asdict(score_lesion_wise(predicted[index], expected[index], spacing_mm)),
            prediction_ml=predicted_ml[region],
            reference_ml=expected_ml[region],
        )
        for index, region in enumerate(scheme.region_names)
    ]


def read_regions(path: Path, scheme: LabelScheme) -> tuple[sitk.Image, NDArray[np.bool_]]:
    """A label map and its masks (regions, depth, height, width).

    Raises:
        InputError: if it cannot be read, or its values are not those of the scheme.
    """
    image = read_label_map(path)
    label_map = sitk.GetArrayViewFromImage(image)
    values = np.unique(label_map).tolist()
    numbering = numbering_of(values, scheme)
    if not numbering.accepts(values):
        raise InputError(a_file(path), f": label values {values} are not those of {scheme.name}")
    return image, numbering.to_regions(label_map)


def check_grids(
    first: tuple[ScanSource, sitk.Image], second: tuple[ScanSource, sitk.Image]
) -> None:
    """Check that two images, each given with its source, lie on the same grid.

    Raises:
        InputError: if not.
    """
    (path, image), (other_path, other) = first, second
    if same_grid(image, other):
        return
    differences = (
        (name, getattr(image, f"Get{name}")(), getattr(other, f"Get{name}")())
        for name in ("Size", "Spacing", "Origin", "Direction")
    )
    name, ours, theirs = next(
        found for found in differences if not np.allclose(found[1], found[2], rtol=0, atol=1e-6)
    )
    raise InputError(
        a_file(path),
        " and ",
        a_file(other_path),
        f": lie on different grids, {name.lower()} {ours} and {theirs}; resample one to the other",
    )


def _statistics(values: list[float]) -> Statistics:
    known = np.array([value for value in values if not math.isnan(value)])
    if not known.size:
        return Statistics(*[math.nan] * len(fields(Statistics)))
    mean, median = float(known.mean()), float(np.median(known))
    if known.size == 1:
        return Statistics(mean, math.nan, median, math.nan, math.nan)
    # Seeded, so that the same scores have the same interval.
    drawn = np.random.default_rng(0).choice(known, (RESAMPLINGS, known.size))
    low, high = np.quantile(drawn.mean(axis=1), (0.025, 0.975))
    return Statistics(mean, float(known.std(ddof=1)), median, float(low), float(high))


def _digits(metric: str) -> int:
    return 2 if metric.endswith(("_mm", "_ml")) or metric.startswith("lesions_") else 4


def _interval(values: Statistics, metric: str) -> str:
    digits = min(_digits(metric), 3)
    mean, low, high, median = (
        "-" if math.isnan(value) else f"{value:.{digits}f}"
        for value in (values.mean, values.mean_low, values.mean_high, values.median)
    )
    return f"{mean} ({low} to {high}), {median}"


def _cell(values: Statistics, metric: str) -> str:
    digits = _digits(metric)
    mean = f"{values.mean:.{digits}f}"
    if math.isnan(values.standard_deviation):
        return mean
    return f"{mean} ({values.standard_deviation:.{digits}f})"
