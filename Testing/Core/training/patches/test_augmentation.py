"""Random patches: the right place and turn in space, labels that follow, background that stays."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import affine_transform, binary_dilation, binary_erosion, uniform_filter
from scipy.spatial.transform import Rotation

from MISSUCore.training.patches import cutting
from MISSUCore.training.patches.augmentation import random_patch, remove_enhancement
from MISSUCore.training.patches.contrast import change_contrast as contrast_at_spacing
from MISSUCore.training.patches.settings import AugmentationConfig

PLAIN = AugmentationConfig(flip_probability=0, intensity_shift=0, intensity_scale=0)
EVERYTHING = AugmentationConfig(
    affine_probability=1,
    tumor_probability=0.5,
    gamma_probability=1,
    noise_probability=1,
    blur_probability=1,
    rim_probability=1,
    enhancement_dropout=0.5,
    modality_dropout=0.3,
)
ISOTROPIC = (1.0, 1.0, 1.0)


def change_contrast(volume, config, generator):
    return contrast_at_spacing(volume, ISOTROPIC, config, generator)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def numbered_case(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A volume whose voxels are numbered from 1, and classes 1, 2 and 3 in turn."""
    numbers = torch.arange(1, math.prod(shape) + 1).reshape(shape)
    return numbers[None].float(), (1 + numbers % 3).to(torch.uint8)


def cut(x: np.ndarray, start: list[int], size: tuple[int, ...]) -> np.ndarray:
    """Patch of x (D, H, W) that begins at a voxel, also one before the first; 0 beyond the ends."""
    padded = np.pad(x, 20)
    return padded[tuple(slice(20 + first, 20 + first + n) for first, n in zip(start, size))]


def place_of(patch: torch.Tensor, shape: tuple[int, ...]) -> list[int]:
    """Where a patch of a numbered case begins."""
    position = patch.nonzero()[0]
    number = int(patch[tuple(position)]) - 1
    return (np.array(np.unravel_index(number, shape)) - position.numpy()).tolist()


@pytest.mark.parametrize(
    "size", [(4, 6, 5), (9, 10, 11), (12, 13, 11), (4, 15, 11)], ids=["inside", "all", "short", "-"]
)
def test_a_patch_is_a_block_of_the_case(size):
    shape = (9, 10, 11)
    volume, classes = numbered_case(*shape)
    starts = []
    for seed in range(200):
        patch, labels = random_patch(volume, classes, size, ISOTROPIC, PLAIN, seeded(seed))
        start = place_of(patch[0], shape)
        np.testing.assert_array_equal(patch[0], cut(volume[0].numpy(), start, size))
        np.testing.assert_array_equal(labels, cut(classes.numpy(), start, size))
        assert labels.dtype == torch.uint8
        starts.append(start)
    # The patch lies anywhere in a long axis, and a short axis anywhere in the patch.
    spare = np.subtract(shape, size)
    np.testing.assert_array_equal(np.min(starts, axis=0), np.minimum(spare, 0))
    np.testing.assert_array_equal(np.max(starts, axis=0), np.maximum(spare, 0))


@pytest.fixture
def scripted(monkeypatch):
    """Makes the next random numbers those given, and checks the range they are drawn from."""

    def script(*draws: tuple[float, float]) -> None:
        left = iter(draws)

        def draw(generator, low=0.0, high=1.0):
            value, limit = next(left)
            assert (low, high) == pytest.approx((-limit, limit))
            return value

        monkeypatch.setattr(cutting, "uniform", draw)

    return script


def affine(volume, classes, size, center, spacing_mm=ISOTROPIC, **settings):
    config = replace(PLAIN, **settings)
    return cutting._affine_patch(volume, classes, size, center, spacing_mm, config, seeded())


@pytest.mark.parametrize("size", [(4, 6, 8), (5, 7, 3), (14, 13, 12)], ids=["even", "odd", "long"])
@pytest.mark.parametrize("center", [[5, 4, 6], [1, 9, 11]], ids=["middle", "edge"])
def test_turned_by_nothing_a_patch_is_a_plain_one(size, center):
    volume, classes = numbered_case(10, 11, 12)
    turned = affine(volume, classes, size, center, (3.0, 1.0, 2.0), rotation_degrees=0, scaling=0)
    start = [middle - n // 2 for middle, n in zip(center, size)]
    np.testing.assert_allclose(
        turned[0][0], cut(volume[0].numpy(), start, size), rtol=1e-4, atol=1e-3
    )
    np.testing.assert_array_equal(turned[1], cut(classes.numpy(), start, size))


@pytest.mark.parametrize("spacing_mm", [ISOTROPIC, (3.0, 1.0, 1.5)], ids=["isotropic", "thick"])
@pytest.mark.parametrize(
    "angles",
    [(0.4, 0, 0), (0, -0.3, 0), (0, 0, 0.35), (0.3, 0.2, -0.4)],
    ids=["about depth", "about height", "about width", "about all"],
)
@pytest.mark.parametrize("size", [(10, 12, 14), (9, 11, 13)], ids=["even", "odd"])
def test_turning_is_that_of_scipy_in_space(scripted, size, angles, spacing_mm):
    volume = torch.rand((2, 12, 15, 13), generator=seeded()) + 1
    classes = torch.ones(12, 15, 13, dtype=torch.uint8)
    center, scaling = [5, 8, 6], 0.1
    limit = math.radians(25)
    scripted(*((angle, limit) for angle in angles), (scaling, 0.2))
    patch, labels = affine(
        volume, classes, size, center, spacing_mm, rotation_degrees=25, scaling=0.2
    )
    about_z, about_y, about_x = angles
    turn = Rotation.from_euler("zyx", [about_z, -about_y, about_x]).as_matrix()[::-1, ::-1]
    spacing = np.array(spacing_mm)
    matrix = (1 + scaling) * turn * spacing / spacing[:, None]
    half = (np.array(size) - 1) / 2
    middle = np.array(center) - np.array(size) // 2 + half
    options = {
        "matrix": matrix,
        "offset": middle - matrix @ half,
        "output_shape": size,
        "order": 1,
        "mode": "grid-constant",
    }
    inside = affine_transform(np.ones(classes.shape), **options)
    sure = np.abs(inside - 0.5) > 1e-3
    for channel, turned in zip(volume, patch):
        expected = affine_transform(channel.numpy(), **options) * (inside >= 0.5)
        np.testing.assert_allclose(turned[sure], expected[sure], atol=1e-3)
    far_in, far_out = inside > 0.999, inside < 0.001
    assert far_in.any() and far_out.any()
    assert (labels[far_in] == 1).all()
    assert (labels[far_out] == 0).all()


def test_turning_by_chance_follows_the_settings():
    volume, classes = numbered_case(9, 9, 9)
    patches = {}
    for name, settings in {
        "never": {"affine_probability": 0},
        "always": {"affine_probability": 1},
        "by nothing": {"affine_probability": 1, "rotation_degrees": 0, "scaling": 0},
    }.items():
        config = replace(PLAIN, **settings)
        patches[name], _ = random_patch(volume, classes, (7, 7, 7), ISOTROPIC, config, seeded())
    assert (patches["never"] - patches["by nothing"]).abs().max() < 0.01
    assert (patches["never"] - patches["always"]).abs().max() > 1


def test_labels_follow_the_image():
    # The volume shows its classes; whatever is done, they stay together but for the blobs' rims.
    grid = torch.stack(torch.meshgrid(*map(torch.arange, (20, 22, 24)), indexing="ij"))
    distance = (grid - torch.tensor([8, 13, 10])[:, None, None, None]).float().norm(dim=0)
    classes = (distance < 6).to(torch.uint8) + 2 * (distance < 3)
    volume = 1 + classes[None].float()
    config = replace(PLAIN, flip_probability=0.5, affine_probability=0.7, tumor_probability=0.5)
    seen = 0
    for seed in range(20):
        patch, labels = random_patch(
            volume, classes, (16, 15, 18), (1.0, 1.5, 0.8), config, seeded(seed)
        )
        inside = patch[0] > 0.999
        difference = (patch[0] - 1 - labels)[inside].abs()
        assert (difference < 0.01).float().mean() > 0.7
        assert (difference > 1).float().mean() < 0.01
        assert not labels[~inside].any()
        seen += int((labels == 3).any())
    assert seen > 10


def test_flips_mirror_image_and_labels_along_each_axis_by_itself():
    volume, classes = numbered_case(3, 4, 5)
    seen = []
    config = replace(PLAIN, flip_probability=0.5)
    for seed in range(300):
        patch, labels = random_patch(volume, classes, (3, 4, 5), ISOTROPIC, config, seeded(seed))
        (axes,) = (
            axes
            for axes in ([], [0], [1], [2], [0, 1], [0, 2], [1, 2], [0, 1, 2])
            if torch.equal(patch[0], volume[0].flip(axes))
        )
        assert torch.equal(labels, classes.flip(axes))
        seen.append([axis in axes for axis in range(3)])
    np.testing.assert_allclose(np.mean(seen, axis=0), 0.5, atol=0.1)
    np.testing.assert_allclose(np.corrcoef(np.transpose(seen)), np.eye(3), atol=0.2)


@pytest.fixture
def brain() -> torch.Tensor:
    """Two modalities that are 0 outside a block, and a third that is missing."""
    volume = torch.zeros(3, 8, 9, 10)
    volume[:2, 2:7, 1:8, 3:9] = torch.randn((2, 5, 7, 6), generator=seeded())
    return volume


CHANGES = {
    "shift": {"intensity_shift": 0.1},
    "scale": {"intensity_scale": 0.1},
    "gamma": {"gamma_probability": 1},
    "noise": {"noise_probability": 1},
    "blur": {"blur_probability": 1},
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_background_stays_and_the_brain_changes(brain, change):
    changed = change_contrast(brain, replace(PLAIN, **CHANGES[change]), seeded())
    assert (changed[brain == 0] == 0).all()
    assert (changed != brain)[:2].flatten(1).any(dim=1).all()
    assert torch.isfinite(changed).all()


def test_without_changes_the_intensities_stay(brain):
    assert torch.equal(change_contrast(brain, PLAIN, seeded()), brain)


def test_shift_and_scale_are_drawn_for_each_modality_within_their_limits(brain):
    config = replace(PLAIN, intensity_shift=0.3, intensity_scale=0.2)
    inside = brain[0] != 0
    drawn = []
    for seed in range(200):
        changed = change_contrast(brain, config, seeded(seed))
        for before, after in zip(brain[:2], changed):
            scale, shift = np.polyfit(before[inside], after[inside], 1)
            torch.testing.assert_close(after, (scale * before + shift) * inside)
            drawn.append((scale - 1, shift))
    drawn = np.reshape(drawn, (200, 2, 2))
    limits = np.array([0.2, 0.3])
    assert (np.abs(drawn) <= limits + 1e-5).all()
    assert (drawn.max((0, 1)) > 0.95 * limits).all() and (drawn.min((0, 1)) < -0.95 * limits).all()
    assert np.abs(drawn[:, 0] - drawn[:, 1]).min(axis=0).max() > 0


def test_gamma_keeps_range_and_order(brain):
    bends = []
    for seed in range(50):
        changed = change_contrast(brain, replace(PLAIN, gamma_probability=1), seeded(seed))[0]
        before, after = brain[0][brain[0] != 0], changed[brain[0] != 0]
        order = before.argsort()
        assert (after[order].diff() >= 0).all()
        torch.testing.assert_close(after.aminmax(), before.aminmax())
        low, high = before.aminmax()
        middle = order[len(order) // 2]
        part = [(float(x[middle]) - low) / (high - low) for x in (before, after)]
        bends.append(math.log(part[1]) / math.log(part[0]))
    assert 1 / 1.5 - 1e-3 < min(bends) < 0.75
    assert 1.35 < max(bends) < 1.5 + 1e-3


def test_noise_has_the_deviations_asked_for(brain):
    config = replace(PLAIN, noise_probability=1, noise=0.4)
    deviations = [
        float((change_contrast(brain, config, seeded(seed)) - brain)[0][brain[0] != 0].std())
        for seed in range(100)
    ]
    assert 0 <= min(deviations) < 0.05
    assert 0.35 < max(deviations) < 0.5


def test_blur_halves_the_resolution_along_one_axis_at_random():
    config = replace(PLAIN, blur_probability=1)
    indices = torch.stack(torch.meshgrid(*[torch.arange(8)] * 3, indexing="ij"))
    stripes = 1 + indices % 2  # one modality striped along each axis, without background
    blurred = [change_contrast(stripes.float(), config, seeded(seed)) for seed in range(60)]
    flat = np.array([[float(x.std()) < 1e-5 for x in volume] for volume in blurred])
    np.testing.assert_allclose(flat.mean(axis=0), 1 / 3, atol=0.2)
    for volume, is_flat in zip(blurred, flat):
        for channel, before, gone in zip(volume, stripes, is_flat):
            torch.testing.assert_close(
                channel, torch.full((8, 8, 8), 1.5) if gone else before * 1.0
            )


def test_the_rim_of_the_brain_fades_to_its_darkest_value():
    volume = torch.zeros(2, 12, 13, 14)
    volume[:, 3:9, 4:10, 2:12] = torch.rand((2, 6, 6, 10), generator=seeded()) - 0.5
    volume[1] = 0  # a modality that is missing
    faded = change_contrast(volume, replace(PLAIN, rim_probability=1), seeded())
    # Partial volume, computed by scipy: each voxel is the mean of the 27 around it, those outside
    # the brain being as dark as the darkest inside; deep inside nothing changes.
    low = volume[0].min().item()
    brain = (volume[0] != 0).numpy()
    mixed = uniform_filter(np.where(brain, volume[0].numpy(), low), size=3)
    inside = binary_erosion(brain, np.ones((3, 3, 3)))
    expected = np.where(brain, np.where(inside, volume[0].numpy(), mixed), 0)
    np.testing.assert_allclose(faded[0].numpy(), expected, atol=1e-6)
    assert not faded[1].any()


@pytest.fixture
def enhancing_case():
    """Brain of noise, in T1ce twice as strong and brighter; a bright rim around a dark core."""
    noise = torch.randn((20, 22, 24), generator=seeded())
    distance = torch.from_numpy(np.linalg.norm(np.indices(noise.shape).T - (12, 11, 10), axis=-1).T)
    classes = torch.zeros(noise.shape, dtype=torch.uint8)
    for radius, label in ((7, 2), (5, 3), (3, 1)):
        classes[distance < radius] = label
    t1 = noise - 1.0 * (classes > 0)
    t1ce = 2 * t1 + 3 + 9.0 * (classes == 3)
    volume = torch.stack([t1, t1ce, noise + 5, noise + 6])
    volume[:, :2] = 0  # background
    return volume, classes


def test_without_enhancement_t1ce_is_t1_at_its_own_contrast(enhancing_case):
    volume, classes = enhancing_case
    before = volume.clone()
    changed, labels = remove_enhancement(volume, classes)
    core = (classes == 1) | (classes == 3)
    assert torch.equal(volume, before)  # the case itself is kept for the next patch
    assert torch.equal(changed[[0, 2, 3]], before[[0, 2, 3]])
    brain = before[1] != 0
    far = torch.from_numpy(~binary_dilation(core.numpy(), np.ones((9, 9, 9)))) & brain
    # Far away T1ce is as it was, but for the new z-score; in the core T1 speaks at its contrast.
    slope, offset = np.polyfit(before[1][far], changed[1][far], 1)
    expected = slope * torch.where(core, 2 * before[0] + 3, before[1]) + offset
    for place in (far, core):
        torch.testing.assert_close(changed[1][place], expected[place].float(), atol=0.02, rtol=0)
    assert changed[1][brain].mean().item() == pytest.approx(0, abs=1e-4)
    assert changed[1][brain].std().item() == pytest.approx(1, abs=1e-4)
    assert not changed[1][~brain].any()
    assert labels.dtype == classes.dtype
    assert torch.equal(labels, torch.where(classes == 3, 1, classes.int()).to(torch.uint8))


def test_what_does_not_enhance_stays(enhancing_case):
    volume, classes = enhancing_case
    classes[classes == 3] = 1
    same, labels = remove_enhancement(volume, classes)
    assert torch.equal(same, volume)
    assert torch.equal(labels, classes)


def test_enhancement_is_dropped_at_the_rate_asked_for(enhancing_case):
    volume, classes = enhancing_case
    config = replace(PLAIN, enhancement_dropout=0.3)
    size = classes.shape
    dropped = sum(
        not (random_patch(volume, classes, size, ISOTROPIC, config, seeded(seed))[1] == 3).any()
        for seed in range(300)
    )
    assert 60 < dropped < 120


def test_modality_dropout_takes_one_modality_at_the_rate_asked_for():
    volume = torch.ones(4, 2, 2, 2)
    config = replace(PLAIN, modality_dropout=0.3)
    missing = np.array(
        [
            [not x.any() for x in change_contrast(volume, config, seeded(seed))]
            for seed in range(600)
        ]
    )
    assert missing.sum(axis=1).max() == 1
    assert missing.any(axis=1).mean() == pytest.approx(0.3, abs=0.06)
    np.testing.assert_allclose(missing.mean(axis=0), 0.3 / 4, atol=0.04)
    assert volume.all()


def test_patches_center_on_each_label_equally_often():
    volume = torch.ones(1, 12, 12, 12)
    classes = torch.zeros(12, 12, 12, dtype=torch.uint8)
    classes[1:11, 1:11, 2:11] = 2
    classes[0, 11, 5] = 3
    config = replace(PLAIN, tumor_probability=0.8)
    centers = []
    for seed in range(400):
        _, labels = random_patch(volume, classes, (6, 5, 4), ISOTROPIC, config, seeded(seed))
        centers.append(int(labels[3, 2, 2]))
    # Patches anywhere never center on the corner, and always on the block.
    assert centers.count(3) / 400 == pytest.approx(0.4, abs=0.08)
    assert centers.count(2) == 400 - centers.count(3)


def test_a_case_without_labels_gives_patches_anywhere():
    volume, classes = numbered_case(6, 6, 6)
    config = replace(PLAIN, tumor_probability=1)
    patches = [
        random_patch(volume, classes * 0, (3, 3, 3), ISOTROPIC, config, seeded(seed))[0]
        for seed in range(20)
    ]
    assert len({float(patch.sum()) for patch in patches}) > 10


def test_the_generator_decides_everything(brain):
    classes = (brain[0] > 1).to(torch.uint8)
    first, again, other = (
        random_patch(brain, classes, (6, 6, 6), ISOTROPIC, EVERYTHING, seeded(seed))
        for seed in (1, 1, 2)
    )
    torch.manual_seed(99)
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])


def test_a_constant_or_missing_modality_stays_finite():
    volume = torch.zeros(3, 8, 8, 8)
    volume[0] = 2.0
    volume[1, 2:4] = -1.0
    for seed in range(20):
        patch, _ = random_patch(
            volume, torch.zeros(8, 8, 8), (7, 9, 6), ISOTROPIC, EVERYTHING, seeded(seed)
        )
        assert torch.isfinite(patch).all()
        assert not patch[2].any()
    constant = torch.full((1, 4, 4, 4), 2.0)
    bent = change_contrast(constant, replace(PLAIN, gamma_probability=1), seeded())
    assert torch.equal(bent, constant)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("flip_probability", 1.5),
        ("modality_dropout", -0.1),
        ("noise", math.nan),
        ("intensity_shift", math.inf),
        ("gamma", 0.5),
        ("scaling", 1.0),
    ],
)
def test_settings_out_of_range_are_refused(setting, value):
    with pytest.raises(ValueError, match=setting):
        AugmentationConfig(**{setting: value})
