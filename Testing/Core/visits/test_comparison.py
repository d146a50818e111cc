"""A simulated patient of five visits, whose every fact is known: all of them are found."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from MISSUCore.contract.visits.report import VisitsReport, VisitsSettings, read_visits_report
from MISSUCore.contract.visits.response import Category, GivenVisit, ReaderEntry
from MISSUCore.core.errors import ErrorCode, InputError
from MISSUCore.core.events import Progress, ProgressEvent
from MISSUCore.visits.comparison import ComparedVisits, compare_visits

pytestmark = pytest.mark.slow
Paths = list[tuple[Path, Path]]
DATES = ("2024-01-10", "2024-03-06", "2024-05-01", "2024-06-26", "2024-08-21")
SPLIT_MM = 18.0  # between the middles of the two balls


def visits(patient: Paths) -> list[GivenVisit]:
    return [
        GivenVisit(f"visit {number}", *paths, DATES[number]) for number, paths in enumerate(patient)
    ]


def ball_ml(radius_mm: float) -> float:
    return 4 / 3 * np.pi * radius_mm**3 / 1000


def two_balls_ml(radius_mm: float) -> float:
    """Volume of two equal balls that overlap: twice a ball less the lens they share."""
    lens = np.pi * (4 * radius_mm + SPLIT_MM) * (2 * radius_mm - SPLIT_MM) ** 2 / 12
    return 2 * ball_ml(radius_mm) - float(lens) / 1000


@pytest.fixture(scope="module")
def compared(patient: Paths) -> ComparedVisits:
    return compare_visits(visits(patient), radiotherapy=["2024-04-20"])


def test_every_lesion_is_followed(compared: ComparedVisits) -> None:
    report = compared.report
    assert [list(lesion.events) for lesion in report.lesions] == [
        ["", "", "split into 2", "", ""],
        ["", "", "", "", ""],
        ["", "", "", "vanished", ""],
        ["", "", "new", "", ""],
    ]
    counts = [[len(numbers) for numbers in lesion.lesions] for lesion in report.lesions]
    assert counts == [[1, 1, 2, 2, 2], [1] * 5, [1, 1, 1, 0, 0], [0, 0, 1, 1, 1]]


def test_volumes_and_products_are_those_of_the_balls(
    compared: ComparedVisits, simulation: Any
) -> None:
    report = compared.report
    splits, grows, vanishes, new = report.lesions
    for visit, radius in enumerate(simulation.radii_mm):
        assert report.volume_ml(grows, visit) == pytest.approx(ball_ml(radius), rel=0.04)
        # Diameters end on the voxels' edges: each may be a voxel longer or shorter.
        side = report.product_mm2(grows, visit) ** 0.5
        assert side == pytest.approx(2 * radius, abs=1.7)
        whole = two_balls_ml(9.5) if visit < 2 else 2 * ball_ml(6.5)
        assert report.volume_ml(splits, visit) == pytest.approx(whole, rel=0.04)
        assert report.volume_ml(vanishes, visit) == pytest.approx(
            ball_ml(6.0) if visit < 3 else 0, rel=0.04
        )
        assert report.volume_ml(new, visit) == pytest.approx(
            ball_ml(7.0) if visit >= 2 else 0, rel=0.04
        )


def test_a_lesion_lies_where_the_simulation_put_it(
    compared: ComparedVisits, simulation: Any
) -> None:
    grows = compared.report.lesions[1]
    (part,) = compared.report.parts(grows, 0)
    np.testing.assert_allclose(part.center_mm, simulation.grows_at_mm, atol=0.5)
    for visit in range(1, 5):
        (part,) = compared.report.parts(grows, visit)
        registration = compared.registrations[visit]
        assert registration is not None
        back = registration.transform.GetInverse().TransformPoint(part.center_mm)
        np.testing.assert_allclose(back, simulation.grows_at_mm, atol=1.5)


def test_targets_nadir_and_categories(compared: ComparedVisits, simulation: Any) -> None:
    report = compared.report
    assert [lesion.target for lesion in report.lesions] == [True, True, False, False]
    volumes = [sum(ball_ml(ball.radius_mm) for ball in balls) for balls in simulation.tumor]
    for visit in (0, 1):  # two of the balls overlap
        volumes[visit] += two_balls_ml(9.5) - 2 * ball_ml(9.5)
    for visit, made in enumerate(report.visits):
        assert made.volume.value == pytest.approx(volumes[visit], rel=0.04)
    # The third visit has a new lesion; the last one is 63 % above the third, the nadir.
    proposed = [(str(made.two_d.category), str(made.volume.category)) for made in report.visits]
    assert proposed == [
        ("baseline", "baseline"),
        ("SD", "SD"),
        ("PD", "PD"),
        ("SD", "SD"),
        ("PD", "PD"),
    ]
    assert report.visits[4].volume.nadir == report.visits[2].volume.value
    assert report.visits[4].volume.nadir_percent == pytest.approx(
        100 * (volumes[4] / volumes[2] - 1), abs=6
    )
    assert "11 days after radiotherapy: within 12 weeks" in report.visits[2].notes[0]
    assert not any("radiotherapy" in warning for warning in report.warnings)


def test_registration_finds_the_positions(compared: ComparedVisits) -> None:
    for visit, registration in enumerate(compared.registrations):
        if registration is None:
            assert visit == 0
            continue
        # As the scanner turned the head, about its middle, which went along.
        turned = np.rad2deg(np.arccos((np.trace(_matrix(registration.transform)) - 1) / 2))
        assert turned == pytest.approx(4 * visit * np.sqrt(1 + 1 / 4 + 1 / 9), abs=0.5)


def _matrix(transform: sitk.Euler3DTransform) -> np.ndarray:
    return np.array(transform.GetMatrix()).reshape(3, 3)


def test_the_reader_decides_and_that_survives_saving(compared: ComparedVisits) -> None:
    report = compared.report
    entry = ReaderEntry("more", "worse", "SD", "biopsy: necrosis")
    changed = replace(
        report,
        visits=[
            replace(visit, reader=entry) if number == 2 else visit
            for number, visit in enumerate(report.visits)
        ],
        surgery=("2024-01-02",),
    ).judged()
    again = VisitsReport.from_dict(changed.to_dict())
    assert again.to_dict() == changed.to_dict()
    assert again.visits[2].reader == entry and again.surgery == ("2024-01-02",)
    assert again.visits[2].volume.category is Category.PROGRESSION  # a proposal still
    assert any("clinical state is worse" in note for note in again.visits[2].notes)
    assert again.judged().to_dict() == again.to_dict()


@pytest.mark.parametrize(
    "change",
    [
        lambda v: v.update(schema_version=math.inf),
        lambda v: v["visits"][0].update(date=3),
        lambda v: v["visits"][0]["volume"].update(value=10**400),
        lambda v: v["visits"][0]["two_d"].update(nadir="deep"),
        lambda v: v["visits"][1].update(registration={"moved_mm": []}),
        lambda v: v["visits"][1]["reader"].update(comment={}),
        lambda v: v["lesions"][0].update(number=math.nan),
        lambda v: v["lesions"][0].update(lesions=[[math.inf]]),
    ],
)
def test_a_damaged_report_is_refused(
    compared: ComparedVisits, tmp_path: Path, change: Callable[[Any], None]
) -> None:
    values = json.loads(json.dumps(compared.report.to_dict()))
    path = tmp_path / "visits.json"
    path.write_text(json.dumps(values))
    assert read_visits_report(path).to_dict() == values
    change(values)
    path.write_text(json.dumps(values))
    with pytest.raises(InputError, match=r"visits\.json: cannot be read"):
        read_visits_report(path)


def test_a_later_baseline_counts_from_there(patient: Paths) -> None:
    chosen = [visits(patient)[number] for number in (0, 2, 4)]
    settings = VisitsSettings(baseline=2)
    report = compare_visits(chosen, settings=settings).report
    assert report.visits[0].volume.category is Category.UNKNOWN
    assert report.visits[1].volume.category is Category.BASELINE
    # The lesion that is new at the baseline is no news after it, and may be a target.
    assert "new" not in report.visits[2].volume.reason
    with pytest.raises(InputError, match="visit 3 cannot be the baseline of 3 visits"):
        compare_visits(chosen, settings=VisitsSettings(baseline=3))


def test_a_date_in_the_future_is_told(patient: Paths) -> None:
    first, second = visits(patient[:2])
    report = compare_visits([first, replace(second, date="2924-03-06")]).report
    assert report.warnings[0].startswith(f"{second.t1ce}: 2924-03-06 lies in the future")


def test_two_patients_are_refused(patient: Paths, tmp_path: Path, simulation: Any) -> None:
    other = simulation.write_visit(tmp_path, simulation.head(2), simulation.tumor[1], 1)
    with pytest.raises(InputError, match=r"t1ce1.*t1ce0.*do not seem to show one patient"):
        compare_visits(visits([patient[0], other]))


def test_the_same_scan_in_another_file_is_refused(patient: Paths, tmp_path: Path) -> None:
    copied = tmp_path / "copy.nrrd"
    sitk.WriteImage(sitk.ReadImage(str(patient[0][1])), str(copied))
    labels = tmp_path / "labels.nii.gz"
    labels.write_bytes(patient[0][0].read_bytes())
    with pytest.raises(InputError, match=r"copy\.nrrd: is the same scan as .*t1ce0"):
        compare_visits(visits([patient[0], (labels, copied)]))


def test_a_segmentation_of_another_grid_is_refused(patient: Paths) -> None:
    mixed = [patient[0], (patient[1][0], patient[2][1])]
    with pytest.raises(InputError, match=r"seg1.*t1ce2.*different grids"):
        compare_visits(visits(mixed))


def test_an_empty_segmentation_has_to_be_meant(patient: Paths, tmp_path: Path) -> None:
    empty = tmp_path / "empty.nii.gz"
    sitk.WriteImage(sitk.ReadImage(str(patient[1][0])) * 0, str(empty))
    gone = [patient[0], (empty, patient[1][1])]
    with pytest.raises(InputError, match=r"empty\.nii\.gz: is empty; if the tumor is gone") as told:
        compare_visits(visits(gone))
    assert told.value.code is ErrorCode.LABELS_EMPTY
    events: list[ProgressEvent] = []
    compared = compare_visits(visits(gone), allow_empty=True, progress=Progress(events.append))
    made = compared.report.visits[1]
    assert (made.two_d.category, made.volume.category) == ("CR", "CR")
    assert "has to be confirmed after 4 weeks" in made.notes[0]
    assert [list(lesion.events) for lesion in compared.report.lesions] == [["", "vanished"]] * 3
    fractions = [event.fraction for event in events]
    assert fractions == sorted(fractions) and {"read", "register", "measure"} <= {
        str(event.stage) for event in events
    }
