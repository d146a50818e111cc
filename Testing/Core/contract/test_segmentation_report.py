"""The report of a segmentation goes to its file and comes back; so do those of old versions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from MISSUCore.contract.model_identity import ModelIdentity
from MISSUCore.contract.provenance.masks import MaskFact
from MISSUCore.contract.segmentation_report import (
    SCHEMA_VERSION,
    FileFact,
    MapStatistics,
    RegionStatistics,
    ScanRegistration,
    SegmentationReport,
    read_report,
)
from MISSUCore.core.errors import InputError
from MISSUCore.core.messages import Name, Text, a_modality

REPORT = SegmentationReport(
    inputs={"t2": FileFact("/t2.nii", "ab")},
    written={"seg.nii.gz": "12"},
    grid=tuple(map(float, range(12))),
    masks={"WT": MaskFact(12500, 12.5, "34")},
    model=ModelIdentity("missu", "cd"),
    seconds={"total": 2.5},
    fixed="t1",
    registrations={
        "t2": ScanRegistration(1.1, 4.0, False, "transform_t2.tfm"),
        "flair": ScanRegistration(1.2, 0.0, True),
    },
    brain_method="deepbet",
    brain_ml=1400.0,
    volumes_ml={"WT": 12.5},
    confidence={"WT": 0.9},
    maps={
        "ADC": MapStatistics(
            "/adc.nii",
            "ef",
            (2.0, 2.0, 4.0),
            {"WT": RegionStatistics(0.8, 3, 0.048, 1, mean=2.5), "ET": RegionStatistics()},
        )
    },
    warnings=(Text(a_modality("t2"), " is missing"),),
)
# As version 0.1.0 wrote it.
OLD = {
    "model": {"name": "missu", "sha256": "cd"},
    "registration": {
        "fixed": "t1",
        "scans": {"t2": {"quality": 1.1, "moved_mm": 4.0, "skipped": False, "transform": "a.tfm"}},
    },
    "brain": {"method": "deepbet", "volume_ml": None},
    "volumes_ml": {"WT": 12.5},
    "warnings": ["t2 is missing"],
}


def test_a_report_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text(json.dumps(REPORT.to_dict()))
    again = read_report(path)
    assert again == REPORT
    assert again.warnings[0].parts[0] == Name("modality", "t2")
    # What other programs read stays where it was.
    stored = json.loads(path.read_text())
    assert stored["schema_version"] == SCHEMA_VERSION
    assert stored["warnings"] == ["t2 is missing"]
    assert stored["registration"]["scans"]["t2"]["transform"] == "transform_t2.tfm"
    assert "transform" not in stored["registration"]["scans"]["flair"]
    told = stored["maps"]["ADC"]["regions"]
    assert (told["WT"]["covered"], told["WT"]["mean"], told["ET"]["mean"]) == (0.8, 2.5, None)


def test_a_report_of_an_old_version_is_read() -> None:
    report = SegmentationReport.from_dict(OLD)
    assert report.schema_version == 1
    assert report.registrations["t2"].transform == "a.tfm"
    assert list(report.warnings) == ["t2 is missing"]
    assert (report.brain_ml, report.confidence, report.maps) == (None, {}, {})
    assert (report.written, report.grid, report.masks) == ({}, (), {})


@pytest.mark.parametrize(
    "content",
    [
        *("[]", "3", "{", '{"volumes_ml": {"WT": "much"}}', '{"volumes_ml": {"WT": NaN}}'),
        f'{{"confidence": {{"WT": {10**400}}}}}',
        '{"schema_version": Infinity}',
        '{"windows": "one"}',
        '{"masks": {"WT": 3}}',
        '{"masks": {"WT": {"volume_ml": "much"}}}',
        '{"grid": ["x"]}',
        '{"model": {"name": 3}}',
        '{"inputs": {"t1ce": {"path": {}}}}',
        '{"reference": {"path": null}}',
        '{"brain": {"volume_ml": []}}',
        '{"registration": {"scans": {"t2": {"moved_mm": "far"}}}}',
        '{"maps": {"ADC": 3}}',
        '{"maps": {"ADC": {"regions": {"WT": {"mean": "high"}}}}}',
    ],
)
def test_what_is_no_report_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "report.json"
    path.write_text(content)
    with pytest.raises(InputError, match=r"report\.json: cannot be read.*segment again"):
        read_report(path)


def test_the_model_that_found_where_to_look_is_named() -> None:
    report = SegmentationReport(finder=ModelIdentity("coarse", "ab"))
    values = report.to_dict()
    assert values["finder"] == {"name": "coarse", "sha256": "ab"}
    assert SegmentationReport.from_dict(values).finder == report.finder
    del values["finder"]  # as in reports of before
    assert SegmentationReport.from_dict(values).finder == ModelIdentity()
