"""Scores go to a file and come back; what is not a number is null there, and NaN here."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path

import pytest

from MISSUCore.contract.region_scores import RegionScores, read_region_scores
from MISSUCore.core.errors import InputError

SCORES = RegionScores("case-1", "WT", 0.9, hausdorff_mm=math.inf, lesions_found=2)


def test_they_come_back_without_what_is_no_number(tmp_path: Path) -> None:
    path = tmp_path / "scores.json"
    path.write_text(json.dumps({"rows": [SCORES.to_dict()]}, allow_nan=False))
    (read,) = read_region_scores(path)
    numbers = {name: value for name, value in asdict(read).items() if value == value}
    assert numbers == {"case": "case-1", "region": "WT", "dice": 0.9, "lesions_found": 2}
    assert math.isnan(read.hausdorff_mm)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"rows": {}}',
        '{"rows": [3]}',
        '{"rows": [{"dice": "high"}]}',
        '{"rows": [{"color": 1}]}',
        "[" * 100_000,
    ],
)
def test_what_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "scores.json").write_text(text)
    with pytest.raises(InputError, match=r"scores\.json: cannot be read: .*; compare again"):
        read_region_scores(tmp_path / "scores.json")
