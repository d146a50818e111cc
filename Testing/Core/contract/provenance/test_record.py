"""The record of who changed what: edits, sign-offs, and what no record can be."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from MISSUCore.contract.model_identity import ModelIdentity
from MISSUCore.contract.provenance import record as module
from MISSUCore.contract.provenance.masks import Contents, MaskFact
from MISSUCore.contract.provenance.record import Computation, Edit, Provenance
from MISSUCore.contract.provenance.sentences import history, summary
from MISSUCore.contract.provenance.tag import from_tag, newest, to_tag


def fact(volume_ml: float, letter: str) -> MaskFact:
    return MaskFact(round(volume_ml * 1000), volume_ml, letter * 64)


WT, ET = fact(40.0, "a"), fact(12.3, "b")
ET2, ET3 = fact(13.0, "c"), fact(13.5, "d")
GRID = (1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0)
RECORD = Provenance(
    computed=Computation(
        model=ModelIdentity("missu-brats-precise", "e" * 64),
        finder=ModelIdentity("missu-brats-fast", "f" * 64),
        missu_version="0.1.0",
        created="2026-11-27T10:31:00+00:00",
        inputs={"t1ce": "0" * 64},
        contents=Contents(GRID, {"WT": WT, "ET": ET}),
    ),
    contents=Contents(GRID, {"WT": WT, "ET": ET}),
)


@pytest.fixture(autouse=True)
def _utc() -> Iterator[None]:
    """Clocks on the wall show UTC."""
    if not hasattr(time, "tzset"):
        pytest.skip("Windows has its time zone elsewhere")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Function that sets the clock: hours and minutes of 27 November 2026, UTC."""

    def at(shown: str) -> None:
        monkeypatch.setattr(module, "now", lambda: f"2026-11-27T{shown}:00+00:00")

    at("10:40")
    return at


def seen(record: Provenance, et: MaskFact | None, by: str = "", began: str = "") -> Provenance:
    """The record after ET was seen as this, and WT as it was."""
    masks = {"WT": WT} | ({"ET": et} if et else {})
    start = f"2026-11-27T{began}:00+00:00" if began else module.now()
    return record.noted(Contents(GRID, masks), lambda region, before: (0.9, 0.2), by, start)


def test_untouched_it_is_as_computed(clock: Any) -> None:
    assert seen(RECORD, ET) == RECORD
    assert RECORD.is_as_computed
    assert summary(RECORD) == "As the model computed it. Nobody has signed it off."
    assert history(RECORD) == [
        "Segmented by missu-brats-precise with missu-brats-fast (MISSU 0.1.0), 27 Nov 2026, 10:31."
    ]


def test_an_edit_has_time_reader_region_and_volumes(clock: Any) -> None:
    clock("10:52")
    record = seen(RECORD, ET2, "A. Reader", began="10:40")
    assert record.edits == (
        Edit(
            "ET",
            "2026-11-27T10:40:00+00:00",
            "2026-11-27T10:52:00+00:00",
            True,
            "A. Reader",
            ET,
            ET2,
            0.9,
            0.2,
        ),
    )
    assert summary(record) == "Edited since the model computed it. Nobody has signed it off."
    assert history(record, {"ET": "Enhancing tumor"})[1] == (
        "Enhancing tumor was edited by A. Reader, 27 Nov 2026, 10:40 to 10:52: 12.30 ml before, "
        "13.00 ml after (0.90 ml added, 0.20 ml removed)."
    )


def test_one_session_is_one_edit_and_another_is_another(clock: Any) -> None:
    record = seen(RECORD, ET2)
    clock("11:30")
    record = seen(record, ET3)
    assert [(edit.before, edit.after) for edit in record.edits] == [(ET, ET3)]
    clock("12:31")
    record = seen(record, ET2)
    assert [(edit.before, edit.after) for edit in record.edits] == [(ET, ET3), (ET3, ET2)]


def test_another_reader_makes_another_edit(clock: Any) -> None:
    record = seen(seen(RECORD, ET2, "A"), ET3, "B")
    assert [edit.by for edit in record.edits] == ["A", "B"]


def test_what_was_undone_is_no_edit(clock: Any) -> None:
    record = seen(seen(seen(RECORD, ET2), ET3), ET)
    assert record == RECORD
    clock("10:41")
    signed = seen(RECORD, ET2).signed_off("A")
    clock("10:42")
    back = seen(signed, ET)  # after a sign-off the first edit stays in the history
    assert [(edit.before, edit.after) for edit in back.edits] == [(ET, ET2), (ET2, ET)]
    assert back.is_as_computed and not back.valid_sign_offs


def test_regions_that_were_added_or_removed_are_told(clock: Any) -> None:
    record = seen(RECORD, None)
    assert history(record)[1] == "ET was removed, 27 Nov 2026, 10:40: 12.30 ml."
    assert not record.is_as_computed
    before = replace(RECORD, contents=Contents(GRID, {"WT": WT}))
    again = seen(before, ET2)
    assert history(again)[1] == "ET was added, 27 Nov 2026, 10:40: 13.00 ml."


def test_what_nobody_watched_has_no_reader_and_the_time_it_was_found(clock: Any) -> None:
    record = RECORD.noted(Contents(GRID, {"WT": WT, "ET": ET2}))
    assert history(record)[1] == (
        "ET was edited out of sight of MISSU, found 27 Nov 2026, 10:40: 12.30 ml before, "
        "13.00 ml after."
    )
    assert len(seen(record, ET3).edits) == 2, "what is watched is another edit"


def test_the_same_voxels_on_another_grid_are_an_edit(clock: Any) -> None:
    moved = (*GRID[:3], 0.4, *GRID[4:])
    record = RECORD.signed_off("A").noted(Contents(moved, {"WT": WT, "ET": ET}))
    assert [edit.region for edit in record.edits] == ["WT", "ET"]
    assert not record.is_as_computed and not record.valid_sign_offs
    rounded = Contents(tuple(1.000001 * number for number in GRID), {"WT": WT, "ET": ET})
    assert not RECORD.noted(rounded).edits


def test_the_latest_event_tells_which_copy_is_newer(clock: Any) -> None:
    edited = seen(RECORD, ET2)
    clock("10:50")
    signed = edited.signed_off("A")
    clock("10:55")
    records = [Provenance(), RECORD, edited, signed, signed.withdrawn()]
    assert sorted(records, key=lambda record: record.latest) == records


def test_a_sign_off_holds_until_something_changes(clock: Any) -> None:
    record = RECORD.signed_off("  Dr. A.\n Reader ", "necrosis\tchecked")
    (one,) = record.sign_offs
    assert (one.reader, one.comment) == ("Dr. A. Reader", "necrosis checked")
    assert summary(record) == "Signed off by Dr. A. Reader, and not changed since."
    assert history(record)[1] == (
        "Signed off by Dr. A. Reader, 27 Nov 2026, 10:40. Comment: necrosis checked"
    )
    clock("10:50")
    changed = seen(record, ET2)
    assert changed.outdated_sign_offs == (one,) and not changed.valid_sign_offs
    assert summary(changed).startswith("Changed since it was signed off by Dr. A. Reader")
    assert "it no longer holds" in history(changed)[1]
    assert seen(changed, ET).valid_sign_offs == (one,), "undone: it is what was signed"


def test_two_readers_may_sign_and_the_last_sign_off_is_withdrawn(clock: Any) -> None:
    record = RECORD.signed_off("A").signed_off("B")
    assert summary(record) == "Signed off by A and B, and not changed since."
    clock("10:45")
    record = record.withdrawn()
    assert summary(record) == "Signed off by A, and not changed since."
    assert history(record)[2] == (
        "Signed off by B, 27 Nov 2026, 10:40; withdrawn, 27 Nov 2026, 10:45."
    )
    record = record.withdrawn()
    assert summary(record) == summary(RECORD)
    assert record.withdrawn() == record


@pytest.mark.parametrize("name", ["", "  \n", "\u202e\u200b"])
def test_nobody_signs_without_a_name(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        RECORD.signed_off(name)


def test_what_is_typed_in_cannot_turn_or_break_a_line(clock: Any) -> None:
    (one,) = RECORD.signed_off("A\u202eB\x00C" + 100 * "x").sign_offs
    assert one.reader.startswith("A B Cxxx") and len(one.reader) == 64


def full(clock: Any) -> Provenance:
    return seen(RECORD, ET2, "Ä. Reader").signed_off("Ä. Reader", "ok").withdrawn()


def test_a_record_comes_back_as_it_was(clock: Any) -> None:
    record = full(clock)
    assert Provenance.from_json(record.to_json()) == record
    assert from_tag(to_tag(record)) == record
    assert not set(to_tag(record)) & set(":|\\ \n"), "Slicer separates tags by these"
    assert Provenance.from_json("{}") == Provenance()
    assert "was not recorded" in summary(Provenance())


HOSTILE: list[tuple[str, Any]] = [
    ("contents.masks.ET.sha256", "../../etc/passwd"),
    ("contents.masks.ET.volume_ml", float("nan")),
    ("contents.masks.ET.volume_ml", 10**400),
    ("contents.masks.ET.voxels", -1),
    ("contents.masks.ET", []),
    ("contents.grid", [1.0] * 11),
    ("contents.grid", [float("inf")] * 12),
    ("edits.0.began", "yesterday"),
    ("edits.0.began", "2026-11-27T10:40:00"),  # without a zone
    ("edits.0.ended", "0001-01-01T00:00:00+14:00"),  # clocks cannot show it
    ("sign_offs.0.when", "9999-12-31T23:59:59-12:00"),
    ("edits.0.added_ml", float("nan")),
    ("edits.0.by", 3),
    ("sign_offs.0.withdrawn", "x"),
    ("computed.created", "x"),
    ("computed.contents.grid", [0.0] * 13),
    ("sign_offs.0.contents.masks.ET.sha256", "x"),
    ("schema_version", 2),
    ("schema_version", "1"),
    ("unknown", 1),
]


@pytest.mark.parametrize(("path", "value"), HOSTILE)
def test_what_is_no_record_is_refused(clock: Any, path: str, value: Any) -> None:
    values = json.loads(full(clock).to_json())
    *parents, last = path.split(".")
    inner = values
    for name in parents:
        inner = inner[int(name) if name.isdigit() else name]
    inner[last] = value
    with pytest.raises(ValueError, match=r"."):
        Provenance.from_json(json.dumps(values))


@pytest.mark.parametrize("text", ["", "[]", "3", "null", "{", "[" * 100_000, " " * (2 << 20)])
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Provenance.from_json(text)


def test_of_several_tags_the_newest_sound_one_counts(clock: Any) -> None:
    edited = seen(RECORD, ET2)
    clock("10:50")
    signed = edited.signed_off("A")
    tags = [to_tag(record) for record in (signed, edited, RECORD)]
    assert newest(["", *tags, "damaged"]) == signed
    assert newest(["", "damaged"]) is None and newest([]) is None


@pytest.mark.parametrize("text", ["=", "e30", "\u00e4", "W10=", "/////w=="])
def test_what_is_no_tag_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        from_tag(text)
