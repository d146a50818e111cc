"""Is the brain found where another tool found it, and is a skull noticed only where there is one?

    python Testing/Benchmarks/brain_masks.py RAW_FOLDER [--stripped FOLDER]

Scans ``X_t1.nii.gz`` and so on in a folder are one patient as the scanner left him; the masks
``X_t1_brainmask.nii.gz`` beside them are what is compared with. The mask that is taken is the brain
of one scan, laid on the others by registration; its own is what deepbet finds in a scan. Printed is
the Dice of both with the given mask, and of one with the other, and seconds of the processor (CPU).
``--stripped`` names a folder with scans without skull, at any depth; printed are those taken for a
head.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import SimpleITK as sitk

from MISSUCore.contract.naming.rules import modality_of_file_name
from MISSUCore.evaluation.metrics import dice
from MISSUCore.io.reading import read_image, read_label_map
from MISSUCore.preprocessing.brain_extraction import extract_brain, has_skull
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
    began = time.process_time()
    case = preprocess(images, PreprocessingOptions())
    print(f"{case.brain_method}: {time.process_time() - began:.1f} s of CPU", *case.warnings)
    print({step: round(seconds, 1) for step, seconds in case.seconds.items()})
    print("scan\town, given\ttaken, given\ttaken, own\tCPU of its own")
    for name, image in images.items():
        began = time.process_time()
        own = sitk.GetArrayFromImage(extract_brain(image)) > 0
        seconds = time.process_time() - began
        # Registration moves headers alone: the voxels are still those of the scan.
        taken = sitk.GetArrayFromImage(case.images[name]) != 0
        pairs = ((own, given[name]), (taken, given[name]), (taken, own))
        print(name, *(f"{dice(*pair):.4f}" for pair in pairs), f"{seconds:.1f} s", sep="\t")
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
