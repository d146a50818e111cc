"""CHAOS as the paper has it: liver of 20 patients, 15 to train on and 5 to test, and its metrics.

    python Testing/Benchmarks/paper_chaos.py CHAOS_EVALUATION/Data_3D

computes the metrics on the challenge's own example (github.com/emrekavur/CHAOS-evaluation), for
which its page tells DICE=0.978 RAVD=0.665 ASSD=0.734 MSSD=14.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, distance_transform_edt, find_objects

from MISSUCore.core.files import atomic_write
from MISSUCore.evaluation.metrics import dice
from MISSUCore.io.geometry import image_like
from MISSUCore.io.reading import read_label_map
from MISSUCore.training.cases.chaos import find_chaos_cases
from MISSUCore.training.cases.labeled import LabeledCase

Mask = NDArray[np.bool_]
LIVER = 1
TEST_EVERY = 4  # of 20 cases in the order of their numbers: 5 to test on


@dataclass(frozen=True)
class ChaosScores:
    """The challenge's metrics: Dice, volume difference in percent of the reference, mm."""

    dice: float
    ravd_percent: float
    assd_mm: float
    mssd_mm: float


def chaos_scores(prediction: Mask, reference: Mask, spacing_mm: Sequence[float]) -> ChaosScores:
    """The metrics of the challenge (Kavur et al. 2021), as its page defines and computes them.

    ASSD and MSSD are the mean and the longest of all distances from surface to surface, both
    directions together. A surface voxel has a face neighbor outside the mask, and beyond the
    image nothing is outside. An empty prediction has distances of the image's diagonal.

    Args:
        prediction: (D, H, W).
        reference: the same shape; not empty.
        spacing_mm: (depth, height, width).
    """
    if not reference.any():
        raise ValueError("the reference is empty")
    size = np.count_nonzero(reference)
    difference = 100 * abs(np.count_nonzero(prediction) - size) / size
    overlap = dice(prediction, reference)
    if not prediction.any():
        diagonal = float(np.linalg.norm(np.multiply(reference.shape, spacing_mm)))
        return ChaosScores(overlap, difference, diagonal, diagonal)
    (box,) = find_objects((prediction | reference).astype(np.uint8))
    # One voxel more, so that a mask's own end is not taken for that of the image.
    wider = tuple(slice(max(0, part.start - 1), part.stop + 1) for part in box)
    prediction, reference = prediction[wider], reference[wider]
    surfaces = [mask & ~binary_erosion(mask, border_value=1) for mask in (prediction, reference)]
    maps = [distance_transform_edt(~surface, sampling=spacing_mm) for surface in surfaces]
    distances = np.concatenate([maps[1][surfaces[0]], maps[0][surfaces[1]]])
    return ChaosScores(overlap, difference, float(distances.mean()), float(distances.max()))


def chaos_cases(folder: Path, liver_folder: Path) -> tuple[list[LabeledCase], tuple[str, ...]]:
    """The labeled cases in a folder and their modalities, in the order of their numbers.

    Either the challenge's own Train_Sets (t1 and t2), or folders ``chaos_N`` with t2spir.nii.gz
    and organs.nii.gz (1 is liver), as they travel with few-shot benchmarks: these have no T1.

    Args:
        folder: folder with the cases.
        liver_folder: folder to which label maps of the liver alone are written.
    """
    places = [place for place in folder.glob("chaos_*") if (place / "t2spir.nii.gz").is_file()]
    if not places:
        return sorted(find_chaos_cases(folder), key=_number), ("t1", "t2")
    cases = []
    for place in places:
        organs = read_label_map(place / "organs.nii.gz")
        liver = liver_folder / f"{place.name}.nii.gz"
        liver_folder.mkdir(parents=True, exist_ok=True)
        if not liver.exists():
            mask = (sitk.GetArrayViewFromImage(organs) == LIVER).astype(np.uint8)
            with atomic_write(liver) as temporary:
                sitk.WriteImage(image_like(mask, organs), str(temporary))
        cases.append(LabeledCase(place.name, {"t2": place / "t2spir.nii.gz"}, liver))
    return sorted(cases, key=_number), ("t2",)


def _number(case: LabeledCase) -> int:
    return int(re.sub(r"\D", "", case.name))


def chaos_split(cases: Sequence[LabeledCase]) -> tuple[list[LabeledCase], list[LabeledCase]]:
    """15 to train on and 5 to test; the paper does not say which, so it is every fourth."""
    tested = list(cases[TEST_EVERY - 1 :: TEST_EVERY])
    return [case for case in cases if case not in tested], tested


def read_example(folder: Path) -> tuple[Mask, Mask, tuple[float, float, float]]:
    """Segmentation, reference and spacing (depth, height, width) of the challenge's example."""
    masks = [
        np.stack(
            [
                sitk.GetArrayFromImage(sitk.ReadImage(str(path))) > 0
                for path in sorted((folder / name).glob("*.png"))
            ]
        )
        for name in ("Segmentation", "Ground")
    ]
    slices = sorted((folder / "DICOM_anon").glob("*.dcm"))
    first, last = (
        pydicom.dcmread(path, stop_before_pixels=True) for path in (slices[0], slices[-1])
    )
    way = np.subtract(last.ImagePositionPatient, first.ImagePositionPatient).astype(float)
    height, width = map(float, first.PixelSpacing)
    return masks[0], masks[1], (float(np.linalg.norm(way)) / (len(slices) - 1), height, width)


def main() -> None:
    """Print the four metrics of the example."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    scores = chaos_scores(*read_example(parser.parse_args().folder))
    print(
        f"DICE={scores.dice:.3f} RAVD={scores.ravd_percent:.3f} ASSD={scores.assd_mm:.3f} "
        f"MSSD={scores.mssd_mm:.3g}"
    )


if __name__ == "__main__":
    main()
