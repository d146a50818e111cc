"""What the second look brings, measured on labeled cases that were held out, through the product.

    python Testing/Benchmarks/two_looks.py BRATS_FOLDER OUTPUT_FOLDER --model missu-brats-precise
        [--names FILE ...] [--without MODALITY [--fitted-on FOLDER]]

Both networks look at every case once; then it is segmented with the coarse model's answer, with the
fine model's, and with the mean of both, as the product does it. Prints Dice by region (African
gliomas apart), what other clean-ups would change (also where each case is cleaned up as is best for
the others), temperatures (Guo et al. 2017) with each case left out in turn, expected beside real
Dice, and seconds of processor time. With a scan missing ``--fitted-on`` tells and keeps what is
expected with the temperatures of the run with all scans, as the model has them. Leaves facts.json,
which bundle_precise.py takes, and what the networks said of each case, so that a second run with
the same folder takes a fraction of the time.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from calibrate_model import temperature
from held_out import measuring_parser, split
from numpy.typing import NDArray

from MISSUCore.contract.modalities import BRATS_MODALITIES
from MISSUCore.contract.model_card import ModelCard
from MISSUCore.core.events import Progress
from MISSUCore.core.files import read_json
from MISSUCore.evaluation.metrics import dice
from MISSUCore.inference.postprocessing import Cleanup
from MISSUCore.inference.predictor import Predictor
from MISSUCore.inference.second_look import log_odds, look_closely, look_first, probability
from MISSUCore.inference.segmentation import (
    Prediction,
    Segmentation,
    SegmentationOptions,
    make_predictor,
    restored,
)
from MISSUCore.io.reading import read_case
from MISSUCore.models.store import Model, load_model
from MISSUCore.preprocessing.working_grid import prepare_labels
from MISSUCore.training.cases.labeled import LabeledCase
from MISSUCore.training.cases.labels import read_labels

ANSWERS = ("coarse", "fine", "mean")
OPTIONS = SegmentationOptions()
INNERMOST_MM3 = (0, 100, 400, 1000, 1400, 2000)
ISLANDS_MM3 = (0, 100, 400, 1000, 3000)
STEP = 23  # every so many voxels are enough to fit a temperature
Odds = NDArray[np.float32]


class Once:
    """A predictor that computes each box a single time, and says it again on the next round."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor
        self.answers: dict[tuple, torch.Tensor] = {}
        self.windows = 1

    def __call__(self, volume: torch.Tensor, progress: Progress) -> torch.Tensor:
        key = (*volume.shape, float(volume.double().sum()))
        if key not in self.answers:
            self.answers[key] = self.predictor(volume, progress)
        return self.answers[key]


@dataclass(frozen=True)
class Said:
    """Log-odds (regions, D, H, W) of each answer, their grids, and seconds of the processor."""

    odds: dict[str, Odds]
    grids: dict[str, sitk.Image]
    seconds: NDArray[np.float64]  # coarse, both

    def save(self, path: Path) -> None:
        arrays = {name: odds.astype(np.float16) for name, odds in self.odds.items()}
        for name, grid in self.grids.items():
            arrays[f"{name}_grid"] = np.array([grid.GetOrigin(), grid.GetSpacing()])
        np.savez(path, seconds=self.seconds, **arrays)

    @classmethod
    def load(cls, path: Path) -> Said:
        with np.load(path) as stored:
            odds = {name: stored[name].astype(np.float32) for name in ANSWERS}
            grids = {}
            for name in ANSWERS:
                origin, spacing = stored[f"{name}_grid"].tolist()
                grid = sitk.Image(odds[name].shape[:0:-1], sitk.sitkUInt8)
                grid.SetOrigin(origin)
                grid.SetSpacing(spacing)
                grids[name] = grid
            return cls(odds, grids, stored["seconds"])


def ask(case: LabeledCase, model: Model, without: str | None) -> Said:
    """What both networks say of a case."""
    images = read_case({name: path for name, path in case.images.items() if name != without}).images
    began = time.process_time()
    first = look_first(images, model, lambda one: make_predictor(one, OPTIONS), Progress())
    seconds = [time.process_time() - began]
    odds, grids = {"coarse": first.log_odds}, {"coarse": first.grid}
    predictor = Once(make_predictor(model, OPTIONS))
    for name, averaged in (("fine", ()), ("mean", model.card.label_scheme().region_names)):
        look = replace(model.card.first_look, averaged=averaged)
        asked = replace(model, card=replace(model.card, first_look=look, temperatures=()))
        second = look_closely(first, asked, predictor, Progress())  # type: ignore[arg-type]
        odds[name], grids[name] = log_odds(second.probabilities), second.grid
        seconds.append(time.process_time() - began)
    return Said(odds, grids, np.array(seconds[:2]))


def put_together(said: Said, averaged: list[int]) -> Odds:
    """The fine model's log-odds, of some regions the mean of both models'."""
    odds = said.odds["fine"].copy()
    odds[averaged] = said.odds["mean"][averaged]
    return odds


def segment(
    odds: Odds, grid: sitk.Image, card: ModelCard, labels: sitk.Image, cleanup: Cleanup
) -> tuple[Segmentation, list[float]]:
    """The segmentation on the grid of the labels, and its Dice by region."""
    warm = np.array(card.temperatures or [1.0] * len(odds), dtype=np.float32)
    said = Prediction(probability(odds / warm[:, None, None, None]), grid, [], {}, 1, "cpu")
    result = restored(said, card, [], labels, cleanup)
    scheme = card.label_scheme()
    pairs = zip(*(scheme.to_regions(sitk.GetArrayFromImage(x)) for x in (result.labels, labels)))
    return result, [dice(found, true) for found, true in pairs]


def voxels(odds: Odds, grid: sitk.Image, card: ModelCard, labels: sitk.Image) -> list:
    """By region: log-odds and truth of a part of what was looked at, for :func:`temperature`."""
    scheme = card.label_scheme()
    truth = scheme.membership[:, prepare_labels(labels, scheme, grid)]
    return [(one.ravel()[::STEP], true.ravel()[::STEP]) for one, true in zip(odds, truth)]


def table(title: str, names: list[str], regions: tuple[str, ...], rows: dict[str, NDArray]) -> dict:
    """Print mean Dice of the answers, for groups of cases; and return it."""
    african = np.array(["SSA" in name for name in names])
    groups = {"all": african | True, "glioma": ~african, "African": african}
    print(f"\n{title}\n| mean Dice {' / '.join(regions)} |", " | ".join(groups), "|")
    print("|---" * (len(groups) + 1) + "|")
    means = {}
    for answer, values in rows.items():
        means[answer] = {
            group: values[chosen].mean(0).round(4).tolist()
            for group, chosen in groups.items()
            if chosen.any()
        }
        texts = [" / ".join(f"{x:.3f}" for x in row) for row in means[answer].values()]
        print(f"| {answer} |", " | ".join(texts), "|")
    return means


@dataclass(frozen=True)
class Cases:
    """Labeled cases, and what both networks said of them."""

    names: list[str]
    said: list[Said]
    labels: list[sitk.Image]
    card: ModelCard  # of the fine model, uncalibrated

    def scores(self, answer: str) -> NDArray[np.float64]:
        """Dice (cases, regions) of an answer."""
        both = zip(self.said, self.labels)
        rows = [
            segment(said.odds[answer], said.grids[answer], self.card, labels, OPTIONS.cleanup)
            for said, labels in both
        ]
        return np.array([found for _, found in rows])


def answers(cases: Cases) -> dict:
    """Dice of each answer, and the regions of which the mean of both is the better one."""
    regions = cases.card.label_scheme().region_names
    scores = {answer: cases.scores(answer) for answer in ANSWERS}
    gain = (scores["mean"] - scores["fine"]).mean(0)
    facts = {
        "dice": table("The answers", cases.names, regions, scores),
        "dice_by_case": {answer: values.round(4).tolist() for answer, values in scores.items()},
        "averaged": [name for name, more in zip(regions, gain) if more > 0],
    }
    print("mean of both is better for:", facts["averaged"])
    return facts


def clean_ups(cases: Cases, averaged: list[int]) -> dict:
    """Dice of the better answers with other clean-ups, one setting changed at a time."""
    regions, usual = cases.card.label_scheme().region_names, OPTIONS.cleanup
    settings = {
        "islands": {
            f"islands from {least} mm3": replace(usual, minimum_island_mm3=float(least))
            for least in ISLANDS_MM3
        },
        "innermost": {
            f"{regions[-1]} from {least} mm3": replace(usual, minimum_innermost_mm3=float(least))
            for least in INNERMOST_MM3
        },
        "holes": {
            "holes filled": usual,
            "holes left": replace(usual, fill_holes=False),
        },
    }
    answered = [
        (put_together(said, averaged), said.grids["fine"], cases.card, labels)
        for said, labels in zip(cases.said, cases.labels)
    ]
    means = {}
    for kind, cleanups in settings.items():
        rows = {
            name: np.array([segment(*one, cleanup)[1] for one in answered])
            for name, cleanup in cleanups.items()
        }
        rows["best for the others"] = best_for_the_others(rows)
        means[kind] = table(f"Clean-up: {kind}", cases.names, regions, rows)
    return means


def best_for_the_others(rows: Mapping[str, NDArray]) -> NDArray[np.float64]:
    """Scores (cases, regions) of each case with what is best, over the regions, for the others."""
    scores = np.stack(list(rows.values()))
    totals = scores.mean(axis=2)
    others = totals.sum(axis=1, keepdims=True) - totals
    chosen: NDArray[np.float64] = scores[others.argmax(axis=0), np.arange(scores.shape[1])]
    return chosen


def calibration(cases: Cases, averaged: list[int], complete: list[Said]) -> dict:
    """Temperatures; expected and real Dice of the better answers, each case left out in turn.

    Args:
        cases: what is expected of.
        averaged: regions that are the mean of both models'.
        complete: what was said of the same cases, for the temperatures to be fitted on.
    """
    regions = cases.card.label_scheme().region_names
    numbers = range(len(regions))
    both = list(zip(cases.said, cases.labels))
    points = [
        voxels(put_together(said, averaged), said.grids["fine"], cases.card, labels)
        for said, labels in zip(complete, cases.labels)
    ]
    fitted = [temperature([case[region] for case in points]) for region in numbers]
    rows = []
    for own, (said, labels) in enumerate(both):
        others = [case for index, case in enumerate(points) if index != own]
        warm = tuple(temperature([case[region] for case in others]) for region in numbers)
        knowing = replace(cases.card, temperatures=warm)
        odds, grid = put_together(said, averaged), said.grids["fine"]
        result, found = segment(odds, grid, knowing, labels, OPTIONS.cleanup)
        rows.append([*result.confidence.values(), *found])
    told = np.array(rows)
    expected = {}
    for region, name in enumerate(regions):
        promise, real = told[:, region], told[:, len(regions) + region]
        expected[name] = {
            "expected": round(float(promise.mean()), 3),
            "real": round(float(real.mean()), 3),
            "difference": round(float(np.abs(promise - real).mean()), 3),
            "correlation": round(float(np.corrcoef(promise, real)[0, 1]), 2),
            "lowest_quarter": round(float(np.quantile(promise, 0.25)), 2),
            "by_case": promise.round(3).tolist(),
        }
        print(name, {key: value for key, value in expected[name].items() if key != "by_case"})
    return {
        "temperatures": np.round(fitted, 3).tolist(),
        "expected": expected,
        "better_dice_by_case": told[:, len(regions) :].round(4).tolist(),
    }


def main() -> None:
    """Ask, segment, fit, tell."""
    parser = measuring_parser(__doc__)
    parser.add_argument("--without", choices=BRATS_MODALITIES, help="leave this modality out")
    parser.add_argument("--fitted-on", type=Path, metavar="FOLDER", help="of the run with all")
    options = parser.parse_args()
    model = load_model(options.model)
    card = replace(model.card, temperatures=(), doubtful_below=())
    regions = card.label_scheme().region_names
    _, labeled = split(options.folder, options.names)
    options.output.mkdir(parents=True, exist_ok=True)
    cases = Cases([case.name for case in labeled], [], [], card)
    for case in labeled:
        path = options.output / f"{case.name}.npz"
        if not path.exists():
            ask(case, model, options.without).save(path)
        cases.said.append(Said.load(path))
        cases.labels.append(read_labels(case, card.label_scheme()))
        print(case.name, cases.said[-1].seconds.round(2), flush=True)
    facts = {"cases": cases.names, "without": options.without, **answers(cases)}
    if options.fitted_on:
        facts["averaged"] = read_json(options.fitted_on / "facts.json")["averaged"]
    averaged = [regions.index(name) for name in facts["averaged"]]
    if not options.without:
        facts["cleanup"] = clean_ups(cases, averaged)
    facts.update(calibration(cases, averaged, cases.said))
    if options.fitted_on:
        print("\nwith the temperatures of the run with all scans:")
        complete = [Said.load(options.fitted_on / f"{name}.npz") for name in cases.names]
        facts.update(calibration(cases, averaged, complete))
    facts["seconds"] = np.median([said.seconds for said in cases.said], axis=0).round(2).tolist()
    (options.output / "facts.json").write_text(json.dumps(facts, indent=2) + "\n")
    print("temperatures", facts["temperatures"])
    print("seconds of the processor, coarse and both:", facts["seconds"])


if __name__ == "__main__":
    main()
