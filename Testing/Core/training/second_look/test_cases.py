"""Cases with what the first look says of them, and the voxels that patches are centered on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from MISSUCore.contract.labels import CHAOS_LIVER
from MISSUCore.contract.model_card import FirstLook
from MISSUCore.core.errors import InputError
from MISSUCore.core.events import Progress
from MISSUCore.io.reading import read_image
from MISSUCore.preprocessing.working_grid import prepare
from MISSUCore.training.datasets import PreparedCases
from MISSUCore.training.second_look import cases as cases_module
from MISSUCore.training.second_look.cases import find_places

MODALITIES = ("t1", "t1ce", "t2", "flair")


def test_a_case_is_that_of_the_plain_data_set_and_keeps_what_the_first_look_says(
    seen_cases, tmp_path
):
    seen = seen_cases()
    plain = PreparedCases(seen.cases, MODALITIES, seen.scheme, seen.spacing_mm, tmp_path / "plain")
    for index in range(4):
        for ours, theirs in zip(seen[index], plain[index]):
            assert torch.equal(ours, theirs)
    case = seen.seen(1)
    assert case.volume.dtype == case.log_odds.dtype == torch.float16
    images = {name: read_image(path) for name, path in seen.cases[1].images.items()}
    coarse = prepare(images, MODALITIES, (2.0, 2.0, 2.0)).volume
    answer = np.clip(2 * coarse[[3, 2, 1]] - 1, -13, 13)
    # Both grids begin at the same voxel: fine voxel i is coarse voxel i / 2.
    places = np.indices((15, 15, 15)) / 2
    for region in range(3):
        expected = map_coordinates(answer[region], places, order=1)
        found = case.log_odds[region].numpy()[:15, :15, :15]
        np.testing.assert_allclose(found, expected, atol=2e-2)
    # The scans are smaller than the smallest box, which then is the whole scan.
    assert case.box_slices() == [(slice(0, 16),) * 3]


def test_places_are_in_the_tumor_where_the_first_look_errs_and_in_the_brain(seen_cases):
    case = seen_cases().seen(0)
    classes = case.classes
    for label in (1, 2, 3):
        places = case.places[str(label)].long()
        assert len(places) == (classes == label).sum()
        assert (classes[tuple(places.T)] == label).all()
    errors = (case.log_odds[0] > -1) != (classes > 0)
    # What lies within rounding of the threshold may fall on either side.
    clear = (case.log_odds[0].float() + 1).abs() > 0.01
    marked = torch.zeros_like(errors)
    marked[tuple(case.places["errors"].long().T)] = True
    assert torch.equal(marked & clear, errors & clear)
    assert errors.any()
    # The brain fills the whole case, of which no more places are kept.
    assert (case.volume != 0).all()
    assert len(case.places["brain"]) == cases_module.MOST_PLACES < classes.numel()
    assert [len(places) for places in case.tumor()] == [
        int((classes == label).sum()) for label in (1, 2, 3)
    ]


def test_of_many_places_some_are_kept_evenly(monkeypatch):
    monkeypatch.setattr(cases_module, "MOST_PLACES", 500)
    classes = np.zeros((20, 30, 10), dtype=np.uint8)
    classes[:10, :15] = 2  # 1500 voxels
    brain = np.ones_like(classes, dtype=bool)
    places = find_places(classes, classes > 0, brain)
    assert places.keys() == {"2", "brain"}  # a first look without errors has no such places
    assert len(places["2"]) == len(places["brain"]) == 500
    assert (classes[tuple(places["2"].long().T)] == 2).all()
    assert len(places["brain"].unique(dim=0)) == 500
    np.testing.assert_allclose(places["brain"].float().mean(0), [9.5, 14.5, 4.5], atol=1)


def test_a_case_is_prepared_once_and_anew_for_another_first_look(seen_cases, monkeypatch):
    cases = seen_cases()
    cases.prepare_all(Progress())
    names = {path.name for path in cases.folder.iterdir()}
    assert len(names) == 4

    def refuse(*given):
        raise AssertionError("prepared again")

    monkeypatch.setattr(cases_module, "look_first", refuse)
    assert torch.equal(seen_cases()[2][1], cases[2][1])
    with pytest.raises(AssertionError, match="prepared again"):
        seen_cases(sha256="2" * 64)[0]


@pytest.mark.parametrize("damage", ["empty", "cut", "other"])
def test_a_damaged_case_is_prepared_anew(seen_cases, damage):
    cases = seen_cases()
    expected = [tensor.clone() for tensor in cases[0]]
    (path,) = cases.folder.iterdir()
    whole = path.read_bytes()
    path.unlink()  # the tensors above may be mapped from it
    if damage == "other":
        torch.save({"volume": torch.zeros(1)}, path)
    else:
        path.write_bytes(b"" if damage == "empty" else whole[: len(whole) // 2])
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(cases[0], expected))


def test_a_first_look_that_does_not_fit_is_refused(seen_cases):
    with pytest.raises(InputError, match="reader takes other scans"):
        seen_cases(modalities=("t1", "t2"))
    with pytest.raises(InputError, match="reader finds other regions"):
        seen_cases(scheme=CHAOS_LIVER.as_dict())


def test_a_region_that_is_none_is_refused(seen_cases):
    with pytest.raises(InputError, match="no such region: XX"):
        seen_cases(first_look=FirstLook("reader", averaged=("WT", "XX")))


def test_a_bad_case_is_named(seen_cases):
    cases = seen_cases()
    cases.cases[2].images["t2"].write_bytes(b"not an image")
    with pytest.raises(InputError, match="case BraTS2021_00002"):
        cases.prepare_all(Progress())
