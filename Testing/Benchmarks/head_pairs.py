"""Do heads with skull lie on each other, told by the edges inside one brain alone?

    python Testing/Benchmarks/head_pairs.py RAW_FOLDER PATIENTS [--strangers 21]

RAW_FOLDER holds NAME_t1, _t1c, _t2 and _fla of one patient as the scanner left him, PATIENTS the
T1ce scans of patients at two dates, as ``visit_pairs.py`` takes them. Pairs of one patient: each
scan on T1 and on T1ce, as it is, with noise of 30 %, and moved with noise and a bias field of 60 %;
and the second date on the first. The brain is looked for in the fixed head alone, as
``missu segment`` does. Printed are normalized mutual information and the fit of the edges inside
that brain, pair by pair, and the extremes of both kinds of pairs.
"""

from __future__ import annotations

import argparse
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from different_anatomy import with_field
from registration_trials import random_move
from visit_pairs import SLICES, SPACING_MM

from MISSUCore.io.geometry import image_like
from MISSUCore.io.reading import read_image
from MISSUCore.io.resampling import on_grid
from MISSUCore.preprocessing.background import shift_to_nonnegative
from MISSUCore.preprocessing.brain_extraction import extract_brain
from MISSUCore.preprocessing.edge_agreement import edge_agreement
from MISSUCore.preprocessing.registration.head import find_head
from MISSUCore.preprocessing.registration.rigid import moved, register


def main() -> None:
    """Print a row per pair, and the extremes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("raw", type=Path)
    parser.add_argument("patients", type=Path)
    parser.add_argument("--strangers", type=int, default=21)
    options = parser.parse_args()
    raw = {
        kind: Scan(read_image(next(options.raw.glob(f"*_{kind}.nii*"))))
        for kind in ("t1", "t1c", "t2", "fla")
    }
    patients = sorted(path for path in options.patients.iterdir() if path.is_dir())
    rng = np.random.default_rng(0)
    own = [
        measured(f"{moving} on {still}, {how}", changed(raw[moving], how, rng), raw[still])
        for how in ("as it is", "noise", "worst")
        for still in ("t1", "t1c")
        for moving in raw
        if moving != still
    ]
    for patient in patients:
        dates = [visit(patient, when) for when in ("second", "first")]
        own.append(measured(f"{patient.name}, two dates", *dates))
    strangers = []
    for number in range(options.strangers):
        one, other = (patients[index] for index in rng.permutation(len(patients))[:2])
        kind = list(raw)[number // 3 % len(raw)]
        pair = {
            0: (visit(one, "first"), raw["t1" if number % 2 else "t1c"]),
            1: (raw[kind], visit(one, "first")),
            2: (visit(one, "second"), visit(other, "first")),
        }[number % 3]
        strangers.append(measured(f"stranger {number}", *pair))
    for name, rows in (("one patient", own), ("two patients", strangers)):
        for what, column in zip(("NMI", "inside"), np.array(rows, float).T, strict=True):
            low, middle, high = np.nanpercentile(column, (0, 50, 100))
            print(f"{len(rows)} of {name}, {what}: {low:.3f} to {high:.3f}, median {middle:.3f}")


class Scan:
    """A head scan without negative values, whose brain mask is computed only once."""

    def __init__(self, image: sitk.Image) -> None:
        self.image = shift_to_nonnegative(image)

    @cached_property
    def brain(self) -> sitk.Image:
        """Mask of the brain that deepbet finds."""
        return extract_brain(self.image)


@cache
def visit(patient: Path, when: str) -> Scan:
    """T1ce at a date, with the header corrected."""
    image = sitk.ReadImage(str(patient / f"{when}_t1ce.nii.gz"), sitk.sitkFloat32)[:, :, :SLICES]
    image.SetSpacing(SPACING_MM)
    return Scan(image)


def changed(head: Scan, how: str, rng: np.random.Generator) -> Scan:
    """The scan with noise, or moved with noise and a bias field."""
    if how == "as it is":
        return head
    scan = head.image
    if how == "worst":
        move = random_move(rng, find_head("scan", scan).points_mm.mean(axis=0))
        scan = with_field(moved(scan, sitk.Euler3DTransform(move.GetInverse())), 0.6, rng)
    voxels = sitk.GetArrayFromImage(scan)
    level = 0.3 * voxels[voxels > np.percentile(voxels, 60)].mean()
    return Scan(image_like(np.abs(voxels + rng.normal(0, level, voxels.shape)).astype("f4"), scan))


def measured(name: str, moving: Scan, fixed: Scan) -> list[float]:
    """Normalized mutual information and inner fit of a pair; prints its row."""
    mask = fixed.brain
    found = register(moving.image, fixed.image, fixed_mask=mask)
    there = moved(moving.image, found.transform)
    own = image_like((on_grid(mask, there) >= 0.5).astype(np.uint8), there)
    fit = edge_agreement(there, fixed.image, own, mask)
    row = [found.quality, np.nan if fit is None else fit]
    print(name, *(f"{value:.3f}" for value in row), sep="\t", flush=True)
    return row


if __name__ == "__main__":
    main()
