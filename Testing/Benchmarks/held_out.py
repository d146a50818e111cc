"""The BraTS cases that are held out, and what scripts share that measure a model on them."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

import MISSUCore
from MISSUCore.contract.labels import BRATS
from MISSUCore.contract.segmentation_report import SegmentationReport
from MISSUCore.evaluation.metrics import dice
from MISSUCore.inference.case_files import segment_files
from MISSUCore.io.reading import read_image, read_label_map
from MISSUCore.models.store import Model
from MISSUCore.preprocessing.pipeline import PreprocessingOptions
from MISSUCore.training.cases.brats import find_brats_cases
from MISSUCore.training.cases.labeled import LabeledCase, read_groups, split_cases

# The figures of the protocol are for this model unless stated otherwise.
FAST_MODEL = "missu-brats-fast"
NAMES = Path(MISSUCore.__file__).with_name("training") / "validation_brats.txt"


def split(
    folder: Path, lists: Iterable[Path] = (NAMES,)
) -> tuple[list[LabeledCase], list[LabeledCase]]:
    """The training cases in a folder, and the held-out cases, with one group per list."""
    return split_cases(find_brats_cases(folder), read_groups(lists))


def add_names(parser: argparse.ArgumentParser) -> None:
    """Add the option for the lists of cases that are held out."""
    parser.add_argument(
        "--names", type=Path, nargs="+", default=[NAMES], help="lists of cases to hold out"
    )


def measuring_parser(description: str | None) -> argparse.ArgumentParser:
    """Parser with the options folder, output, model and names."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("folder", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--model", default=FAST_MODEL)
    add_names(parser)
    return parser


def scans_and_truth(case: LabeledCase) -> tuple[dict[str, sitk.Image], NDArray[np.bool_]]:
    """The scans of a BraTS case, and its ground truth (regions, D, H, W)."""
    images = {modality: read_image(path) for modality, path in case.images.items()}
    return images, BRATS.to_regions(sitk.GetArrayFromImage(read_label_map(case.labels)))


def dice_of_scans(
    images: Mapping[str, sitk.Image],
    truth: NDArray[np.bool_],
    model: Model,
    preprocessing: PreprocessingOptions | None,
) -> tuple[list[float], SegmentationReport]:
    """Write scans to files and segment them; returns the Dice of each region, and the report."""
    with tempfile.TemporaryDirectory() as name:
        paths = {modality: Path(name) / f"{modality}.nii.gz" for modality in images}
        for modality, image in images.items():
            sitk.WriteImage(image, str(paths[modality]))
        output = Path(name) / "found.nii.gz"
        report = segment_files(paths, output, model=model, preprocessing=preprocessing)
        found = BRATS.to_regions(sitk.GetArrayFromImage(read_label_map(output)))
    return [dice(mask, expected) for mask, expected in zip(found, truth, strict=True)], report
