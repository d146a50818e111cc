"""Requests go to a file and come back as they were; what is none is refused by name."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

import pytest

from MISSUCore.contract.measurement.lesions import MeasurementSettings
from MISSUCore.contract.options import (
    Cleanup,
    FineTuningOptions,
    PreprocessingOptions,
    SegmentationOptions,
)
from MISSUCore.contract.requests.commands import (
    AddCaseRequest,
    ChangeCasesRequest,
    EvaluateRequest,
    FineTuneRequest,
    GuessRequest,
    MeasureRequest,
    ModelRequest,
    Request,
    ScanInputs,
    SegmentRequest,
    VisitsRequest,
)
from MISSUCore.contract.requests.exchange import (
    read_request,
    request_of,
    request_to_dict,
    write_request,
)
from MISSUCore.contract.visits.report import VisitsSettings
from MISSUCore.contract.visits.response import GivenVisit, ReaderEntry
from MISSUCore.core.errors import InputError

SCANS = ScanInputs(
    {"t1": Path("/a b/t1.nrrd"), "t2": Path("/a b/ü.nrrd")},
    Path("/case"),
    True,
    "t1",
    Path("/brain.nrrd"),
    PreprocessingOptions(False, False, "always"),
)
REQUESTS: list[Request] = [
    SegmentRequest(),
    SegmentRequest(
        SCANS,
        Path("/out.nrrd"),
        Path("/report.json"),
        Path("/page.html"),
        Path("/seg.dcm"),
        True,
        Path("/radiomics"),
        {"ADC": Path("/a b/adc.nrrd")},
        True,
        "mine",
        SegmentationOptions("cpu", True, False, Cleanup(1.5, 2, False)),
    ),
    AddCaseRequest(Path("/lib"), SCANS, Path("/labels.nrrd"), scheme="{}", note="-1", replace=True),
    ChangeCasesRequest(Path("/lib"), "exclude", ("a", "b")),
    FineTuneRequest(Path("/lib"), output=Path("/run"), options=FineTuningOptions(7)),
    FineTuneRequest(
        cases=Path("/c.json"),
        modalities=("t1",),
        options=FineTuningOptions(7, "none", {"steps": "3"}),
    ),
    ModelRequest(accept=Path("/run"), force=True),
    EvaluateRequest(Path("/a"), Path("/b"), json=Path("/scores.json")),
    MeasureRequest(
        Path("/a"),
        Path("/t1ce"),
        Path("/o.json"),
        maps={"CBV": Path("/cbv")},
        settings=MeasurementSettings("TC", "WT", 0, 5.5, 1, 3, "axial"),
    ),
    VisitsRequest(),
    VisitsRequest(
        (
            GivenVisit("a", Path("/a.nrrd"), Path("/t.nrrd"), "2024-01-10"),
            GivenVisit("b", reader=ReaderEntry("less", "worse", "PD", "x, y")),
        ),
        Path("/o.json"),
        page=Path("/p.html"),
        settings=VisitsSettings(MeasurementSettings(targets=3), 2, enhancing=False),
        radiotherapy=("2023-12-01",),
        allow_empty=True,
    ),
    GuessRequest({"scan-0": Path("/s.nrrd")}, ("t1", "t2"), Path("/guesses.json")),
]


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda one: one.command)
def test_it_comes_back_as_it_was(tmp_path: Path, request_: Request) -> None:
    path = tmp_path / "request.json"
    write_request(path, request_)
    assert read_request(path) == request_
    assert json.loads(path.read_text(encoding="utf-8")) == request_to_dict(request_)


def test_what_is_left_out_keeps_its_default(tmp_path: Path) -> None:
    path = tmp_path / "request.json"
    options = {"cleanup": {"minimum_innermost_mm3": 5}}
    path.write_text(json.dumps({"command": "segment", "output": "/o.nrrd", "options": options}))
    request = read_request(path)
    assert isinstance(request, SegmentRequest)
    assert request.options.cleanup == Cleanup(100.0, 5, fill_holes=True)
    assert request.scans == ScanInputs()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is not a request"),
        ("[]", "no command None; there are segment, library add"),
        ('["segment", "--output", "x"]', "no command None"),
        ('{"command": ["segment"]}', "is not a request"),
        ('{"command": "erase"}', "no command 'erase'"),
        ('{"command": "segment", "colour": 1}', "unknown setting 'colour'"),
        ('{"command": "segment", "output": 3}', "'output' cannot be 3"),
        ('{"command": "segment", "output": "a\\u0000b"}', "'output' cannot be .*no path can be"),
        ('{"command": "segment", "output": "\\ud800"}', "'output' cannot be .*no path can be"),
        ('{"command": "segment", "overwrite": "yes"}', "'overwrite' cannot be 'yes'"),
        ('{"command": "segment", "scans": {"images": {"t1": 1}}}', "'images' cannot be 1"),
        ('{"command": "segment", "options": {"sliding": 1}}', "'sliding' cannot be 1"),
        ('{"command": "finetune", "options": {"minutes": -1}}', "-1 minutes: give a positive"),
        ('{"command": "visits", "visits": [{"date": 2024}]}', "'date' cannot be 2024"),
        (
            '{"command": "visits", "visits": [{"reader": {"steroids": "some"}}]}',
            "steroids cannot be 'some'; give none",
        ),
        ("[" * 100_000, "is not a request"),
    ],
)
def test_what_is_none_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "request.json"
    path.write_text(text)
    with pytest.raises(InputError, match=problem):
        read_request(path)
    with pytest.raises(InputError, match="is not a request"):
        read_request(tmp_path / "missing.json")


def test_options_find_their_place_by_name() -> None:
    flat = vars(
        Namespace(
            output=Path("/o"),
            mirror=True,
            minimum_island_mm3=7.0,
            registration=False,
            case=None,
            model=None,
            sliding=None,
            json_progress=True,
        )
    )
    request = request_of(SegmentRequest, flat)
    assert request == SegmentRequest(
        ScanInputs(preprocessing=PreprocessingOptions(registration=False)),
        Path("/o"),
        options=SegmentationOptions(mirror=True, cleanup=Cleanup(7.0, 0.0, fill_holes=True)),
    )
    assert request_of(FineTuneRequest, {"modalities": ["t1"]}).modalities == ("t1",)
