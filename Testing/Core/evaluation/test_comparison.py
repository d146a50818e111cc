"""Comparison of label-map files, one by one and by folder."""

from __future__ import annotations

import csv
import json
import math
import os
import sys

import numpy as np
import pytest
import SimpleITK as sitk

from MISSUCore.contract.labels import BRATS, BRATS_2023, CHAOS_LIVER
from MISSUCore.contract.region_scores import RegionScores
from MISSUCore.core.errors import InputError
from MISSUCore.core.events import Progress
from MISSUCore.evaluation.comparison import TITLES, Comparison, compare
from MISSUCore.evaluation.pairs import find_pairs

SPACING = (0.5, 1.0, 2.0)  # x, y, z in mm: a voxel has 0.001 ml


def write(path, label_map, spacing=SPACING, origin=(0.0, 0.0, 0.0), direction=None):
    image = sitk.GetImageFromArray(label_map)
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    if direction:
        image.SetDirection(direction)
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))
    return path


def tumor(enhancing=4):
    """20 voxels of edema, 6 of core, 4 of enhancing tumor."""
    label_map = np.zeros((6, 8, 10), dtype=np.uint8)
    label_map[2, 2:5, :] = 2
    label_map[2, 3, :6] = 1
    label_map[2, 3, 6:] = enhancing
    return label_map


def missed_core():
    label_map = tumor()
    label_map[label_map == 1] = 2
    return label_map


def by_region(rows):
    return {row.region: row for row in rows}


def row(case, region, value):
    return RegionScores(case, region, *[value] * len(TITLES))


@pytest.fixture
def folders(tmp_path):
    """Two cases, A found as it is, B without its core."""
    for case, label_map in (("A", tumor()), ("B", missed_core())):
        write(tmp_path / "predictions" / f"{case}.nii.gz", label_map)
        write(tmp_path / "references" / f"{case}.nii.gz", tumor())
    return tmp_path / "predictions", tmp_path / "references"


def test_pair_by_hand(tmp_path):
    prediction = write(tmp_path / "case_007.nii.gz", missed_core())
    reference = write(tmp_path / "reference.nrrd", tumor())

    rows = compare(prediction, reference).rows

    assert [(row.case, row.region) for row in rows] == [
        ("case_007", "WT"),
        ("case_007", "TC"),
        ("case_007", "ET"),
    ]
    regions = by_region(rows)
    assert regions["WT"].dice == 1
    assert regions["ET"].dice == 1
    # Of the 10 voxels of the tumor core, 4 are left; 470 of 480 voxels are background.
    assert regions["TC"].dice == pytest.approx(2 * 4 / (4 + 10))
    assert regions["TC"].sensitivity == pytest.approx(4 / 10)
    assert regions["TC"].specificity == 1
    assert regions["TC"].accuracy == pytest.approx(474 / 480)
    # The 6 missing voxels are 1 to 6 columns of 0.5 mm away from those found.
    assert regions["TC"].hausdorff_mm == pytest.approx(3.0)
    assert regions["TC"].average_hausdorff_mm == pytest.approx((0.5 * 21 / 10 + 0) / 2)
    assert (regions["TC"].lesions_found, regions["TC"].lesions_missed) == (1, 0)
    assert regions["TC"].lesion_dice == pytest.approx(8 / 14)
    assert (regions["TC"].prediction_ml, regions["TC"].reference_ml) == pytest.approx((0.004, 0.01))


@pytest.mark.parametrize("scheme", [BRATS, BRATS_2023])
@pytest.mark.parametrize(("predicted", "expected"), [(3, 4), (4, 3), (3, 3), (4, 4)])
def test_either_brats_numbering_is_recognized(tmp_path, scheme, predicted, expected):
    prediction = write(tmp_path / "p.nii.gz", tumor(predicted))
    reference = write(tmp_path / "r.nii.gz", tumor(expected))

    rows = compare(prediction, reference, scheme).rows

    assert [row.dice for row in rows] == [1, 1, 1]
    assert [row.reference_ml for row in rows] == pytest.approx([0.030, 0.010, 0.004])


def test_regions_are_those_of_the_scheme(tmp_path):
    liver = (tumor() > 0).astype(np.uint8)
    path = write(tmp_path / "liver.nii.gz", liver)
    assert [row.region for row in compare(path, path, CHAOS_LIVER).rows] == ["liver"]


def test_other_label_values_are_refused(tmp_path):
    mixed = tumor(3)
    mixed[0, 0, 0] = 4
    prediction = write(tmp_path / "mixed.nii.gz", mixed)
    reference = write(tmp_path / "r.nii.gz", tumor())
    with pytest.raises(InputError, match=r"mixed\.nii\.gz.*\[0, 1, 2, 3, 4\].*BraTS"):
        compare(prediction, reference)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("size", {"label_map": np.zeros((6, 8, 11), dtype=np.uint8)}),
        ("spacing", {"spacing": (0.5, 1.0, 2.01)}),
        ("origin", {"origin": (0.0, 0.011, 0.0)}),
        ("direction", {"direction": (-1, 0, 0, 0, 1, 0, 0, 0, 1)}),
    ],
)
def test_different_grids_are_refused(tmp_path, name, changes):
    prediction = write(tmp_path / "p.nii.gz", **{"label_map": tumor(), **changes})
    reference = write(tmp_path / "r.nii.gz", tumor())
    with pytest.raises(InputError, match=rf"p\.nii\.gz and .*r\.nii\.gz.* grids, {name} "):
        compare(prediction, reference)


def test_rounded_headers_are_the_same_grid(tmp_path):
    prediction = write(tmp_path / "p.nii.gz", tumor(), (0.5, 1.0, 2.0001), (0.0, 1e-4, 0.0))
    reference = write(tmp_path / "r.nii.gz", tumor())
    assert len(compare(prediction, reference).rows) == 3


def test_folders_are_compared_case_by_case(folders):
    rows = compare(*folders).rows
    assert [row.case for row in rows] == ["A"] * 3 + ["B"] * 3
    assert [row.dice for row in rows] == pytest.approx([1, 1, 1, 1, 8 / 14, 1])


def test_progress_is_reported_for_every_case(folders):
    events = []
    compare(*folders, progress=Progress(events.append))
    assert [(event.fraction, event.message) for event in events] == [
        (0.0, "A"),
        (0.5, "B"),
        (1.0, "cases compared: 2"),
    ]


@pytest.mark.parametrize(
    "reference",
    ["A.nii.gz", "A_seg.nii.gz", "A-seg.nii.gz", "A/A_seg.nii.gz", "A/A-seg.nii", "A_seg.nrrd"],
)
def test_names_that_are_paired(tmp_path, reference):
    predictions, references = tmp_path / "predictions", tmp_path / "references"
    write(predictions / "A.nii.gz", tumor())
    path = write(references / reference, tumor())
    # What lies beside it: scans in the folder of a case, other folders, notes, what macOS leaves.
    write(references / "A" / "A_flair.nii.gz", tumor())
    write(references / "old" / "A_seg.nii.gz", tumor())
    (references / "B.nii").mkdir()
    (references / "README.txt").write_text("notes")
    (references / "._A.nii.gz").write_text("macOS")

    (pair,) = find_pairs(predictions, references)

    assert (pair.case, pair.reference) == ("A", path)


def test_label_maps_without_partner_are_named(folders):
    predictions, references = folders
    (references / "B.nii.gz").rename(references / "C.nii.gz")
    with pytest.raises(InputError, match=r"no reference in .*references for B\.nii\.gz$"):
        find_pairs(predictions, references)
    (predictions / "B.nii.gz").unlink()
    with pytest.raises(InputError, match=r"no prediction in .*predictions for C\.nii\.gz$"):
        find_pairs(predictions, references)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such pipes")
def test_a_pipe_is_no_label_map(folders):
    predictions, references = folders
    pipe = predictions / "pipe.nii.gz"
    os.mkfifo(pipe)
    for pair in ((pipe, references / "B.nii.gz"), (references / "B.nii.gz", pipe)):
        with pytest.raises(InputError, match=r"pipe\.nii\.gz: is a pipe or device"):
            compare(*pair)


def test_many_label_maps_without_partner_are_counted(folders):
    predictions, references = folders
    for number in range(13):
        (predictions / f"X{number:02}.nii.gz").touch()
    with pytest.raises(InputError, match=r"X00\.nii\.gz, .*X09\.nii\.gz and 3 more$"):
        find_pairs(predictions, references)


def test_two_label_maps_of_one_case_are_refused(folders):
    predictions, references = folders
    (references / "A_seg.nii.gz").touch()
    with pytest.raises(InputError, match=r"A\.nii\.gz.*A_seg\.nii\.gz.*one case"):
        find_pairs(predictions, references)


def test_paths_that_cannot_be_compared_are_refused(folders, tmp_path):
    predictions, references = folders
    with pytest.raises(InputError, match=r"missing: no such"):
        compare(predictions, tmp_path / "missing")
    with pytest.raises(InputError, match=r"two files or two folders"):
        compare(predictions / "A.nii.gz", references)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty: holds no label maps"):
        compare(tmp_path / "empty", references)


def test_summary_by_hand():
    # 1, 2 and 6: mean 3, deviations -2, -1 and 3, variance 14 / 2.
    comparison = Comparison(
        (row("A", "WT", 1.0), row("B", "WT", 2.0), row("C", "WT", 6.0), row("A", "ET", 4.0))
    )

    summary = comparison.summary()

    assert list(summary) == ["WT", "ET"]
    assert list(summary["WT"]) == list(TITLES)
    dice = summary["WT"]["dice"]
    assert (dice.mean, dice.median) == (3, 2)
    assert dice.standard_deviation == pytest.approx(math.sqrt(7))
    assert math.isnan(summary["ET"]["dice"].standard_deviation)
    assert math.isnan(summary["ET"]["dice"].mean_low)


def test_interval_of_a_mean_of_two_values_is_the_two():
    # Of the four ways to draw two of two cases with replacement, one draws the first twice, and one
    # the second: each mean has a quarter of the chance, far more than 2.5 %.
    summary = Comparison((row("A", "WT", 0.2), row("B", "WT", 0.6))).summary()
    assert (summary["WT"]["dice"].mean_low, summary["WT"]["dice"].mean_high) == (0.2, 0.6)


def test_interval_of_many_values_is_that_of_the_normal_distribution():
    values = np.random.default_rng(5).normal(0.7, 0.1, 400)
    rows = tuple(row(str(number), "WT", value) for number, value in enumerate(values))
    dice = Comparison(rows).summary()["WT"]["dice"]
    half = 1.96 * values.std(ddof=1) / math.sqrt(400)
    assert dice.mean_low == pytest.approx(dice.mean - half, abs=0.001)
    assert dice.mean_high == pytest.approx(dice.mean + half, abs=0.001)


def test_a_case_without_a_value_does_not_count():
    rows = (row("A", "WT", 0.5), row("B", "WT", math.nan), row("A", "ET", math.nan))
    summary = Comparison(rows).summary()
    assert (summary["WT"]["dice"].mean, summary["WT"]["dice"].median) == (0.5, 0.5)
    assert math.isnan(summary["ET"]["dice"].mean)


def test_csv_has_every_row(folders, tmp_path):
    comparison = compare(*folders)
    comparison.write_csv(tmp_path / "scores.csv")

    with (tmp_path / "scores.csv").open(newline="") as stream:
        lines = list(csv.DictReader(stream))

    assert [(line["case"], line["region"]) for line in lines] == [
        (row.case, row.region) for row in comparison.rows
    ]
    for metric in TITLES:
        assert [float(line[metric]) for line in lines] == [
            getattr(row, metric) for row in comparison.rows
        ]


def test_json_has_rows_and_summary_and_null_for_what_is_no_number(tmp_path):
    comparison = Comparison((row("A", "WT", math.inf), row("B", "ET", 0.5)))
    comparison.write_json(tmp_path / "scores.json")

    plain = json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))

    assert [item["case"] for item in plain["rows"]] == ["A", "B"]
    assert [item["dice"] for item in plain["rows"]] == [None, 0.5]
    assert plain["summary"]["ET"]["dice"] == {
        "mean": 0.5,
        "standard_deviation": None,
        "median": 0.5,
        "mean_low": None,
        "mean_high": None,
    }


@pytest.mark.parametrize("method", ["write_csv", "write_json"])
def test_a_place_that_cannot_be_written_is_named(tmp_path, method):
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="folder: cannot be written"):
        getattr(Comparison((row("A", "WT", 1.0),)), method)(tmp_path / "folder")


def test_table_shows_mean_and_standard_deviation():
    table = Comparison((row("A", "WT", 1.0), row("B", "WT", 2.0))).format_table().splitlines()
    assert table[0].split() == ["WT"]
    # Rates with four digits, mm and ml with two; the sample deviation of 1 and 2 is 0.7071.
    assert table[1].split() == ["Dice", "1.5000", "(0.7071)"]
    assert table[-2].split() == ["Reference", "volume,", "ml", "1.50", "(0.71)"]
    assert table[-1] == "Mean (standard deviation) of 2 cases"


def test_intervals_are_shown_with_the_median():
    comparison = Comparison((row("A", "WT", 0.2), row("B", "WT", 0.6)))
    lines = comparison.format_intervals().splitlines()
    assert lines[1].split() == ["Dice", "0.400", "(0.200", "to", "0.600),", "0.400"]
    assert lines[-1] == "Mean (95 % bootstrap interval), median of 2 cases"


def test_table_of_one_case_shows_its_values():
    table = Comparison((row("A", "WT", 1.0), row("A", "ET", 0.5))).format_table().splitlines()
    assert table[1].split() == ["Dice", "1.0000", "0.5000"]
    assert table[-1] == "1 case"
