"""The gate: choosing without flattering, and its verdicts, against tables made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from MISSUCore.contract.tuning.verdict import Forgetting, MeanDice
from MISSUCore.finetuning.acceptance import (
    CaseScores,
    Retention,
    Setting,
    accept,
    allowed_mixes,
    best_setting,
    format_table,
    unbiased_settings,
)

REGIONS = ("WT", "TC")
EARLY, LATE, HALF = Setting(10, 1.0), Setting(20, 1.0), Setting(20, 0.5)


def case(name: str, fold: int, base: float | None, **tuned: float) -> CaseScores:
    """A case whose regions all have the same Dice."""
    names = {"early": EARLY, "late": LATE, "half": HALF}
    return CaseScores(
        name,
        fold,
        None if base is None else np.full(2, base),
        {names[key]: np.full(2, dice) for key, dice in tuned.items()},
    )


def forgotten(loss: float, agreement: float) -> Retention:
    """A case that loses so much with all of the tuned weights, and nothing with half of them."""
    return Retention(
        "simulated1",
        np.full(2, 0.8),
        {1.0: np.full(2, 0.8 - loss), 0.5: np.full(2, 0.8)},
        {1.0: np.full(2, agreement), 0.5: np.full(2, 0.99)},
    )


GOOD = [
    case("a", 1, 0.5, early=0.6, late=0.7, half=0.65),
    case("b", 2, 0.5, early=0.6, late=0.7, half=0.65),
    case("c", 3, 0.5, early=0.6, late=0.7, half=0.65),
]
KEPT = [forgotten(0.0, 0.98)]


def test_the_best_setting_is_taken_and_of_equals_the_least_tuned() -> None:
    assert best_setting(GOOD, [1.0, 0.5]) == LATE
    assert best_setting(GOOD, [0.5]) == HALF
    assert best_setting([case("a", 1, 0.5, early=0.6, late=0.6, half=0.6)], [1.0, 0.5]) == HALF
    assert best_setting([case("a", 1, 0.5, early=0.6, late=0.6)], [1.0]) == EARLY


def test_a_fold_does_not_choose_its_own_setting() -> None:
    scores = [
        case("a", 1, 0.5, early=0.9, late=0.5),
        case("b", 2, 0.5, early=0.5, late=0.6),
        case("c", 3, 0.5, early=0.5, late=0.6),
    ]
    assert unbiased_settings(scores, [1.0]) == {1: LATE, 2: EARLY, 3: EARLY}
    test = accept(scores, [], REGIONS)
    # Chosen by themselves all three would have gained; so they gain nothing.
    assert [row.tuned["WT"] for row in test.cases] == [0.5, 0.5, 0.5]
    assert test.mean.gain == 0 and test.verdict == "not better"
    assert not test.recommended


def test_the_figures_are_of_steps_that_the_final_model_has() -> None:
    late_half = Setting(20, 0.5)
    dice = {EARLY: 0.7, Setting(10, 0.5): 0.55, LATE: 0.6, late_half: 0.65}
    tuned = {setting: np.full(2, value) for setting, value in dice.items()}
    scores = [CaseScores(name, fold, np.full(2, 0.5), tuned) for fold, name in enumerate("abc", 1)]
    # All choose 10 steps; that only half of the weights may be taken shows later, and then the
    # half after 20 steps would be better, but there is no such model.
    test = accept(scores, [forgotten(0.02, 0.98)], REGIONS)
    assert (test.steps, test.mix) == (10, 0.5)
    assert test.mean.gain == 0.05


def test_cases_that_the_base_knows_are_counted_but_not_judged_by() -> None:
    test = accept(GOOD, KEPT, REGIONS, ["d", "e"])
    assert [row.case for row in test.cases] == ["a", "b", "c"]
    assert test.not_judged == ("d", "e")
    assert "not judged by 2 more of your cases" in test.reason


def test_a_model_that_gains_and_keeps_is_better() -> None:
    test = accept(GOOD, KEPT, REGIONS)
    assert (test.verdict, test.recommended) == ("better", True)
    assert "(3 of 3 gain)" in test.reason
    assert (test.steps, test.mix, test.folds) == (20, 1.0, 3)
    assert test.mean == MeanDice({"WT": 0.5, "TC": 0.5}, {"WT": 0.7, "TC": 0.7}, 0.2)
    assert isinstance(test.forgetting, Forgetting)
    assert test.forgetting.mean.agreement == 0.98


@pytest.mark.parametrize(("loss", "agreement"), [(0.02, 0.98), (-0.1, 0.93)])
def test_what_forgets_is_mixed_with_the_base_until_it_does_not(
    loss: float, agreement: float
) -> None:
    forgetting = [forgotten(loss, agreement)]
    assert allowed_mixes(forgetting, [1.0, 0.5]) == [0.5]
    test = accept(GOOD, forgetting, REGIONS)
    assert (test.verdict, test.mix) == ("better", 0.5)
    assert test.mean.gain == 0.15
    whole = [case(score.case, score.fold, 0.5, late=0.7) for score in GOOD]
    test = accept(whole, forgetting, REGIONS)
    assert (test.verdict, test.recommended) == ("forgets", False)


def test_one_case_that_gains_much_does_not_make_a_better_model() -> None:
    scores = [
        case("a", 1, 0.1, late=0.9),
        case("b", 2, 0.8, late=0.7),
        case("c", 3, 0.8, late=0.79),
    ]
    test = accept(scores, KEPT, REGIONS)
    assert test.mean.gain > 0.2 and test.verdict == "not better"
    assert "1 of 3 gain" in test.reason


def test_without_a_check_the_verdict_says_so() -> None:
    test = accept(GOOD, [], REGIONS)
    assert test.verdict == "better" and test.forgetting is None
    assert "could not be checked" in test.reason


def test_a_new_task_has_no_base_to_be_better_than() -> None:
    scores = [case(name, fold, None, early=0.4, late=0.6) for fold, name in enumerate("abc", 1)]
    test = accept(scores, [], REGIONS)
    assert test.verdict == "new task" and not test.recommended
    assert test.mean == MeanDice(None, {"WT": 0.6, "TC": 0.6}, None)
    assert "0.600" in format_table(test)


def test_the_table_shows_every_case_and_the_verdict() -> None:
    lines = format_table(accept(GOOD, KEPT, REGIONS)).splitlines()
    assert lines[0].split() == ["Dice", "WT", "TC"]
    assert lines[1].split() == ["a", "0.500", "->", "0.700", "0.500", "->", "0.700"]
    assert [line.partition("  ")[0] for line in lines[1:-1]] == [
        *"abc",
        "mean of your cases",
        "simulated1",
        "mean of others",
    ]
    assert lines[-1].startswith("better: it gains")
