"""Do two T1ce scans show one patient, and what changed? On patients at two dates.

    python Testing/Benchmarks/visit_pairs.py PATIENTS OUTPUT_FOLDER [--strangers 11]

PATIENTS holds a folder a patient with first_t1ce, first_tumor, second_t1ce and second_tumor
(.nii.gz): measured on 11 of TCIA Brain-Tumor-Progression (Schmainda and Prah 2018, CC BY 3.0) as
the repository SagaraBattousai/BrainTumorProgression has them. Their headers have lost the voxel
size, so 1 x 1 x 6.5 mm is taken for all; slices from 20 on are padding.

Compares the two dates of each patient as ``missu visits`` does, leaves a page of each, and prints
normalized mutual information, the lesions, and changes of the volume: by the report and by counting
voxels. Then lays second scans on the first of somebody else.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from MISSUCore.contract.labels import BRATS
from MISSUCore.preprocessing.background import shift_to_nonnegative
from MISSUCore.preprocessing.registration.rigid import register
from MISSUCore.reporting.visits_page import write_visits_page
from MISSUCore.visits.comparison import compare_visits
from MISSUCore.visits.files import VisitFiles
from MISSUCore.visits.pictures import visit_rows

SPACING_MM = (1.0, 1.0, 6.5)
SLICES = 20
ENHANCING = BRATS.labels[-1].value


def written(patient: Path, when: str, output: Path) -> VisitFiles:
    """A visit with the header put right."""
    paths = []
    for what in ("tumor", "t1ce"):
        image = sitk.ReadImage(str(patient / f"{when}_{what}.nii.gz"), sitk.sitkFloat32)
        image = image[:, :, :SLICES]
        image.SetSpacing(SPACING_MM)
        if what == "tumor":
            image = sitk.Cast(image > 0, sitk.sitkUInt8) * ENHANCING
        path = output / f"{patient.name}-{when}-{what}.nii.gz"
        sitk.WriteImage(image, str(path), useCompression=True)
        paths.append(path)
    return VisitFiles(when, *paths, "2020-01-01" if when == "first" else "2020-03-01")


def counted_ml(path: Path) -> float:
    """Volume by counting voxels."""
    voxels = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    return float(np.count_nonzero(voxels) * np.prod(SPACING_MM) / 1000)


def main() -> None:
    """Compare, print, and try strangers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("patients", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--strangers", type=int, default=11)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    patients = sorted(path for path in options.patients.iterdir() if path.is_dir())
    visits = {
        patient: [written(patient, when, options.output) for when in ("first", "second")]
        for patient in patients
    }
    own = []
    for patient, pair in visits.items():
        compared = compare_visits(pair, different_anatomy=True)
        report = compared.report
        write_visits_page(options.output / f"{patient.name}.html", report, visit_rows(compared))
        fit = report.visits[1].registration
        own.append(fit.quality if fit else 0.0)
        first, second = (counted_ml(visit.segmentation) for visit in pair)
        made = report.visits[1]
        told = [visit.volume.value for visit in report.visits]
        events = [text for lesion in report.lesions for text in lesion.events if text]
        print(
            f"{patient.name}: fit {own[-1]:.3f}, {told[0]:.2f} to {told[1]:.2f} ml (counted "
            f"{first:.2f} to {second:.2f}), {made.volume.category}; "
            f"{report.visits[0].two_d.value:.0f} to {made.two_d.value:.0f} mm2, "
            f"{made.two_d.category}; {len(report.lesions)} lesions: {'; '.join(events) or 'same'}",
            flush=True,
        )
    chance = random.Random(0)  # noqa: S311
    strangers = []
    for _ in range(options.strangers):
        one, other = chance.sample(patients, 2)
        scans = [
            shift_to_nonnegative(sitk.ReadImage(str(visit.scan), sitk.sitkFloat32))
            for visit in (visits[other][1], visits[one][0])
        ]
        strangers.append(register(*scans).quality)
        print(f"{other.name} on {one.name}: fit {strangers[-1]:.3f}", flush=True)
    print(f"one patient: {min(own):.3f} to {max(own):.3f}", end="; ")
    print(f"two: {min(strangers):.3f} to {max(strangers):.3f}")


if __name__ == "__main__":
    main()
