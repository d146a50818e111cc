"""Fits what a model's card has for estimating a missing scan from the others.

    python Testing/Benchmarks/estimate_scan.py BRATS_FOLDER --names HELD_OUT... [--modality flair]

Least squares over voxels of all cases that are not held out, at 1 mm: of each 15,000 in the brain
and 8,000 in the tumor, where it matters and which is rare. Prints how much of the variance it
explains in every third case, when fitted on the others, and then the estimate as the card has it,
fitted on all of them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from held_out import add_names, split
from numpy.typing import NDArray

from MISSUCore.contract.labels import BRATS
from MISSUCore.contract.modalities import BRATS_MODALITIES
from MISSUCore.contract.model_card import ScanEstimate
from MISSUCore.core.serialization import settings_to_dict
from MISSUCore.io.reading import read_case
from MISSUCore.preprocessing.scan_estimate import predictors, quadratic_terms
from MISSUCore.preprocessing.working_grid import prepare, prepare_labels
from MISSUCore.training.cases.labeled import LabeledCase
from MISSUCore.training.cases.labels import read_labels

IN_BRAIN, IN_TUMOR = 15_000, 8_000
SPACING_MM = (1.0, 1.0, 1.0)


def sample(
    case: LabeledCase, target: str, random: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Terms of the polynomial (terms, N) and z-scores of the target (N,) in voxels of a case."""
    prepared = prepare(read_case(case.images).images, BRATS_MODALITIES, SPACING_MM)
    place = BRATS_MODALITIES.index(target)
    brain, values = predictors(np.delete(prepared.volume, place, axis=0), SPACING_MM)
    wanted = prepared.volume[place][brain]
    tumor = prepare_labels(read_labels(case, BRATS), BRATS, prepared.grid)[brain] > 0
    chosen = [random.choice(np.flatnonzero(wanted), IN_BRAIN)]
    if tumor.any():
        chosen.append(random.choice(np.flatnonzero(tumor & (wanted != 0)), IN_TUMOR))
    voxels = np.concatenate(chosen)
    return np.stack([*quadratic_terms(values[:, voxels])]), wanted[voxels]


Samples = Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]]


def fit(samples: Samples) -> NDArray[np.float64]:
    """Coefficients of the polynomial."""
    terms, wanted = (np.concatenate(one, axis=-1, dtype=np.float64) for one in zip(*samples))
    return np.linalg.lstsq(terms.T, wanted, rcond=None)[0]


def explained(samples: Samples, coefficients: NDArray[np.float64]) -> float:
    """Fraction of the target's variance that an estimate explains."""
    terms, wanted = (np.concatenate(one, axis=-1, dtype=np.float64) for one in zip(*samples))
    return float(1 - np.square(wanted - coefficients @ terms).mean() / wanted.var())


def main() -> None:
    """Sample voxels, fit the polynomial and print the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--modality", choices=BRATS_MODALITIES, default="flair")
    add_names(parser)
    options = parser.parse_args()
    random = np.random.default_rng(0)
    training, _ = split(options.folder, options.names)
    samples = [sample(case, options.modality, random) for case in training]
    others = [one for number, one in enumerate(samples) if number % 3]
    print(f"explained elsewhere: {explained(samples[::3], fit(others)):.3f}")
    estimate = ScanEstimate(
        options.modality,
        tuple(name for name in BRATS_MODALITIES if name != options.modality),
        tuple(fit(samples).round(4).tolist()),
    )
    print(json.dumps(settings_to_dict(estimate)))


if __name__ == "__main__":
    main()
