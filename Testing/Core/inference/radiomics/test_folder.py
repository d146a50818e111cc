"""The folder for radiomics: images and masks on one grid, normalized as is said, and their list."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from MISSUCore.contract.labels import BRATS, CHAOS_LIVER
from MISSUCore.core.errors import InputError
from MISSUCore.inference.case_files import segment_files
from MISSUCore.inference.radiomics.files import RadiomicsFiles, mask_labels
from MISSUCore.inference.result_files import ResultFiles
from MISSUCore.inference.segmentation import SegmentationOptions
from MISSUCore.preprocessing.pipeline import AS_THEY_ARE

MakeModel = Callable[..., Path]
Truth = NDArray[np.uint8]
MODALITIES = ("t1", "t1ce", "t2", "flair")
IMAGES = [
    "flair.nii.gz",
    "flair_zscore.nii.gz",
    "t1.nii.gz",
    "t1_zscore.nii.gz",
    "t1ce.nii.gz",
    "t1ce_zscore.nii.gz",
    "t2.nii.gz",
    "t2_zscore.nii.gz",
]
MASKS = [
    "brain_mask.nii.gz",
    "mask_ED.nii.gz",
    "mask_ET.nii.gz",
    "mask_NCR.nii.gz",
    "mask_TC.nii.gz",
    "mask_WT.nii.gz",
]
TEXTS = ["processing.json", "pyradiomics.csv", "pyradiomics.yaml"]


@pytest.fixture
def segment(tmp_path: Path, bright_model: MakeModel) -> Callable[..., Any]:
    """Function that segments scans as they are and writes the folder; returns the report."""
    model = str(bright_model())

    def run(paths: dict[str, Path], **options: Any) -> Any:
        files = ResultFiles(
            tmp_path / "out" / "seg.nii.gz",
            radiomics=RadiomicsFiles(tmp_path / "out" / "features", "patient 1"),
        )
        how = {"preprocessing": AS_THEY_ARE, "options": SegmentationOptions(device="cpu")}
        return segment_files(paths, files, model=model, **{**how, **options})

    return run


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "pyradiomics.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def voxels(path: Path) -> NDArray[Any]:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def test_scans_on_one_grid_keep_their_voxels(
    tmp_path: Path,
    segment: Callable[..., Any],
    write_scans: Callable[..., dict[str, Path]],
    scans: Callable[[Truth], dict[str, NDArray[np.float32]]],
    truth: Truth,
    direction: NDArray[np.float64],
) -> None:
    geometry = {"spacing": (0.9, 1.1, 1.3), "origin": (-31.0, 42.5, 17.25), "direction": direction}
    segment(write_scans(truth, **geometry))
    folder = tmp_path / "out" / "features"
    assert names(folder) == sorted([*IMAGES, *MASKS, *TEXTS])
    reference = sitk.ReadImage(str(tmp_path / "out" / "seg.nii.gz"))
    for name in [*IMAGES, *MASKS]:
        image = sitk.ReadImage(str(folder / name))
        # Exactly, as pyradiomics asks.
        for part in ("Size", "Origin", "Spacing", "Direction"):
            assert getattr(image, f"Get{part}")() == getattr(reference, f"Get{part}")()
        kind = sitk.sitkUInt8 if "mask" in name else sitk.sitkFloat32
        assert image.GetPixelID() == kind
    for name, expected in scans(truth).items():
        np.testing.assert_array_equal(voxels(folder / f"{name}.nii.gz"), expected)
        values = expected.astype(np.float64)
        np.testing.assert_allclose(
            voxels(folder / f"{name}_zscore.nii.gz"),
            (values - values.mean()) / np.sqrt(((values - values.mean()) ** 2).mean()),
            atol=1e-5,
        )
    assert voxels(folder / "brain_mask.nii.gz").all()
    labels = sitk.GetArrayFromImage(reference)
    values_of = {"WT": (1, 2, 4), "TC": (1, 4), "ET": (4,), "NCR": (1,), "ED": (2,)}
    for name, values_ in values_of.items():
        mask = voxels(folder / f"mask_{name}.nii.gz")
        np.testing.assert_array_equal(mask, np.isin(labels, values_))
        assert mask.any()


def test_the_list_names_every_image_with_every_mask(
    tmp_path: Path, segment: Callable[..., Any], paths: dict[str, Path]
) -> None:
    segment(paths)
    folder = tmp_path / "out" / "features"
    listed = rows(folder)
    assert list(listed[0]) == [
        "ID",
        "Modality",
        "Normalization",
        "Region",
        "Image",
        "Mask",
        "Label",
    ]
    assert len(listed) == 4 * 2 * 5
    assert {row["Image"] for row in listed} == set(IMAGES)
    assert {row["Mask"] for row in listed} == set(MASKS) - {"brain_mask.nii.gz"}
    assert {row["ID"] for row in listed} == {"patient 1"}
    assert {row["Label"] for row in listed} == {"1"}
    (row,) = (
        row
        for row in listed
        if (row["Modality"], row["Normalization"], row["Region"]) == ("t1ce", "zscore", "ET")
    )
    assert (row["Image"], row["Mask"]) == ("t1ce_zscore.nii.gz", "mask_ET.nii.gz")


def test_only_the_brain_counts_and_what_is_outside_is_0(
    tmp_path: Path,
    segment: Callable[..., Any],
    write_image: Callable[..., Path],
    scans: Callable[[Truth], dict[str, NDArray[np.float32]]],
    truth: Truth,
) -> None:
    """Outside of the brain all is 0, as stripped scans have it; of T2 a slice is missing, too."""
    paths, brain = {}, np.zeros(truth.shape, dtype=np.bool_)
    brain[2:18, 2:22, 2:26] = True
    shown = {name: brain.copy() for name in MODALITIES}
    shown["t2"][17] = False
    for name, values in scans(truth).items():
        paths[name] = write_image(f"{name}.nii.gz", np.where(shown[name], values, np.float32(0)))
    segment(paths)
    folder = tmp_path / "out" / "features"
    np.testing.assert_array_equal(voxels(folder / "brain_mask.nii.gz"), brain)
    told = json.loads((folder / "processing.json").read_text(encoding="utf-8"))["intensities"]
    for name, values in scans(truth).items():
        inside = values[shown[name]].astype(np.float64)
        assert told[name]["brain_mean"] == pytest.approx(inside.mean(), rel=1e-6)
        assert told[name]["brain_standard_deviation"] == pytest.approx(inside.std(), rel=1e-6)
        normalized = voxels(folder / f"{name}_zscore.nii.gz")
        assert not normalized[~shown[name]].any()
        assert normalized[shown[name]].mean() == pytest.approx(0, abs=1e-5)
        assert normalized[shown[name]].std() == pytest.approx(1, abs=1e-5)


def test_scans_on_other_grids_come_to_that_of_the_result(
    tmp_path: Path, segment: Callable[..., Any], paths: dict[str, Path], truth: Truth
) -> None:
    """T2 is a linear function of the place, on a turned grid that covers all: so it comes back."""
    angle = np.deg2rad(10)
    turn = np.array(
        [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    )
    reference = sitk.ReadImage(str(paths["t1ce"]))

    def ramp(image: sitk.Image) -> NDArray[np.float64]:
        size = image.GetSize()
        index = np.moveaxis(np.indices(size[::-1])[::-1], 0, -1) * image.GetSpacing()
        turned = np.array(image.GetDirection()).reshape(3, 3)
        places = index @ turned.T + image.GetOrigin()
        return 400 + places @ (1.0, -2.0, 3.0)

    t2 = sitk.Image([44, 40, 32], sitk.sitkFloat32)
    t2.SetDirection(turn.ravel().tolist())
    middle = np.array(reference.TransformContinuousIndexToPhysicalPoint([13.5, 11.5, 9.5]))
    t2.SetOrigin((middle - turn @ (21.5, 19.5, 15.5)).tolist())
    filled = sitk.GetImageFromArray(ramp(t2).astype(np.float32))
    filled.CopyInformation(t2)
    sitk.WriteImage(filled, str(paths["t2"]))
    segment(paths)
    found = voxels(tmp_path / "out" / "features" / "t2.nii.gz")
    np.testing.assert_allclose(found, ramp(reference), atol=0.01)


def test_what_is_empty_is_left_out_and_said(
    tmp_path: Path,
    segment: Callable[..., Any],
    write_image: Callable[..., Path],
    write_scans: Callable[..., dict[str, Path]],
    scans: Callable[[Truth], dict[str, NDArray[np.float32]]],
    truth: Truth,
) -> None:
    """Files of an earlier result that do not belong to this one are gone, others stay."""
    folder = tmp_path / "out" / "features"
    segment(write_scans(truth))
    (folder / "notes.txt").write_text("mine")
    elsewhere = np.zeros_like(truth)  # what is bright as a core is, but not in a tumor, is none
    elsewhere[14:19, 1:8, 18:26] = 4
    paths = {"flair": write_image("flair.nii.gz", scans(truth)["flair"])}
    for name in ("t1", "t1ce", "t2"):
        paths[name] = write_image(f"{name}.nii.gz", scans(elsewhere)[name])
    report = segment(paths, overwrite=True)
    (told,) = (text for text in report.warnings if "radiomics" in text)
    assert told == "left out of the radiomics folder, being empty: TC, ET, NCR"
    there = [*IMAGES, *TEXTS, "brain_mask.nii.gz", "mask_ED.nii.gz", "mask_WT.nii.gz", "notes.txt"]
    assert names(folder) == sorted(there)
    assert {row["Region"] for row in rows(folder)} == {"WT", "ED"}
    paths = write_scans(np.zeros_like(truth))
    del paths["t1"]
    segment(paths, overwrite=True)
    images = [name for name in IMAGES if not name.startswith("t1.") and "t1_" not in name]
    assert names(folder) == sorted([*images, *TEXTS, "brain_mask.nii.gz", "notes.txt"])
    assert rows(folder) == []


def test_nothing_is_replaced_unasked(
    tmp_path: Path, segment: Callable[..., Any], paths: dict[str, Path]
) -> None:
    folder = tmp_path / "out" / "features"
    folder.mkdir(parents=True)
    (folder / "mask_ED.nii.gz").write_text("mine")
    with pytest.raises(InputError, match=r"mask_ED\.nii\.gz: exists already; add --overwrite"):
        segment(paths)
    assert names(folder) == ["mask_ED.nii.gz"]


def test_masks_have_different_names_whatever_the_scheme() -> None:
    assert dict(mask_labels(BRATS)) == {
        "WT": (1, 2, 4),
        "TC": (1, 4),
        "ET": (4,),
        "NCR": (1,),
        "ED": (2,),
    }
    assert dict(mask_labels(CHAOS_LIVER)) == {"liver": (1,)}
    first, *others = BRATS.labels
    alike = replace(BRATS, labels=(replace(first, name="tc"), *others))
    assert [name for name, _ in mask_labels(alike)] == ["WT", "TC", "ET", "label-tc", "ED"]
