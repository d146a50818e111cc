"""Is the brain found where another tool found it, and is a skull noticed only where there is one?

    python Testing/Benchmarks/brain_masks.py RAW_FOLDER [--stripped FOLDER]

Scans ``X_t1.nii.gz`` and so on in a folder are one patient as the scanner left him; the masks
``X_t1_brainmask.nii.gz`` beside them are what is compared with. Printed is the Dice of each scan's
own mask, and of the one that all agree on once they are registered. ``--stripped`` names a folder
with scans without skull, at any depth; printed are those taken for a head.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import SimpleITK as sitk

from MISSUCore.contract.naming.rules import modality_of_file_name
from MISSUCore.evaluation.metrics import dice
from MISSUCore.io.reading import read_image, read_label_map
from MISSUCore.preprocessing.brain_extraction import find_brains, has_skull
from MISSUCore.preprocessing.pipeline import PreprocessingOptions, preprocess


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("raw", type=Path)
    parser.add_argument("--stripped", type=Path)
    options = parser.parse_args()
    paths = {
        modality_of_file_name(path.name): path for path in sorted(options.raw.glob("*.nii.gz"))
    }
    images = {name: read_image(path) for name, path in paths.items() if name}
    given = {}
    for name in images:
        mask = str(paths[name]).replace(".nii.gz", "_brainmask.nii.gz")
        given[name] = sitk.GetArrayFromImage(read_label_map(Path(mask))) > 0
    began = time.monotonic()
    brains = find_brains(images)
    print(f"brains of {len(images)} scans in {time.monotonic() - began:.1f} s")
    case = preprocess(images, PreprocessingOptions())
    print("scan\town\tagreed")
    for name, brain in brains.items():
        own = sitk.GetArrayFromImage(brain.mask) > 0
        # Registration moves headers alone: the voxels are still those of the scan.
        agreed = sitk.GetArrayFromImage(case.images[name]) != 0
        print(f"{name}\t{dice(own, given[name]):.4f}\t{dice(agreed, given[name]):.4f}")
    print({step: round(seconds, 1) for step, seconds in case.seconds.items()}, *case.warnings)
    if options.stripped:
        scans = [
            path
            for path in sorted(options.stripped.rglob("*.nii.gz"))
            if modality_of_file_name(path.name) not in (None, "segmentation")
        ]
        wrong = [path.name for path in scans if has_skull(read_image(path))]
        print(f"{len(wrong)} of {len(scans)} stripped scans are taken for heads", *wrong, sep="\n")


if __name__ == "__main__":
    main()
