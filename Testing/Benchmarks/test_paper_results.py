"""The tables' numbers from stored rows, and the metrics of CHAOS, by truth computed by hand."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

pytest.importorskip("monai")

from paper_chaos import chaos_cases, chaos_scores, chaos_split, read_example
from paper_results import Result, differences, enough, percent, result_path, spread, table
from paper_rows import Row, Run

RUN = Run("some")
SPACING_MM = (8.0, 1.0, 2.0)


def result(seed: int, dice: tuple[float, float], steps: int = 10) -> Result:
    """Two cases with this Dice of WT; TC and ET have half and a quarter of it."""
    scores = {
        str(number): {
            region: {"accuracy": 1.0, "dice": value / part, "average_hausdorff_mm": part * seed}
            for region, part in (("WT", 1), ("TC", 2), ("ET", 4))
        }
        for number, value in enumerate(dice)
    }
    settings = {"batch_size": 4, "accumulation": 1}
    return Result({"settings": settings}, steps, 2_500_000, 1.5, scores)


def test_a_row_tells_mean_and_spread_over_its_seeds(tmp_path: Path) -> None:
    # Means over the cases 0.5, 0.6, 0.7 by seed; their deviation is 0.1.
    for seed, dice in ((1, (0.4, 0.6)), (2, (0.5, 0.7)), (3, (0.6, 0.8))):
        result(seed, dice).write(result_path(tmp_path, RUN, seed))
    row = Row("a row", RUN, (90.0, 80.0, 70.0), (1.0, 2.0, 3.0), note="a note")
    head, _, line, missing = table([row, Row("none", None, note="why")], "brats", tmp_path).split(
        "\n"
    )
    assert [cell.strip() for cell in line.strip("|").split("|")] == [
        "a row",
        "2.5 M",
        "0.600 ± 0.100 / 0.300 ± 0.050 / 0.150 ± 0.025",
        "0.900 / 0.800 / 0.700",
        "2.00 ± 1.00 / 4.00 ± 2.00 / 8.00 ± 4.00",
        "1.00 / 2.00 / 3.00",
        "3",
        "1.50",
        # 10 steps of 4 patches, of 335,000.
        "a note; 10 steps, 0.012 % of the paper's patches: too few to rank",
    ]
    assert head.count("|") == line.count("|") == missing.count("|")
    assert missing.endswith("| why |")


def test_rows_are_compared_case_by_case(tmp_path: Path) -> None:
    # WT by case, over the seeds: 0.48 and 0.66 against 0.4 and 0.5, so 0.08 and 0.16 more. Means of
    # cases drawn anew lie between these; each end is drawn in a quarter of the time.
    other, own = Run("other"), Run("own")
    for run, seed, dice in ((other, 1, (0.4, 0.5)), (own, 1, (0.4, 0.6)), (own, 2, (0.56, 0.72))):
        result(seed, dice).write(result_path(tmp_path, run, seed))
    rows = [Row("other", other), Row("not run", Run("missing")), Row("own", own)]
    assert differences(rows, "brats", tmp_path) == (
        "own - other, Dice: WT +0.120 (+0.080 to +0.160), TC +0.060 (+0.040 to +0.080), "
        "ET +0.030 (+0.020 to +0.040)"
    )
    assert differences(rows[:2], "brats", tmp_path) == ""


def test_the_liver_has_the_challenges_columns_and_the_papers_accuracy_and_dice(
    tmp_path: Path,
) -> None:
    scores = {
        name: {
            "liver": {
                "accuracy": 0.9,
                "dice": value,
                "ravd_percent": 100 * value,
                "assd_mm": 2 * value,
                "mssd_mm": 40 * value,
            }
        }
        for name, value in (("a", 0.5), ("b", 0.7))
    }
    given = {"settings": {"batch_size": 1, "accumulation": 1}}
    Result(given, 15, 1_000_000, 1.0, scores).write(result_path(tmp_path, RUN, 7))
    row = Row("a row", RUN, chaos=(96.78, 95.55))
    line = table([row], "chaos", tmp_path).split("\n")[2]
    assert [cell.strip() for cell in line.strip("|").split("|")] == [
        *("a row", "1.0 M", "0.900", "0.968", "0.600", "0.956", "60.0", "1.20", "24", "1", "1.00"),
        "15 steps, 0.10 % of the paper's patches: too few to rank",
    ]


def test_a_row_with_half_of_the_papers_patches_is_not_called_too_short() -> None:
    assert "too few" not in enough([result(1, (1, 1), steps=41_875)], "brats")
    assert "too few" in enough([result(1, (1, 1), steps=41_874)], "brats")
    # The shortest seed decides.
    assert "too few" in enough([result(1, (1, 1), steps=n) for n in (41_875, 10)], "brats")


def test_numbers_are_told_shortly() -> None:
    assert percent(0.00012) == "0.012 %"
    assert percent(0.0345) == "3.5 %"
    assert percent(0.5) == "50 %"
    assert spread([0.25], 2) == "0.25"
    assert spread([1.0, 3.0], 1) == f"2.0 ± {math.sqrt(2):.1f}"


def boxes(*spans: tuple[int, int]) -> np.ndarray:
    """A box from each first to each last voxel in 10 x 10 x 10."""
    mask = np.zeros((10, 10, 10), dtype=bool)
    mask[tuple(slice(first, last + 1) for first, last in spans)] = True
    return mask


def test_chaos_metrics_of_two_single_voxels() -> None:
    one, other = boxes((2, 2), (3, 3), (4, 4)), boxes((2, 2), (6, 6), (6, 6))
    scores = chaos_scores(one, other, SPACING_MM)
    # 3 voxels of 1 mm and 2 of 2 mm apart: a triangle of 3, 4 and 5 mm.
    assert vars(scores) == {"dice": 0.0, "ravd_percent": 0.0, "assd_mm": 5.0, "mssd_mm": 5.0}


def test_chaos_metrics_of_a_segmentation_that_is_one_slice_too_long() -> None:
    reference, prediction = boxes((2, 3), (2, 3), (2, 3)), boxes((2, 4), (2, 3), (2, 3))
    scores = chaos_scores(prediction, reference, SPACING_MM)
    # 12 voxels and 8, all of them surface: only the 4 of the third slice are 8 mm away.
    assert scores.dice == pytest.approx(16 / 20)
    assert scores.ravd_percent == pytest.approx(50)
    assert scores.assd_mm == pytest.approx(4 * 8 / 20)
    assert scores.mssd_mm == 8
    # The volume's difference is relative to the reference.
    assert chaos_scores(reference, prediction, SPACING_MM).ravd_percent == pytest.approx(100 / 3)


def test_the_end_of_the_image_is_no_surface() -> None:
    # Both fill all but one end of the image: their surfaces are one plane each, 3 mm apart.
    reference, prediction = boxes((0, 9), (0, 3), (0, 9)), boxes((0, 9), (0, 6), (0, 9))
    scores = chaos_scores(prediction, reference, SPACING_MM)
    assert scores.assd_mm == scores.mssd_mm == 3


def test_nothing_found_is_the_worst_there_is() -> None:
    scores = chaos_scores(
        boxes((0, -1), (0, 0), (0, 0)), boxes((1, 2), (1, 2), (1, 2)), (3, 4, 0.1)
    )
    diagonal = math.sqrt(30**2 + 40**2 + 1)
    assert scores.dice == 0
    assert scores.ravd_percent == 100
    assert scores.assd_mm == scores.mssd_mm == pytest.approx(diagonal)
    with pytest.raises(ValueError, match="empty"):
        chaos_scores(boxes((1, 2), (1, 2), (1, 2)), boxes((0, -1), (0, 0), (0, 0)), SPACING_MM)


@pytest.mark.skipif("CHAOS_EVALUATION" not in os.environ, reason="43 MB, not ours to pass on")
def test_the_challenges_own_example() -> None:
    """``CHAOS_EVALUATION`` is a checkout of github.com/emrekavur/CHAOS-evaluation."""
    scores = chaos_scores(*read_example(Path(os.environ["CHAOS_EVALUATION"]) / "Data_3D"))
    assert round(scores.dice, 3) == 0.978
    assert round(scores.ravd_percent, 3) == 0.665
    assert round(scores.assd_mm, 3) == 0.734
    assert round(scores.mssd_mm, 9) == 14


def test_cases_of_t2_alone_have_labels_of_the_liver_alone_and_are_split_15_to_5(
    tmp_path: Path,
) -> None:
    numbers = [1, 2, 3, 5, 8, 10, 13, 15, 19, 20, 21, 22, 31, 32, 33, 34, 36, 37, 38, 39]
    for number in numbers:
        folder = tmp_path / "data" / f"chaos_{number}"
        folder.mkdir(parents=True)
        organs = np.arange(5, dtype=np.float64).repeat(25).reshape(5, 5, 5)
        for name in ("t2spir", "organs"):
            sitk.WriteImage(sitk.GetImageFromArray(organs), str(folder / f"{name}.nii.gz"))
    cases, modalities = chaos_cases(tmp_path / "data", tmp_path / "liver")
    assert modalities == ("t2",)
    assert [case.name for case in cases] == [f"chaos_{number}" for number in numbers]
    liver = sitk.GetArrayFromImage(sitk.ReadImage(str(cases[0].labels)))
    assert np.array_equal(np.unique(liver), [0, 1])
    assert np.array_equal(liver == 1, organs == 1)
    training, testing = chaos_split(cases)
    assert [case.name for case in testing] == [f"chaos_{n}" for n in (5, 15, 22, 34, 39)]
    assert len(training) == 15
    assert not {case.name for case in training} & {case.name for case in testing}
