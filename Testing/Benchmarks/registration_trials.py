"""How exactly registration finds known moves of real scans.

    python Testing/Benchmarks/registration_trials.py BRATS_FOLDER [--trials 100] [--recut]
    python Testing/Benchmarks/registration_trials.py --raw RAW_FOLDER [--trials 20]

BraTS: T1ce, T2 or FLAIR is turned (three Euler angles up to 15 degrees each, center of the brain)
and shifted (any direction, up to 20 mm), and resampled to a grid of its own: every second time to
slices of 5 mm, axial, sagittal and coronal; then it is registered to T1. With --recut the brain's
edge is cut anew before by up to 6 mm, as if each scan had been stripped by itself. Raw scans
(NAME_t1, _t1c, _t2, _fla): their headers are moved, and the result is compared with that of the
scans as they are.

Printed are the mean and largest error of position over the brain, the error of rotation, normalized
mutual information and seconds of CPU time. BraTS scans lie up to 1 mm off each other as published,
so the error is also given against what is found for the scans as they are.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from MISSUCore.io.geometry import image_like
from MISSUCore.io.reading import read_image
from MISSUCore.preprocessing.registration.head import find_head
from MISSUCore.preprocessing.registration.rigid import Registration, moved, register
from MISSUCore.preprocessing.registration.search import Points, transformed

DIRECTIONS = {
    "axial": (1, 0, 0, 0, 1, 0, 0, 0, 1),
    "sagittal": (0, 0, -1, 1, 0, 0, 0, -1, 0),
    "coronal": (1, 0, 0, 0, 0, 1, 0, -1, 0),
}
SLICE_MM = 5
BAR_MM, BAR_DEGREES = 1.0, 1.0


def random_move(rng: np.random.Generator, center_mm: Points) -> sitk.Euler3DTransform:
    """Three angles up to 15 degrees, and up to 20 mm in any direction."""
    way = rng.normal(size=3)
    move = sitk.Euler3DTransform()
    move.SetCenter(center_mm.tolist())
    move.SetRotation(*np.deg2rad(rng.uniform(-15, 15, 3)).tolist())
    move.SetTranslation((way / np.linalg.norm(way) * rng.uniform(0, 20)).tolist())
    return move


def stripped_anew(scan: sitk.Image, rng: np.random.Generator) -> sitk.Image:
    """The scan with an uneven rim of its brain set to 0."""
    voxels = sitk.GetArrayFromImage(scan)
    depth_mm = ndimage.distance_transform_edt(np.pad(voxels > 0, 1))[1:-1, 1:-1, 1:-1]
    rough = rng.normal(1.5, 1.5, [length // 16 + 2 for length in voxels.shape])
    zoom = [length / small for length, small in zip(voxels.shape, rough.shape)]
    voxels[depth_mm <= np.clip(ndimage.zoom(rough, zoom, order=1), 0, 6)] = 0
    return image_like(voxels, scan)


def on_own_grid(
    scan: sitk.Image, move: sitk.Euler3DTransform, plane: str, thick: bool, rng: np.random.Generator
) -> sitk.Image:
    """The moved scan on a grid that has 2 to 15 mm around it."""
    points = transformed(move, find_head("scan", scan).points_mm)
    low = points.min(axis=0) - rng.uniform(2, 15, 3)
    high = points.max(axis=0) + rng.uniform(2, 15, 3)
    direction = np.array(DIRECTIONS[plane], float).reshape(3, 3)
    size = np.ceil(np.abs(direction.T @ (high - low)) / SLICE_MM).astype(int) * SLICE_MM
    grid = sitk.Image(size.tolist(), sitk.sitkUInt8)
    grid.SetDirection(direction.ravel().tolist())
    grid.SetOrigin(((low + high) / 2 - direction @ (size - 1) / 2).tolist())
    result = sitk.Resample(scan, grid, move.GetInverse(), sitk.sitkLinear, 0.0)
    return sitk.BinShrink(result, [1, 1, SLICE_MM]) if thick else result


def errors(
    found: sitk.Euler3DTransform, truth: sitk.Euler3DTransform, points_mm: Points
) -> tuple[float, float, float]:
    """Mean and largest error of position in mm, and that of rotation in degrees."""
    distance = np.linalg.norm(transformed(found, points_mm) - transformed(truth, points_mm), axis=1)
    turns = [np.array(transform.GetMatrix()).reshape(3, 3) for transform in (found, truth)]
    cosine = (np.trace(turns[0].T @ turns[1]) - 1) / 2
    return distance.mean(), distance.max(), np.rad2deg(np.arccos(np.clip(cosine, -1, 1)))


def after(move: sitk.Euler3DTransform, found: sitk.Euler3DTransform) -> sitk.Euler3DTransform:
    """The transform found for the original scan, followed by the move."""
    both = sitk.Euler3DTransform()
    both.SetMatrix(
        (np.array(move.GetMatrix()).reshape(3, 3) @ np.array(found.GetMatrix()).reshape(3, 3))
        .ravel()
        .tolist()
    )
    both.SetTranslation(move.TransformPoint(found.TransformPoint((0, 0, 0))))
    return both


def brats_trial(
    folder: Path, number: int, seed: int, recut: bool
) -> tuple[np.ndarray, Registration]:
    """A BraTS scan moved and registered; prints how its line begins.

    Returns:
        The numbers of the line: errors against the true move and against what is found for the
        scans as they are, quality, seconds; and what was found.
    """
    rng = np.random.default_rng((seed, number))
    cases = sorted(path for path in folder.iterdir() if path.is_dir())
    case = cases[rng.permutation(len(cases))[0]]
    modality = ("t1ce", "t2", "flair")[number % 3]
    thick = number % 2 == 1
    plane = list(DIRECTIONS)[number // 2 % 3]
    fixed = read_image(case / f"{case.name}_t1.nii.gz")
    scan = read_image(case / f"{case.name}_{modality}.nii.gz")
    points = find_head("T1", fixed).points_mm
    move = random_move(rng, points.mean(axis=0))
    cut = stripped_anew(scan, rng) if recut else scan
    moving = on_own_grid(cut, move, plane, thick, rng)
    began = time.process_time()
    result = register(moving, fixed, moving_name=f"{case.name} {modality}")
    seconds = time.process_time() - began
    # On a grid of its own, or it would be left alone.
    unmoved = register(on_own_grid(scan, sitk.Euler3DTransform(), "axial", False, rng), fixed)
    print(f"{number:3d} {case.name:24s} {modality:5s} {plane if thick else '':8s}", end=" ")
    row = [
        *errors(result.transform, move, points),
        *errors(result.transform, after(move, unmoved.transform), points),
    ]
    return np.array([*row, result.quality, seconds]), result


def raw_trials(folder: Path, trials: int, seed: int) -> list[tuple[np.ndarray, Registration]]:
    """Errors of scans with moved headers against the same scans as they are; prints a line each."""
    scans = {
        kind: read_image(next(folder.glob(f"*_{kind}.nii*"))) for kind in ("t1", "t1c", "t2", "fla")
    }
    fixed = scans.pop("t1")
    points = find_head("T1", fixed).points_mm
    as_they_are = {}
    for kind, scan in scans.items():
        began = time.process_time()
        result = as_they_are[kind] = register(scan, fixed, moving_name=kind)
        print(
            f"{kind} as it is: moved {result.moved_mm:.2f} mm, quality {result.quality:.3f}, "
            f"skipped {result.skipped}, {time.process_time() - began:.1f} s; {result.warnings}"
        )
    rows = []
    for number in range(trials):
        rng = np.random.default_rng((seed, number))
        kind = list(scans)[number % len(scans)]
        move = random_move(rng, points.mean(axis=0))
        back = sitk.Euler3DTransform(move.GetInverse())
        began = time.process_time()
        result = register(moved(scans[kind], back), fixed, moving_name=kind)
        seconds = time.process_time() - began
        truth = after(move, as_they_are[kind].transform)
        found = errors(result.transform, truth, points)
        rows.append((np.array([*found, *found, result.quality, seconds]), result))
        print(f"{number:3d} {kind:5s}", end=" ")
        print_row(*rows[-1])
    return rows


def print_row(row: np.ndarray, result: Registration) -> None:
    """Print the numbers of a line, and the warnings."""
    print("  ".join(f"{value:6.2f}" for value in row[:6]), f" {row[6]:.3f} {row[7]:5.1f} s")
    for warning in result.warnings:
        print("    ", warning)


def main() -> None:
    """Run the trials, print each and the share within 1 mm and 1 degree."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--raw", type=Path)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--recut", action="store_true")
    options = parser.parse_args()
    rows = []
    if options.raw:
        rows = raw_trials(options.raw, options.trials, options.seed)
    else:
        if not options.folder:
            parser.error("give a folder of BraTS cases, or --raw")
        for number in range(options.trials):
            rows.append(brats_trial(options.folder, number, options.seed, options.recut))
            print_row(*rows[-1])
    table = np.array([row for row, _ in rows])
    for title, distance, turn in (
        ("true move, mean over the brain", 0, 2),
        ("true move, largest in the brain", 1, 2),
        ("scans as they are, mean over the brain", 3, 5),
        ("scans as they are, largest in the brain", 4, 5),
    ):
        good = (table[:, distance] <= BAR_MM) & (table[:, turn] <= BAR_DEGREES)
        print(
            f"error within {BAR_MM:g} mm and {BAR_DEGREES:g} degree against {title}: {good.sum()} "
            f"of {len(good)}"
        )
    print("median  ", *(f"{value:7.3f}" for value in np.median(table, axis=0)))
    print("largest ", *(f"{value:7.3f}" for value in table.max(axis=0)))
    print("smallest", *(f"{value:7.3f}" for value in table.min(axis=0)))


if __name__ == "__main__":
    main()
