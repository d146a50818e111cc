"""Scans of one brain are told from scans of two by the edges inside, and by the outline."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from MISSUCore.core.errors import ErrorCode, InputError
from MISSUCore.preprocessing.brain_extraction import Brain
from MISSUCore.preprocessing.checks import check_anatomy, fits_inside
from MISSUCore.preprocessing.edge_agreement import edge_agreement

SHAPE = (48, 56, 52)  # voxels of 2 mm


def scan(seed: int, values: np.ndarray | None = None) -> sitk.Image:
    """Blobs of some 8 mm at random places."""
    if values is None:
        noise = np.random.default_rng(seed).normal(size=SHAPE)
        values = ndimage.gaussian_filter(noise, 2) * 30 + 10
    image = sitk.GetImageFromArray(values.astype(np.float32))
    image.SetSpacing((2.0, 2.0, 2.0))
    return image


def brain(*radii: float) -> sitk.Image:
    """An ellipsoid in the middle, radii in voxels."""
    places = np.indices(SHAPE) - (np.array(SHAPE) / 2).reshape(3, 1, 1, 1)
    inside = ((places / np.reshape(radii, (3, 1, 1, 1))) ** 2).sum(axis=0) < 1
    return sitk.Cast(scan(0, inside), sitk.sitkUInt8)


ROUND, LONG = brain(20, 22, 20), brain(17, 26, 20)
FIRST = sitk.GetArrayFromImage(scan(1))
# Another contrast: dark where the first is bright, and bent.
OTHER_CONTRAST = scan(1, np.exp(-FIRST / 5))


def test_edges_of_one_brain_fit_in_any_contrast() -> None:
    assert edge_agreement(scan(1), scan(1), ROUND, ROUND) > 0.6
    assert edge_agreement(OTHER_CONTRAST, scan(1), ROUND, ROUND) > 0.6


def test_edges_of_two_brains_do_not_fit() -> None:
    assert abs(edge_agreement(scan(2), scan(1), ROUND, ROUND)) < 0.05


def test_what_lies_beside_itself_does_not_fit() -> None:
    aside = scan(1)
    aside.SetOrigin((8.0, 0.0, 0.0))
    assert edge_agreement(aside, scan(1), ROUND, ROUND) < 0


def test_noise_makes_nobody_alike() -> None:
    noisy = [scan(0, FIRST + np.random.default_rng(seed).normal(0, 3, SHAPE)) for seed in (1, 2)]
    assert edge_agreement(noisy[0], noisy[1], ROUND, ROUND) > 0.05
    assert abs(edge_agreement(noisy[0], scan(2), ROUND, ROUND)) < 0.05


def test_too_little_to_tell() -> None:
    assert edge_agreement(scan(1), scan(1), brain(5, 5, 5), ROUND) is None
    assert edge_agreement(scan(0, np.ones(SHAPE)), scan(1), ROUND, ROUND) is None


def test_a_head_fits_a_brain_if_the_edges_in_that_are_in_both() -> None:
    """Beyond the brain there is a skull, which says nothing, and a scan may end inside it."""
    skull = sitk.GetArrayViewFromImage(brain(23, 25, 23)) - sitk.GetArrayViewFromImage(ROUND)
    heads = [
        scan(0, np.where(skull, 90, sitk.GetArrayViewFromImage(image)))
        for image in (scan(1), OTHER_CONTRAST, scan(2))
    ]
    assert fits_inside(heads[1], heads[0], ROUND)
    assert fits_inside(heads[1][:, :, 20:], heads[0], ROUND)
    assert not fits_inside(heads[2], heads[0], ROUND)
    assert not fits_inside(heads[1][:, :, :6], heads[0], ROUND)  # too little to tell


def check(moving: sitk.Image, mask: sitk.Image, only_warn: bool = False) -> list[str]:
    images = {"t1": scan(1), "t2": moving}
    brains = {"t1": Brain(ROUND, stripped=True), "t2": Brain(mask, stripped=True)}
    return check_anatomy("t1", images, brains, only_warn=only_warn)


def test_two_brains_are_refused() -> None:
    with pytest.raises(InputError, match="t2: shows another brain than t1") as caught:
        check(scan(2), LONG)
    assert "--allow-different-anatomy" in str(caught.value)
    assert caught.value.code == ErrorCode.ANATOMY_DIFFERS
    (warning,) = check(scan(2), LONG, only_warn=True)
    assert warning.startswith("t2: shows another brain than t1")


def test_one_brain_with_another_outline_is_only_warned_of() -> None:
    (warning,) = check(OTHER_CONTRAST, LONG)
    assert warning.startswith("t2: its brain and that of t1 differ in shape (Dice 0.9")


def test_one_outline_is_enough() -> None:
    # What was measured badly may have no edges in common with anything.
    assert check(scan(2), ROUND) == []


def test_without_a_brain_in_the_fixed_scan_nothing_is_said() -> None:
    brains = {"t2": Brain(ROUND, stripped=True)}
    assert check_anatomy("t1", {"t1": scan(1), "t2": scan(2)}, brains) == []
