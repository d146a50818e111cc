"""Sequences are told by the images alone: simulated ones, and real ones where they are at hand."""

from __future__ import annotations

import os
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from MISSUCore.contract.modalities import BRATS_MODALITIES
from MISSUCore.contract.naming.rules import guess_from_name
from MISSUCore.io.reading import read_image
from MISSUCore.sequences.appearance import guess_from_images, measure
from MISSUCore.simulation.case import simulate_case

pytestmark = pytest.mark.slow

Images = dict[str, sitk.Image]


@pytest.fixture(scope="module")
def scans() -> Images:
    """A simulated case, skull-stripped."""
    pytest.importorskip("nilearn", reason="needs the package nilearn")
    return simulate_case(seed=5, spacing_mm=2.0).images


def with_head(image: sitk.Image, scalp: float) -> sitk.Image:
    """The brain in a skull and a scalp of a brightness, on a neck, with noise in the air."""
    brain = sitk.ConstantPad(image, (12, 12, 45), (12, 12, 10))
    mask = brain > 0
    skull = sitk.BinaryDilate(mask, (3, 3, 3))
    skin = sitk.BinaryDilate(skull, (4, 4, 4)) - skull
    level = float(np.median(sitk.GetArrayFromImage(image)[sitk.GetArrayFromImage(image) > 0]))
    voxels = sitk.GetArrayFromImage(brain) + scalp * level * sitk.GetArrayFromImage(skin)
    depth, height, width = voxels.shape
    voxels[: depth // 4, height // 3 : height * 2 // 3, width // 3 : width * 2 // 3] = level
    voxels += np.abs(np.random.default_rng(0).normal(0, 0.02 * level, voxels.shape))
    head = sitk.GetImageFromArray(voxels.astype(np.float32))
    head.CopyInformation(brain)
    return head


def sequences(images: Images) -> dict[str, str | None]:
    return {key: guess.sequence for key, guess in guess_from_images(images).items()}


AS_THEY_ARE = {name: name for name in BRATS_MODALITIES}


def test_a_case_in_any_order(scans: Images) -> None:
    for order in list(permutations(scans))[::5]:
        assert sequences({name: scans[name] for name in order}) == AS_THEY_ARE


def test_the_scale_of_intensities_makes_no_difference(scans: Images) -> None:
    assert sequences({name: image * 0.01 for name, image in scans.items()}) == AS_THEY_ARE


def test_heads_with_skull(scans: Images) -> None:
    scalp = {"t1": 1.6, "t1ce": 1.8, "t2": 0.8, "flair": 1.0}
    heads = {name: with_head(image, scalp[name]) for name, image in scans.items()}
    assert sequences(heads) == AS_THEY_ARE


def test_oblique_thick_slices_on_grids_of_their_own(scans: Images) -> None:
    rotated = {}
    for number, (name, image) in enumerate(scans.items()):
        turn = sitk.Euler3DTransform()
        turn.SetRotation(0.1 * number, -0.15, 0.2)
        turn.SetCenter(image.TransformContinuousIndexToPhysicalPoint((45.0, 54.0, 45.0)))
        turn.SetTranslation((3.0 * number, -4.0, 2.0))
        direction = np.array(turn.GetMatrix()).reshape(3, 3)
        size = [180, 220, 40]
        grid = sitk.Image(size, sitk.sitkFloat32)
        grid.SetSpacing((1.2, 1.1, 5.0))
        grid.SetDirection(direction.ravel().tolist())
        middle = np.array(image.TransformContinuousIndexToPhysicalPoint((45.0, 54.0, 45.0)))
        half = np.array(size) * np.array(grid.GetSpacing()) / 2
        grid.SetOrigin((middle - direction @ half).tolist())
        rotated[name] = sitk.Resample(image, grid)
    assert sequences(rotated) == AS_THEY_ARE


def test_sequences_that_are_taken_do_not_come_into_question(scans: Images) -> None:
    unknown = {name: scans[name] for name in ("t2", "t1ce")}
    guesses = guess_from_images(unknown, among=("t1ce", "t2"))
    assert {key: guess.sequence for key, guess in guesses.items()} == {"t2": "t2", "t1ce": "t1ce"}
    assert guess_from_images(unknown, among=())["t2"].sequence is None


def test_confidence_is_that_of_a_guess(scans: Images) -> None:
    alone = guess_from_images({"t2": scans["t2"]})["t2"]
    together = guess_from_images(scans)
    assert alone.sequence == "t2"
    assert all(0.5 <= guess.confidence <= 0.85 for guess in (alone, *together.values()))
    assert together["t1ce"].reason == "the image looks like t1ce"


def test_more_scans_than_sequences(scans: Images) -> None:
    repeated = {**scans, "t2 again": scans["t2"]}
    guesses = sequences(repeated)
    assert guesses["t2"] == guesses["t2 again"] == "t2"


def test_what_shows_no_brain() -> None:
    noise = sitk.GetImageFromArray(np.random.default_rng(0).random((12, 16, 14), np.float32))
    black = sitk.Image(64, 64, 64, sitk.sitkFloat32)
    flat = sitk.Image(64, 64, 64, sitk.sitkFloat32) + 5
    flat.SetSpacing((3.0, 3.0, 3.0))
    for image in (noise, black, flat):
        assert measure(image) is None
        guess = guess_from_images({"a": image})["a"]
        assert (guess.sequence, guess.confidence) == (None, 0.0)
    assert guess_from_images({}) == {}


@pytest.mark.skipif(
    "MISSU_RAW_DATA" not in os.environ,
    reason="MISSU_RAW_DATA names no folder with the scans of one patient",
)
def test_real_scans_with_skull() -> None:
    images = {}
    for path in sorted(Path(os.environ["MISSU_RAW_DATA"]).glob("*.nii.gz")):
        sequence = guess_from_name(path.name).sequence
        if sequence in BRATS_MODALITIES:
            images[sequence] = read_image(path)
    assert len(images) == 4
    assert sequences(images) == {name: name for name in images}
