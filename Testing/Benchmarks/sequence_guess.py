"""How often the sequence is guessed right from the images alone, and the constants for it.

    python Testing/Benchmarks/sequence_guess.py BRATS_FOLDER [--raw RAW_FOLDER] [--fit]

Prints the accuracy on the held-out cases for one, two, three and four scans of a case at a time,
and on a case as it left the scanner. ``--fit`` prints the constants of
``MISSUCore/sequences/appearance.py``, fitted to the other cases, and measures with them.
"""

from __future__ import annotations

import argparse
from collections import Counter
from itertools import combinations
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from held_out import split
from numpy.typing import NDArray
from scipy.optimize import minimize

from MISSUCore.contract.modalities import BRATS_MODALITIES, IMAGE_ENDING
from MISSUCore.contract.naming.rules import guess_from_name
from MISSUCore.io.reading import read_image
from MISSUCore.sequences import appearance
from MISSUCore.training.cases.labeled import LabeledCase

L2_PENALTY = 0.01
LIKENESS_PER_CORRELATION = 3.0


def main() -> None:
    """Print the tables, and the constants if requested."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--raw", type=Path, help="folder with scans of one patient, named by sequence"
    )
    parser.add_argument("--fit", action="store_true")
    options = parser.parse_args()
    training, held_out = split(options.folder)
    if options.fit:
        fit(training)
    measure("held-out cases", [images_of(case) for case in held_out])
    if options.raw:
        raw = {}
        for path in sorted(options.raw.iterdir()):
            sequence = guess_from_name(path.name).sequence
            if IMAGE_ENDING.search(path.name) and sequence in BRATS_MODALITIES:
                raw[sequence] = read_image(path)
        measure(str(options.raw), [raw])


def images_of(case: LabeledCase) -> dict[str, sitk.Image]:
    """The scans of a case by sequence."""
    return {name: read_image(case.images[name]) for name in BRATS_MODALITIES}


def measure(title: str, cases: list[dict[str, sitk.Image]]) -> None:
    """Print how many scans are guessed right, wrong, and not at all."""
    print(title)
    for count in range(1, len(BRATS_MODALITIES) + 1):
        results: Counter[str] = Counter()
        wrong: Counter[str] = Counter()
        for case in cases:
            for names in combinations(case, count):
                guesses = appearance.guess_from_images({name: case[name] for name in names})
                for name, guess in guesses.items():
                    outcome = "right" if guess.sequence == name else "wrong"
                    results[outcome if guess.sequence else "open"] += 1
                    if guess.sequence not in (name, None):
                        wrong[f"{name} as {guess.sequence}"] += 1
        told = ", ".join(f"{results[key]} {key}" for key in ("right", "wrong", "open"))
        print(f"  {count} at a time: {told}  {dict(wrong.most_common())}")


def fit(cases: list[LabeledCase]) -> None:
    """Fit the constants to cases, print them, and use them."""
    features = []
    alike = np.zeros((4, 4))
    for case in cases:
        middles = [appearance.measure(image) for image in images_of(case).values()]
        found = [middle for middle in middles if middle is not None]
        features += [middle.features for middle in found]
        alike += appearance.correlations(found) / len(cases)
    sequences = np.tile(np.arange(4), len(cases))
    table = np.stack(features)
    constants = {
        "_MEANS": table.mean(axis=0),
        "_DEVIATIONS": table.std(axis=0),
        "_LIKENESS": LIKENESS_PER_CORRELATION * alike,
    }
    standard = (table - constants["_MEANS"]) / constants["_DEVIATIONS"]
    constants["_WEIGHTS"] = logistic_regression(standard, sequences)
    for name, values in constants.items():
        rounded = np.round(values, 2)
        print(f"{name} = np.array({rounded.tolist()})")
        setattr(appearance, name, rounded)


def logistic_regression(
    features: NDArray[np.float64], classes: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Weights (1 + features, classes), the first row the offsets; multinomial, L2-penalized."""
    design = np.column_stack([np.ones(len(features)), features])
    truth = np.eye(classes.max() + 1)[classes]

    def loss(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        weights = flat.reshape(design.shape[1], truth.shape[1])
        scores = design @ weights
        scores -= np.logaddexp.reduce(scores, axis=1, keepdims=True)
        gradient = design.T @ (np.exp(scores) - truth) / len(design)
        gradient[1:] += 2 * L2_PENALTY * weights[1:]
        penalty = L2_PENALTY * (weights[1:] ** 2).sum()
        return float(-(scores * truth).sum() / len(design) + penalty), gradient.ravel()

    start = np.zeros(design.shape[1] * truth.shape[1])
    return minimize(loss, start, jac=True).x.reshape(design.shape[1], truth.shape[1])


if __name__ == "__main__":
    main()
