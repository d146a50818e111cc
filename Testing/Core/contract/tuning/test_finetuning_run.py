"""The folder of a fine-tuning says the same to who writes it and to who reads it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from MISSUCore.contract.model_card import ModelCard, write_card
from MISSUCore.contract.tuning.finetuning_run import (
    FineTuningRun,
    TuningFacts,
    TuningPlan,
    TuningSettings,
)
from MISSUCore.contract.tuning.tuning_curves import (
    Curve,
    ValidationRow,
    read_validation,
    write_validation,
)
from MISSUCore.contract.tuning.verdict import AcceptanceTest, Verdict
from MISSUCore.core.errors import InputError
from MISSUCore.core.run_state import read_state, run_state
from MISSUCore.core.serialization import settings_to_dict

FACTS = TuningFacts("mine", "ab", {"case-1": ["t1 cd"]}, {}, 7, "none", {"steps": "3"})


@pytest.fixture
def run(tmp_path: Path) -> FineTuningRun:
    return FineTuningRun(tmp_path / "library" / "runs" / "mine-run-1")


def test_an_empty_folder_is_a_run_that_has_not_begun(run: FineTuningRun) -> None:
    assert run.settings() is None and run.candidate() is None
    assert not run.has_begun() and not run.has_ended()
    assert run.case_names() == set() and run.curves() == []
    with pytest.raises(InputError, match="is not a finished fine-tuning"):
        run.acceptance()


def test_what_the_user_asks_for_is_kept(run: FineTuningRun, tmp_path: Path) -> None:
    settings = TuningSettings("missu", "mine", 7, "cpu")
    run.ask(settings)
    assert run.settings() == settings
    assert run.library == tmp_path / "library"
    (run.folder / "request.json").write_text('{"base": "missu", "color": "red"}')
    assert run.settings() is None


def test_the_plan_is_made_once(run: FineTuningRun) -> None:
    state = run_state(run.folder, settings_to_dict(FACTS))
    assert run.has_begun() and run.plan(state) is None
    state.begin(run.folder, TuningPlan(12, True).to_dict())
    again = run_state(run.folder, settings_to_dict(FACTS))
    assert run.plan(again) == TuningPlan(12, True)
    assert run.case_names() == {"case-1"}
    with pytest.raises(InputError, match=r"other settings \(minutes\); give the same"):
        run_state(run.folder, settings_to_dict(replace(FACTS, minutes=8)))
    with pytest.raises(InputError, match=r"\(cases\).*added, changed or gone are: case-1, new$"):
        run_state(run.folder, settings_to_dict(replace(FACTS, cases={"new": []})))
    assert TuningPlan(3).to_dict() == {"steps": 3}


@pytest.mark.parametrize(
    "settings", [{"steps": 0}, {"steps": "3"}, {"steps": 3, "mixed_precision": "no"}, {"color": 1}]
)
def test_a_damaged_plan_is_named(run: FineTuningRun, settings: dict) -> None:
    run_state(run.folder, settings_to_dict(FACTS)).begin(run.folder, settings)
    with pytest.raises(InputError, match=r"run\.json: is damaged; give another folder"):
        run.plan(read_state(run.folder))


def test_a_damaged_state_names_no_cases(run: FineTuningRun) -> None:
    run.folder.mkdir(parents=True)
    for text in ("", "[]", "{}", '{"given": {"cases": [1]}}'):
        (run.folder / "run.json").write_text(text)
        assert run.case_names() == set()


def test_verdict_and_candidate_are_there_at_its_end(
    run: FineTuningRun, tiny_card: ModelCard
) -> None:
    test = AcceptanceTest(name="tiny", verdict=Verdict.BETTER, reason="it gains")
    write_card(run.folder / "model" / "tiny.json", tiny_card)
    run.end(test)
    assert run.has_ended() and run.acceptance() == test
    assert run.candidate() == tiny_card
    (run.folder / "model" / "tiny.json").write_text(json.dumps({"name": "tiny"}))
    assert run.candidate() is None


def test_held_out_dice_comes_back_and_is_drawn(tmp_path: Path) -> None:
    rows = [
        ValidationRow(1, 0, 1.0, {"WT": 0.5, "ET": 0.25}),
        ValidationRow(1, 9, 1.0, {"WT": 0.75, "ET": 0.5}),
        ValidationRow(1, 9, 0.5, {"WT": 0.0, "ET": 0.0}),
    ]
    write_validation(tmp_path, ("WT", "ET"), rows)
    assert read_validation(tmp_path) == rows
    # The base and all of the tuned weights; half of them belong to a step that is there already.
    assert FineTuningRun(tmp_path).curves() == [Curve("dice", 1, [0, 9], [0.375, 0.625])]
    for part, text in ((1, "step,loss\n1,0.9\n"), (3, "step,loss\n1,0.8\n2,0.7\n3,")):
        (tmp_path / f"part-{part}").mkdir()
        (tmp_path / f"part-{part}" / "training.csv").write_text(text)
    assert FineTuningRun(tmp_path).curves()[1:] == [Curve("loss", 3, [1, 2], [0.8, 0.7])]
    (tmp_path / "part-3" / "training.csv").write_bytes(b"\xff\xfe")
    assert len(FineTuningRun(tmp_path).curves()) == 1
