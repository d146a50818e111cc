"""Registration finds known moves of a head given by a formula, and tells what is wrong."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import ArrayLike, NDArray

from MISSUCore.core.errors import InputError
from MISSUCore.core.events import Progress, ProgressEvent
from MISSUCore.io.geometry import image_like, same_grid
from MISSUCore.io.reading import read_image
from MISSUCore.preprocessing.registration import rigid as registration
from MISSUCore.preprocessing.registration.head import Head, find_head
from MISSUCore.preprocessing.registration.rigid import moved, register

pytestmark = pytest.mark.slow

Points = NDArray[np.float64]
Look = Callable[[Points], NDArray[np.float32]]

CENTER_MM = np.array([12.0, -30.0, 25.0])
RADII_MM = np.array([46.0, 58.0, 44.0])  # small, so that the tests are fast
_RNG = np.random.default_rng(0)
# Blobs of tissue: center, width and strength; not the same on the left and on the right.
BLOBS = [
    (CENTER_MM + RADII_MM * _RNG.uniform(-0.8, 0.8, 3), _RNG.uniform(6, 14), _RNG.uniform(-1, 1))
    for _ in range(30)
]
LPS = np.eye(3)


def first_look(points_mm: Points) -> NDArray[np.float32]:
    """Intensity of the head at points (..., 3), which fades to 0 within some mm of its surface."""
    inside = brain(points_mm)
    tissue = sum(
        strength * np.exp(-((points_mm[inside] - center) ** 2).sum(-1) / (2 * width**2))
        for center, width, strength in BLOBS
    )
    result = np.zeros(inside.shape, np.float32)
    result[inside] = (100 + 60 * np.tanh(tissue)) * rim(points_mm)[inside]
    return result


def second_look(points_mm: Points) -> NDArray[np.float32]:
    """Another sequence: the darkest and the brightest tissue of the first is bright."""
    shade = rim(points_mm)
    tissue = first_look(points_mm) / np.maximum(shade, 1e-6)
    return (60 + (tissue - 90) ** 2 / 30) * shade * brain(points_mm)


def brain(points_mm: Points) -> NDArray[np.bool_]:
    return rim(points_mm) > 0


def rim(points_mm: Points) -> NDArray[np.float64]:
    """1 inside the head, 0 outside, between them at its surface."""
    radius = np.sqrt((((points_mm - CENTER_MM) / RADII_MM) ** 2).sum(-1))
    return np.clip((1 - radius) * 10, 0, 1)


def scan(
    look: Look,
    move: sitk.Euler3DTransform | None = None,
    spacing: tuple[float, float, float] = (4.0, 4.0, 4.0),
    direction: ArrayLike = LPS,
    window_mm: tuple[float, float, float] = (140.0, 160.0, 130.0),
    window_center_mm: Points = CENTER_MM,
) -> sitk.Image:
    """The head, moved, as seen by a scanner with its own grid; exact in each voxel."""
    axes = np.asarray(direction, float)
    size = np.ceil(np.abs(axes.T) @ window_mm / spacing).astype(int)
    image = sitk.Image(size.tolist(), sitk.sitkFloat32)
    image.SetSpacing(spacing)
    image.SetDirection(axes.ravel().tolist())
    image.SetOrigin((window_center_mm - axes @ ((size - 1) / 2 * spacing)).tolist())
    points = places(image)
    if move is not None:
        back = move.GetInverse()
        rotation = np.array(sitk.Euler3DTransform(back).GetMatrix()).reshape(3, 3)
        points = points @ rotation.T + back.TransformPoint((0.0, 0.0, 0.0))
    return image_like(look(points).astype(np.float32), image)


def places(image: sitk.Image) -> Points:
    """Patient coordinates (D, H, W, 3) of the voxels, by SimpleITK's own source of them."""
    return sitk.GetArrayFromImage(
        sitk.PhysicalPointSource(
            sitk.sitkVectorFloat64,
            image.GetSize(),
            image.GetOrigin(),
            image.GetSpacing(),
            image.GetDirection(),
        )
    )


def a_move(
    degrees: tuple[float, float, float], shift_mm: tuple[float, float, float]
) -> sitk.Euler3DTransform:
    move = sitk.Euler3DTransform()
    move.SetCenter(CENTER_MM.tolist())
    move.SetRotation(*np.deg2rad(degrees).tolist())
    move.SetTranslation(shift_mm)
    return move


def largest_error_mm(found: sitk.Euler3DTransform, truth: sitk.Transform) -> float:
    """At the six ends of the head."""
    ends = [CENTER_MM + side * radius for side in (-1, 1) for radius in np.diag(RADII_MM)]
    return max(
        np.linalg.norm(np.subtract(found.TransformPoint(end), truth.TransformPoint(end)))
        for end in map(tuple, ends)
    )


@pytest.fixture(scope="module")
def fixed() -> sitk.Image:
    return scan(first_look, spacing=(4.0, 4.0, 4.0))


def test_a_known_move_is_found_on_every_grid(
    fixed: sitk.Image, direction: NDArray[np.float64]
) -> None:
    move = a_move((12, -10, 14), (11.0, -9.0, 12.0))
    moving = scan(second_look, move, (2.0, 3.0, 5.0), direction, (160, 160, 160))
    result = register(moving, fixed)
    assert largest_error_mm(result.transform, move) < 1
    assert not result.skipped
    assert result.warnings == []


def test_thick_slices_of_different_planes() -> None:
    move = a_move((-8, 5, -13), (-6.0, 15.0, -8.0))
    sagittal = [[0, 0, -1], [1, 0, 0], [0, -1, 0]]
    result = register(
        scan(second_look, move, (2.0, 2.0, 6.0), sagittal, (160, 160, 160)),
        scan(first_look, spacing=(2.0, 2.0, 6.0)),
    )
    assert largest_error_mm(result.transform, move) < 1


def test_the_mean_distance_moved(fixed: sitk.Image) -> None:
    result = register(scan(second_look, a_move((0, 0, 0), (6.0, 0.0, -8.0))), fixed)
    assert result.moved_mm == pytest.approx(10, abs=0.5)


def test_moved_is_resampling_without_interpolation(direction: NDArray[np.float64]) -> None:
    move = a_move((12, -10, 14), (11.0, -9.0, 12.0))
    image = scan(first_look, move, (3.0, 4.0, 6.0), direction)
    result = moved(image, move)
    np.testing.assert_array_equal(
        sitk.GetArrayViewFromImage(result), sitk.GetArrayViewFromImage(image)
    )
    grid = scan(first_look, spacing=(5.0, 5.0, 5.0))
    np.testing.assert_allclose(
        sitk.GetArrayFromImage(sitk.Resample(result, grid)),
        sitk.GetArrayFromImage(sitk.Resample(image, grid, move)),
        atol=0.01,
    )
    # Where the head is now, the formula says the same.
    np.testing.assert_allclose(
        sitk.GetArrayViewFromImage(result), first_look(places(result)), atol=0.01
    )


def test_the_same_result_with_any_number_of_threads(fixed: sitk.Image) -> None:
    moving = scan(second_look, a_move((3, 4, -5), (4.0, 3.0, 2.0)))
    threads = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    results = []
    try:
        for number in (1, 3):
            sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(number)
            results.append(register(moving, fixed, seed=5))
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
    first, second = results
    assert first.transform.GetParameters() == second.transform.GetParameters()
    assert first.quality == second.quality


def test_the_same_result_with_several_at_a_time(fixed: sitk.Image) -> None:
    moving = scan(second_look, a_move((3, 4, -5), (4.0, 3.0, 2.0)))
    threads = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    alone = register(moving, fixed)
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(lambda number: register(moving, fixed), range(3)))
    for result in together:
        assert result.transform.GetParameters() == alone.transform.GetParameters()
    assert sitk.ProcessObject.GetGlobalDefaultNumberOfThreads() == threads


@pytest.mark.parametrize("order", ["LPS", "RAS", "PIR"])
def test_aligned_scans_on_one_grid_are_left_alone(fixed: sitk.Image, order: str) -> None:
    moving = scan(second_look, spacing=(4.0, 4.0, 4.0))
    result = register(sitk.DICOMOrient(moving, order), fixed)
    assert result.skipped
    assert result.moved_mm == pytest.approx(0, abs=1e-9)
    assert result.transform.GetParameters() == (0,) * 6
    assert result.quality > 1.1
    assert result.warnings == []


@pytest.mark.parametrize("degrees, shift_mm", [((0, 0, 0), (0, 3, 0)), ((0, 3, 0), (0, 0, 0))])
def test_scans_on_one_grid_that_do_not_lie_on_each_other(
    degrees: tuple[float, float, float], shift_mm: tuple[float, float, float]
) -> None:
    move = a_move(degrees, shift_mm)
    fixed = scan(first_look, spacing=(2.0, 2.0, 2.0))
    moving = scan(second_look, move, (2.0, 2.0, 2.0))
    assert same_grid(moving, fixed)
    result = register(moving, fixed)
    assert not result.skipped
    assert largest_error_mm(result.transform, move) < 1


def test_scans_on_one_grid_stay_unless_they_clearly_lie_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first look at them may raise doubts that the search does not confirm."""
    monkeypatch.setattr(
        "MISSUCore.preprocessing.registration.rigid.Overlay.is_best", lambda *given: False
    )
    fixed = scan(first_look, spacing=(2.0, 2.0, 2.0))
    result = register(scan(second_look, a_move((0, 0, 0), (0, 0.8, 0)), (2.0, 2.0, 2.0)), fixed)
    assert result.skipped and result.moved_mm == pytest.approx(0, abs=1e-9)
    assert result.transform.GetParameters() == (0,) * 6


def test_headers_that_are_right_win_over_centers_of_mass(fixed: sitk.Image) -> None:
    # It shows the upper half of the head, whose center of mass is elsewhere.
    half = scan(
        second_look,
        spacing=(2.0, 2.0, 5.0),
        window_mm=(140, 160, 60),
        window_center_mm=np.add(CENTER_MM, (0, 0, 25)),
    )
    result = register(half, fixed)
    assert largest_error_mm(result.transform, sitk.Transform()) < 1
    assert any("shows only" in warning for warning in result.warnings)


def test_headers_that_lie_apart(fixed: sitk.Image) -> None:
    moving = scan(second_look)
    moving.SetOrigin(np.add(moving.GetOrigin(), (700.0, 0.0, -20.0)).tolist())
    result = register(moving, fixed, moving_name="t2.nii.gz", fixed_name="t1.nii.gz")
    assert largest_error_mm(result.transform, a_move((0, 0, 0), (700.0, 0.0, -20.0))) < 1
    (warning,) = result.warnings
    assert warning.startswith("t2.nii.gz: lay 700 mm away from t1.nii.gz")


def test_a_mirrored_scan_is_noticed_but_not_mirrored(fixed: sitk.Image) -> None:
    right = scan(second_look, a_move((4, 3, -5), (5.0, 3.0, 2.0)))
    mirrored = image_like(sitk.GetArrayFromImage(right)[:, :, ::-1].copy(), right)
    result = register(mirrored, fixed)
    assert any("mirrored left-right" in warning for warning in result.warnings)
    assert np.linalg.det(np.reshape(result.transform.GetMatrix(), (3, 3))) == pytest.approx(1)


def stripped_together(*scans: sitk.Image) -> list[sitk.Image]:
    """Scans on one grid with 0 outside the brain that the first shows, and its mask."""
    mask = image_like((sitk.GetArrayViewFromImage(scans[0]) > 0).astype(np.uint8), scans[0])
    return [*(sitk.Mask(scan, mask) for scan in scans), mask]


@pytest.mark.parametrize("shift_mm", [0.0, 4.0])
def test_one_mask_does_not_hide_where_the_scans_lie(shift_mm: float) -> None:
    move = a_move((0, 0, 0), (0.0, shift_mm, 0.0))
    still = scan(first_look, spacing=(2.0, 2.0, 2.0))
    still, moving, mask = stripped_together(still, scan(second_look, move, (2.0, 2.0, 2.0)))
    result = register(moving, still, moving_mask=mask, fixed_mask=mask)
    assert result.skipped == (shift_mm == 0)
    assert largest_error_mm(result.transform, move) < 1
    assert result.warnings == []


def test_one_mask_does_not_hide_a_mirrored_scan() -> None:
    """This brain is symmetric on the outside, and its grid too: only the inside tells."""
    still = scan(first_look, spacing=(2.0, 2.0, 2.0))
    moving = scan(second_look, spacing=(2.0, 2.0, 2.0))
    mirrored = image_like(sitk.GetArrayFromImage(moving)[:, :, ::-1].copy(), moving)
    still, mirrored, mask = stripped_together(still, mirrored)
    result = register(mirrored, still, moving_mask=mask, fixed_mask=mask)
    assert any("mirrored left-right" in warning for warning in result.warnings)


def test_half_a_head_has_no_mirror_image_to_fit(fixed: sitk.Image) -> None:
    half = fixed.GetSize()[0] // 3
    result = register(scan(second_look)[:half], fixed[:half])
    assert not any("mirrored" in warning for warning in result.warnings)


def test_a_slice_spacing_that_is_wrong(fixed: sitk.Image) -> None:
    moving = scan(second_look, spacing=(2.0, 2.0, 5.0))
    moving.SetSpacing((2.0, 2.0, 1.0))
    warnings = " ".join(register(moving, fixed).warnings)
    # 88 mm divided by 5.
    assert re.search(
        r"x 1[5-7] mm \(left-right x front-back x feet-head\), which is not a whole head", warnings
    )
    assert "voxel spacing of 2x2x1 mm" in warnings


def test_a_head_too_large_for_the_other(fixed: sitk.Image) -> None:
    moving = scan(second_look)
    moving.SetSpacing((6.8, 4.0, 4.0))
    assert any("check the voxel spacing" in text for text in register(moving, fixed).warnings)


def test_scans_that_have_nothing_in_common(fixed: sitk.Image) -> None:
    noise = np.random.default_rng(1).normal(100, 20, fixed.GetSize()[::-1]).astype(np.float32)
    result = register(image_like(noise, fixed), fixed, moving_name="flair")
    assert result.quality < 1.03
    assert (
        "flair: fits the fixed scan poorly after registration (normalized mutual information "
        f"{result.quality:.3f}, 1.03 or more is usual); look at both on each other, and register "
        "them by hand or leave the scan out if they do not fit"
    ) in result.warnings


@pytest.mark.parametrize("both", [True, False])
def test_masks_keep_out_what_moves_on_its_own(fixed: sitk.Image, both: bool) -> None:
    """Of heads the brain in one is enough."""

    def with_neck(shift_mm: float) -> Look:
        def look(points_mm: Points) -> NDArray[np.float32]:
            neck_mm = np.add(CENTER_MM, (shift_mm, 15, -65))
            radii_mm = (38, 38, 38)
            neck = (((points_mm - neck_mm) / radii_mm) ** 2).sum(-1) < 1
            return np.where(neck & ~brain(points_mm), 220, first_look(points_mm))

        return look

    window = {"window_mm": (150, 160, 210), "window_center_mm": np.subtract(CENTER_MM, (0, 0, 30))}
    scans = [scan(with_neck(shift_mm), None, (4.0, 4.0, 4.0), **window) for shift_mm in (0, 20)]
    move = a_move((0, 0, 8), (10.0, 0.0, 0.0))
    moving = moved(scans[1], sitk.Euler3DTransform(move.GetInverse()))
    brains = [image_like(brain(places(image)).astype(np.uint8), image) for image in scans]
    moving_mask = moved(brains[1], sitk.Euler3DTransform(move.GetInverse()))
    result = register(
        moving, scans[0], moving_mask=moving_mask if both else None, fixed_mask=brains[0]
    )
    assert largest_error_mm(result.transform, move) < 1


def test_heads_help_where_brains_lead_astray(
    fixed: sitk.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As they do on a real T2 that shows 60 % of the brain, whose skull stands out of it."""
    move = a_move((0, 8, 0), (0.0, 0.0, 15.0))
    moving = scan(second_look, move)
    masks = [
        image_like((places(image)[..., 2] > 20).astype(np.uint8), image)
        for image in (fixed, moving)
    ]
    coarse_search = registration._coarse_search

    def astray(moving_head: Head, fixed_head: Head, *given: Any) -> sitk.Euler3DTransform:
        if np.array_equal(moving_head.points_mm, find_head("", moving, masks[1]).points_mm):
            return a_move((0, 0, 60), (0.0, 50.0, -30.0))
        return coarse_search(moving_head, fixed_head, *given)

    monkeypatch.setattr(registration, "_coarse_search", astray)
    result = register(moving, fixed, moving_mask=masks[1], fixed_mask=masks[0])
    assert largest_error_mm(result.transform, move) < 1


@pytest.mark.parametrize("value", [0.0, 7.0])
def test_a_constant_scan_is_refused(fixed: sitk.Image, value: float) -> None:
    constant = image_like(np.full(fixed.GetSize()[::-1], value, np.float32), fixed)
    with pytest.raises(InputError, match=r"flair\.nii: is empty"):
        register(constant, fixed, moving_name="flair.nii")
    with pytest.raises(InputError, match="the fixed scan: is empty"):
        register(fixed, constant)


def test_an_empty_mask_is_refused(fixed: sitk.Image) -> None:
    with pytest.raises(InputError, match="t1: its mask is empty or lies outside"):
        register(fixed, fixed, moving_mask=fixed != 0, fixed_mask=fixed < -1, fixed_name="t1")


def test_progress_is_told(fixed: sitk.Image) -> None:
    events: list[ProgressEvent] = []
    moving = scan(second_look, a_move((0, 0, 0), (0.0, 9.0, 0.0)))
    progress = Progress(events.append)
    register(moving, fixed, moving_name="T2", fixed_name="T1", progress=progress)
    assert events[0].message == "laying T2 on T1"
    assert [event.fraction for event in events] == sorted(event.fraction for event in events)
    assert events[-1].fraction == 1


def test_same_grid(fixed: sitk.Image) -> None:
    assert same_grid(fixed, fixed)
    for change in ("SetOrigin", "SetSpacing"):
        other = sitk.Image(fixed)
        getattr(other, change)(np.add(getattr(fixed, change.replace("S", "G", 1))(), 0.1).tolist())
        assert not same_grid(fixed, other)
    assert not same_grid(fixed, fixed[1:])


@pytest.mark.skipif(
    "MISSU_RAW_DATA" not in os.environ,
    reason="MISSU_RAW_DATA names no folder with raw scans NAME_t1, _t1c, _t2 and _fla",
)
def test_real_scans_agree_on_where_they_lie() -> None:
    """T2 laid on T1 directly, and by way of FLAIR."""
    folder = Path(os.environ["MISSU_RAW_DATA"])
    t1, t2, flair = (
        read_image(next(folder.rglob(f"*_{name}.nii.gz"))) for name in ("t1", "t2", "fla")
    )
    direct = register(t2, t1).transform
    # Transforms of a composite are applied from the last to the first.
    indirect = sitk.CompositeTransform(
        [register(t2, flair).transform, register(flair, t1).transform]
    )
    for index in ((40, 40, 12), (210, 40, 12), (40, 190, 12), (210, 190, 12)):
        corner = t1.TransformIndexToPhysicalPoint(index)
        gap = np.subtract(direct.TransformPoint(corner), indirect.TransformPoint(corner))
        assert np.linalg.norm(gap) < 2
