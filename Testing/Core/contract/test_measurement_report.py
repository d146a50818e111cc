"""The report of a measurement: rules, correction, and the way through a file."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from MISSUCore.contract.measurement.lesions import (
    LesionMeasurement,
    Line,
    MeasurementSettings,
    judge,
)
from MISSUCore.contract.measurement.report import MeasurementReport, read_measurement
from MISSUCore.contract.segmentation_report import FileFact
from MISSUCore.core.errors import InputError
from MISSUCore.core.messages import Text, a_file


def across(length: float) -> Line:
    return Line((0.0, 1.0, 2.0), (length, 1.0, 2.0))


def upright(length: float) -> Line:
    return Line((1.0, 0.0, 2.0), (1.0, length, 2.0))


def report(*sizes: tuple[float, float]) -> MeasurementReport:
    lesions = [
        LesionMeasurement(
            number=number,
            center_mm=(1.0, 2.0, 3.0),
            volumes_ml={"WT": 2.5, "ET": 1.0},
            slices=4,
            longest=across(size[0]),
            perpendicular=upright(size[1]),
            maximum=across(size[0] + 1),
        )
        for number, size in enumerate(sizes, start=1)
    ]
    empty = LesionMeasurement(len(sizes) + 1, (0.0, 0.0, 0.0), {"WT": 0.5, "ET": 0.0})
    settings = MeasurementSettings()
    return MeasurementReport(
        segmentation=FileFact("seg.nii.gz", "ab"),
        scheme="BraTS",
        region="ET",
        settings=settings,
        plane="axial",
        slice_mm=1.0,
        volumes_ml={"WT": 3.0, "ET": 1.0},
        lesions=judge([*lesions, empty], settings, "ET", 1.0),
        warnings=(Text("look at ", a_file("seg.nii.gz")),),
    )


def test_a_report_comes_back_from_its_file(tmp_path: Path) -> None:
    before = report((20, 15), (11.5, 9))
    path = tmp_path / "report.json"
    path.write_text(json.dumps(before.to_dict()))
    assert read_measurement(path) == before
    plain = json.loads(path.read_text())
    assert plain["sum_of_products_mm2"] == 300
    assert plain["lesions"][0]["longest"] == {
        "start_mm": [0.0, 1.0, 2.0],
        "end_mm": [20.0, 1.0, 2.0],
        "length_mm": 20.0,
    }
    assert plain["lesions"][0]["angle_degrees"] == pytest.approx(90)
    assert plain["lesions"][2]["longest"] is None


@pytest.mark.parametrize(
    "change",
    [
        lambda v: v.pop("lesions"),
        lambda v: v.update(lesions=3),
        lambda v: v["lesions"][0].pop("number"),
        lambda v: v["lesions"][0].update(longest={"start_mm": [1, 2], "end_mm": [1, 2, 3]}),
        lambda v: v["lesions"][0].update(center_mm=[1, 2, math.nan]),
        lambda v: v.update(settings={"unknown": 1}),
        lambda v: v.update(slice_mm="thick"),
        lambda v: v.update(volumes_ml=[1]),
        lambda v: v.update(segmentation={"file": "x"}),
        lambda v: v.update(segmentation={"path": 3}),
        lambda v: v.update(volumes_ml={"WT": 10**400}),
        lambda v: v.update(slice_mm=math.inf),
        lambda v: v.update(schema_version=math.inf),
        lambda v: v["lesions"][0].update(number=math.inf),
        lambda v: v["lesions"][0].update(slices=2.5),
    ],
)
def test_something_else_is_refused(tmp_path: Path, change) -> None:
    values = report((20, 15)).to_dict()
    change(values)
    path = tmp_path / "report.json"
    path.write_text(json.dumps(values))
    with pytest.raises(InputError, match=r"report\.json: cannot be read: .*; measure again"):
        read_measurement(path)


@pytest.mark.parametrize("text", ["", "[]", "3", '{"lesions": ', "[" * 100_000])
def test_what_is_no_json_object_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "report.json"
    path.write_text(text)
    with pytest.raises(InputError, match="cannot be read"):
        read_measurement(path)


def test_a_corrected_line_is_judged_anew() -> None:
    before = report((20, 15), (18, 9))
    assert [lesion.target for lesion in before.lesions] == [True, False, False]
    after = before.corrected(2, across(18), upright(12))
    assert [lesion.corrected for lesion in after.lesions] == [False, True, False]
    assert [lesion.target for lesion in after.lesions] == [True, True, False]
    assert after.lesions[1].reasons == ()
    assert after.sum_of_products_mm2 == 20 * 15 + 18 * 12
    smaller = after.corrected(1, across(9.9), upright(5))
    assert smaller.lesions[0].reasons == (
        "longest diameter 9.9 mm, below 10 mm",
        "perpendicular diameter 5.0 mm, below 10 mm",
    )
    assert smaller.sum_of_products_mm2 == 18 * 12
    with pytest.raises(KeyError):
        before.corrected(7, across(1), upright(1))


def test_the_number_of_targets_can_be_changed() -> None:
    before = report((20, 15), (18, 12), (16, 11))
    assert before.sum_of_products_mm2 == 300 + 216
    after = before.with_targets(3)
    assert after.sum_of_products_mm2 == 300 + 216 + 176
    assert after.settings.targets == 3 and after.with_targets(2) == before


def test_a_lesion_can_be_given_diameters_by_hand() -> None:
    after = report((20, 15)).corrected(2, across(12), upright(11))
    # It is seen on no slice of the segmentation.
    assert after.lesions[1].reasons == ("seen on 0 of at least 2 slices",)


def test_angles() -> None:
    slanted = Line((0.0, 0.0, 0.0), (1.0, 1.0, 0.0))
    assert across(3).angle_degrees(slanted) == pytest.approx(45)
    assert Line(slanted.end, slanted.start).angle_degrees(across(3)) == pytest.approx(45)
    assert across(3).angle_degrees(across(0)) == 0


def test_thick_slices_ask_for_more() -> None:
    lesions = report((20, 11)).lesions
    judged = judge(lesions, MeasurementSettings(), "ET", 5.5)
    assert judged[0].measurable
    judged = judge(lesions, MeasurementSettings(), "ET", 6.0)
    assert judged[0].reasons == (
        "perpendicular diameter 11.0 mm, below 12 mm, twice the slice thickness of 6 mm",
    )
    assert judge([replace(lesions[0], slices=1)], MeasurementSettings(), "ET", 1.0)[0].reasons
