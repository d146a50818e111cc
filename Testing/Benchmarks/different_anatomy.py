"""Are scans of two patients told from scans of one, however badly these were taken?

    python Testing/Benchmarks/different_anatomy.py BRATS_FOLDER [--pairs 60] [--seed 0]
        [--kinds published moved thick recut noise field half front slab worst awful]

Two pairs of three are of one patient: another sequence is registered to T1 or T1ce. The third is of
two patients. The moving scan is changed first:

    published  as it is             moved   by up to 20 mm and 15 degrees, on a grid of its own
    thick      slices of 5 mm       recut   the brain's edge cut anew, unevenly by up to 6 mm
    noise      of 30 % of the mean  field   a bias field of 60 %
    half, front, slab               half of the brain, or 40 slices of it, moved
    worst      moved, thick, recut, noise and field
    awful      the same with voxels of 2x2x10 mm and noise of 40 %

Printed are normalized mutual information, Dice of the brains, the fit of the edges inside, and
whether the pair would be refused; and for one patient and for two the extremes and the count.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from registration_trials import DIRECTIONS, on_own_grid, random_move, stripped_anew

from MISSUCore.io.geometry import image_like
from MISSUCore.io.reading import read_image
from MISSUCore.preprocessing.brain_extraction import content_mask, mask_dice, strip
from MISSUCore.preprocessing.checks import OTHER_BRAIN, OTHER_INSIDE
from MISSUCore.preprocessing.edge_agreement import edge_agreement
from MISSUCore.preprocessing.registration.head import find_head
from MISSUCore.preprocessing.registration.rigid import moved, register

KINDS = (
    *("published", "moved", "thick", "recut", "noise", "field"),
    *("half", "front", "slab", "worst", "awful"),
)
MODALITIES = ("t1", "t1ce", "t2", "flair")
SLAB = 40


def main() -> None:
    """Print a row per pair, and the range of values for each kind of pair."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pairs", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    options = parser.parse_args()
    cases = sorted(path for path in options.folder.iterdir() if path.is_dir())
    rows: dict[bool, list[list[float]]] = {True: [], False: []}
    print("pair", "kind", "fixed", "moving", "NMI", "Dice", "inside", "refused", sep="\t")
    for number in range(options.pairs):
        rng = np.random.default_rng((options.seed, number))
        one_patient = number % 3 != 2
        turn = number // 3 * 2 + number % 3 if one_patient else number // 3
        kind = options.kinds[turn % len(options.kinds)]
        rows[one_patient].append(measured(cases, kind, one_patient, rng, number))
    for one_patient, name in ((True, "one patient"), (False, "two patients")):
        table = np.array(rows[one_patient], float)
        refused = np.sum(is_refused(table[:, 1], table[:, 2]))
        print(f"{name}: {refused} of {len(table)} refused")
        for what, column in zip(("NMI", "Dice", "inside"), table.T, strict=True):
            low, middle, high = np.nanpercentile(column, (0, 50, 100))
            print(f"    {what}: {low:.3f} to {high:.3f}, median {middle:.3f}")


def is_refused(dice: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Whether :func:`.check_anatomy` would refuse pairs; NaN values are unknown."""
    return (dice < OTHER_BRAIN) & (inside < OTHER_INSIDE)


def measured(
    cases: list[Path], kind: str, one_patient: bool, rng: np.random.Generator, number: int
) -> list[float]:
    """Normalized mutual information, Dice and inner fit of a pair; prints its row."""
    own = cases[rng.integers(len(cases))]
    other = own
    if not one_patient:
        other = cases[(cases.index(own) + 1 + rng.integers(len(cases) - 1)) % len(cases)]
    still = "t1" if rng.random() < 0.7 else "t1ce"
    name = [each for each in MODALITIES if each != still][rng.integers(3)]
    fixed, scan = (
        sitk.Cast(read_image(case / f"{case.name}_{each}.nii.gz"), sitk.sitkFloat32)
        for case, each in ((own, still), (other, name))
    )
    moving = changed(scan, kind, rng)
    brains = [content_mask(image) for image in (moving, fixed)]
    moving, fixed = (strip(image, brain) for image, brain in zip((moving, fixed), brains))
    found = register(moving, fixed, moving_mask=brains[0], fixed_mask=brains[1])
    place = found.transform
    brain = moved(brains[0], place)
    dice = mask_dice(brain, brains[1])
    inside = edge_agreement(moved(moving, place), fixed, brain, brains[1])
    row = [found.quality, dice, np.nan if inside is None else inside]
    print(
        *(number, kind, f"{own.name} {still}", f"{other.name} {name}"),
        *(f"{value:.3f}" for value in row),
        "refused" if is_refused(*np.array(row[1:])) else "",
        sep="\t",
        flush=True,
    )
    return row


def changed(scan: sitk.Image, kind: str, rng: np.random.Generator) -> sitk.Image:
    """The scan as changed by this kind of examination."""
    move = random_move(rng, find_head("scan", scan).points_mm.mean(axis=0))
    plane = list(DIRECTIONS)[rng.integers(3)]
    if kind == "published":
        return scan
    if kind in ("half", "front", "slab"):
        return moved(part(scan, kind, rng), sitk.Euler3DTransform(move.GetInverse()))
    bad = kind in ("worst", "awful")
    if bad or kind == "recut":
        scan = stripped_anew(scan, rng)
    if bad or kind == "field":
        scan = with_field(scan, 0.6, rng)
    scan = on_own_grid(scan, move, plane, bad or kind == "thick", rng)
    if kind == "awful":
        scan = sitk.BinShrink(scan, [2, 2, 2])
    if bad or kind == "noise":
        scan = noisy(scan, 0.4 if kind == "awful" else 0.3, rng)
    return scan


def part(scan: sitk.Image, kind: str, rng: np.random.Generator) -> sitk.Image:
    """A part of the scan: left or right half, front or back half, or some slices."""
    width, depth, height = scan.GetSize()
    if kind == "slab":
        first = int(rng.integers(height // 4, height // 2))
        return scan[:, :, first : first + SLAB]
    low = rng.random() < 0.5
    if kind == "half":
        return scan[: width // 2] if low else scan[width // 2 :]
    return scan[:, : depth // 2] if low else scan[:, depth // 2 :]


def noisy(scan: sitk.Image, part_of_mean: float, rng: np.random.Generator) -> sitk.Image:
    """The scan with Gaussian noise in the brain, whose voxels stay above 0."""
    voxels = sitk.GetArrayFromImage(scan)
    brain = voxels != 0
    noise = rng.normal(0, part_of_mean * voxels[brain].mean(), voxels.shape)
    return image_like(np.where(brain, np.maximum(voxels + noise, 1e-3), 0).astype("f4"), scan)


def with_field(scan: sitk.Image, strength: float, rng: np.random.Generator) -> sitk.Image:
    """The scan, brighter towards one side."""
    voxels = sitk.GetArrayFromImage(scan)
    direction = rng.normal(size=3)
    axes = [np.linspace(-1, 1, length) for length in voxels.shape]
    along = np.stack(np.meshgrid(*axes, indexing="ij"), -1) @ direction / np.linalg.norm(direction)
    return image_like((voxels * np.maximum(1 + strength * along, 0.05)).astype("f4"), scan)


if __name__ == "__main__":
    main()
