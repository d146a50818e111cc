"""Tuning on a few cases: end to end on tiny ones, stopping and killing, other tasks."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import SimpleITK as sitk
import torch

import MISSUCore
import MISSUCore.training.trainer as trainer_module
from MISSUCore.contract.labels import BRATS, BRATS_2023, LabelScheme
from MISSUCore.contract.model_card import Tuning
from MISSUCore.contract.model_identity import ModelIdentity
from MISSUCore.contract.options import FineTuningOptions
from MISSUCore.contract.tuning.finetuning_run import FineTuningRun
from MISSUCore.contract.tuning.verdict import AcceptanceTest
from MISSUCore.core.errors import InputError
from MISSUCore.core.events import Progress, ProgressEvent
from MISSUCore.core.files import folder_lock, sha256
from MISSUCore.core.run_state import RunState
from MISSUCore.finetuning import folds as tuning_parts
from MISSUCore.finetuning import planning, rehearsal
from MISSUCore.finetuning import run as fine_tuning
from MISSUCore.finetuning.context import tuning_context
from MISSUCore.finetuning.run import fine_tune
from MISSUCore.finetuning.scores import ScoreLog
from MISSUCore.models.store import Model, load_model
from MISSUCore.training.cases.brats import find_brats_cases
from MISSUCore.training.cases.labeled import LabeledCase
from MISSUCore.training.trainer import Trainer

pytestmark = pytest.mark.slow

CHANGES = {"steps": "3", "patch_size": "[16,16,16]", "mixed_precision": "false"}
OPTIONS = FineTuningOptions(rehearsal="none", changes=CHANGES, device="cpu")


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer_module, "write_curves", lambda folder: None)


@pytest.fixture
def base(tiny_model: Path) -> Model:
    return load_model(str(tiny_model))


@pytest.fixture
def tune(brats_folder: Path, base: Model, tmp_path: Path) -> Callable[..., AcceptanceTest]:
    """Tunes the tiny base on four tiny cases."""

    def call(folder="run", cases=None, scheme=BRATS, options=OPTIONS, progress=None, start=base):
        cases = find_brats_cases(brats_folder) if cases is None else cases
        return fine_tune(cases, scheme, start, tmp_path / folder, "mine", options, progress)

    return call


def test_a_run_leaves_table_and_candidate(
    tune: Callable, base: Model, tiny_model: Path, tmp_path: Path
) -> None:
    events: list[ProgressEvent] = []
    gate = tune(progress=Progress(events.append))
    run = tmp_path / "run"
    assert gate.to_dict() == json.loads((run / "gate.json").read_text())
    assert gate == FineTuningRun(run).acceptance()
    names = sorted(row.case for row in gate.cases)
    assert names == [f"BraTS2021_0000{number}" for number in range(4)]
    assert gate.forgetting is None
    assert gate.base == ModelIdentity("tiny", base.card.sha256)
    candidate = load_model(str(run / "model" / "mine.pt"))
    (tuning,) = candidate.card.history
    assert tuning.cases == tuple(names) and tuning.verdict == gate.verdict
    assert tuning.settings["learning_rate"] == 3e-4
    assert tuning.settings["network"]["fusion"] == "local"  # self-distillation is active
    before, after = base.network.state_dict(), candidate.network.state_dict()
    assert any(not torch.equal(before[name], after[name]) for name in before)
    assert sha256(tiny_model) == base.card.sha256
    with (run / "validation.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert {(row["fold"], row["step"]) for row in rows} == {
        (str(fold), str(step)) for fold in (1, 2, 3) for step in (0, 1, 2, 3)
    }
    assert all((run / f"part-{part}" / "training.csv").exists() for part in (1, 2, 3, 4))
    left = {path.name for path in run.rglob("*") if path.is_file()}
    files = {".lock", "run.json", "scores.json", "validation.csv", "gate.json", "training.csv"}
    assert left == files | {
        ".written.sha256",
        "mine.pt",
        "mine.json",
    }  # no copy of a scan, no checkpoint
    stages = list(dict.fromkeys(event.stage for event in events))
    assert stages == ["prepare", "tune", "gate", "done"]
    fractions = [event.fraction for event in events]
    assert fractions == sorted(fractions) and fractions[-1] == 1
    events.clear()
    assert tune(progress=Progress(events.append)) == gate
    assert [event.stage for event in events] == ["done"]


def test_cases_that_the_base_was_tuned_on_are_not_judged(
    tune: Callable, base: Model, brats_folder: Path, tmp_path: Path
) -> None:
    # As after a first tuning on one case, to which three were added.
    before = Tuning(cases=("BraTS2021_00001",), base=ModelIdentity("first"))
    second = replace(base, card=replace(base.card, history=(before,)))
    gate = tune(start=second)
    assert sorted(row.case for row in gate.cases) == [
        f"BraTS2021_0000{number}" for number in (0, 2, 3)
    ]
    assert gate.not_judged == ("BraTS2021_00001",)
    third = load_model(str(tmp_path / "run" / "model" / "mine.pt"))
    assert len(third.card.history[1].cases) == 4
    renamed = [replace(case, name=f"x{case.name}") for case in find_brats_cases(brats_folder)]
    with pytest.raises(InputError, match=r"on 4 of these 4 cases .* tune tiny instead"):
        tune("again", cases=renamed, start=third)
    assert not (tmp_path / "again").exists()  # none was begun, and nothing is left
    scans = third.card.history[1].scans_sha256
    before = replace(before, scans_sha256=scans[:1])
    second = replace(base, card=replace(base.card, history=(before,)))
    with pytest.raises(InputError, match=r"on 2 of these 4 cases already, so only 2 can show"):
        tune("again", start=second)


def test_a_case_is_judged_by_models_that_never_saw_it(
    tune: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, set[str]] = {}

    class Watched(Trainer):
        def __post_init__(self) -> None:
            super().__post_init__()
            seen[self.folder.name] = {case.name for case in self.training.cases}

    monkeypatch.setattr(tuning_parts, "Trainer", Watched)
    gate = tune()
    everything = {row.case for row in gate.cases}
    assert seen["part-4"] == everything
    for row in gate.cases:
        assert row.case not in seen[f"part-{row.fold}"]
    held_out = [everything - seen[f"part-{fold}"] for fold in (1, 2, 3)]
    assert sorted(map(len, held_out)) == [1, 1, 2] and set.union(*held_out) == everything


class Killed(BaseException):
    """Ends a run at once, as a kill does."""


def dying(function: Callable, calls: int) -> Callable:
    """The function, which after so many calls kills the run instead."""
    left = [calls]

    def wrapper(*arguments, **options):
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        return function(*arguments, **options)

    return wrapper


def test_a_killed_run_ends_as_one_that_was_not(
    tune: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    expected = tune(folder="whole")
    for place, name, calls in (
        (RunState, "begin", 0),
        (Trainer, "_train_step", 2),
        (ScoreLog, "add", 1),
        (Trainer, "_train_step", 4),
        (ScoreLog, "add", 1),
        (fine_tuning, "save_candidate", 0),
        (FineTuningRun, "end", 0),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(place, name, dying(getattr(place, name), calls))
            with pytest.raises(Killed):
                tune()
        assert not (tmp_path / "run" / "gate.json").exists()
    assert tune() == expected
    ours, theirs = (
        load_model(str(tmp_path / folder / "model" / "mine.pt")).network.state_dict()
        for folder in ("run", "whole")
    )
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_sigterm_saves_and_ends_with_130(
    brats_folder: Path, tiny_model: Path, tmp_path: Path
) -> None:
    cases = [
        {
            "name": case.name,
            "images": {name: str(path) for name, path in case.images.items()},
            "labels": str(case.labels),
        }
        for case in find_brats_cases(brats_folder)
    ]
    (tmp_path / "cases.json").write_text(json.dumps(cases))
    command = [sys.executable, "-m", "MISSUCore", "finetune", "--json-progress"]
    command += ["--cases", str(tmp_path / "cases.json"), "--base", str(tiny_model)]
    command += ["--output", str(tmp_path / "run"), "--rehearsal", "none", "--device", "cpu"]
    for name, value in {**CHANGES, "steps": "3000"}.items():
        command += ["--set", f"{name}={value}"]
    root = Path(MISSUCore.__file__).parents[1]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as process:
        for line in process.stdout:
            if json.loads(line).get("stage") == "tune":  # events have none
                process.terminate()
        assert process.wait(timeout=60) == 130
    saved = torch.load(tmp_path / "run" / "part-1" / "checkpoint.pt", weights_only=True)
    assert saved["step"] >= 10


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "names",
    [
        ("prepared/my-scans.txt", "rehearsal/mine.txt", "timing/mine.txt", ".settings-backup"),
        ("thesis/.12345678-draft.docx",),
        ("run.json",),
        ("request.json", "notes.txt"),
        ("gate.json",),
    ],
)
def test_a_folder_of_the_user_is_left_as_it_is(
    tune: Callable, tmp_path: Path, names: tuple[str, ...]
) -> None:
    for name in names:
        path = tmp_path / "run" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('{"base": "", "name": "", "minutes": 1, "device": ""}')
    before = contents(tmp_path / "run")
    with pytest.raises(InputError, match="holds files that are not of a run"):
        tune()
    assert contents(tmp_path / "run") == before


def test_a_run_deletes_what_it_wrote_and_nothing_else(
    tune: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    request = '{"base": "", "name": "", "minutes": 1, "device": ""}'
    (run / "request.json").write_text(request)  # as Slicer asks for a run
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_train_step", dying(Trainer._train_step, 1))
        with pytest.raises(Killed):
            tune()
    assert list((run / "prepared").glob("*.npz"))
    mine = [run / "prepared" / "my-scan.npz", run / "timing" / "notes.txt"]
    mine += [run / ".settings-backup", run / "part-1" / ".12345678-draft.docx"]
    for path in mine:
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    tune()
    assert [path.read_text() for path in mine] == ["mine"] * 4
    assert [path.name for path in (run / "prepared").iterdir()] == ["my-scan.npz"]
    assert (run / "request.json").read_text() == request


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("run.json", "[]"),
        ("run.json", "[" * 100_000),
        ("run.json", '{"given": {"cases": {}}, "settings": []}'),
        ("run.json", '{"given": [], "settings": {}}'),
        ("run.json", '{"mine": 1}'),
        ("scores.json", "[[1, 2]]"),
        ("scores.json", "3"),
        ("scores.json", '[[1, 0, 1.0, "case", ["high", 0, 0]]]'),
        ("gate.json", '{"name": "mine", "verdict": "better", "reason": ""}'),
        ("gate.json", "[" * 100_000),
        ("part-1/training.csv", "\xff\xfe"),
        ("part-1/training.csv", "\n\n"),
    ],
)
def test_a_damaged_file_of_a_run_is_named(
    tune: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, content: str
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_train_step", dying(Trainer._train_step, 1))
        with pytest.raises(Killed):
            tune()
    path = tmp_path / "run" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(InputError, match=rf"{path.name}: is damaged"):
        tune()
    assert path.read_bytes() == content.encode("latin-1")


def test_another_run_in_the_folder_is_refused(
    tune: Callable,
    base: Model,
    brats_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(fine_tuning, "rehearsal_cases", dying(print, 0))
        with pytest.raises(Killed):
            tune(options=replace(OPTIONS, minutes=1.0))  # not begun: the next may be another
    monkeypatch.setattr(Trainer, "_train_step", dying(Trainer._train_step, 0))
    with pytest.raises(Killed):
        tune()
    with pytest.raises(InputError, match=r"other settings \(rehearsal, changes\)"):
        tune(options=FineTuningOptions(changes={"steps": "6"}))
    others = find_brats_cases(brats_folder)[1:]
    others[0] = replace(others[0], labels=others[1].labels)
    with pytest.raises(
        InputError, match=r"\(cases\).* gone are: BraTS2021_00000, BraTS2021_00001$"
    ):
        tune(cases=others)
    with pytest.raises(InputError, match=r"other settings \(base\)"):
        tune(start=replace(base, card=replace(base.card, sha256="other")))
    with (
        folder_lock(tmp_path / "run"),
        pytest.raises(InputError, match="another process is at work"),
    ):
        tune()


def test_a_case_that_is_there_twice_is_refused(tune: Callable, brats_folder: Path) -> None:
    cases = find_brats_cases(brats_folder)
    twin = LabeledCase("twin", cases[0].images, cases[0].labels)
    with pytest.raises(InputError, match="cases BraTS2021_00000 and twin have the same t1 scan"):
        tune(cases=[*cases, twin])
    # What is tuned on cannot be rehearsed on, where it would be held out from nothing.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rehearsal, "REHEARSED", 1)
        patch.setattr(rehearsal, "CHECKED", 1)
        with pytest.raises(InputError, match="have the same t1 scan"):
            tune(options=replace(OPTIONS, rehearsal=str(brats_folder)))
    assert tune().folds == 3  # in the same folder, for nothing was trained yet


def test_a_model_that_looks_twice_is_not_tuned(tune: Callable, base: Model) -> None:
    with pytest.raises(InputError, match=r"looks only where tiny finds something.*tune tiny"):
        tune(start=replace(base, finder=base))


def test_two_cases_are_too_few(tune: Callable, brats_folder: Path) -> None:
    with pytest.raises(InputError, match="2 cases to tune on; give 3 or more"):
        tune(cases=find_brats_cases(brats_folder)[:2])


def test_too_little_time_says_how_much_is_needed(tune: Callable) -> None:
    options = replace(OPTIONS, minutes=0.01, changes={"patch_size": "[16,16,16]"})
    with pytest.raises(
        InputError, match=r"0.01 minutes do not suffice .* give \d+ minutes or more"
    ):
        tune(options=options)


def test_too_little_time_is_told_before_anything_is_simulated(
    tune: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fine_tuning, "rehearsal_cases", dying(print, 0))
    options = replace(OPTIONS, minutes=0.01, changes={"patch_size": "[16,16,16]"})
    with pytest.raises(InputError, match=r"0.01 minutes do not suffice"):
        tune(options=options)


@pytest.mark.parametrize("minutes", [0.0, -5.0, float("nan"), float("inf")])
def test_time_is_positive(minutes: float) -> None:
    with pytest.raises(InputError, match="give a positive number"):
        FineTuningOptions(minutes=minutes)


def test_what_was_set_is_not_measured(tune: Callable, tmp_path: Path) -> None:
    changes = {"patch_size": "[16,16,16]", "mixed_precision": "false", "network.fusion": "none"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planning, "planned_steps", lambda *given, **more: 3)
        tune(options=replace(OPTIONS, changes=changes))
    state = json.loads((tmp_path / "run" / "run.json").read_text())
    assert state["settings"] == {"steps": 3, "mixed_precision": False}


def test_either_numbering_of_brats_is_the_same_task(
    brats_folder: Path, base: Model, tmp_path: Path
) -> None:
    cases = find_brats_cases(brats_folder)
    context = tuning_context(cases, BRATS_2023, base, tmp_path / "run", OPTIONS)
    assert not context.new_task and context.scheme == BRATS


def test_another_task_starts_from_the_weights(
    tune: Callable,
    brats_folder: Path,
    base: Model,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    scheme = LabelScheme.from_dict(
        {
            "name": "mine",
            "labels": [
                {"value": 1, "name": "core"},
                {"value": 2, "name": "rim"},
                {"value": 4, "name": "skin"},
            ],
            "regions": [
                {"name": "lesion", "labels": [1, 2, 4]},
                {"name": "core", "labels": [1]},
                {"name": "skin", "labels": [4]},
            ],
        }
    )
    cases = [
        LabeledCase(case.name, {"t2": case.images["t2"], "t1": case.images["t1"]}, case.labels)
        for case in find_brats_cases(brats_folder)
    ]
    given = {"cases": cases, "scheme": scheme, "options": replace(OPTIONS, rehearsal="auto")}
    with monkeypatch.context() as patch:
        patch.setattr(ScoreLog, "add", dying(ScoreLog.add, 1))
        with pytest.raises(Killed):
            tune(folder="before", **given)
    (tmp_path / "before").rename(tmp_path / "run")  # a run may be moved
    gate = tune(**given)
    assert gate.verdict == "new task" and gate.mean.base is None
    assert gate.regions == ("lesion", "core", "skin") and gate.mix == 1.0
    card = load_model(str(tmp_path / "run" / "model" / "mine.pt")).card
    assert card.modalities == ("t2", "t1") and card.label_scheme() == scheme
    assert card.task == "Segments lesion, core, skin"
    # The card goes where the model goes: no folder of this machine is in it.
    assert str(tmp_path) not in (tmp_path / "run" / "model" / "mine.json").read_text()


def test_a_brats_folder_is_rehearsed_on_and_checked_on(
    tune: Callable, brats_folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(rehearsal, "REHEARSED", 1)
    monkeypatch.setattr(rehearsal, "CHECKED", 1)
    other = tmp_path / "published"
    for number in (1, 2):
        place = other / f"known{number}"
        shutil.copytree(brats_folder / f"BraTS2021_0000{number}", place)
        scan = next(place.glob("*_t1.nii.gz"))
        sitk.WriteImage(sitk.ReadImage(str(scan)) * 2, str(scan))
    options = replace(OPTIONS, rehearsal=str(other))
    gate = tune(options=options)
    (row,) = gate.forgetting.cases
    assert row.case == "known1"
    assert gate.forgetting.mean.agreement is not None
    monkeypatch.undo()
    with pytest.raises(InputError, match="holds 2 cases; 12 are needed"):
        tune("another", options=options)
