"""Dice and Hausdorff distances of a model on held-out BraTS cases, on their own grids.

    python Testing/Benchmarks/validate_model.py BRATS_FOLDER OUTPUT_FOLDER [--model NAME]
        [--names MISSUCore/training/validation_brats.txt] [--without MODALITY] [--mirror]

Segments every case as ``missu segment`` does, and compares as ``missu evaluate`` does; the scores
are left in OUTPUT_FOLDER/scores.csv and scores.json. Means are told with the 95 % bootstrap
interval over the cases, and with medians: the cases are few.
"""

from __future__ import annotations

from held_out import measuring_parser, split

from MISSUCore.contract.modalities import BRATS_MODALITIES
from MISSUCore.evaluation.comparison import compare
from MISSUCore.inference.case_files import segment_files
from MISSUCore.inference.segmentation import SegmentationOptions
from MISSUCore.preprocessing.pipeline import AS_THEY_ARE


def main() -> None:
    """Segment, compare, print the table."""
    parser = measuring_parser(__doc__)
    parser.add_argument("--without", choices=BRATS_MODALITIES, help="leave this modality out")
    parser.add_argument("--mirror", action="store_true", help="average over mirror images")
    options = parser.parse_args()
    how = SegmentationOptions(mirror=options.mirror)
    _, cases = split(options.folder, options.names)
    references = options.output / "references"
    references.mkdir(parents=True, exist_ok=True)
    for case in cases:
        scans = {name: path for name, path in case.images.items() if name != options.without}
        segmentation = options.output / "segmentations" / f"{case.name}.nii.gz"
        report = segment_files(
            scans,
            segmentation,
            model=options.model,
            reference=case.labels,
            overwrite=True,
            preprocessing=AS_THEY_ARE,
            options=how,
        )
        print(case.name, *report["warnings"], sep="  ", flush=True)
        reference = references / f"{case.name}.nii.gz"
        reference.unlink(missing_ok=True)
        reference.symlink_to(case.labels.resolve())
    comparison = compare(options.output / "segmentations", references)
    comparison.write_csv(options.output / "scores.csv")
    comparison.write_json(options.output / "scores.json")
    print(comparison.format_intervals())


if __name__ == "__main__":
    main()
