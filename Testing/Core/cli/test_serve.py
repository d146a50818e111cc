"""The door for other programs: a request in a file does what the same command line does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from MISSUCore.cli import evaluate, finetune, library, measure, segment, visits
from MISSUCore.cli.about import models
from MISSUCore.cli.main import main, serve
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
    GuessAnswer,
    GuessRequest,
    MeasureRequest,
    ModelRequest,
    Request,
    ScanInputs,
    SegmentRequest,
    VisitsRequest,
)
from MISSUCore.contract.requests.exchange import write_request
from MISSUCore.contract.visits.report import VisitsSettings
from MISSUCore.contract.visits.response import GivenVisit
from MISSUCore.core.errors import ErrorCode, InputError
from MISSUCore.core.events import ErrorEvent, ResultEvent, parse_line
from MISSUCore.core.files import read_json
from MISSUCore.core.serialization import settings_from_dict

SCANS = ScanInputs(
    {"t1": Path("a.nii"), "ct": Path("b.nii")},
    reference="t1",
    brain_mask=Path("m.nii"),
    preprocessing=PreprocessingOptions(False, False, "always"),
)
SCAN_OPTIONS = [
    *("--t1", "a.nii", "--image", "ct=b.nii", "--reference", "t1", "--brain-mask", "m.nii"),
    *("--registration", "never", "--brain-extraction", "never", "--bias-field"),
]
SAME: list[tuple[list[str], Request, Any, str]] = [
    (
        [
            *("segment", *SCAN_OPTIONS, "--output", "o.nii", "--report", "r.json"),
            *("--quality-page", "q.html", "--dicom-seg", "s.dcm", "--probabilities"),
            *("--radiomics", "features", "--map", "ADC=adc.nii", "--map", "CBV=cbv"),
            *("--overwrite", "--model", "mine", "--device", "cpu", "--mirror", "--no-sliding"),
            *("--minimum-island", "7", "--minimum-enhancing", "8"),
        ],
        SegmentRequest(
            SCANS,
            Path("o.nii"),
            Path("r.json"),
            Path("q.html"),
            Path("s.dcm"),
            True,
            Path("features"),
            {"ADC": Path("adc.nii"), "CBV": Path("cbv")},
            True,
            "mine",
            SegmentationOptions("cpu", True, False, Cleanup(7, 8, fill_holes=True)),
        ),
        segment,
        "perform",
    ),
    (
        ["segment", "folder", "--allow-missing", "--output", "o.nii"],
        SegmentRequest(ScanInputs(case=Path("folder"), allow_missing=True), Path("o.nii")),
        segment,
        "perform",
    ),
    (
        [
            *("library", "lib", "add", *SCAN_OPTIONS, "--labels", "l.nii", "--result", "r.nii"),
            *("--model", "mine", "--scheme", "brats2023", "--scene", "s", "--note=-1"),
            *("--no-tumor", "--replace"),
        ],
        AddCaseRequest(
            *(Path("lib"), SCANS, Path("l.nii"), Path("r.nii"), "mine", "brats2023"),
            *("s", "-1", True, True),
        ),
        library,
        "perform_add",
    ),
    (
        ["library", "lib", "exclude", "a", "b"],
        ChangeCasesRequest(Path("lib"), "exclude", ("a", "b")),
        library,
        "perform_change",
    ),
    (
        [
            *("finetune", "--library", "lib", "--output", "run", "--base", "b", "--name", "n"),
            *("--minutes", "7", "--rehearsal", "none", "--scheme", "brats", "--device", "cpu"),
            *("--modalities", "t1", "t2", "--freeze", "2", "--no-distillation"),
            *("--set", "steps=3"),
        ],
        FineTuneRequest(
            Path("lib"),
            None,
            Path("run"),
            "b",
            "n",
            "brats",
            ("t1", "t2"),
            FineTuningOptions(
                7,
                "none",
                {
                    "network.fusion": '"none"',
                    "early_stages": "2",
                    "early_rate": "0",
                    "steps": "3",
                },
                "cpu",
            ),
        ),
        finetune,
        "perform",
    ),
    (
        ["finetune", "--cases", "c.json", "--output", "run"],
        FineTuneRequest(cases=Path("c.json"), output=Path("run")),
        finetune,
        "perform",
    ),
    (
        ["models", "--accept", "run", "--force"],
        ModelRequest(accept=Path("run"), force=True),
        models,
        "perform",
    ),
    (["models", "--use", "mine"], ModelRequest(use="mine"), models, "perform"),
    (
        ["evaluate", "a", "b", "--scheme", "brats", "--csv", "c", "--json", "j", "--overwrite"],
        EvaluateRequest(Path("a"), Path("b"), "brats", Path("c"), Path("j"), True),
        evaluate,
        "perform",
    ),
    (
        [
            *("measure", "seg.nii", "--t1ce", "t.nii", "--output", "o.json", "--csv", "c.csv"),
            *("--dicom-seg", "s.dcm", "--dicom-sr", "r.dcm", "--secondary-capture", "p.dcm"),
            *("--made-by", "manual", "--map", "ADC=adc.nii"),
            *("--overwrite", "--scheme", "brats2023", "--region", "TC", "--lesions-of", "WT"),
            *("--join", "1", "--minimum", "5", "--targets", "3", "--plane", "coronal"),
        ],
        MeasureRequest(
            *(Path("seg.nii"), Path("t.nii"), Path("o.json"), Path("c.csv"), Path("s.dcm")),
            *(Path("r.dcm"), Path("p.dcm"), "manual", {"ADC": Path("adc.nii")}, True, "brats2023"),
            MeasurementSettings("TC", "WT", 1, 5, targets=3, plane="coronal"),
        ),
        measure,
        "perform",
    ),
    (
        [
            *("visits", "a.nii,t.nii", "b.nii,u.nii", "--dates", "2024-01-10", "20240306"),
            *("--output", "o.json", "--csv", "c.csv", "--page", "p.html", "--overwrite"),
            *("--region", "TC", "--baseline", "2", "--targets", "3", "--allow-empty"),
            *("--surgery", "2023-11-01", "--radiotherapy", "2023-12-01"),
            "--allow-different-anatomy",
        ],
        VisitsRequest(
            (
                GivenVisit("a", Path("a.nii"), Path("t.nii"), "2024-01-10"),
                GivenVisit("b", Path("b.nii"), Path("u.nii"), "2024-03-06"),
            ),
            *(Path("o.json"), Path("c.csv"), Path("p.html"), True, "brats"),
            VisitsSettings(MeasurementSettings("TC", targets=3), 2, enhancing=False),
            *(("2023-11-01",), ("2023-12-01",), True, True),
        ),
        visits,
        "perform",
    ),
]


@pytest.mark.parametrize(
    ("arguments", "request_", "module", "name"), SAME, ids=lambda one: str(one)[:30]
)
def test_a_request_is_what_the_command_line_makes(
    arguments: list[str],
    request_: Request,
    module: Any,
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heard: list[tuple[Request, bool]] = []

    def perform(request: Request, as_events: bool, progress: object, *_: object) -> None:
        heard.append((request, as_events))
        raise InputError("enough")

    monkeypatch.setattr(module, name, perform)
    assert main(arguments) == 2
    write_request(tmp_path / "request.json", request_)
    assert serve(tmp_path / "request.json") == 2
    assert heard == [(request_, False), (request_, True)]


def events(text: str) -> list[Any]:
    return [parse_line(line) for line in text.splitlines()]


def test_errors_are_told_as_events(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "request.json").write_text('{"command": "erase"}')
    assert serve(tmp_path / "request.json") == 2
    (event,) = events(capsys.readouterr().out)
    assert isinstance(event, ErrorEvent) and event.code == ErrorCode.INPUT
    assert "no command 'erase'" in event.message
    for request, problem in (
        (SegmentRequest(output=tmp_path / "o.nii.gz"), "no scan"),
        (ChangeCasesRequest(tmp_path, "erase", ("a",)), "no change 'erase'"),
        (FineTuneRequest(output=tmp_path / "run"), "no cases to tune on given"),
        (VisitsRequest(), "two visits or more"),
        (VisitsRequest((GivenVisit(date="soon"),) * 2), "'soon' is not a date"),
        (VisitsRequest((GivenVisit(date="2024-01-10"),) * 2, surgery=("x",)), "'x' is not a date"),
    ):
        write_request(tmp_path / "request.json", request)
        assert serve(tmp_path / "request.json") == 2
        event = events(capsys.readouterr().out)[-1]
        assert problem in event.message
    assert [path.name for path in tmp_path.iterdir()] == ["request.json"]


def test_what_was_made_is_told_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MISSU_MODELS", str(tmp_path / "mine"))
    monkeypatch.setattr(
        "MISSUCore.models.versions.accept", lambda run, force: type("Card", (), {"name": "new-1"})
    )
    write_request(tmp_path / "request.json", ModelRequest(accept=tmp_path))
    assert serve(tmp_path / "request.json") == 0
    assert events(capsys.readouterr().out) == [ResultEvent({"model": "new-1"})]
    assert json.loads((tmp_path / "request.json").read_text())["command"] == "models"


def test_what_scans_look_like_is_told_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "broken.nrrd").write_text("no image")
    images = {"a": tmp_path / "missing.nrrd", "b": tmp_path / "broken.nrrd"}
    request = GuessRequest(images, ("t1", "t2"), tmp_path / "guesses.json")
    write_request(tmp_path / "request.json", request)
    assert serve(tmp_path / "request.json") == 0
    answer = settings_from_dict(GuessAnswer, read_json(tmp_path / "guesses.json"))
    assert {guess.sequence for guess in answer.guesses.values()} == {None}
    assert "missing.nrrd" in answer.guesses["a"].reason
    assert "broken.nrrd" in answer.guesses["b"].reason
