"""Dice and Hausdorff distances of a model on held-out BraTS cases, on their own grids.

    python Testing/Benchmarks/validate_model.py BRATS_FOLDER OUTPUT_FOLDER [--model NAME]
        [--names FILE ...] [--without MODALITY] [--mirror]

Segments every case as ``missu segment`` does, and compares as ``missu evaluate`` does; the scores
are left in OUTPUT_FOLDER/scores.csv and scores.json. Means are told with the 95 % bootstrap
interval over the cases, and with medians: the cases are few; of several lists each apart, too. What
is expected is held against what was reached, with a scan missing also where it would not be told.
Where a model that looks twice leaves the answer to its finder, as without T1ce, so it does here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from held_out import measuring_parser, split

from MISSUCore.contract.modalities import BRATS_MODALITIES
from MISSUCore.evaluation.comparison import Comparison, compare
from MISSUCore.inference.case_files import segment_files
from MISSUCore.inference.missing_scans import answering_model
from MISSUCore.inference.segmentation import SegmentationOptions
from MISSUCore.models.store import Model, load_model
from MISSUCore.preprocessing.pipeline import AS_THEY_ARE


def main() -> None:
    """Segment, compare, print the table."""
    parser = measuring_parser(__doc__)
    parser.add_argument("--without", choices=BRATS_MODALITIES, help="leave this modality out")
    parser.add_argument("--mirror", action="store_true", help="average over mirror images")
    options = parser.parse_args()
    how = SegmentationOptions(mirror=options.mirror)
    _, cases = split(options.folder, options.names)
    given = [name for name in BRATS_MODALITIES if name != options.without]
    model = telling_all(answering_model(given, load_model(options.model))[0])
    print(f"{model.card.name} answers")
    expected: dict[str, Mapping[str, float]] = {}
    references = options.output / "references"
    references.mkdir(parents=True, exist_ok=True)
    for case in cases:
        scans = {name: path for name, path in case.images.items() if name != options.without}
        segmentation = options.output / "segmentations" / f"{case.name}.nii.gz"
        report = segment_files(
            scans,
            segmentation,
            model=model,
            reference=case.labels,
            overwrite=True,
            preprocessing=AS_THEY_ARE,
            options=how,
        )
        expected[case.name] = report.confidence
        print(case.name, *report.warnings, sep="  ", flush=True)
        reference = references / f"{case.name}.nii.gz"
        reference.unlink(missing_ok=True)
        reference.symlink_to(case.labels.resolve())
    comparison = compare(options.output / "segmentations", references)
    comparison.write_csv(options.output / "scores.csv")
    comparison.write_json(options.output / "scores.json")
    groups = {case.name: case.group for case in cases}
    for group in sorted(set(groups.values())):
        own = Comparison(tuple(row for row in comparison.rows if groups[row.case] == group))
        print(f"\n{group}")
        tell(own, expected, model)
    if len(set(groups.values())) > 1:
        print("\nall")
        tell(comparison, expected, model)


def tell(comparison: Comparison, expected: Mapping[str, Mapping[str, float]], model: Model) -> None:
    """Print the table of some cases, and how well it was known beforehand."""
    print(comparison.format_intervals())
    for region in model.card.label_scheme().region_names:
        print(f"{region}: {expectation(comparison, expected, region)}")


def telling_all(model: Model) -> Model:
    """The model, expecting a Dice of every region whatever scan is missing."""
    nothing: dict[str, list[str]] = {name: [] for name in model.card.modalities}
    return replace(model, card=replace(model.card, unreliable_without=nothing))


def expectation(
    comparison: Comparison, expected: Mapping[str, Mapping[str, float]], region: str
) -> str:
    """How the expected Dice of a region and the real one compare over the cases."""
    rows = [row for row in comparison.rows if row.region == region and region in expected[row.case]]
    if len(rows) < 2:
        return "no Dice is expected"
    real = np.array([row.dice for row in rows])
    told = np.array([expected[row.case][region] for row in rows])
    return (
        f"Dice expected {told.mean():.3f}, real {real.mean():.3f}, mean difference "
        f"{np.abs(told - real).mean():.3f}, correlation {np.corrcoef(told, real)[0, 1]:.2f}"
    )


if __name__ == "__main__":
    main()
