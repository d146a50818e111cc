"""What a bias field costs, and what evening it out (N4) gives back, or takes.

    python Testing/Benchmarks/bias_fields.py BRATS_FOLDER [--model NAME] [--names FILE ...]
        [--strengths 0 0.3 0.6] [--how never auto always]

Every scan of a case is multiplied by a field of its own that rises along a random direction, from
1 - strength to 1 + strength over the brain's box, and the case is segmented with ``--bias-field``
as given. Printed are a row a case (Dice of each region, seconds of N4, scans that were corrected)
and the means. Where no scan is corrected, the result is that without correction, and is not
computed again.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from held_out import FAST_MODEL, add_names, dice_of_scans, scans_and_truth, split

from MISSUCore.contract.labels import BRATS
from MISSUCore.io.geometry import image_like
from MISSUCore.models.store import Model, load_model
from MISSUCore.preprocessing.checks import strong_fields
from MISSUCore.preprocessing.pipeline import PreprocessingOptions
from MISSUCore.training.cases.labeled import LabeledCase


def main() -> None:
    """Print the rows and the means."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default=FAST_MODEL)
    add_names(parser)
    parser.add_argument("--strengths", type=float, nargs="+", default=[0.0, 0.3, 0.6])
    parser.add_argument("--how", nargs="+", default=["never", "auto", "always"])
    options = parser.parse_args()
    model = load_model(options.model)
    _, cases = split(options.folder, options.names)
    rows: dict[tuple[float, str], list[list[float]]] = {}
    print("case", "strength", "how", *BRATS.region_names, "N4 s", "corrected", sep="\t")
    for number, case in enumerate(cases):
        for strength in options.strengths:
            for how, row in measured(case, number, strength, options.how, model).items():
                rows.setdefault((strength, how), []).append(row)
                print(case.name, strength, how, *(f"{value:.3f}" for value in row), sep="\t")
    for (strength, how), values in sorted(rows.items()):
        mean = (f"{value:.3f}" for value in np.mean(values, axis=0))
        print(f"mean of {len(values)}", strength, how, *mean, sep="\t")


def measured(
    case: LabeledCase, seed: int, strength: float, ways: list[str], model: Model
) -> dict[str, list[float]]:
    """Dice of each region, seconds and number of corrected scans, by way of correction."""
    published, truth = scans_and_truth(case)
    rng = np.random.default_rng(seed)
    images = {name: with_field(image, strength, rng) for name, image in published.items()}
    strong = len(strong_fields(images))
    rows: dict[str, list[float]] = {}
    for how in ways:
        if how == "auto" and not strong and "never" in rows:
            rows[how] = rows["never"]
            continue
        before = PreprocessingOptions(False, False, bias_field=how)
        scores, report = dice_of_scans(images, truth, model, before)
        corrected = {"never": 0, "auto": strong, "always": len(images)}[how]
        rows[how] = [*scores, report.seconds.get("bias", 0.0), corrected]
    return rows


def with_field(image: sitk.Image, strength: float, rng: np.random.Generator) -> sitk.Image:
    """The image times a field that rises along a random direction."""
    voxels = sitk.GetArrayFromImage(image).astype(np.float32)
    direction = rng.normal(size=3)
    places = np.argwhere(voxels != 0)
    low, high = places.min(axis=0), places.max(axis=0)
    axes = [np.linspace(-1, 1, length) for length in high - low + 1]
    along = sum(
        part * axis for part, axis in zip(direction, np.meshgrid(*axes, indexing="ij"), strict=True)
    )
    box = tuple(slice(first, last + 1) for first, last in zip(low, high, strict=True))
    voxels[box] *= 1 + strength * along / np.abs(along).max()
    return image_like(voxels, image)


if __name__ == "__main__":
    main()
