"""Further maps in regions: figures by hand, on any grid, with what is missing told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from MISSUCore.core.errors import InputError
from MISSUCore.measurement.maps import measure_maps, statistics_by_region

Masks = NDArray[np.bool_]
MakeImage = Callable[..., sitk.Image]
WriteImage = Callable[..., Path]
GEOMETRY = {"spacing": (1.0, 1.0, 1.0), "origin": (-20.0, 10.0, 5.0)}


def boxes() -> Masks:
    """WT: 8 x 8 x 8 voxels from (4, 4, 4) on; TC: 4 x 4 x 4 in its middle; ET: nothing."""
    masks = np.zeros((3, 16, 16, 16), dtype=np.bool_)
    masks[0, 4:12, 4:12, 4:12] = True
    masks[1, 6:10, 6:10, 6:10] = True
    return masks


def labels_image(make_image: MakeImage, direction: NDArray[np.float64]) -> sitk.Image:
    return make_image(np.zeros((16, 16, 16), np.uint8), **GEOMETRY, direction=direction)


def coarse_like(image: sitk.Image, voxels: NDArray[np.float32], factor: int) -> sitk.Image:
    """A map whose voxels are cubes of ``factor`` voxels of an image on each side."""
    result = sitk.GetImageFromArray(voxels)
    result.SetSpacing([factor * step for step in image.GetSpacing()])
    result.SetDirection(image.GetDirection())
    middle = [(factor - 1) / 2] * 3
    result.SetOrigin(image.TransformContinuousIndexToPhysicalPoint(middle))
    return result


def test_a_map_on_the_same_grid(make_image: MakeImage, direction: NDArray[np.float64]) -> None:
    image = labels_image(make_image, direction)
    # 64 voxels of TC have the values 0.5, 1.5, ..., 63.5; the rest of WT 100, all else 1000.
    masks, voxels = boxes(), np.full((16, 16, 16), 1000, np.float32)
    voxels[masks[0]] = 100
    voxels[masks[1]] = np.arange(64) + 0.5
    found = statistics_by_region(coarse_like(image, voxels, 1), masks, image, ("WT", "TC", "ET"))
    assert list(found) == ["WT", "TC"]  # nothing is said of an empty region
    core, whole = found["TC"], found["WT"]
    assert (core.covered, core.voxels, core.zeros) == (1.0, 64, 0)
    assert core.volume_ml == pytest.approx(0.064)
    assert core.mean == core.median == 32.0
    assert core.standard_deviation == pytest.approx(np.sqrt((64**2 - 1) / 12))
    assert (core.minimum, core.maximum) == (0.5, 63.5)
    # Of n values in order, p % lies at the place p / 100 * (n - 1), counted from 0.
    for part in (5, 10, 25, 75, 90, 95):
        assert getattr(core, f"percentile_{part}") == pytest.approx(0.5 + part / 100 * 63)
    assert (whole.voxels, whole.maximum) == (512, 100.0)
    assert whole.mean == pytest.approx((64 * 32 + 448 * 100) / 512)


def test_a_coarser_map_is_not_interpolated(
    make_image: MakeImage, direction: NDArray[np.float64]
) -> None:
    """Cubes of 2 mm: WT has 4 x 4 x 4 of them, TC 2 x 2 x 2, each with a value of its own."""
    image, voxels = labels_image(make_image, direction), np.arange(512.0).reshape(8, 8, 8)
    found = statistics_by_region(
        coarse_like(image, voxels.astype(np.float32), 2), boxes(), image, ("WT", "TC", "ET")
    )
    expected = voxels[3:5, 3:5, 3:5]
    assert (found["WT"].voxels, found["TC"].voxels) == (64, 8)
    assert found["TC"].volume_ml == pytest.approx(0.064)
    assert (found["TC"].minimum, found["TC"].maximum) == (expected.min(), expected.max())
    assert found["TC"].mean == pytest.approx(expected.mean())
    assert found["WT"].median == pytest.approx(np.median(voxels[2:6, 2:6, 2:6]))


def test_a_voxel_belongs_to_a_region_that_fills_half_of_it(make_image: MakeImage) -> None:
    """Cubes of 4 mm, with faces at 0, 4, 8: one has 32 of 64 voxels inside, the next one 31."""
    image = labels_image(make_image, np.eye(3))
    masks = np.zeros((1, 16, 16, 16), dtype=np.bool_)
    masks[0, 0:4, 0:4, 0:2] = True
    masks[0, 4:8, 0:4, 0:2] = True
    masks[0, 4, 0, 0] = False
    voxels = np.zeros((4, 4, 4), np.float32)
    voxels[0, 0, 0], voxels[1, 0, 0] = 7, 9
    found = statistics_by_region(coarse_like(image, voxels, 4), masks, image, ("WT",))["WT"]
    assert (found.voxels, found.mean, found.covered) == (1, 7.0, 1.0)


def test_a_finer_map_and_thick_slices(make_image: MakeImage) -> None:
    """Voxels of the map are 0.5 x 0.5 x 4 mm: 16 x 16 x 2 in WT; of TC, no slice is half full."""
    image = labels_image(make_image, np.eye(3))
    voxels = np.zeros((4, 32, 32), np.float32)
    voxels[1], voxels[2] = 1, 3
    thick = make_image(voxels, spacing=(0.5, 0.5, 4.0), origin=(-20.25, 9.75, 6.5))
    found = statistics_by_region(thick, boxes(), image, ("WT", "TC", "ET"))
    assert (found["WT"].voxels, found["WT"].mean, found["WT"].standard_deviation) == (512, 2.0, 1.0)
    # TC reaches 2 mm into each of both slices: exactly a half.
    assert (found["TC"].voxels, found["TC"].mean) == (128, 2.0)


def test_a_map_that_is_turned_against_the_scan(make_image: MakeImage) -> None:
    """A linear function of the place in space has its value at the middle of a box as its mean."""
    image = labels_image(make_image, np.eye(3))
    angle = np.deg2rad(30)
    turn = np.array(
        [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    )
    middle = np.array(GEOMETRY["origin"]) + 7.5
    shape = (60, 60, 60)
    origin = middle - turn @ (np.array([29.5, 29.5, 29.5]) * 0.5)
    places = np.moveaxis(np.indices(shape)[::-1], 0, -1) * 0.5 @ turn.T + origin
    voxels = (3 * places[..., 0] - 2 * places[..., 1] + places[..., 2]).astype(np.float32)
    turned = make_image(voxels, spacing=(0.5,) * 3, origin=tuple(origin), direction=turn)
    found = statistics_by_region(turned, boxes(), image, ("WT", "TC", "ET"))
    for region, side in (("WT", 8), ("TC", 4)):
        assert found[region].covered == 1.0
        assert found[region].volume_ml == pytest.approx(side**3 / 1000, rel=0.02)
        assert found[region].mean == pytest.approx(middle @ (3, -2, 1), abs=0.02)
        # Of a sum of three independent even distributions, variances add up.
        assert found[region].standard_deviation == pytest.approx(
            np.sqrt((9 + 4 + 1) * side**2 / 12), rel=0.02
        )


def test_what_a_map_does_not_cover_is_left_out_and_told(
    make_image: MakeImage, write_image: WriteImage
) -> None:
    """The map ends in the middle of WT, and is not a number in a quarter of what it shows."""
    image = labels_image(make_image, np.eye(3))
    voxels = np.full((16, 16, 8), 5, np.float32)
    voxels[4:8, 4:8, :] = np.nan
    voxels[0, 0, 0], voxels[1, 0, 0] = 1, np.inf
    path = write_image("cbv.nii.gz", voxels, **GEOMETRY)
    found = measure_maps({"CBV": path}, boxes(), image, ("WT", "TC", "ET"))
    whole, core = (found.statistics["CBV"].regions[name] for name in ("WT", "TC"))
    assert (whole.covered, whole.voxels) == (0.5 * 0.75, 8 * 8 * 4 * 3 // 4)
    assert (core.covered, core.voxels) == (0.375, 4 * 4 * 2 * 3 // 4)
    assert (whole.mean, whole.standard_deviation, whole.zeros) == (5.0, 0.0, 0)
    assert list(found.warnings) == [
        f"{path}: the map CBV covers only 38% of WT, 38% of TC; its figures are of what it covers"
    ]


def test_of_a_region_that_is_not_covered_there_are_no_figures(
    make_image: MakeImage, write_image: WriteImage
) -> None:
    image = labels_image(make_image, np.eye(3))
    path = write_image("a.nrrd", np.arange(128, dtype=np.float32).reshape(4, 4, 8), **GEOMETRY)
    found = measure_maps({"ADC": path}, boxes(), image, ("WT", "TC", "ET"))
    whole = found.statistics["ADC"].regions["WT"]
    assert (whole.covered, whole.voxels, whole.mean, whole.percentile_5) == (0.0, 0, None, None)
    assert list(found.warnings) == [
        f"{path}: the map ADC covers only 0% of WT, 0% of TC; its figures are of what it covers"
    ]


def test_a_region_thinner_than_the_voxels_of_the_map(
    make_image: MakeImage, write_image: WriteImage
) -> None:
    masks = np.zeros((1, 16, 16, 16), dtype=np.bool_)
    masks[0, 5, 2:14, 2:14] = True
    voxels = np.arange(64, dtype=np.float32).reshape(4, 4, 4)
    path = write_image("map.nii", voxels, spacing=(4.0,) * 3, origin=(-18.5, 11.5, 6.5))
    found = measure_maps({"ADC": path}, masks, labels_image(make_image, np.eye(3)), ("WT",))
    whole = found.statistics["ADC"].regions["WT"]
    assert (whole.covered, whole.voxels, whole.mean) == (1.0, 0, None)
    (warning,) = found.warnings
    assert warning == (
        f"{path}: the map ADC has no voxel that is filled at least by half by WT, and so no figures"
    )


def test_zeros_are_counted_and_told(make_image: MakeImage, write_image: WriteImage) -> None:
    voxels = np.full((16, 16, 16), 800, np.int16)
    voxels[4, 4:12, 4:12] = 0  # an eighth of WT
    path = write_image("adc.nii.gz", voxels, **GEOMETRY)
    found = measure_maps(
        {"ADC": path}, boxes(), labels_image(make_image, np.eye(3)), ("WT", "TC", "ET")
    )
    whole = found.statistics["ADC"].regions["WT"]
    assert (whole.voxels, whole.zeros, whole.mean) == (512, 64, 700.0)
    (warning,) = found.warnings
    assert "the map ADC is exactly 0 in 12% of its voxels in WT, which are counted" in warning


def test_a_map_of_another_place_or_patient_is_refused(
    make_image: MakeImage, write_image: WriteImage, tmp_path: Path
) -> None:
    image = labels_image(make_image, np.eye(3))
    voxels = np.arange(512, dtype=np.float32).reshape(8, 8, 8)
    far = write_image("far.nii.gz", voxels, origin=(400.0, 10.0, 5.0))
    with pytest.raises(InputError, match=r"far\.nii\.gz: the map ADC lies apart in space"):
        measure_maps({"ADC": far}, boxes(), image, ("WT", "TC", "ET"))
    (tmp_path / "sub-01").mkdir()
    (tmp_path / "sub-02").mkdir()
    own = write_image("sub-01/sub-01_ses-1_t1ce.nii.gz", voxels, **GEOMETRY)
    other = write_image("sub-02/sub-02_adc.nii.gz", voxels, **GEOMETRY)
    with pytest.raises(InputError, match=r"02_adc.*of another patient than .*sub-01_ses-1_t1ce"):
        measure_maps({"ADC": other}, boxes(), image, ("WT", "TC", "ET"), [own])
    later = write_image("sub-01/sub-01_ses-2_adc.nii.gz", voxels, **GEOMETRY)
    found = measure_maps({"ADC": later}, boxes(), image, ("WT", "TC", "ET"), [own])
    assert "of another examination than" in found.warnings[0]


def set_tag(folder: Path, tag: str, value: str) -> None:
    """Set an attribute of all files of a DICOM series."""
    for path in folder.iterdir():
        slice_ = sitk.ReadImage(str(path))
        slice_.SetMetaData(tag, value)
        writer = sitk.ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        writer.SetFileName(str(path))
        writer.Execute(slice_)


def test_dicom_tells_another_patient(
    make_image: MakeImage, write_dicom: Callable[..., Path]
) -> None:
    image = make_image(np.zeros((16, 16, 16), np.uint8), origin=(-20.0, 15.0, 7.0))
    voxels = np.arange(16 * 16 * 16, dtype=np.int16).reshape(16, 16, 16)
    scan, adc = (write_dicom(name, voxels, series=number) for number, name in enumerate("ab", 1))
    found = measure_maps({"ADC": adc}, boxes(), image, ("WT", "TC", "ET"), [scan])
    assert found.statistics["ADC"].regions["TC"].voxels > 0
    assert found.warnings == []
    set_tag(adc, "0020|0052", "1.2.3")  # Frame of Reference UID
    (warning,) = measure_maps({"ADC": adc}, boxes(), image, ("WT", "TC", "ET"), [scan]).warnings
    assert "the map ADC is of another frame of reference than" in warning
    set_tag(scan, "0010|0020", "1")
    set_tag(adc, "0010|0020", "2")
    with pytest.raises(InputError, match="b: the map ADC is of another patient than "):
        measure_maps({"ADC": adc}, boxes(), image, ("WT", "TC", "ET"), [scan])


@pytest.mark.parametrize(
    ("voxels", "message"),
    [
        (np.full((8, 8, 8), np.nan, np.float32), "no voxel holds a number"),
        (np.full((8, 8, 8), 5, np.float32), "every voxel has the value 5"),
        (np.where(np.indices((8, 8, 8))[0] < 4, 5, np.nan).astype(np.float32), "the value 5"),
        (np.zeros((2, 8, 8, 8), np.float32), "is 4-D"),
        (np.zeros((8, 8, 8), np.complex64), "complex"),
        (np.ones((8, 8), np.float32), "is 2-D"),
    ],
    ids=["no number", "constant", "constant but for NaN", "4-D", "complex", "2-D"],
)
def test_what_is_no_map_is_refused(
    make_image: MakeImage, tmp_path: Path, voxels: NDArray[np.generic], message: str
) -> None:
    path = tmp_path / "adc.nii.gz"
    sitk.WriteImage(sitk.GetImageFromArray(voxels, isVector=False), str(path))
    with pytest.raises(InputError, match=rf"adc\.nii\.gz: .*{message}"):
        measure_maps(
            {"ADC": path}, boxes(), labels_image(make_image, np.eye(3)), ("WT", "TC", "ET")
        )


@pytest.mark.parametrize("name", ["", "a/b", "x" * 65])
def test_a_map_needs_a_name(make_image: MakeImage, name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a name for a map"):
        measure_maps(
            {name: tmp_path / "adc.nii"}, boxes(), labels_image(make_image, np.eye(3)), ("WT",)
        )
