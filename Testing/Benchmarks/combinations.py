"""Dice of a model with every combination of its scans, on held-out BraTS cases.

    python Testing/Benchmarks/combinations.py BRATS_FOLDER OUTPUT_FOLDER [--model NAME]
        [--names FILE ...]

All 15 combinations of four scans, from all to one alone, also those that ``missu segment`` refuses.
The network sees what it sees there, estimates of missing scans too; a model that looks twice is
measured without its first look. Compared is on the model's working grid. Writes
OUTPUT_FOLDER/combinations.csv (a line for each case, combination and region) and prints the means
as a table of Markdown, the best combinations first.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
import torch
from held_out import measuring_parser, split
from numpy.typing import NDArray

from MISSUCore.evaluation.metrics import dice
from MISSUCore.inference.missing_scans import network_input
from MISSUCore.inference.postprocessing import clean, nest
from MISSUCore.inference.predictor import Predictor, choose_device
from MISSUCore.inference.segmentation import SegmentationOptions
from MISSUCore.io.reading import read_case
from MISSUCore.models.store import Model, load_model
from MISSUCore.preprocessing.working_grid import prepare_labels
from MISSUCore.training.cases.labeled import LabeledCase
from MISSUCore.training.cases.labels import read_labels

Scans = tuple[str, ...]


def all_combinations(modalities: Sequence[str]) -> list[Scans]:
    """Every choice of one or more modalities, the largest first."""
    numbers = range(len(modalities), 0, -1)
    return [chosen for number in numbers for chosen in combinations(modalities, number)]


def scores(model: Model, case: LabeledCase) -> Iterator[tuple[Scans, NDArray[np.float64]]]:
    """Dice by region of a case with each combination."""
    card, scheme = model.card, model.card.label_scheme()
    images, labels = read_case(case.images).images, read_labels(case, scheme)
    predictor = Predictor(
        model.network,
        torch.from_numpy(scheme.membership),
        card.targets,
        choose_device("cpu"),
        temperatures=card.temperatures,
    )
    for chosen in all_combinations(card.modalities):
        seen = network_input({name: images[name] for name in chosen}, card)
        truth = scheme.membership[:, prepare_labels(labels, scheme, seen.grid)]
        found = clean(
            nest(predictor(torch.from_numpy(seen.volume)).numpy(), scheme) >= 0.5,
            scheme,
            card.spacing_mm,
            SegmentationOptions().cleanup,
        )
        yield chosen, np.array([dice(mask, region) for mask, region in zip(found, truth)])


def main() -> None:
    """Measure all combinations, write the results and print the table."""
    options = measuring_parser(__doc__).parse_args()
    model = load_model(options.model)
    regions = model.card.label_scheme().region_names
    _, cases = split(options.folder, options.names)
    options.output.mkdir(parents=True, exist_ok=True)
    found: dict[Scans, list[NDArray[np.float64]]] = {}
    with (options.output / "combinations.csv").open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(["case", "scans", "region", "dice"])
        for case in cases:
            for chosen, values in scores(model, case):
                found.setdefault(chosen, []).append(values)
                for region, value in zip(regions, values):
                    table.writerow([case.name, "+".join(chosen), region, f"{value:.4f}"])
            print(case.name, flush=True)
    print(f"\nMean Dice over {len(cases)} cases (median in brackets)\n")
    print(f"| scans | {' | '.join(regions)} |\n|---|{'---|' * len(regions)}")
    for chosen, all_values in sorted(found.items(), key=lambda item: -np.mean(item[1])):
        means, medians = np.mean(all_values, axis=0), np.median(all_values, axis=0)
        cells = " | ".join(f"{a:.3f} ({b:.3f})" for a, b in zip(means, medians))
        print(f"| {' + '.join(chosen)} | {cells} |")


if __name__ == "__main__":
    main()
