"""Bias-field correction on a ball of two tissues under a known field."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from MISSUCore.core.errors import InputError
from MISSUCore.core.events import Progress
from MISSUCore.preprocessing.bias_field import correct_bias_field, strong_field

pytestmark = pytest.mark.slow

MakeImage = Callable[..., sitk.Image]
SHAPE = (16, 48, 48)
SPACING = (4.0, 4.0, 8.0)  # x, y, z
OBLIQUE = sitk.Euler3DTransform((0, 0, 0), 0.3, -0.2, 0.4).GetMatrix()
Z, Y, X = np.meshgrid(*(np.linspace(-1, 1, length) for length in SHAPE), indexing="ij")
RADIUS = np.sqrt(X**2 + Y**2 + Z**2)
BRAIN = RADIUS < 0.9
WHITE = RADIUS < 0.65
FIELD = np.exp(0.4 * X - 0.3 * Y**2 + 0.2 * Z)


def clean() -> NDArray[np.float32]:
    noise = np.random.default_rng(0).normal(1, 0.03, SHAPE)
    return (np.where(WHITE, 600, 400) * BRAIN * noise).astype(np.float32)


def variation(voxels: NDArray[np.float32], tissue: NDArray[np.bool_]) -> float:
    return float(voxels[tissue].std() / voxels[tissue].mean())


def corrected(make_image: MakeImage, voxels: NDArray[np.float32], **told: Progress) -> sitk.Image:
    image = make_image(voxels, SPACING, (5.0, -7.0, 11.0), OBLIQUE)
    # Read from a file, the mask's header may differ in the last digits.
    mask = make_image(BRAIN.astype(np.uint8), SPACING, (5.0, -7.0, 11.00001), OBLIQUE)
    return correct_bias_field(image, mask, **told)


def test_a_known_field_is_taken_out(make_image: MakeImage) -> None:
    biased = (clean() * FIELD).astype(np.float32)
    fractions = []
    progress = Progress(lambda event: fractions.append(event.fraction))
    image = corrected(make_image, biased, progress=progress)
    voxels = sitk.GetArrayFromImage(image)
    for tissue in (WHITE, BRAIN & ~WHITE):
        assert variation(biased, tissue) > 0.12
        assert variation(voxels, tissue) < 0.06  # 0.03 is noise
    ratio = voxels[WHITE].mean() / voxels[BRAIN & ~WHITE].mean()
    assert ratio == pytest.approx(1.5, rel=0.05)
    assert voxels[BRAIN].mean() == pytest.approx(biased[BRAIN].mean(), rel=1e-4)
    assert not voxels[~BRAIN].any()
    assert image.GetSpacing() == SPACING
    assert image.GetOrigin() == (5.0, -7.0, 11.0)
    assert image.GetDirection() == pytest.approx(OBLIQUE)
    assert len(fractions) > 5
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1


def test_without_a_field_little_changes_and_it_is_repeatable(make_image: MakeImage) -> None:
    first = sitk.GetArrayFromImage(corrected(make_image, clean()))
    assert np.abs(first[BRAIN] / clean()[BRAIN] - 1).mean() < 0.03
    assert np.array_equal(first, sitk.GetArrayFromImage(corrected(make_image, clean())))


def test_voxels_without_signal_and_outside_do_no_harm(make_image: MakeImage) -> None:
    biased = (clean() * FIELD).astype(np.float32)
    biased[8, 20:24, 20:24] = 0
    biased[8, 25, 25] = -30
    biased[~BRAIN] = 9
    voxels = sitk.GetArrayFromImage(corrected(make_image, biased))
    assert np.isfinite(voxels).all()
    assert not voxels[8, 20:24, 20:24].any()
    assert voxels[8, 25, 25] < 0
    assert np.all(voxels[~BRAIN] == 9)
    assert variation(voxels, WHITE & (biased > 0)) < 0.06


def test_a_z_scored_scan_is_refused(make_image: MakeImage) -> None:
    with pytest.raises(InputError, match="not z-scored"):
        corrected(make_image, (clean() - 600) * BRAIN)


def drift(amount: float, axis: int) -> NDArray[np.float64]:
    """Brightness from 1 - amount on one side to 1 + amount on the other."""
    return 1 + amount * np.sin((Z, Y, X)[axis] * np.pi / 2)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_strong_field_is_noticed_and_a_weak_one_is_not(make_image: MakeImage, axis: int) -> None:
    strengths = [
        strong_field(make_image((clean() * drift(amount, axis)).astype(np.float32), SPACING))
        for amount in (0.0, 0.2, 0.7)
    ]
    assert strengths[:2] == [None, None]
    assert strengths[2] == pytest.approx(0.62, abs=0.1)  # the brain does not reach the border


def test_a_field_that_is_weak_in_the_middle_is_noticed(make_image: MakeImage) -> None:
    dome = 500 * BRAIN * np.exp(1.6 * RADIUS**2)
    assert strong_field(make_image(dome.astype(np.float32), SPACING)) is not None
    shallow = 500 * BRAIN * np.exp(0.4 * RADIUS**2)
    assert strong_field(make_image(shallow.astype(np.float32), SPACING)) is None


@pytest.mark.parametrize("voxels", [clean() * 0, clean() - 600, -clean(), clean()[:1, :3, :3] + 1])
def test_where_nothing_can_be_told_there_is_no_field(
    make_image: MakeImage, voxels: NDArray[np.float32]
) -> None:
    image = make_image((voxels * (voxels != -600)).astype(np.float32), SPACING)
    assert strong_field(image) is None
