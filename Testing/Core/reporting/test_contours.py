from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from MISSUCore.contract.labels import BRATS, CHAOS_LIVER
from MISSUCore.core.errors import InputError, MISSUError
from MISSUCore.reporting.contours import write_contour_picture

matplotlib_image = pytest.importorskip("matplotlib.image")

SPACING_MM = (1.0, 2.0, 4.0)
SIZE = (80, 45, 20)  # 80 x 90 x 80 mm.


def ball(center_lps_mm: tuple[float, float, float], radius_mm: float) -> sitk.Image:
    """Mask of a ball on a grid around the origin; axes LPS: left, posterior, superior positive."""
    depth, height, width = np.indices(SIZE[::-1])
    away = [
        spacing * (index - (size - 1) / 2) - center
        for index, spacing, size, center in zip(
            (width, height, depth), SPACING_MM, SIZE, center_lps_mm
        )
    ]
    mask = np.sqrt(sum(axis**2 for axis in away)) <= radius_mm
    image = sitk.GetImageFromArray(mask.astype(np.uint8))
    image.SetSpacing(SPACING_MM)
    return image


HEAD = sitk.Cast(ball((0, 0, 0), 39), sitk.sitkFloat32) * 100


def outlines(path: Path) -> list[tuple[slice, slice]]:
    """Boxes (rows, columns) of the three outlines, top to bottom: axial, coronal, sagittal.

    All else in the picture is gray, but for the legend at the bottom.
    """
    pixels = matplotlib_image.imread(path)[..., :3]
    colored = np.ptp(pixels, axis=2) > 0.15
    parts, _ = ndimage.label(ndimage.binary_dilation(colored, iterations=2))
    boxes = ndimage.find_objects(parts)
    return sorted(boxes, key=lambda box: box[0].start)[:3]


def middle(box: tuple[slice, slice]) -> np.ndarray:
    """Row and column of a box's middle."""
    return np.array([(side.start + side.stop) / 2 for side in box])


def draw(path: Path, lesion: sitk.Image) -> list[np.ndarray]:
    """Middles of the lesion's outline in the three planes."""
    write_contour_picture(path, {"t1": HEAD}, lesion, scheme=CHAOS_LIVER)
    return [middle(box) for box in outlines(path)]


def test_patient_left_is_on_the_right_anterior_and_superior_up(tmp_path):
    centered = draw(tmp_path / "picture.png", ball((0, 0, 0), 10))
    left = draw(tmp_path / "picture.png", ball((16, 0, 0), 10))
    anterior = draw(tmp_path / "picture.png", ball((0, -16, 0), 10))
    superior = draw(tmp_path / "picture.png", ball((0, 0, 16), 10))
    width = matplotlib_image.imread(tmp_path / "picture.png").shape[1]
    assert centered[0][1] == pytest.approx(width / 2, rel=0.05)
    for plane in (0, 1):
        assert left[plane][1] > width / 2 + 20
    assert anterior[0][0] < centered[0][0] - 20
    assert anterior[2][1] < centered[2][1] - 20
    for plane in (1, 2):
        assert superior[plane][0] < centered[plane][0] - 20


def test_a_ball_is_round_in_anisotropic_voxels(tmp_path):
    draw(tmp_path / "picture.png", ball((0, 0, 0), 20))
    for rows, columns in outlines(tmp_path / "picture.png"):
        ratio = (rows.stop - rows.start) / (columns.stop - columns.start)
        assert ratio == pytest.approx(1, abs=0.12)


def test_axis_order_of_the_files_does_not_matter(tmp_path):
    lesion = ball((16, 5, 8), 10)
    write_contour_picture(tmp_path / "lps.png", {"t1": HEAD}, lesion)
    write_contour_picture(
        tmp_path / "ras.png", {"t1": sitk.DICOMOrient(HEAD, "RAS")}, sitk.DICOMOrient(lesion, "ASL")
    )
    np.testing.assert_array_equal(
        matplotlib_image.imread(tmp_path / "lps.png"), matplotlib_image.imread(tmp_path / "ras.png")
    )


def has_color(path: Path, color: tuple[int, int, int]) -> bool:
    """Whether the color is in the picture above the legend."""
    pixels = matplotlib_image.imread(path)[:-100, :, :3]
    return bool(np.any(np.abs(pixels - np.array(color) / 255).max(axis=-1) < 0.1))


def test_each_region_has_its_color(tmp_path):
    whole, core, enhancing = (region.color for region in BRATS.regions)
    lesion = 2 * ball((0, 0, 0), 28)
    write_contour_picture(tmp_path / "edema.png", {"t1": HEAD}, lesion)
    assert has_color(tmp_path / "edema.png", whole)
    assert not has_color(tmp_path / "edema.png", core)
    # A rim around necrosis: the core's outline stays visible under that of the enhancing tumor.
    lesion = lesion + 2 * ball((0, 0, 0), 20) - 3 * ball((0, 0, 0), 12)
    write_contour_picture(tmp_path / "rim.png", {"t1": HEAD}, lesion)
    for color in (whole, core, enhancing):
        assert has_color(tmp_path / "rim.png", color)


def test_reference_is_drawn_with_gaps(tmp_path):
    lesion = ball((0, 0, 0), 20)
    empty = lesion * 0
    colored = []
    for name, segmentation, reference in (("solid", lesion, None), ("dashed", empty, lesion)):
        path = tmp_path / f"{name}.png"
        write_contour_picture(path, {"t1": HEAD}, segmentation, reference, CHAOS_LIVER)
        pixels = matplotlib_image.imread(path)[:-100, :, :3]
        colored.append(np.count_nonzero(np.ptp(pixels, axis=2) > 0.15))
    assert 0.2 < colored[1] / colored[0] < 0.8


def test_nothing_segmented_and_nothing_scanned(tmp_path):
    path = tmp_path / "picture.png"
    write_contour_picture(
        path, {"t1": HEAD, "empty": HEAD * 0}, sitk.Cast(HEAD * 0, sitk.sitkUInt8)
    )
    assert not has_color(path, BRATS.regions[0].color)
    write_contour_picture(path, {"empty": HEAD * 0}, ball((0, 0, 0), 20))
    assert has_color(path, BRATS.regions[0].color)


def test_only_the_picture_is_left_and_an_unwritable_place_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        write_contour_picture(tmp_path / "file" / "a.png", {"t1": HEAD}, ball((0, 0, 0), 20))
    write_contour_picture(tmp_path / "new" / "a.png", {"t1": HEAD}, ball((0, 0, 0), 20))
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["a.png"]


def test_without_matplotlib_the_message_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MISSUError, match=r"MISSUCore\[plots\]"):
        write_contour_picture(tmp_path / "a.png", {"t1": HEAD}, ball((0, 0, 0), 20))
