"""Are a model's probabilities frequencies, and does it know when it is wrong?

    python Testing/Benchmarks/calibrate_model.py BRATS_FOLDER OUTPUT_FOLDER [--model NAME]
        [--names FILE ...]

On held-out cases: finds for each region the temperature with the least cross-entropy over the
voxels of the brain (Guo et al. 2017), tells how far probabilities are from frequencies before and
after, and holds each case's expected Dice against its real one. A case's figures never use a
temperature that was fitted on that case: each is left out in turn. The temperatures for the model
card are those of all cases together. Leaves calibration.json and calibration.png.
"""

from __future__ import annotations

import json
from dataclasses import replace

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import SimpleITK as sitk
import torch
from held_out import measuring_parser, split
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import expit
from scipy.stats import pearsonr, spearmanr

from MISSUCore.evaluation.metrics import dice
from MISSUCore.inference.predictor import region_logits
from MISSUCore.inference.segmentation import segment_case
from MISSUCore.io.reading import read_case
from MISSUCore.models.store import Model, load_model
from MISSUCore.preprocessing.working_grid import prepare, prepare_labels
from MISSUCore.training.cases.labels import read_labels

BINS = np.linspace(0, 1, 11)
Voxels = tuple[NDArray[np.float32], NDArray[np.bool_]]


def log_odds_and_truth(model: Model, images: dict, labels: sitk.Image) -> list[Voxels]:
    """By region: log-odds and truth of the brain's voxels, at the model's spacing."""
    card = model.card
    scheme = card.label_scheme()
    prepared = prepare(images, card.modalities, card.spacing_mm)
    with torch.inference_mode():
        logits = model.network(torch.from_numpy(prepared.volume)[None])
        odds = region_logits(logits, torch.from_numpy(scheme.membership), card.targets)[0].numpy()
    truth = scheme.membership[:, prepare_labels(labels, scheme, prepared.grid)]
    brain = prepared.volume.any(axis=0)
    return [(odds[region][brain], truth[region][brain]) for region in range(len(odds))]


def temperature(voxels: list[Voxels]) -> float:
    """The temperature with the least cross-entropy over the voxels of several cases."""
    odds = np.concatenate([part for part, _ in voxels])
    sign = np.where(np.concatenate([truth for _, truth in voxels]), -1.0, 1.0)

    def cross_entropy(logarithm: float) -> float:
        return float(np.logaddexp(0, sign * odds / np.exp(logarithm)).mean())

    return float(np.exp(minimize_scalar(cross_entropy, bounds=(-1, 3), method="bounded").x))


def reliability(probabilities: NDArray, truth: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Mean probability, frequency of truth and number of voxels by tenth of probability."""
    place = np.clip(np.digitize(probabilities, BINS) - 1, 0, 9)
    count = np.bincount(place, minlength=10)
    some = np.maximum(count, 1)
    return (
        np.bincount(place, probabilities, 10) / some,
        np.bincount(place, truth, 10) / some,
        count,
    )


def calibration_error(probabilities: NDArray, truth: NDArray) -> float:
    """Mean distance of probability and frequency over voxels that are not clearly background."""
    open_to_doubt = probabilities > 0.05
    mean, frequency, count = reliability(probabilities[open_to_doubt], truth[open_to_doubt])
    return float((np.abs(mean - frequency) * count).sum() / count.sum())


def main() -> None:
    """Fit the temperatures, print the results and draw the figure."""
    parser = measuring_parser(__doc__)
    options = parser.parse_args()
    model = load_model(options.model)
    if model.finder:
        parser.error(f"{model.card.name} looks twice; two_looks.py calibrates such a model")
    scheme = model.card.label_scheme()
    regions = scheme.region_names
    _, labeled = split(options.folder, options.names)
    cases = [(read_case(case.images).images, read_labels(case, scheme)) for case in labeled]
    voxels = [log_odds_and_truth(model, images, labels) for images, labels in cases]

    left_out = [
        [
            temperature([other[region] for other in voxels if other is not own])
            for region in range(len(regions))
        ]
        for own in voxels
    ]
    fitted = [temperature([case[region] for case in voxels]) for region in range(len(regions))]
    expected, real = np.zeros((2, len(cases), len(regions)))
    for index, (images, labels) in enumerate(cases):
        card = replace(model.card, temperatures=tuple(left_out[index]))
        result = segment_case(images, replace(model, card=card), reference=labels)
        found = scheme.to_regions(sitk.GetArrayViewFromImage(result.labels))
        truth = scheme.to_regions(sitk.GetArrayViewFromImage(labels))
        expected[index] = list(result.confidence.values())
        real[index] = [dice(one, other) for one, other in zip(found, truth)]
        print(labeled[index].name, np.round(expected[index], 2), np.round(real[index], 2))

    mpl.use("Agg")
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4.2), layout="constrained")
    facts: dict[str, dict] = {}
    for region, name in enumerate(regions):
        odds = np.concatenate([case[region][0] for case in voxels])
        truth = np.concatenate([case[region][1] for case in voxels])
        cool = np.concatenate(
            [expit(case[region][0] / t[region]) for case, t in zip(voxels, left_out)]
        )
        facts[name] = {
            "temperature": round(fitted[region], 3),
            "calibration_error_before": calibration_error(expit(odds), truth),
            "calibration_error_after": calibration_error(cool, truth),
            "pearson": float(pearsonr(expected[:, region], real[:, region])[0]),
            "spearman": float(spearmanr(expected[:, region], real[:, region])[0]),
            "expected_dice": expected[:, region].round(3).tolist(),
            "real_dice": real[:, region].round(3).tolist(),
        }
        mean, frequency, _ = reliability(cool, truth)
        (line,) = left.plot(mean, frequency, "o-", label=f"{name}, T = {fitted[region]:.2f}")
        mean, frequency, _ = reliability(expit(odds), truth)
        left.plot(mean, frequency, ":", color=line.get_color())
        right.plot(expected[:, region], real[:, region], "o", label=name)
    facts["all"] = {"pearson": float(pearsonr(expected.ravel(), real.ravel())[0])}
    for axes, x, y in (
        (left, "probability (dotted: before)", "frequency"),
        (right, "expected Dice", "real Dice"),
    ):
        axes.plot([0, 1], [0, 1], color="gray", linewidth=0.8)
        axes.set(xlabel=x, ylabel=y, xlim=(0, 1), ylim=(0, 1), aspect="equal")
        axes.legend()
    options.output.mkdir(parents=True, exist_ok=True)
    figure.savefig(options.output / "calibration.png", dpi=100)
    (options.output / "calibration.json").write_text(json.dumps(facts, indent=2) + "\n")
    print(json.dumps(facts, indent=2))


if __name__ == "__main__":
    main()
