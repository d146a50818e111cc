"""Labels and regions against the BraTS definitions (Menze et al. 2015), and schemes in files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from MISSUCore.contract.labels import (
    BRATS,
    BRATS_2023,
    CHAOS_LIVER,
    SCHEMES,
    LabelScheme,
    label_scheme,
    numbering_of,
    same_task,
)
from MISSUCore.core.errors import InputError

# Background, NCR, ED, ET.
LABELS = np.array([[0, 1], [2, 4]])
WT = [[False, True], [True, True]]
TC = [[False, True], [False, True]]
ET = [[False, False], [False, True]]


def scheme_values(labels: list[int], regions: dict[str, list[int]]) -> dict[str, Any]:
    """A scheme in JSON with nothing that may be left out."""
    return {
        "name": "test",
        "labels": [{"value": value, "name": f"label {value}"} for value in labels],
        "regions": [{"name": name, "labels": values} for name, values in regions.items()],
    }


def test_brats_regions_are_nested_unions() -> None:
    assert BRATS.region_names == ("WT", "TC", "ET")
    np.testing.assert_array_equal(BRATS.to_regions(LABELS), [WT, TC, ET])
    since_2023 = np.where(LABELS == 4, 3, LABELS)
    np.testing.assert_array_equal(BRATS_2023.to_regions(since_2023), [WT, TC, ET])


def test_chaos_is_the_liver_against_the_rest() -> None:
    np.testing.assert_array_equal(CHAOS_LIVER.to_regions(np.array([0, 1, 0])), [[0, 1, 0]])


def test_classes_are_numbered_in_order() -> None:
    classes = BRATS.to_classes(LABELS)
    assert classes.dtype == np.uint8
    np.testing.assert_array_equal(classes, [[0, 1], [2, 3]])
    with pytest.raises(InputError, match="3"):
        BRATS.to_classes(np.array([0, 3]))


def test_membership_of_classes_in_regions() -> None:
    expected = [[0, 1, 1, 1], [0, 1, 0, 1], [0, 0, 0, 1]]
    np.testing.assert_array_equal(BRATS.membership, expected)


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=list(SCHEMES))
def test_labels_and_regions_convert_both_ways(scheme: LabelScheme) -> None:
    values = [0, *(label.value for label in scheme.labels)]
    label_map = np.random.default_rng(0).choice(values, size=(3, 4, 5))
    back = scheme.to_labels(scheme.to_regions(label_map))
    assert back.dtype == np.uint8
    np.testing.assert_array_equal(back, label_map)
    # Classes and membership are a second way to the same regions.
    by_class = scheme.membership[:, scheme.to_classes(label_map)]
    np.testing.assert_array_equal(by_class, scheme.to_regions(label_map))


def test_inner_regions_win() -> None:
    masks = np.zeros((3, 4), dtype=bool)
    masks[0, [0, 1]] = True  # WT
    masks[1, [1, 2]] = True  # TC, partly outside WT
    masks[2, [1, 3]] = True  # ET, partly outside both
    np.testing.assert_array_equal(BRATS.to_labels(masks), [2, 4, 1, 4])


def test_as_many_masks_as_regions() -> None:
    with pytest.raises(ValueError, match="3 regions, got 2"):
        BRATS.to_labels(np.zeros((2, 4), dtype=bool))


@pytest.mark.parametrize(
    ("labels", "regions", "message"),
    [
        ([], {}, "differ"),
        ([1, 1], {"A": [1]}, "differ"),
        ([0], {"A": [0]}, "1..255"),
        ([256], {"A": [256]}, "1..255"),
        ([1], {"A": [2]}, "unknown labels"),
        ([1, 2], {"A": [1], "B": [1, 2]}, "outer regions first"),
        ([1], {"A": [1], "B": [1]}, "outer regions first"),
        ([1, 2, 3], {"A": [1, 2], "B": [2, 3], "C": [3]}, "outer regions first"),
        ([1, 2], {"A": [1, 2]}, "exactly one label"),
        ([1, 2], {"A": [1]}, "exactly one label"),
        ([1], {"A": [1], "B": []}, "exactly one label"),
    ],
)
def test_schemes_that_do_not_fit_together(
    labels: list[int], regions: dict[str, list[int]], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        LabelScheme.from_dict(scheme_values(labels, regions))


def test_region_names_differ() -> None:
    values = scheme_values([1, 2], {"A": [1], "B": [2]})
    values["regions"][1]["name"] = "A"
    with pytest.raises(InputError, match="names must differ"):
        LabelScheme.from_dict(values)


def test_disjoint_regions_fit() -> None:
    scheme = LabelScheme.from_dict(scheme_values([1, 2, 7], {"A": [1], "B": [2, 7], "C": [7]}))
    np.testing.assert_array_equal(
        scheme.to_labels(scheme.to_regions(np.arange(8))) > 0, [0, 1, 1, 0, 0, 0, 0, 1]
    )


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=list(SCHEMES))
def test_schemes_survive_json(scheme: LabelScheme) -> None:
    assert LabelScheme.from_dict(json.loads(json.dumps(scheme.as_dict()))) == scheme


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["name"], None),
        (["labels"], None),
        (["labels"], 3),
        (["labels", 0, "value"], None),
        (["labels", 0, "value"], "1"),
        (["labels", 0, "value"], True),
        (["labels", 0, "value"], 1.0),
        (["labels", 0, "color"], [0, 0]),
        (["labels", 0, "color"], [0, 0, 256]),
        (["labels", 0, "color"], "red"),
        (["labels", 0, "terminology"], {"category": {"scheme": "SCT"}}),
        (["labels", 0, "terminology"], {"part": None, "type": {}}),
        (["regions", 0], "A"),
        (["regions", 0, "labels"], 1),
    ],
)
def test_json_that_is_no_scheme(path: list[Any], value: Any) -> None:
    """None stands for a key that is missing."""
    values = scheme_values([1], {"A": [1]})
    inner: Any = values
    for key in path[:-1]:
        inner = inner[key]
    if value is None:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    with pytest.raises(InputError, match="not a label scheme"):
        LabelScheme.from_dict(values)


def test_a_scheme_by_name_in_json_or_from_a_file(tmp_path: Path) -> None:
    assert label_scheme("brats") is BRATS
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(BRATS_2023.as_dict()), encoding="utf-8")
    assert label_scheme(str(file)) == label_scheme(file.read_text()) == BRATS_2023


def test_schemes_that_cannot_be_found_or_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="brats2023"):
        label_scheme("brain")
    missing, broken = tmp_path / "missing.json", tmp_path / "broken.json"
    broken.write_text("{", encoding="utf-8")
    listed = tmp_path / "list.json"
    listed.write_text("[]", encoding="utf-8")
    for file in (missing, broken, listed):
        with pytest.raises(InputError, match=file.name):
            label_scheme(str(file))
    for text in ("{", "{}"):
        with pytest.raises(InputError, match="not a label scheme"):
            label_scheme(text)


def test_numbering_follows_the_labels() -> None:
    assert numbering_of([0, 1, 2, 3], BRATS) is BRATS_2023
    assert numbering_of([0, 1, 2, 4], BRATS_2023) is BRATS
    assert numbering_of([0, 1, 2], BRATS_2023) is BRATS_2023
    assert numbering_of([0, 3, 4], BRATS) is BRATS
    assert numbering_of([0, 4], CHAOS_LIVER) is CHAOS_LIVER


def test_what_lies_in_the_brain() -> None:
    assert label_scheme("brats").is_in_brain and label_scheme("brats2023").is_in_brain
    assert not label_scheme("chaos-liver").is_in_brain


def test_either_numbering_of_brats_is_one_task() -> None:
    assert same_task(BRATS, BRATS_2023) and same_task(CHAOS_LIVER, CHAOS_LIVER)
    assert not same_task(BRATS, CHAOS_LIVER)
    renumbered = LabelScheme.from_dict(scheme_values([1, 2], {"WT": [1, 2], "TC": [1]}))
    assert not same_task(BRATS, renumbered)


def test_a_scheme_that_is_nested_too_deeply_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "scheme.json"
    path.write_text("[" * 100000 + "]" * 100000)
    with pytest.raises(InputError, match=r"scheme\.json: .*nested too deeply"):
        label_scheme(str(path))
