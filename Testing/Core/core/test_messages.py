"""Sentences that know which of their words name a scan or a file."""

from __future__ import annotations

import copy
import json

import pytest

from MISSUCore.core.errors import ErrorCode, InputError
from MISSUCore.core.events import ErrorEvent, ResultEvent, WarningEvent, parse_line
from MISSUCore.core.messages import Name, Text, a_file, a_modality, an_option, modalities


def test_a_text_is_a_string_whose_names_can_be_changed() -> None:
    text = Text(a_modality("t1"), ": see /t1.nii and ", a_file("/t1.nii"))
    assert text == "t1: see /t1.nii and /t1.nii"
    assert text.in_words(lambda name: name.kind.upper()) == "MODALITY: see /t1.nii and FILE"


def test_a_text_within_a_text_keeps_its_names() -> None:
    inner = modalities(["t1", "flair"])
    text = Text("missing: ", inner)
    assert text == "missing: t1, flair"
    assert [part for part in text.parts if isinstance(part, Name)] == [
        Name("modality", "t1"),
        Name("modality", "flair"),
    ]
    assert copy.deepcopy(text).parts == text.parts


@pytest.mark.parametrize(
    "event",
    [
        ErrorEvent(Text(a_file("/\xe4"), ": is\nempty"), ErrorCode.INPUT),
        WarningEvent(Text(a_modality("t2"), " is missing")),
        ErrorEvent(Text("leave out ", an_option("--no-tumor")), ErrorCode.INPUT),
        ResultEvent({"case": "case-1"}),
    ],
)
def test_names_survive_the_protocol(event: ErrorEvent | WarningEvent | ResultEvent) -> None:
    line = event.to_line()
    assert "\n" not in line
    again = parse_line(line)
    assert again == event
    if not isinstance(event, ResultEvent):
        assert again.message.parts == event.message.parts  # type: ignore[union-attr]


@pytest.mark.parametrize("parts", [3, None, [3], [{"place": "x"}], [{"file": 1}], {"file": "x"}])
def test_what_is_no_sentence_is_no_event(parts: object) -> None:
    with pytest.raises(ValueError, match="sentence"):
        Text.from_json(parts)
    assert parse_line(json.dumps({"event": "warning", "message": parts})) is None


def test_an_error_tells_its_names_and_its_code() -> None:
    error = InputError(a_file("/t1.nii"), ": is empty", code=ErrorCode.LABELS_EMPTY)
    assert str(error) == "/t1.nii: is empty"
    assert error.text.parts[0] == Name("file", "/t1.nii")
    assert (error.code, InputError("x").code) == (ErrorCode.LABELS_EMPTY, ErrorCode.INPUT)
