"""Do two T1ce scans show one patient? Held against patients at two dates, and against strangers.

    python Testing/Benchmarks/one_patient.py dates PATIENTS
    python Testing/Benchmarks/one_patient.py stripped BRATS_FOLDER [--pairs 24] [--seed 5]

dates: PATIENTS as for visit_pairs.py; each first scan with each second, so that 11 patients make
11 pairs of one patient and 110 of two. The limits of ``missu visits`` were chosen on these.

stripped: what the limits were not chosen on. Every other pair is of one case of BraTS, whose second
date is simulated: the tumor grown by 4 to 8 mm, its inside dark, a bias field of 40 %, moved by up
to 20 mm and 15 degrees on a grid of its own, half of them in slices of 5 mm, noise of 10 %. The
others are of two cases, the second one changed in the same way but for tumor and bias field.

Printed are normalized mutual information and the fit of the edges deep inside, and their extremes.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from different_anatomy import noisy, with_field
from registration_trials import DIRECTIONS, on_own_grid, random_move
from scipy import ndimage
from visit_pairs import SLICES, SPACING_MM

from MISSUCore.io.geometry import image_like
from MISSUCore.io.reading import read_image
from MISSUCore.preprocessing.background import shift_to_nonnegative
from MISSUCore.preprocessing.registration.head import find_head
from MISSUCore.preprocessing.registration.rigid import register
from MISSUCore.visits.one_patient import similarity

Pair = tuple[str, bool, sitk.Image, sitk.Image]


def dates(folder: Path) -> Iterator[Pair]:
    """Yield pairs of dates: name, whether it is one patient, moving and fixed scan."""
    patients = sorted(path.parent for path in folder.glob("*/first_t1ce.nii.gz"))
    for first in patients:
        for second in patients:
            fixed, moving = (
                sitk.ReadImage(str(path), sitk.sitkFloat32)[:, :, :SLICES]
                for path in (first / "first_t1ce.nii.gz", second / "second_t1ce.nii.gz")
            )
            for scan in (fixed, moving):
                scan.SetSpacing(SPACING_MM)
            yield f"{second.name} on {first.name}", first == second, moving, fixed


def stripped(folder: Path, pairs: int, seed: int) -> Iterator[Pair]:
    """Yield such pairs made from BraTS cases."""
    cases = sorted(path for path in folder.iterdir() if path.is_dir())
    for number in range(pairs):
        rng = np.random.default_rng((seed, number))
        own = cases[rng.integers(len(cases))]
        other, one_patient = own, number % 2 == 0
        if not one_patient:
            other = cases[(cases.index(own) + 1 + rng.integers(len(cases) - 1)) % len(cases)]
        fixed, scan = (
            sitk.Cast(read_image(case / f"{case.name}_t1ce.nii.gz"), sitk.sitkFloat32)
            for case in (own, other)
        )
        if one_patient:
            scan = grown(scan, read_image(own / f"{own.name}_seg.nii.gz"), rng)
            scan = with_field(scan, 0.4, rng)
        move = random_move(rng, find_head("scan", scan).points_mm.mean(axis=0))
        plane = list(DIRECTIONS)[rng.integers(3)]
        moving = noisy(on_own_grid(scan, move, plane, bool(rng.random() < 0.5), rng), 0.1, rng)
        yield f"{other.name} on {own.name}", one_patient, moving, fixed


def grown(scan: sitk.Image, labels: sitk.Image, rng: np.random.Generator) -> sitk.Image:
    """The scan with a bright rim of some mm around its tumor, which is dark inside."""
    voxels, values = (sitk.GetArrayFromImage(image) for image in (scan, labels))
    core = np.isin(values, (1, 3, 4))
    if not core.any():
        core = values > 0
    rim = ndimage.binary_dilation(core, iterations=int(rng.integers(4, 9))) & (voxels > 0) & ~core
    bright, dark = np.percentile(voxels[voxels > 0], (97, 15))
    voxels[rim] = bright * rng.uniform(0.8, 1.1, np.count_nonzero(rim))
    voxels[core] = dark * rng.uniform(0.8, 1.2, np.count_nonzero(core))
    return image_like(voxels.astype(np.float32), scan)


def main() -> None:
    """Print a row per pair, and the range of values for each kind of pair."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=("dates", "stripped"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pairs", type=int, default=24)
    parser.add_argument("--seed", type=int, default=5)
    options = parser.parse_args()
    pairs = (
        dates(options.folder)
        if options.kind == "dates"
        else stripped(options.folder, options.pairs, options.seed)
    )
    rows: dict[bool, list[list[float]]] = {True: [], False: []}
    for name, one_patient, moving, fixed in pairs:
        moving, fixed = shift_to_nonnegative(moving), shift_to_nonnegative(fixed)
        found = similarity(moving, fixed, register(moving, fixed))
        inside = np.nan if found.inside is None else found.inside
        rows[one_patient].append([found.outside, inside])
        told = "" if found.one_patient == one_patient else "WRONG"
        print(name, f"{found.outside:.3f}", f"{inside:.3f}", told, sep="\t", flush=True)
    for one_patient, name in ((True, "one patient"), (False, "two patients")):
        for what, column in zip(("outside", "inside"), np.array(rows[one_patient]).T, strict=True):
            low, middle, high = np.nanpercentile(column, (0, 50, 100))
            print(f"{name}, {what}: {low:.3f} to {high:.3f}, median {middle:.3f}")
            print(f"    {len(column)} pairs, {np.isnan(column).sum()} that cannot be told")


if __name__ == "__main__":
    main()
