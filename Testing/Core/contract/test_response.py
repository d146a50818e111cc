"""The rules of response against cases that were worked out by hand."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from MISSUCore.contract.visits.response import (
    TWO_D,
    VOLUME,
    Assessment,
    Category,
    ReaderEntry,
    ResponseRule,
    assess,
    change_percent,
    lies_in_future,
    notes,
)

NOTHING = (False,) * 9


def test_the_future_has_begun_nowhere() -> None:
    today = date.today()
    assert not lies_in_future(str(today)) and not lies_in_future("2024-01-10")
    assert lies_in_future(str(today + timedelta(days=2))) and lies_in_future("2999-01-10")


def categories(
    values: list[float],
    rule: ResponseRule = TWO_D,
    baseline: int = 0,
    new: tuple[bool, ...] = NOTHING,
) -> list[str]:
    gone = [value == 0 for value in values]
    return [str(made.category) for made in assess(values, baseline, rule, gone, new)]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        # Exactly at the thresholds, and just beside them.
        ([1000, 500], ["baseline", "PR"]),
        ([1000, 501], ["baseline", "MR"]),
        ([1000, 750], ["baseline", "MR"]),
        ([1000, 751], ["baseline", "SD"]),
        ([1000, 1249], ["baseline", "SD"]),
        ([1000, 1250], ["baseline", "PD"]),
        # Against the nadir, not the last visit: 600, not 740, is what 750 counts from.
        ([1000, 600, 740, 750], ["baseline", "MR", "MR", "PD"]),
        ([1000, 900, 1100], ["baseline", "SD", "SD"]),
        ([1000, 0, 0], ["baseline", "CR", "CR"]),
        # From nothing, progression is what can be measured.
        ([1000, 0, 99, 100], ["baseline", "CR", "PR", "PD"]),
        ([0, 0, 50, 100], ["baseline", "SD", "SD", "PD"]),
    ],
)
def test_sums_of_products(values: list[float], expected: list[str]) -> None:
    assert categories(values) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([10, 3.5], ["baseline", "PR"]),
        ([10, 3.51], ["baseline", "MR"]),
        ([10, 6], ["baseline", "MR"]),
        ([10, 6.01], ["baseline", "SD"]),
        ([10, 13.9], ["baseline", "SD"]),
        ([10, 14], ["baseline", "PD"]),
        ([10, 3, 4.2], ["baseline", "PR", "PD"]),
        # A minor response counts from the baseline, progression from the nadir.
        ([10, 4, 5.5, 5.6], ["baseline", "MR", "MR", "PD"]),
        # 300 % of next to nothing is next to nothing.
        ([10, 0.1, 0.4], ["baseline", "PR", "PR"]),
    ],
)
def test_volumes(values: list[float], expected: list[str]) -> None:
    assert categories(values, VOLUME) == expected


def test_there_is_no_minor_response_of_enhancing_disease() -> None:
    assert categories([1000, 600], TWO_D.without_minor()) == ["baseline", "SD"]
    assert categories([10, 3.51, 3.5], VOLUME.without_minor()) == ["baseline", "SD", "PR"]


def test_a_new_lesion_is_progression_whatever_the_others_do() -> None:
    assert categories([1000, 100], new=(False, True)) == ["baseline", "PD"]


def test_visits_before_the_baseline_count_for_nothing() -> None:
    assert categories([100, 1000, 900], baseline=1) == ["not evaluable", "baseline", "SD"]
    made = assess([100, 1000, 900], 1, TWO_D, NOTHING, NOTHING)[2]
    assert (made.nadir, made.baseline_percent, made.nadir_percent) == (1000, -10, -10)


def test_a_residue_is_not_a_complete_response() -> None:
    # The targets are gone, but not all that enhances.
    (_, made) = assess([1000, 0], 0, TWO_D, [False, False], NOTHING)
    assert made.category is Category.PARTIAL


def test_no_change_is_told_against_nothing() -> None:
    assert change_percent(5, 0) is None
    assert change_percent(5, 4) == 25


DAYS = [date(2024, 1, 1) + timedelta(days=days) for days in (0, 20, 50, 80)]


def judged(*names: str) -> tuple[Assessment, ...]:
    return tuple(Assessment(1.0, category=Category(name)) for name in names)


def said(visit: int, rule: tuple[Assessment, ...], **changes: object) -> str:
    given: dict = {
        "dates": DAYS[: len(rule)],
        "judged": (rule, rule),
        "readers": [ReaderEntry()] * len(rule),
        "radiotherapy": [],
    }
    return "; ".join(notes(visit, **{**given, **changes}))


def test_a_response_is_confirmed_by_one_that_lasts_four_weeks() -> None:
    # 30 days later, the next one after 60; that after 20 days was too early to tell.
    assert "PR is confirmed by 2024-02-20" in said(1, judged("baseline", "PR", "PR", "CR"))
    assert "PR is confirmed by 2024-03-21" in said(2, judged("baseline", "SD", "PR", "PR"))
    assert "CR was not confirmed on 2024-02-20" in said(1, judged("baseline", "CR", "PR", "PR"))
    assert "has to be confirmed" in said(3, judged("baseline", "SD", "SD", "PR"))
    # A minor response is confirmed by one that is as good or better, a partial one by no minor one.
    assert "MR is confirmed by 2024-02-20" in said(1, judged("baseline", "MR", "PR", "SD"))
    assert "MR was not confirmed on 2024-02-20" in said(1, judged("baseline", "MR", "SD", "MR"))
    assert "PR was not confirmed on 2024-02-20" in said(1, judged("baseline", "PR", "MR", "PR"))


@pytest.mark.parametrize(("days", "early"), [(1, True), (84, True), (85, False), (-1, False)])
def test_progression_soon_after_radiotherapy_is_preliminary(days: int, early: bool) -> None:
    end = DAYS[1] - timedelta(days=days)
    assert ("preliminary" in said(1, judged("baseline", "PD"), radiotherapy=[end])) is early


def test_that_nobody_told_of_a_radiotherapy_is_said_of_progression() -> None:
    assert "no end of a radiotherapy is known" in said(1, judged("baseline", "PD"))
    assert "radiotherapy" not in said(1, judged("baseline", "PD"), radiotherapy=[date(2020, 1, 1)])
    assert "radiotherapy" not in said(1, judged("baseline", "SD"))


def test_what_a_reader_typed_in_is_weighed_in_words_not_in_the_category() -> None:
    rule = judged("baseline", "PR")
    entry = ReaderEntry(steroids="more", clinical="worse")
    text = said(1, rule, readers=[ReaderEntry(), entry])
    assert "steroids were increased" in text and "clinical state is worse" in text
    assert "steroids" not in said(1, rule)


def test_rules_that_differ_and_earlier_progression_are_told() -> None:
    pair = judged("baseline", "PD", "SD"), judged("baseline", "SD", "SD")
    assert "the rules differ: 2-D PD, volume SD" in said(1, pair[0], judged=pair)
    assert "2-D: progression was proposed before, on 2024-01-21" in said(2, pair[0], judged=pair)


@pytest.mark.parametrize(
    "wrong", [{"steroids": "a lot"}, {"clinical": "good"}, {"category": "progression"}]
)
def test_a_reader_types_only_what_can_be_understood(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ReaderEntry(**wrong)
