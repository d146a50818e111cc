"""Whether the scans of two visits show one patient."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from MISSUCore.core.errors import ErrorCode, InputError
from MISSUCore.preprocessing.registration.rigid import Registration
from MISSUCore.visits import alignment
from MISSUCore.visits.one_patient import Similarity, similarity

STAYS = Registration(sitk.Euler3DTransform(), 1.09, 0.0, True, [])


@pytest.mark.parametrize(
    ("outside", "inside", "one_patient"),
    [
        # The poorest of one patient and the best of two (docs/evidence.md), by the edges inside.
        (1.099, 0.177, True),
        (1.067, 0.071, False),
        # They go before: stripped strangers came close by mutual information.
        (1.2, 0.07, False),
        (1.05, 0.2, True),
        # Where they cannot be told, mutual information decides.
        (1.099, None, True),
        (1.0905, None, False),
    ],
)
def test_the_edges_inside_decide(outside: float, inside: float | None, one_patient: bool) -> None:
    assert Similarity(outside, inside).one_patient is one_patient


def head(inside: int, skull: int) -> sitk.Image:
    """A ball of 150 mm: a bright shell of 10 mm like no other skull, and a brain of its own."""
    shape = (44, 44, 44)
    places = np.indices(shape) - 21.5
    depth_mm = 75 - 4 * np.sqrt((places**2).sum(axis=0))
    skulls, brains = (
        ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 1.5) * 6
        for seed in (skull, inside)
    )
    voxels = np.where(depth_mm > 10, 500 + 150 * brains, 1000 + 400 * skulls)
    image = sitk.GetImageFromArray(np.where(depth_mm > 0, voxels, 0).clip(0).astype(np.float32))
    image.SetSpacing((4.0, 4.0, 4.0))
    return image


def test_strangers_are_told_by_what_is_inside_not_by_their_skull() -> None:
    same = similarity(head(1, 8) ** 0.8 * 2, head(1, 9), STAYS)
    other = similarity(head(2, 9), head(1, 9), STAYS)
    assert same.inside is not None and same.one_patient
    assert other.inside is not None and not other.one_patient


def test_scans_that_share_nothing_cannot_be_told_by_their_inside() -> None:
    apart = head(1, 9)
    apart.SetOrigin((500.0, 0.0, 0.0))
    assert similarity(apart, head(1, 9), STAYS) == Similarity(1.09, None)


@pytest.mark.parametrize("measured", [Similarity(1.2, 0.05), Similarity(1.05, None)])
def test_two_patients_are_refused_unless_it_is_insisted_on(
    monkeypatch: pytest.MonkeyPatch, measured: Similarity
) -> None:
    monkeypatch.setattr(alignment, "register", lambda *_, **__: STAYS)
    monkeypatch.setattr(alignment, "similarity", lambda *_: measured)
    scans = [sitk.GetImageFromArray(np.full((4, 4, 4), value, np.float32)) for value in (1, 2)]
    names = ["first", "second"]
    with pytest.raises(InputError, match="do not seem to show one patient") as caught:
        alignment.align(names, scans, names)
    assert caught.value.code is ErrorCode.ANATOMY_DIFFERS
    registrations = alignment.align(names, scans, names, different_anatomy=True)
    # Who insists is told so all the same.
    (warning,) = alignment.alignment_warnings(registrations)
    assert re.match("second and first do not seem to show one patient", warning)


def test_one_patient_goes_on_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    fit: Any = SimpleNamespace(warnings=[])
    monkeypatch.setattr(alignment, "register", lambda *_, **__: fit)
    monkeypatch.setattr(alignment, "similarity", lambda *_: Similarity(1.05, 0.2))
    scans = [sitk.GetImageFromArray(np.full((4, 4, 4), value, np.float32)) for value in (1, 2)]
    assert alignment.align(["a", "b"], scans, ["a", "b"]) == [None, fit]
