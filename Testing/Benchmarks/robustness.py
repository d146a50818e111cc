"""What changed scans cost: Dice of each region beside that of the scans as published.

    python Testing/Benchmarks/robustness.py BRATS_FOLDER [--model NAME] [--names FILE ...]
        [--changes NAME ...] [--prepare]

Each change is made to the scan files of every held-out case, which then goes through
``missu segment``: without registration and correction of bias fields, so that the network itself is
measured, or, with ``--prepare``, with the preparation that a user gets. Printed are a row a case
and, for each change, the mean Dice and its mean loss against the same case unchanged.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from bias_fields import with_field
from held_out import add_names, dice_of_scans, scans_and_truth, split
from numpy.typing import NDArray
from scipy import ndimage

from MISSUCore.contract.labels import BRATS
from MISSUCore.io.geometry import image_like
from MISSUCore.io.reading import read_label_map
from MISSUCore.models.store import DEFAULT_MODEL, Model, load_model
from MISSUCore.preprocessing.pipeline import PreprocessingOptions
from MISSUCore.training.cases.labeled import LabeledCase

Images = dict[str, sitk.Image]
Voxels = NDArray[np.float32]
Change = Callable[[Images, np.random.Generator], Images]
SHIFT_MM = 2.0
SLICE_MM = 5.0
# A result lies where T1ce lies, so there the reference belongs, too.
REFERENCE_WITH_T1CE = "T1ce and the reference shifted by 2 mm"


def each(change: Callable[[Voxels, np.random.Generator], Voxels]) -> Change:
    """A change of the voxels of every scan, which leaves the background 0."""

    def changed(images: Images, rng: np.random.Generator) -> Images:
        result = {}
        for name, image in images.items():
            voxels = sitk.GetArrayFromImage(image).astype(np.float32)
            result[name] = image_like(np.where(voxels != 0, change(voxels, rng), 0), image)
        return result

    return changed


def field(strength: float) -> Change:
    """Another bias field for every scan, see :func:`with_field`."""
    return lambda images, rng: {
        name: with_field(image, strength, rng) for name, image in images.items()
    }


def gamma(power: float) -> Change:
    """Intensities between the scan's lowest and highest, raised to a power."""

    def bent(voxels: Voxels, _: np.random.Generator) -> Voxels:
        low, high = np.quantile(voxels[voxels != 0], [0, 0.999])
        return low + (high - low) * np.clip((voxels - low) / (high - low), 0, 1.5) ** power + 1e-3

    return each(bent)


def noise(share: float) -> Change:
    """Gaussian noise with a standard deviation of this share of the brain's."""
    return each(
        lambda voxels, rng: (
            voxels + rng.normal(0, share * voxels[voxels != 0].std(), voxels.shape)
        ).astype(np.float32)
    )


def blur(sigma: float) -> Change:
    """Gaussian blur, its standard deviation in voxels."""
    return each(lambda voxels, _: ndimage.gaussian_filter(voxels, sigma))


def shifted(*names: str) -> Change:
    """These scans alone moved by 2 mm, all in one random direction.

    The reference's enhancing tumor was drawn in T1ce. Where T1ce moves, an answer that rightly
    follows it is off by as much (ET of these cases moved by 2 mm has a Dice of 0.73 with itself);
    where the others move, the reference of WT, which was drawn in FLAIR, is.
    """

    def moved(images: Images, rng: np.random.Generator) -> Images:
        shift = shift_of_2_mm(rng)
        return {
            name: sitk.Resample(image, image, shift, sitk.sitkLinear) if name in names else image
            for name, image in images.items()
        }

    return moved


def shift_of_2_mm(rng: np.random.Generator) -> sitk.Transform:
    """A shift in a random direction."""
    direction = rng.normal(size=3)
    offset = SHIFT_MM * direction / np.linalg.norm(direction)
    return sitk.TranslationTransform(3, offset.tolist())


def thick_slices(images: Images, _: np.random.Generator) -> Images:
    """Every scan in axial slices of 5 mm, interpolated back to its grid."""

    def thick(image: sitk.Image) -> sitk.Image:
        voxels = sitk.GetArrayFromImage(image).astype(np.float32)
        step = round(SLICE_MM / image.GetSpacing()[2])
        mean = ndimage.uniform_filter1d(voxels, step, axis=0)
        coarse = image_like(mean, image)[:, :, step // 2 :: step]
        back = sitk.Resample(coarse, image, sitk.Transform(), sitk.sitkLinear)
        return image_like(np.where(voxels != 0, sitk.GetArrayFromImage(back), 0), image)

    return {name: thick(image) for name, image in images.items()}


def brain(width: int) -> Change:
    """The brain's mask eroded by so many voxels."""

    def smaller(images: Images, _: np.random.Generator) -> Images:
        arrays = {name: sitk.GetArrayFromImage(image) for name, image in images.items()}
        mask = np.all([voxels != 0 for voxels in arrays.values()], axis=0)
        mask = ndimage.binary_erosion(ndimage.binary_fill_holes(mask), iterations=width)
        return {name: image_like(voxels * mask, images[name]) for name, voxels in arrays.items()}

    return smaller


CHANGES: dict[str, Change] = {
    "as published": lambda images, _: images,
    "bias field of 30 %": field(0.3),
    "bias field of 60 %": field(0.6),
    "T1ce shifted by 2 mm": shifted("t1ce"),
    REFERENCE_WITH_T1CE: shifted("t1ce"),
    "T1, T2, FLAIR shifted by 2 mm": shifted("t1", "t2", "flair"),
    "gamma 0.7": gamma(0.7),
    "gamma 1.4": gamma(1.4),
    "blur of 1 voxel": blur(1.0),
    "noise of 15 %": noise(0.15),
    "slices of 5 mm": thick_slices,
    "brain mask eroded by 3 voxels": brain(3),
}


def moved_truth(case: LabeledCase, number: int) -> NDArray[np.bool_]:
    """The regions (regions, D, H, W) of a case's reference, shifted as its T1ce is."""
    labels = read_label_map(case.labels)
    shift = shift_of_2_mm(np.random.default_rng(number))
    moved = sitk.Resample(labels, labels, shift, sitk.sitkLabelGaussian)
    return BRATS.to_regions(sitk.GetArrayFromImage(moved))


def rows_of(case: LabeledCase, number: int, names: list[str], model: Model, prepare: bool) -> list:
    """Dice (changes, regions) of a case; each is printed as soon as it is computed."""
    images, truth = scans_and_truth(case)
    preprocessing = None if prepare else PreprocessingOptions(False, False, bias_field="never")
    rows = []
    for name in names:
        changed = CHANGES[name](images, np.random.default_rng(number))
        expected = moved_truth(case, number) if name == REFERENCE_WITH_T1CE else truth
        rows.append(dice_of_scans(changed, expected, model, preprocessing)[0])
        print(case.name, name, *(f"{value:.3f}" for value in rows[-1]), sep="\t", flush=True)
    return rows


def main() -> None:
    """Print the rows and the means."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    add_names(parser)
    parser.add_argument("--changes", nargs="+", choices=CHANGES, default=list(CHANGES))
    parser.add_argument("--prepare", action="store_true", help="register and correct bias fields")
    options = parser.parse_args()
    model = load_model(options.model)
    _, cases = split(options.folder, options.names)
    names = ["as published", *(name for name in options.changes if name != "as published")]
    rows = np.array(
        [rows_of(case, i, names, model, options.prepare) for i, case in enumerate(cases)]
    )
    print(f"\n| {len(cases)} cases | Dice {' / '.join(BRATS.region_names)} | loss |\n|---|---|---|")
    means = rows.mean(axis=0)
    for name, mean in zip(names, means, strict=True):
        found, lost = (" / ".join(f"{x:.3f}" for x in values) for values in (mean, means[0] - mean))
        print(f"| {name} | {found} | {lost} |")


if __name__ == "__main__":
    main()
