"""Patches for the second look: where they are, how often, and what is pasted into them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from MISSUCore.training.patches.settings import AugmentationConfig, SamplingConfig
from MISSUCore.training.second_look.batches import (
    Batches,
    BatchStream,
    any_place,
    random_place,
    with_pasted_tumor,
)
from MISSUCore.training.second_look.cases import SeenCase

PLAIN = AugmentationConfig(flip_probability=0, intensity_shift=0, intensity_scale=0)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def case(places: dict[str, list[list[int]]]) -> SeenCase:
    """A case of 40 voxels a side with these places."""
    empty = torch.zeros(0)
    voxels = {name: torch.tensor(value, dtype=torch.int16) for name, value in places.items()}
    return SeenCase(empty, torch.zeros(40, 40, 40, dtype=torch.uint8), empty, empty, voxels)


PLACES = {
    "1": [[10, 10, 10]],
    "3": [[20, 20, 20], [20, 20, 21]],
    "errors": [[1, 2, 3]],
    "brain": [[5, 6, 7]],
}


class Crops(list):
    """Lesion crops in memory."""


def crops(count=2, size=(19, 30, 30)) -> Crops:
    generator = seeded(9)
    return Crops(
        (torch.rand((4, *size), generator=generator).half() + 1, torch.full(size, 2).byte())
        for _ in range(count)
    )


def test_patches_lie_in_the_tumor_in_errors_and_anywhere_in_their_shares():
    sampling = SamplingConfig(tumor=0.6, errors=0.3, jitter=0)
    places = [tuple(random_place(case(PLACES), sampling, seeded(seed))) for seed in range(2000)]
    shares = {place: places.count(place) / 2000 for place in set(places)}
    # Each label of the tumor is as frequent, however many voxels it has.
    expected = {
        (10, 10, 10): 0.3,
        (20, 20, 20): 0.15,
        (20, 20, 21): 0.15,
        (1, 2, 3): 0.3,
        (5, 6, 7): 0.1,
    }
    assert shares.keys() == expected.keys()
    for place, share in expected.items():
        assert shares[place] == pytest.approx(share, abs=0.03)


def test_patches_move_about_the_tumor_and_stay_in_the_case():
    sampling = SamplingConfig(tumor=1.0, errors=0.0, jitter=12)
    here = case({"1": [[10, 20, 35]]})
    places = np.array([random_place(here, sampling, seeded(seed)) for seed in range(500)])
    assert places.min(0).tolist() == [0, 8, 23]
    assert places.max(0).tolist() == [22, 32, 39]
    np.testing.assert_allclose(places[:, 1].mean(), 20, atol=1)


def test_what_a_case_has_not_is_looked_for_elsewhere():
    sampling = SamplingConfig(tumor=0.5, errors=0.5)
    without = case({"brain": [[5, 6, 7]]})
    assert random_place(without, sampling, seeded()) == [5, 6, 7]
    assert any_place(case({}), seeded()) == [20, 20, 20]


def test_a_pasted_tumor_is_that_of_the_donor_blended_at_its_border():
    volume = torch.full((4, 24, 24, 24), 1.0)
    volume[:, 0] = 0  # background
    donor = torch.full((4, 24, 24, 24), 5.0)
    tumor = torch.zeros(24, 24, 24, dtype=torch.uint8)
    tumor[8:16, 8:16, 8:16] = 2
    tumor[10, 10, 10] = 3
    tumor[0, 12, 12] = 1  # of the donor, where this case has no brain
    pasted, classes = with_pasted_tumor(volume, torch.zeros_like(tumor), donor, tumor)
    expected = tumor.clone()
    expected[0] = 0
    assert torch.equal(classes, expected)
    line = pasted[1, 12, 12]
    assert (line[8:16] == 5).all()
    assert (line[:4] == 1).all() and (line[20:] == 1).all()
    # A box two voxels wider, smoothed over five: the share falls by a fifth a voxel.
    torch.testing.assert_close(line[3:9], torch.tensor([1.0, 1.8, 2.6, 3.4, 4.2, 5.0]))
    assert (pasted[:, 0] == 0).all()


def test_nothing_is_pasted_from_a_patch_without_tumor_or_beyond_the_donors_brain():
    volume, empty = torch.ones(4, 12, 12, 12), torch.zeros(12, 12, 12, dtype=torch.uint8)
    donor = torch.full_like(volume, 3.0)
    same = with_pasted_tumor(volume, empty, donor, empty)
    assert torch.equal(same[0], volume) and not same[1].any()
    tumor = empty.clone()
    tumor[6, 6, 6] = 1
    donor[:, :, :, 7:] = 0
    pasted, _ = with_pasted_tumor(volume, empty, donor, tumor)
    assert (pasted[:, :, :, 7:] == 1).all()
    assert (pasted[:, 6, 6, 6] == 3).all()


@pytest.fixture
def make_batches(seen_cases, second_look_config):
    """Makes batches of the tiny cases."""

    def make(lesions=None, count=400, **changes) -> Batches:
        settings = {"augmentation": PLAIN, "patch_size": (8, 8, 8), **changes}
        return Batches(seen_cases(), lesions, second_look_config(**settings), count)

    return make


def test_a_patch_is_a_block_of_a_case_around_its_place(make_batches):
    sampling = SamplingConfig(tumor=1, errors=0, jitter=0, pasted=0)
    batches = make_batches(sampling=sampling)
    blocks = []
    for index in range(4):
        volume, classes = batches.cases[index]
        pad = (4, 4) * 3
        blocks.append(
            (
                torch.nn.functional.pad(volume, pad),
                torch.nn.functional.pad(classes, pad),
            )
        )
    seen = set()
    for number in range(40):
        volume, classes = batches[number]
        assert (volume.shape, classes.shape) == ((1, 4, 8, 8, 8), (1, 8, 8, 8))
        assert (volume.dtype, classes.dtype) == (torch.float32, torch.uint8)
        # Its middle voxel is tumor; where that is, the rest is the case's, too.
        assert classes[0, 4, 4, 4] > 0
        middle = volume[0, :, 4, 4, 4, None, None, None]
        ((index, where),) = (
            (index, (whole == middle).all(0).nonzero()[0])
            for index, (whole, _) in enumerate(blocks)
            if (whole == middle).all(0).any()
        )
        z, y, x = (slice(int(v) - 4, int(v) + 4) for v in where)
        assert torch.equal(volume[0], blocks[index][0][:, z, y, x])
        assert torch.equal(classes[0], blocks[index][1][z, y, x])
        seen.add(index)
    assert seen == {0, 1, 2, 3}


def test_lesion_crops_have_their_share_of_the_batches_and_their_own_size(make_batches):
    batches = make_batches(crops(), sampling=SamplingConfig(crops=0.35), batch_size=2)
    shapes = [tuple(batches[number][0].shape) for number in range(300)]
    # Of 19 x 30 x 30 voxels as many as the network of stride 2 halves evenly.
    assert set(shapes) == {(2, 4, 18, 30, 30), (2, 4, 8, 8, 8)}
    assert shapes.count((2, 4, 18, 30, 30)) / 300 == pytest.approx(0.35, abs=0.07)
    lesion = next(n for n, shape in enumerate(shapes) if shape[2] == 18)
    volume, classes = batches[lesion]
    assert (classes == 2).all()
    whole = [item[0].float() for item in batches.crops]
    assert any(
        torch.equal(volume[0], one[:, start : start + 18]) for one in whole for start in (0, 1)
    )


def test_without_crops_every_batch_is_of_patches(make_batches):
    batches = make_batches(None, sampling=SamplingConfig(crops=1))
    assert all(batches[number][0].shape[-1] == 8 for number in range(20))


def test_tumors_are_pasted_into_patches_without(make_batches, monkeypatch):
    sampling = SamplingConfig(tumor=0, errors=0, pasted=0, jitter=0)
    plain = make_batches(sampling=sampling, patch_size=(8, 8, 8))
    pasting = make_batches(sampling=replace(sampling, tumor=1, pasted=1), patch_size=(8, 8, 8))
    tumors = [bool(plain[number][1].any()) for number in range(40)]
    assert not all(tumors)
    # Wherever a patch was without, the middle of a donor's patch is tumor; the brain is everywhere.
    assert all(pasting[number][1].any() for number in range(40))


def test_modalities_are_missing_more_often_in_the_second_half(make_batches):
    batches = make_batches(
        sampling=SamplingConfig(late_dropout=0.5),
        augmentation=replace(PLAIN, modality_dropout=0.1),
        patch_size=(8, 8, 8),
    )
    missing = np.array([any(not channel.any() for channel in batches[n][0][0]) for n in range(400)])
    assert missing[:200].mean() == pytest.approx(0.1, abs=0.07)
    assert missing[200:].mean() == pytest.approx(0.6, abs=0.1)


def test_a_batch_depends_on_its_number_alone(make_batches):
    varied = AugmentationConfig(
        affine_probability=0.5,
        bias_probability=0.5,
        shift_probability=0.5,
        noise_probability=0.5,
        modality_dropout=0.3,
    )
    one, other = (
        make_batches(crops(), augmentation=varied),
        make_batches(crops(), augmentation=varied),
    )
    forward = [one[number] for number in range(12)]
    torch.manual_seed(77)
    for number in reversed(range(12)):
        assert all(torch.equal(a, b) for a, b in zip(other[number], forward[number]))
    assert not torch.equal(forward[0][0], forward[1][0])


@pytest.mark.slow
def test_workers_make_the_same_batches_in_the_same_order(make_batches):
    batches = make_batches(count=8, accumulation=2)
    streams = [
        list(
            BatchStream(batches, range(1, 4), torch.device("cpu"), torch.channels_last_3d, workers)
        )
        for workers in (0, 2)
    ]
    assert [len(stream) for stream in streams] == [6, 6]
    for number, (own, made) in enumerate(zip(*streams), start=2):
        assert torch.equal(own[0], batches[number][0])
        assert all(torch.equal(a, b) for a, b in zip(own, made))
        assert own[0].is_contiguous(memory_format=torch.channels_last_3d)


def test_processes_of_a_group_have_different_batches(make_batches, monkeypatch):
    batches = make_batches(count=12)
    numbers = []
    for rank in range(3):
        monkeypatch.setattr(
            "MISSUCore.training.second_look.batches.rank_in_group", lambda rank=rank: (rank, 3)
        )
        stream = BatchStream(batches, range(1, 3), torch.device("cpu"), torch.contiguous_format, 0)
        numbers.append(list(stream.numbers))
    assert numbers == [[3, 6], [4, 7], [5, 8]]
