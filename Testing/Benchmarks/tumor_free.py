"""How much tumor a model sees where there is none.

    python Testing/Benchmarks/tumor_free.py [BRATS_FOLDER] [--model NAME] [--simulated 5]

Simulated cases without a lesion, on the MNI152 template of a healthy brain, each also with one scan
missing; and, given BraTS data, held-out cases whose tumor lies in one hemisphere, with that
hemisphere replaced by the mirror image of the other: real scans without a tumor. Prints WT in ml;
the bar is 2 ml.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from held_out import FAST_MODEL, split

from MISSUCore.inference.segmentation import segment_case
from MISSUCore.io.geometry import image_like
from MISSUCore.io.reading import read_case, read_label_map
from MISSUCore.models.store import load_model
from MISSUCore.simulation.case import simulate_case

Images = Mapping[str, sitk.Image]


def mirrored_cases(folder: Path) -> Iterator[tuple[str, Images]]:
    """Held-out cases, their left and right halves made of the half without a tumor."""
    _, cases = split(folder)
    for case in cases:
        images = read_case(case.images).images
        labels = sitk.GetArrayFromImage(read_label_map(case.labels))
        brain = np.any([sitk.GetArrayViewFromImage(image) for image in images.values()], axis=0)
        # The middle of the brain from left to right, as far as its outline tells.
        middle = round(np.nonzero(brain)[2].mean())
        left, right = (labels[:, :, :middle] > 0).sum(), (labels[:, :, middle:] > 0).sum()
        if min(left, right) > 0:
            continue
        yield (
            f"{case.name}, healthy half mirrored",
            {
                name: image_like(mirror(sitk.GetArrayFromImage(image), middle, right == 0), image)
                for name, image in images.items()
            },
        )


def mirror(voxels: np.ndarray, middle: int, keep_high: bool) -> np.ndarray:
    """The volume (D, H, W) with one half along the width replaced by the other's mirror image."""
    if not keep_high:
        return mirror(voxels[:, :, ::-1], voxels.shape[2] - middle, True)[:, :, ::-1]
    result = voxels.copy()
    result[:, :, :middle] = 0
    width = min(middle, voxels.shape[2] - middle)
    result[:, :, middle - width : middle] = voxels[:, :, middle : middle + width][:, :, ::-1]
    return result


def main() -> None:
    """Segment all of them and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--model", default=FAST_MODEL)
    parser.add_argument("--simulated", type=int, default=5)
    options = parser.parse_args()
    model = load_model(options.model)
    cases: dict[str, Images] = {}
    for seed in range(options.simulated):
        images = simulate_case(seed, lesion=False).images
        cases[f"simulated {seed}"] = images
        for missing in images:
            rest = {name: image for name, image in images.items() if name != missing}
            cases[f"simulated {seed} without {missing}"] = rest
    if options.folder:
        cases.update(mirrored_cases(options.folder))
    volumes_ml = []
    for name, images in cases.items():
        volumes_ml.append(segment_case(images, model).volumes_ml["WT"])
        print(f"{volumes_ml[-1]:8.2f} ml  {name}", flush=True)
    print(
        f"{max(volumes_ml):8.2f} ml  at most; {sum(v > 2 for v in volumes_ml)} of {len(cases)} "
        "above 2 ml"
    )


if __name__ == "__main__":
    main()
