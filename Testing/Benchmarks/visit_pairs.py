"""What changed between two dates? By ``missu visits``, and counted once more by brute force.

    python Testing/Benchmarks/visit_pairs.py PATIENTS OUTPUT_FOLDER

PATIENTS holds a folder a patient with first_t1ce, first_tumor, second_t1ce and second_tumor
(.nii.gz): measured on 11 of TCIA Brain-Tumor-Progression (Schmainda and Prah 2018, CC BY 3.0) as
the repository SagaraBattousai/BrainTumorProgression has them. Their headers have lost the voxel
size, so 1 x 1 x 6.5 mm is taken for all; slices from 20 on are padding.

Compares the two dates of each patient as ``missu visits`` does, leaves a page of each, and prints
what it tells beside what :mod:`brute_force` counts: volume, lesions, the diameters of all lesions,
and the sum of products over those that the report calls targets.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import SimpleITK as sitk
from brute_force import Counted, count_lesions

from MISSUCore.contract.labels import BRATS
from MISSUCore.contract.measurement.lesions import LesionMeasurement, MeasurementSettings
from MISSUCore.contract.visits.report import VisitsReport
from MISSUCore.contract.visits.response import GivenVisit
from MISSUCore.reporting.visits_page import write_visits_page
from MISSUCore.visits.comparison import compare_visits
from MISSUCore.visits.pictures import visit_rows

SPACING_MM = (1.0, 1.0, 6.5)
SLICES = 20
ENHANCING = BRATS.labels[-1].value


def written(patient: Path, when: str, output: Path) -> GivenVisit:
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
    return GivenVisit(when, *paths, "2020-01-01" if when == "first" else "2020-03-01")


def counted(visit: GivenVisit) -> list[Counted]:
    """The lesions of a visit by brute force."""
    voxels = sitk.GetArrayFromImage(sitk.ReadImage(str(visit.segmentation)))
    return count_lesions(voxels > 0, SPACING_MM[::-1], MeasurementSettings().join_mm)


def partner(told: LesionMeasurement, found: list[Counted]) -> Counted:
    """The lesion that was counted which is most like one of the report."""
    lengths = [line.length_mm if line else 0.0 for line in (told.longest, told.perpendicular)]
    return min(
        found,
        key=lambda each: (
            abs(each.volume_ml - told.volumes_ml["ET"])
            + abs(each.longest_mm - lengths[0])
            + abs(each.perpendicular_mm - lengths[1])
        ),
    )


def differences(
    report: VisitsReport, found: list[list[Counted]]
) -> tuple[float, float, list[float]]:
    """Largest difference of a diameter and of a volume; sums of products as they were counted."""
    longest, volume = 0.0, 0.0
    sums = []
    for number, visit in enumerate(report.visits):
        targets = {
            part for lesion in report.lesions if lesion.target for part in lesion.lesions[number]
        }
        total = 0.0
        for told in visit.measurement.lesions:
            own = partner(told, found[number])
            volume = max(volume, abs(own.volume_ml - told.volumes_ml["ET"]))
            for line, counted_mm in (
                (told.longest, own.longest_mm),
                (told.perpendicular, own.perpendicular_mm),
            ):
                if line:
                    longest = max(longest, abs(line.length_mm - counted_mm))
            total += own.product_mm2 if told.number in targets else 0.0
        sums.append(total)
    return longest, volume, sums


def main() -> None:
    """Compare, count, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("patients", type=Path)
    parser.add_argument("output", type=Path)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    for patient in sorted(options.patients.glob("*/first_t1ce.nii.gz")):
        name = patient.parent.name
        pair = [written(patient.parent, when, options.output) for when in ("first", "second")]
        compared = compare_visits(pair, different_anatomy=True)
        report = compared.report
        write_visits_page(options.output / f"{name}.html", report, visit_rows(compared))
        found = [counted(visit) for visit in pair]
        diameter, volume, sums = differences(report, found)
        volumes = [sum(lesion.volume_ml for lesion in lesions) for lesions in found]
        told = [len(visit.measurement.lesions) for visit in report.visits]
        made = report.visits[1]
        events = [text for lesion in report.lesions for text in lesion.events if text]
        print(
            name,
            f"{report.visits[0].volume.value:.2f} to {made.volume.value:.2f} ml "
            f"({volumes[0]:.2f} to {volumes[1]:.2f})",
            f"{made.volume.category}",
            f"{report.visits[0].two_d.value:.0f} to {made.two_d.value:.0f} mm2 "
            f"({sums[0]:.0f} to {sums[1]:.0f})",
            f"{made.two_d.category}",
            f"lesions {told} ({[len(lesions) for lesions in found]})",
            f"worst diameter {diameter:.3f} mm, volume {volume:.4f} ml",
            "; ".join(events) or "same",
            sep=" | ",
            flush=True,
        )


if __name__ == "__main__":
    main()
