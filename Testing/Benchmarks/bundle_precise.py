"""Make the bundled precise model (1 mm, two looks) of trained weights.

    python Testing/Benchmarks/bundle_precise.py WEIGHTS.pt [--facts OUTPUT_FOLDER/facts.json]
        [--without t1ce=FACTS.json ...] [--output MISSUCore/weights] [--trained TEXT]

WEIGHTS.pt: state of the network, as model/NAME.pt of a run, or its checkpoint.pt, of which the
averaged weights are taken. Without --facts the model is not calibrated and
tells no expected Dice; facts.json comes from two_looks.py, run with the model that this makes
without them; with them it is made again. --without gives the same for a missing scan, made with
--fitted-on, so that what is expected then is what the model will tell.
"""

from __future__ import annotations

import argparse
import datetime
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from MISSUCore.contract.modalities import BRATS_MODALITIES
from MISSUCore.contract.model_card import RESEARCH_ONLY, FirstLook, ModelCard, read_card
from MISSUCore.models.store import BUNDLED_FOLDER, save_model

NAME, FINDER = "missu-brats-precise", "missu-brats-fast"
TASK = (
    "Segments whole tumor, tumor core and enhancing tumor of gliomas: looks at the whole brain at "
    "2 mm, and closely, at 1 mm, where it finds something"
)
TRAINED = (
    "73 skull-stripped, co-registered glioma cases (56 of BraTS 2013 to 2023, 17 of BraTS-Africa "
    "2023), intensities clipped and quantized to 6 bits, and 246 lesion crops of BraTS 2020, in "
    "patches of 80 mm around tumors, 18000 steps of batch 1 from the weights of missu-brats-fast, "
    "without the paper's self-distilling teacher. BraTS-Africa: Adewole et al. 2023, CC BY 4.0"
)
LIMITS = (
    f"{RESEARCH_ONLY} Adult gliomas only; expects scans of the whole brain. Looks closely, at "
    "1 mm, only where missu-brats-fast finds something at 2 mm: what that misses altogether is "
    "missed. Without T1ce, enhancing tumor and core are guessed; without FLAIR a tumor can be "
    "missed as a whole. A strong bias field spoils the core first. Unproven on children, "
    "metastases, meningiomas and scans after treatment. Calls small false enhancing foci where "
    "there are none."
)


def uncalibrated(finder: ModelCard, trained: str, date: str) -> ModelCard:
    """The model card before any measurements."""
    _, *citing = finder.training_data.split(" Cite ")  # and the terms of the data
    return replace(
        finder,
        name=NAME,
        task=TASK,
        spacing_mm=(1.0, 1.0, 1.0),
        first_look=FirstLook(FINDER),
        temperatures=(),
        doubtful_below=(),
        unreliable_without={},
        training_data=" Cite ".join([f"{trained}.", *citing]),
        metrics={},
        date=date,
        limits=LIMITS,
        history=(),
    )


def measured(card: ModelCard, facts: dict, without: dict[str, dict]) -> ModelCard:
    """The model card with the measurements of two_looks.py."""
    regions = card.label_scheme().region_names
    scores = np.array(facts["better_dice_by_case"])
    african = np.array(["SSA" in name for name in facts["cases"]])
    generator = np.random.default_rng(0)
    gliomas = scores[~african]  # the cases used for the figures of missu-brats-fast
    again = gliomas[generator.integers(0, len(gliomas), (10000, len(gliomas)))].mean(1)
    low, high = np.quantile(again, (0.025, 0.975), axis=0)
    means = {
        name: {
            "dice": round(float(gliomas[:, index].mean()), 4),
            "dice_95_interval": [round(float(low[index]), 3), round(float(high[index]), 3)],
            "dice_median": round(float(np.median(gliomas[:, index])), 3),
        }
        for index, name in enumerate(regions)
    }
    groups = {
        group: dict(zip(regions, scores[chosen].mean(0).round(4).tolist()))
        for group, chosen in (("glioma", ~african), ("African", african))
        if chosen.any()
    }
    metrics = {
        "mean_by_region": means,
        "mean_by_group": groups,
        "cases": facts["cases"],
        "measured on": f"{len(gliomas)} held-out gliomas (and {african.sum()} African ones, see "
        "mean_by_group) at their own 1 mm grid, single pass, default clean-up, by "
        "Testing/Benchmarks/two_looks.py; the same cases chose everything that was chosen, so "
        "expect a little less elsewhere",
        "expected_dice": {
            name: {key: value for key, value in row.items() if key != "by_case"}
            for name, row in facts["expected"].items()
        },
    }
    if without:
        metrics["without_one_modality_dice"] = {
            name: dict(zip(regions, answered(one, facts["averaged"], regions).round(2).tolist()))
            for name, one in without.items()
        }
    return replace(
        card,
        first_look=replace(card.first_look, averaged=tuple(facts["averaged"])),
        temperatures=tuple(facts["temperatures"]),
        doubtful_below=tuple(facts["expected"][name]["lowest_quarter"] for name in regions),
        unreliable_without={name: misleading(facts, one) for name, one in without.items()},
        metrics=metrics,
    )


def answered(facts: dict, averaged: list[str], regions: tuple[str, ...]) -> np.ndarray:
    """Mean Dice by region, of the answer "mean" for regions in ``averaged``, else of "fine"."""
    answers = ["mean" if name in averaged else "fine" for name in regions]
    return np.array(
        [np.mean(facts["dice_by_case"][answer], 0)[at] for at, answer in enumerate(answers)]
    )


def misleading(facts: dict, without: dict) -> list[str]:
    """Regions whose expected Dice is less accurate without a scan than with all scans."""
    return [
        name
        for name, row in without["expected"].items()
        if row["difference"] > facts["expected"][name]["difference"] + 0.02
    ]


def main() -> None:
    """Read the weights and measurements, and write the model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--facts", type=Path)
    parser.add_argument("--without", nargs="*", default=[], metavar="MODALITY=FACTS")
    parser.add_argument("--output", type=Path, default=BUNDLED_FOLDER)
    parser.add_argument("--trained", default=TRAINED, help="what the weights learned from")
    parser.add_argument("--date", default=datetime.date.today().isoformat())
    parser.add_argument("--half", action="store_true", help="half precision, to compare with")
    options = parser.parse_args()
    weights = torch.load(options.weights, map_location="cpu", weights_only=True)
    weights = weights.get("average", weights)
    finder = read_card(BUNDLED_FOLDER / f"{FINDER}.json")
    card = uncalibrated(finder, options.trained, options.date)
    if options.facts:
        pairs = [item.split("=", 1) for item in options.without]
        unknown = {name for name, _ in pairs} - set(BRATS_MODALITIES)
        if unknown:
            parser.error(f"no such modality: {', '.join(sorted(unknown))}")
        without = {name: json.loads(Path(path).read_text()) for name, path in pairs}
        card = measured(card, json.loads(options.facts.read_text()), without)
    state = {name: value.float() for name, value in weights.items()}
    save_model(options.output, card, state, eight_bit=not options.half)
    path = options.output / f"{NAME}.pt"
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, {len(card.temperatures)} temperatures")


if __name__ == "__main__":
    main()
