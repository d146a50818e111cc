"""Label maps measured, on any grid, against truth computed by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from MISSUCore.contract.labels import BRATS, CHAOS_LIVER
from MISSUCore.contract.measurement.lesions import Line, MeasurementSettings
from MISSUCore.core.errors import ErrorCode, InputError
from MISSUCore.measurement import diameters
from MISSUCore.measurement.case import measure
from MISSUCore.measurement.masks import Measured, measure_masks, slice_axis


def measured(
    label_map: NDArray[np.uint8], make_image: Callable[..., sitk.Image], **settings: object
) -> Measured:
    image = make_image(label_map, **{k: settings.pop(k) for k in _GEOMETRY & set(settings)})
    return measure_masks(BRATS.to_regions(label_map), image, BRATS, MeasurementSettings(**settings))


_GEOMETRY = {"spacing", "origin", "direction"}


def box(
    size: tuple[int, int, int] = (6, 12, 20), shape: tuple[int, int, int] = (16, 30, 40)
) -> NDArray[np.uint8]:
    """Enhancing tumor of a size in voxels (D, H, W), with a shell of edema around it."""
    label_map = np.zeros(shape, np.uint8)
    start = (4, 5, 6)
    label_map[tuple(slice(s - 1, s + n + 1) for s, n in zip(start, size))] = 2
    label_map[tuple(slice(s, s + n) for s, n in zip(start, size))] = 4
    return label_map


def is_inside(line: Line, image: sitk.Image, labels: tuple[int, ...]) -> bool:
    """Whether all of a line lies in voxels of these labels, looked at in 101 places."""
    start, end = np.array(line.start), np.array(line.end)
    return all(
        image[image.TransformPhysicalPointToIndex((start + part * (end - start)).tolist())]
        in labels
        for part in np.linspace(0, 1, 101)
    )


def test_a_box_by_hand(make_image: Callable[..., sitk.Image]) -> None:
    result = measured(box(), make_image, spacing=(0.9, 1.1, 2.0))
    (lesion,) = result.report.lesions
    longest, across = math.hypot(20 * 0.9, 11 * 1.1), 12 * 1.1 / (18 / math.hypot(18, 12.1))
    assert lesion.longest is not None and lesion.perpendicular is not None
    assert lesion.longest.length_mm == pytest.approx(longest, abs=0.02)
    assert lesion.perpendicular.length_mm == pytest.approx(across, abs=0.02)
    assert lesion.product_mm2 == pytest.approx(longest * across, abs=0.5)
    assert lesion.angle_degrees == pytest.approx(90, abs=0.1)
    assert lesion.slices == 6
    assert lesion.maximum is not None
    # From the middle of a voxel's lower face to that of the opposite voxel's upper face.
    assert lesion.maximum.length_mm == pytest.approx(math.hypot(17.1, 12.1, 12), abs=0.05)
    voxel_ml = 0.9 * 1.1 * 2.0 / 1000
    assert lesion.volumes_ml == pytest.approx(
        {"WT": 8 * 14 * 22 * voxel_ml, "TC": 1440 * voxel_ml, "ET": 1440 * voxel_ml}
    )
    # Voxels 4..9, 5..16 and 6..25.
    assert lesion.center_mm == pytest.approx((15.5 * 0.9, 10.5 * 1.1, 6.5 * 2.0))
    assert result.report.volumes_ml == pytest.approx(dict(lesion.volumes_ml))
    assert lesion.measurable and lesion.target and not lesion.reasons
    assert result.report.sum_of_products_mm2 == lesion.product_mm2
    assert (result.report.plane, result.report.slice_mm) == ("axial", 2.0)


def test_lines_lie_in_the_lesion_in_one_slice_on_any_grid(
    make_image: Callable[..., sitk.Image], direction: NDArray[np.float64]
) -> None:
    rng = np.random.default_rng(8)
    label_map = box()
    label_map[(label_map == 4) & (rng.random(label_map.shape) < 0.05)] = 1
    for spacing in ((1.0, 1.0, 4.0), (1.0, 4.0, 0.8), (4.0, 0.9, 1.0), (1.0, 1.0, 1.0)):
        image = make_image(label_map, spacing, (-50.0, 30.0, 7.0), direction)
        report = measure_masks(BRATS.to_regions(label_map), image).report
        lesion = report.lesions[0]
        assert lesion.longest is not None and lesion.perpendicular is not None
        ends = []
        for line in (lesion.longest, lesion.perpendicular):
            assert is_inside(line, image, (4,))
            ends += [line.start, line.end]
        assert lesion.longest.angle_degrees(lesion.perpendicular) == pytest.approx(90, abs=0.5)
        indices = np.array([image.TransformPhysicalPointToContinuousIndex(end) for end in ends])
        axis = 2 - slice_axis(image)[0]
        assert np.ptp(indices[:, axis]) < 1e-6
        if max(spacing) > 1:
            assert axis == int(np.argmax(spacing)) and report.slice_mm == 4.0
        else:
            assert report.plane == "axial"
            # The slices of the axis that runs nearest to head and foot.
            assert abs(direction[2, axis]) == np.abs(direction[2]).max()


@pytest.mark.parametrize("flip", [(0,), (1,), (2,), (0, 1, 2)])
def test_voxels_stored_the_other_way_round_give_the_same_lesion(
    make_image: Callable[..., sitk.Image], flip: tuple[int, ...]
) -> None:
    """The same anatomy with flipped axes: array and direction are flipped, and the origin moved."""
    rng = np.random.default_rng(2)
    label_map = box()
    label_map[(label_map == 4) & (rng.random(label_map.shape) < 0.1)] = 1
    spacing = (0.7, 0.9, 3.0)
    image = make_image(label_map, spacing, (3.0, -8.0, 12.0))
    flipped = sitk.Flip(image, [2 - axis in flip for axis in range(3)])
    other_map = sitk.GetArrayFromImage(flipped)
    assert not np.array_equal(other_map, label_map)
    lesions = [
        measure_masks(BRATS.to_regions(voxels), grid).report.lesions[0]
        for voxels, grid in ((label_map, image), (other_map, flipped))
    ]
    first, second = lesions
    assert first.center_mm == pytest.approx(second.center_mm)
    assert first.product_mm2 == pytest.approx(second.product_mm2, rel=1e-3)
    assert second.longest is not None and is_inside(second.longest, image, (4,))
    assert second.perpendicular is not None and is_inside(second.perpendicular, image, (4,))


def test_an_oblique_grid_moves_the_lines_with_it(
    make_image: Callable[..., sitk.Image], direction: NDArray[np.float64]
) -> None:
    origin = np.array([10.0, -20.0, 30.0])
    here = measured(box(), make_image, spacing=(1.0, 1.0, 3.0)).report.lesions[0]
    there = measured(
        box(), make_image, spacing=(1.0, 1.0, 3.0), origin=tuple(origin), direction=direction
    ).report.lesions[0]
    for ours, theirs in (
        (here.longest, there.longest),
        (here.perpendicular, there.perpendicular),
        (here.maximum, there.maximum),
    ):
        assert ours is not None and theirs is not None
        for start, end in ((ours.start, theirs.start), (ours.end, theirs.end)):
            assert origin + direction @ np.array(start) == pytest.approx(end, abs=1e-6)


@pytest.mark.parametrize(
    ("size", "spacing", "reasons"),
    [
        ((6, 10, 20), (1, 1, 1), ()),
        ((6, 9, 20), (1, 1, 1), ("perpendicular diameter 9.7 mm, below 10 mm",)),
        ((1, 12, 20), (1, 1, 5), ("seen on 1 of at least 2 slices",)),
        (
            (3, 12, 20),
            (1, 1, 7),
            ("perpendicular diameter 13.7 mm, below 14 mm, twice the slice thickness of 7 mm",),
        ),
        (
            (1, 3, 4),
            (1, 1, 1),
            (
                "longest diameter 4.5 mm, below 10 mm",
                "perpendicular diameter 3.4 mm, below 10 mm",
                "seen on 1 of at least 2 slices",
            ),
        ),
    ],
)
def test_why_a_lesion_is_not_measurable(
    make_image: Callable[..., sitk.Image],
    size: tuple[int, int, int],
    spacing: tuple[float, float, float],
    reasons: tuple[str, ...],
) -> None:
    (lesion,) = measured(box(size), make_image, spacing=spacing).report.lesions
    assert lesion.reasons == reasons
    assert lesion.measurable == lesion.target == (not reasons)


def test_the_rim_of_a_cavity_is_not_measurable(make_image: Callable[..., sitk.Image]) -> None:
    axes = np.indices((50, 50, 50)) - 24.5
    radius = np.sqrt((axes**2).sum(axis=0))
    label_map = np.select([radius < 17, radius < 20], [1, 4], 0).astype(np.uint8)
    (lesion,) = measured(label_map, make_image).report.lesions
    assert lesion.longest is not None and lesion.longest.length_mm > 15
    assert [reason.split()[0] for reason in lesion.reasons] == ["perpendicular"]
    core = measured(label_map, make_image, region="TC").report.lesions[0]
    assert core.measurable
    assert core.longest is not None and core.longest.length_mm == pytest.approx(40, abs=1)


def three_lesions() -> NDArray[np.uint8]:
    """Sides of 12, 16 and 20 mm, apart; the smallest comes first."""
    label_map = np.zeros((24, 80, 40), np.uint8)
    for row, side in ((2, 12), (22, 16), (50, 20)):
        label_map[2 : 2 + side, row : row + side, 3 : 3 + side] = 4
    return label_map


@pytest.mark.parametrize("targets", [1, 2, 3, 5])
def test_the_sum_is_made_of_the_largest(
    make_image: Callable[..., sitk.Image], targets: int
) -> None:
    result = measured(three_lesions(), make_image, targets=targets)
    products = [lesion.product_mm2 for lesion in result.report.lesions]
    assert products == sorted(products, reverse=True) and len(products) == 3
    assert [lesion.target for lesion in result.report.lesions] == [
        number < targets for number in range(3)
    ]
    assert result.report.sum_of_products_mm2 == pytest.approx(sum(products[:targets]))
    # The numbers in the map are those of the report.
    for lesion in result.report.lesions:
        assert np.count_nonzero(result.numbers == lesion.number) == pytest.approx(
            lesion.volumes_ml["ET"] * 1000
        )


def two_foci() -> NDArray[np.uint8]:
    """Two enhancing foci of 12 mm in one edema, 6 mm apart."""
    label_map = np.zeros((20, 30, 50), np.uint8)
    label_map[2:18, 3:27, 3:47] = 2
    label_map[4:16, 6:18, 5:17] = 4
    label_map[4:16, 6:18, 22:34] = 4
    return label_map


def test_parts_in_one_lesion_are_told_and_can_be_lesions(
    make_image: Callable[..., sitk.Image],
) -> None:
    whole = measured(two_foci(), make_image).report
    assert len(whole.lesions) == 1
    assert "lesion 1: its ET has 2 parts of 10 mm or more" in whole.warnings[0]
    apart = measured(two_foci(), make_image, lesions_of="TC").report
    assert [lesion.target for lesion in apart.lesions] == [True, True]
    assert not apart.warnings
    # A focus has no volume of the edema that it shares with others.
    assert set(apart.lesions[0].volumes_ml) == {"TC", "ET"}
    joined = measured(two_foci(), make_image, lesions_of="TC", join_mm=6.0).report
    assert len(joined.lesions) == 1


def test_without_the_measured_region_there_are_volumes_only(
    make_image: Callable[..., sitk.Image],
) -> None:
    label_map = box()
    label_map[label_map == 4] = 1
    report = measured(label_map, make_image).report
    (lesion,) = report.lesions
    assert lesion.longest is lesion.perpendicular is lesion.maximum is None
    assert lesion.reasons == ("no ET",) and lesion.volumes_ml["TC"] > 0
    assert report.sum_of_products_mm2 == 0
    assert list(report.warnings) == ["there is no ET: only volumes were measured"]
    whole = measured(label_map, make_image, region="WT").report
    assert whole.lesions[0].measurable and not whole.warnings


def test_empty_masks_have_no_lesion(make_image: Callable[..., sitk.Image]) -> None:
    report = measured(np.zeros((5, 6, 7), np.uint8), make_image).report
    assert report.lesions == () and report.volumes_ml == {"WT": 0, "TC": 0, "ET": 0}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"region": "tumor"}, "BraTS has no region 'tumor'; give WT, TC, ET"),
        ({"lesions_of": "x"}, "BraTS has no region 'x'"),
        ({"region": "WT", "lesions_of": "ET"}, "WT cannot be measured in lesions of ET"),
        ({"plane": "oblique"}, "no plane 'oblique'; give auto, axial, coronal, sagittal"),
        ({"join_mm": -1.0}, "0 mm or more"),
        ({"minimum_mm": math.nan}, "0 mm or more"),
        ({"targets": 0}, "targets 1 or more"),
    ],
)
def test_settings_that_make_no_sense(
    make_image: Callable[..., sitk.Image], settings: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        measured(box(), make_image, **settings)


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
def test_a_plane_can_be_chosen(make_image: Callable[..., sitk.Image], plane: str) -> None:
    report = measured(box((10, 12, 20)), make_image, spacing=(1, 1, 3), plane=plane).report
    sides = {"axial": (12, 20), "coronal": (30, 20), "sagittal": (30, 12)}[plane]
    lesion = report.lesions[0]
    assert lesion.longest is not None
    assert lesion.longest.length_mm == pytest.approx(math.hypot(*sides), rel=0.06)
    assert report.plane == plane and report.slice_mm == (3 if plane == "axial" else 1)


def test_files_are_read_in_either_numbering_with_the_scan(write_image: Callable[..., Path]) -> None:
    geometry = {"spacing": (1.0, 1.0, 2.0), "origin": (5.0, 6.0, 7.0)}
    old = write_image("seg.nii.gz", box(), **geometry)
    new = write_image("seg2023.nrrd", np.where(box() == 4, 3, box()).astype(np.uint8), **geometry)
    voxels = np.random.default_rng(0).normal(100, 9, box().shape).astype(np.float32)
    scan = write_image("t1ce.nii.gz", voxels, **geometry)
    first, second = measure(old, scan), measure(new)
    assert first.lesions == second.lesions
    assert first.scan.path == str(scan) and len(first.scan.sha256) == 64
    assert first.segmentation.path == str(old) and second.scan.path == ""


def test_any_scheme(write_image: Callable[..., Path]) -> None:
    path = write_image("liver.nii.gz", (box() > 0).astype(np.uint8))
    report = measure(path, scheme=CHAOS_LIVER)
    assert report.region == "liver" and report.lesions[0].measurable


@pytest.mark.parametrize(
    ("voxels", "message"),
    [
        (np.zeros((5, 6, 7), np.uint8), "is empty, it has no voxel of 1 = NCR, 2 = ED, 4 = ET"),
        (box() * np.float32(0.3), "is not a label map"),
        (np.where(box() == 4, 7, box()), r"label values \[0, 2, 7\] are not those of BraTS"),
        (np.where(box() == 4, np.nan, 0).astype(np.float32), "not numbers"),
    ],
)
def test_what_is_not_a_label_map_is_refused(
    write_image: Callable[..., Path], voxels: NDArray[np.float32], message: str
) -> None:
    path = write_image("seg.nii.gz", voxels)
    with pytest.raises(InputError, match=message) as error:
        measure(path)
    assert str(path) in str(error.value)
    assert (error.value.code == ErrorCode.LABELS_EMPTY) == ("is empty" in message)


def test_a_series_of_volumes_is_refused(tmp_path: Path) -> None:
    volume = sitk.GetImageFromArray(box())
    sitk.WriteImage(sitk.JoinSeries(volume, volume), str(tmp_path / "seg.nii.gz"))
    with pytest.raises(InputError, match=r"seg\.nii\.gz: is 4-D .* give one 3-D volume"):
        measure(tmp_path / "seg.nii.gz")


def test_noise_is_refused_by_the_name_of_its_file(
    write_image: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diameters, "MAXIMUM_PAIRS", 100_000)
    noise = np.random.default_rng(0).choice(np.array([0, 4], np.uint8), (9, 40, 40))
    path = write_image("seg.nii.gz", noise)
    with pytest.raises(InputError, match=r"seg\.nii\.gz: slice \d: the outline of a lesion"):
        measure(path)


def test_a_scan_on_another_grid_is_refused(write_image: Callable[..., Path]) -> None:
    path = write_image("seg.nii.gz", box())
    scan = write_image("t1ce.nii.gz", box().astype(np.float32), origin=(0.0, 0.0, 1.0))
    with pytest.raises(InputError, match=r"t1ce\.nii\.gz: lie on different grids, origin"):
        measure(path, scan)
