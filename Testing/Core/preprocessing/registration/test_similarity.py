"""How well two scans agree."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from MISSUCore.core.errors import InputError
from MISSUCore.preprocessing.registration.similarity import mutual_information

MakeImage = Callable[..., sitk.Image]


@pytest.fixture
def texture() -> NDArray[np.float32]:
    """Smooth tissue everywhere, from 50 to 150."""
    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(40, 40, 40)), 3)
    return (50 + 100 * (noise - noise.min()) / np.ptp(noise)).astype(np.float32)


def test_what_follows_from_the_other_agrees_wholly(
    make_image: MakeImage, texture: NDArray[np.float32]
) -> None:
    scan, inverted = (
        make_image(texture, (3.0, 3.0, 3.0)),
        make_image(200 - texture, (3.0, 3.0, 3.0)),
    )
    assert mutual_information(scan, scan) == pytest.approx(2)
    assert mutual_information(inverted, scan) == pytest.approx(
        2, abs=0.1
    )  # intensities at the bins' borders


def test_what_has_nothing_to_do_with_the_other(
    make_image: MakeImage, texture: NDArray[np.float32]
) -> None:
    noise = np.random.default_rng(1).uniform(50, 150, texture.shape).astype(np.float32)
    value = mutual_information(
        make_image(noise, (3.0, 3.0, 3.0)), make_image(texture, (3.0, 3.0, 3.0))
    )
    assert 1 <= value < 1.01


def test_by_hand(make_image: MakeImage) -> None:
    """Two intensities in each scan; where the second is brighter, is one half of either of them."""
    halves = np.zeros((40, 40, 40), np.float32)
    halves[:, :, 20:] = 1
    other = np.zeros((40, 40, 40), np.float32)
    other[:, 20:] = 1
    first = make_image(halves + 10, (3.1, 3.1, 3.1))
    second = make_image(other + 10, (3.1, 3.1, 3.1))
    mask = first > 0
    # Independent: the joint entropy is the sum of both.
    assert mutual_information(first, second, mask=mask) == pytest.approx(1, abs=1e-6)
    # The same: it is the entropy of either.
    assert mutual_information(first, first, mask=mask) == pytest.approx(2, abs=1e-6)


def test_it_falls_with_a_shift_and_rises_again_with_the_transform(
    make_image: MakeImage, texture: NDArray[np.float32]
) -> None:
    fixed = make_image(texture, (3.0, 3.0, 3.0))
    moving = make_image(texture, (3.0, 3.0, 3.0), (6.0, 0.0, 0.0))
    aligned = mutual_information(moving, fixed, sitk.TranslationTransform(3, (6.0, 0.0, 0.0)))
    nearly = mutual_information(moving, fixed, sitk.TranslationTransform(3, (3.0, 0.0, 0.0)))
    assert mutual_information(moving, fixed) < nearly < aligned
    assert aligned == pytest.approx(2, abs=0.1)


def test_scans_that_lie_apart(make_image: MakeImage, texture: NDArray[np.float32]) -> None:
    far = make_image(texture, (3.0, 3.0, 3.0), (999.0, 0.0, 0.0))
    with pytest.raises(InputError, match="share no part of the head"):
        mutual_information(far, make_image(texture, (3.0, 3.0, 3.0)))
