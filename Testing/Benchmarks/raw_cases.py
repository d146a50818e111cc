"""Are scans as they come segmented as well as prepared ones?

    python Testing/Benchmarks/raw_cases.py BRATS_FOLDER

Every scan of each held-out case is made as another examination would have made it: 1x1x5 mm voxels
with the thick slices along an axis of its own, on a tilted grid, and moved by up to 20 mm and 15
degrees without its header knowing. Printed is the Dice of the prepared case, and that of the moved
scans against the reference, which was moved with T1ce.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from held_out import split

from MISSUCore.contract.labels import BRATS
from MISSUCore.evaluation.metrics import dice
from MISSUCore.inference.case_files import segment_files
from MISSUCore.io.geometry import image_like
from MISSUCore.io.reading import read_image, read_label_map
from MISSUCore.preprocessing.pipeline import AS_THEY_ARE
from MISSUCore.preprocessing.registration.rigid import moved

SLICE_MM = 5
THICK_AXES = {"t1": 2, "t1ce": 2, "t2": 0, "flair": 1}  # x, y, z: two axial, sagittal, coronal


def main() -> None:
    """Print a row per case, and the means."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    _, cases = split(parser.parse_args().folder)
    rows = []
    print("case", *(f"{r} {how}" for how in ("prepared", "moved") for r in BRATS.region_names))
    for number, case in enumerate(cases):
        generator = np.random.default_rng(number)
        labels = read_label_map(case.labels)
        masks = BRATS.to_regions(sitk.GetArrayFromImage(labels))
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            before = segment_files(case.images, folder / "before.nii.gz", preprocessing=AS_THEY_ARE)
            scans = {}
            for modality, path in case.images.items():
                image = read_image(path)
                grid = thick_grid(image, THICK_AXES[modality], generator)
                move = random_move(image, generator, 15, 20)
                scans[modality] = folder / f"{modality}.nii.gz"
                brain = sitk.GetArrayViewFromImage(image) != 0
                scan = sitk.Mask(thick(image, grid), filled(brain, image, grid))
                sitk.WriteImage(moved(scan, move), str(scans[modality]))
                if modality == "t1ce":
                    thick_masks = [filled(mask, labels, grid) for mask in masks]
            after = segment_files(scans, folder / "after.nii.gz")
            truth = [sitk.GetArrayFromImage(mask) > 0 for mask in thick_masks]
            rows.append(_scores(before, masks) + _scores(after, truth))
            print(case.name, *(f"{score:.3f}" for score in rows[-1]), sep="\t", flush=True)
            print(after.seconds, *after.warnings, sep="\n    ")
    print("mean", *(f"{score:.3f}" for score in np.mean(rows, axis=0)), sep="\t")


def _scores(report: dict, truth: list[np.ndarray]) -> list[float]:
    found = BRATS.to_regions(sitk.GetArrayFromImage(read_label_map(Path(report.output))))
    return [dice(mask, expected) for mask, expected in zip(found, truth)]


def random_move(
    image: sitk.Image, generator: np.random.Generator, degrees: float, length_mm: float
) -> sitk.Euler3DTransform:
    """A rotation about the image's middle and a shift, both of random direction and size."""
    axis, way = (vector / np.linalg.norm(vector) for vector in generator.normal(size=(2, 3)))
    turn = sitk.VersorTransform(axis.tolist(), np.radians(generator.uniform(0, degrees)))
    move = sitk.Euler3DTransform()
    middle = [(length - 1) / 2 for length in image.GetSize()]
    move.SetCenter(image.TransformContinuousIndexToPhysicalPoint(middle))
    move.SetMatrix(turn.GetMatrix())
    move.SetTranslation((way * generator.uniform(0, length_mm)).tolist())
    return move


def thick_grid(image: sitk.Image, axis: int, generator: np.random.Generator) -> sitk.Image:
    """A tilted grid around the image with 1x1 mm pixels, and thick slices along an axis."""
    order = [(axis + 1) % 3, (axis + 2) % 3, axis]
    turn = np.array(random_move(image, generator, 15, 0).GetMatrix()).reshape(3, 3)
    direction = turn @ np.eye(3)[:, order]
    spacing = np.array([1.0, 1.0, SLICE_MM])
    extent = 1.25 * (np.array(image.GetSize()) * image.GetSpacing())[order]
    size = np.ceil(extent / spacing)
    middle = image.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in image.GetSize()])
    grid = sitk.Image([int(length) for length in size], sitk.sitkFloat32)
    grid.SetSpacing(spacing.tolist())
    grid.SetDirection(direction.ravel().tolist())
    grid.SetOrigin((np.array(middle) - direction @ (spacing * (size - 1) / 2)).tolist())
    return grid


def thick(image: sitk.Image, grid: sitk.Image) -> sitk.Image:
    """The image on a grid of thick slices: each is the mean of slices of 1 mm."""
    width, height, depth = grid.GetSize()
    fine = sitk.Image([width, height, depth * SLICE_MM], sitk.sitkFloat32)
    fine.SetDirection(grid.GetDirection())
    along = np.array(grid.GetDirection()).reshape(3, 3)[:, 2]
    fine.SetOrigin((np.array(grid.GetOrigin()) - along * (SLICE_MM - 1) / 2).tolist())
    slices = sitk.GetArrayFromImage(sitk.Resample(image, fine))
    return image_like(slices.reshape(depth, SLICE_MM, height, width).mean(axis=1), grid)


def filled(mask: np.ndarray, image: sitk.Image, grid: sitk.Image) -> sitk.Image:
    """A mask resampled to a grid of thick slices: voxels that it fills by half or more."""
    return thick(image_like(mask.astype(np.float32), image), grid) >= 0.5


if __name__ == "__main__":
    main()
