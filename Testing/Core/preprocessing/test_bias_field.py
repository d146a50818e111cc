"""Bias-field correction on a ball of two tissues under a known field."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from MISSUCore.core.errors import InputError
from MISSUCore.core.events import Progress
from MISSUCore.preprocessing.bias_field import correct_bias_field

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
