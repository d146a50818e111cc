"""The acceptance test of a tuned model goes to its file and comes back, whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from MISSUCore.contract.model_identity import ModelIdentity
from MISSUCore.contract.tuning.verdict import (
    AcceptanceTest,
    CaseDice,
    Forgetting,
    MeanDice,
    RetainedDice,
    Verdict,
    read_acceptance,
    write_acceptance,
)
from MISSUCore.core.errors import InputError

TEST = AcceptanceTest(
    name="mine",
    date="2026-11-26",
    base=ModelIdentity("missu", "ab"),
    verdict=Verdict.FORGETS,
    reason="it gains",
    rule="better: ...",
    regions=("WT", "ET"),
    folds=3,
    steps=100,
    mix=0.7,
    cases=(CaseDice("case-1", 2, {"WT": 0.5, "ET": 0.25}, {"WT": 0.75, "ET": 0.5}),),
    mean=MeanDice({"WT": 0.5, "ET": 0.25}, {"WT": 0.75, "ET": 0.5}, 0.25),
    not_judged=("case-2",),
    forgetting=Forgetting(
        (CaseDice("simulated1", None, {"WT": 1.0, "ET": 1.0}, {"WT": 0.5, "ET": 0.5}),),
        RetainedDice({"WT": 1.0, "ET": 1.0}, {"WT": 0.5, "ET": 0.5}, 0.5, 0.9),
    ),
)
# As version 0.1.0 wrote it.
OLD: dict[str, Any] = {
    "name": "mine",
    "date": "2026-10-01",
    "base": {"name": "missu", "sha256": "ab"},
    "new_task": True,
    "verdict": "new task",
    "recommended": False,
    "reason": "another task",
    "rule": "better: ...",
    "regions": ["lesion"],
    "folds": 3,
    "steps": 3,
    "mix": 1.0,
    "cases": [{"case": "a", "fold": 1, "base": None, "tuned": {"lesion": 0}}],
    "mean": {"base": None, "tuned": {"lesion": 0.1}, "gain": None},
    "not_judged": [],
    "forgetting": None,
}


def test_it_comes_back_as_it_was(tmp_path: Path) -> None:
    write_acceptance(tmp_path / "gate.json", TEST)
    assert read_acceptance(tmp_path / "gate.json") == TEST


def test_the_file_is_that_of_earlier_versions(tmp_path: Path) -> None:
    (tmp_path / "gate.json").write_text(json.dumps(OLD))
    test = read_acceptance(tmp_path / "gate.json")
    assert test.verdict is Verdict.NEW_TASK and test.mean == MeanDice(None, {"lesion": 0.1}, None)
    assert test.cases == (CaseDice("a", 1, None, {"lesion": 0}),)
    assert test.may_be_installed and not test.recommended
    assert test.to_dict() == OLD


@pytest.mark.parametrize(
    ("verdict", "installed", "recommended"),
    [("better", True, True), ("not better", False, False), ("forgets", False, False)],
)
def test_only_a_better_model_is_recommended(
    verdict: str, installed: bool, recommended: bool
) -> None:
    test = AcceptanceTest.from_dict({**TEST.to_dict(), "verdict": verdict})
    assert (test.may_be_installed, test.recommended) == (installed, recommended)
    # What a file says of that is not believed.
    lying = AcceptanceTest.from_dict({**test.to_dict(), "recommended": not recommended})
    assert lying == test


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        ({"verdict": "Better"}, "'verdict' cannot be 'Better'; there are better, not better"),
        ({"verdict": 1}, "'verdict' cannot be 1"),
        ({"regions": "WT"}, "'regions' cannot be"),
        ({"regions": ["WT", "TC"]}, "lacks a region"),
        ({"cases": [3]}, "'cases' cannot be 3"),
        ({"cases": [{"case": "a", "tuned": {"WT": 0.5}}]}, "lacks a region"),
        ({"cases": [{"case": "a", "tuned": {"WT": 0.5, "ET": "high"}}]}, "'tuned' cannot be"),
        ({"mean": None}, "'mean' cannot be None"),
        ({"mean": {"tuned": {}}}, "lacks a region"),
        ({"forgetting": {"mean": {"base": {}, "tuned": {}}}}, "lacks a region"),
        ({"forgetting": []}, "'forgetting' cannot be"),
        ({"base": "missu"}, "'base' cannot be 'missu'"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, damage: dict[str, Any], problem: str) -> None:
    path = tmp_path / "gate.json"
    path.write_text(json.dumps({**TEST.to_dict(), **damage}))
    with pytest.raises(InputError, match=rf"gate\.json: is damaged: .*{problem}.*; delete it"):
        read_acceptance(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3", "{}", '{"name": "a"}', "[" * 10**5])
def test_what_is_none_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "gate.json").write_text(text)
    with pytest.raises(InputError, match=r"gate\.json: is damaged"):
        read_acceptance(tmp_path / "gate.json")
