"""End to end with a model whose answer is known: every voxel at its place, every file or none."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from numpy.typing import NDArray

from MISSUCore import __version__
from MISSUCore.errors import InputError, ResourceError
from MISSUCore.inference.cleanup import Cleanup
from MISSUCore.inference.segmentation import (
    SegmentationOptions,
    check_modalities,
    segment_case,
    segment_files,
)
from MISSUCore.model_store import Model, load_model
from MISSUCore.progress import Progress, ProgressEvent
from MISSUCore.regions import BRATS

MODALITIES = ("t1", "t1ce", "t2", "flair")
ORIGIN = (-31.0, 42.5, 17.25)
CPU = SegmentationOptions(device="cpu")
MakeModel = Callable[..., Path]
Truth = NDArray[np.uint8]


@pytest.fixture
def truth() -> Truth:
    """Label map with nested boxes, off the middle and of another length along every axis."""
    labels = np.zeros((20, 24, 28), dtype=np.uint8)
    labels[3:13, 11:20, 4:16] = 2
    labels[5:11, 13:19, 6:14] = 1
    labels[6:11, 13:18, 7:12] = 4
    return labels


def scans(labels: Truth) -> dict[str, NDArray[np.float32]]:
    """Scans in which each region is bright on the modality that the bright model looks at."""
    brain = np.random.default_rng(0).normal(100, 2, (4, *labels.shape))
    bright = [np.zeros_like(labels), labels == 4, np.isin(labels, (1, 4)), labels > 0]
    voxels = (brain + 100 * np.array(bright)).astype(np.float32)
    return dict(zip(MODALITIES, voxels))


def write_scans(
    write_image: Callable[..., Path], labels: Truth, ending: str = "nii.gz", **geometry: Any
) -> dict[str, Path]:
    return {
        name: write_image(f"{name}.{ending}", voxels, **geometry)
        for name, voxels in scans(labels).items()
    }


@pytest.fixture
def paths(write_image: Callable[..., Path], truth: Truth) -> dict[str, Path]:
    """Scans in files, at 1 mm along the patient's axes."""
    return write_scans(write_image, truth, origin=ORIGIN)


@pytest.fixture
def images(make_image: Callable[..., sitk.Image], truth: Truth) -> dict[str, sitk.Image]:
    """Scans in memory, at 1 mm along the patient's axes."""
    return {name: make_image(voxels, origin=ORIGIN) for name, voxels in scans(truth).items()}


@pytest.fixture
def bright(bright_model: MakeModel) -> Model:
    return load_model(str(bright_model()))


def same_grid(found: sitk.Image, reference: sitk.Image, tolerance: float) -> None:
    assert found.GetSize() == reference.GetSize()
    for part in ("Spacing", "Origin", "Direction"):
        np.testing.assert_allclose(
            getattr(found, f"Get{part}")(), getattr(reference, f"Get{part}")(), atol=tolerance
        )


def dice(found: NDArray[np.bool_], expected: NDArray[np.bool_]) -> float:
    return float(2 * (found & expected).sum() / (found.sum() + expected.sum()))


def everything_below(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b"folder"
        for path in folder.rglob("*")
    }


# Every voxel at its place


@pytest.mark.parametrize("ending", ["nii.gz", "nii", "nrrd", "mha"])
def test_a_case_at_the_working_spacing_comes_back_exactly(
    tmp_path: Path,
    write_image: Callable[..., Path],
    bright_model: MakeModel,
    truth: Truth,
    direction: NDArray[np.float64],
    ending: str,
) -> None:
    paths = write_scans(write_image, truth, ending, origin=ORIGIN, direction=direction)
    output = tmp_path / f"seg.{ending}"
    segment_files(paths, output, model=str(bright_model()), options=CPU)
    found = sitk.ReadImage(str(output))
    assert found.GetPixelID() == sitk.sitkUInt8
    same_grid(found, sitk.ReadImage(str(paths["t1"])), 1e-12 if ending in ("nrrd", "mha") else 1e-6)
    labels = sitk.GetArrayFromImage(found)
    assert set(np.unique(labels)) == {0, 1, 2, 4}
    if np.isin(np.abs(direction), (0.0, 1.0)).all():
        np.testing.assert_array_equal(labels, truth)
    else:
        for mask, expected in zip(BRATS.to_regions(labels), BRATS.to_regions(truth)):
            assert dice(mask, expected) > 0.9


@pytest.mark.parametrize("spacing", [(0.7, 0.9, 2.5), (1.3, 0.8, 1.1)])
def test_a_case_on_any_grid(
    tmp_path: Path,
    write_image: Callable[..., Path],
    bright_model: MakeModel,
    truth: Truth,
    direction: NDArray[np.float64],
    spacing: tuple[float, float, float],
) -> None:
    geometry = {"spacing": spacing, "origin": ORIGIN, "direction": direction}
    paths = write_scans(write_image, truth, **geometry)
    report = segment_files(paths, tmp_path / "seg.nii.gz", model=str(bright_model()), options=CPU)
    found = sitk.ReadImage(str(tmp_path / "seg.nii.gz"))
    same_grid(found, sitk.ReadImage(str(paths["t1"])), 1e-6)
    masks = BRATS.to_regions(sitk.GetArrayFromImage(found))
    for mask, expected in zip(masks[:2], BRATS.to_regions(truth)):
        # On the working grid, a flat side moves by up to half a voxel.
        assert dice(mask, expected) > 0.85
        assert np.abs(np.argwhere(mask).min(axis=0) - np.argwhere(expected).min(axis=0)).max() <= 1
        assert np.abs(np.argwhere(mask).max(axis=0) - np.argwhere(expected).max(axis=0)).max() <= 1
    voxel_ml = np.prod(spacing) / 1000
    for mask, name in zip(masks, ("WT", "TC", "ET")):
        assert report["volumes_ml"][name] == pytest.approx(mask.sum() * voxel_ml, abs=5.1e-4)


def test_scans_and_reference_on_different_grids(
    tmp_path: Path,
    write_image: Callable[..., Path],
    bright_model: MakeModel,
    direction: NDArray[np.float64],
) -> None:
    """A sphere with its center at a known place of the patient, wherever the grids lie."""
    center = np.array([4.0, -6.0, 9.0])

    def ball(geometry: dict[str, Any], shape: tuple[int, ...]) -> NDArray[np.bool_]:
        scaled = np.moveaxis(np.indices(shape)[::-1], 0, -1) * geometry.get("spacing", 1.0)
        places = geometry["origin"] + scaled @ geometry.get("direction", np.eye(3)).T
        return np.linalg.norm(places - center, axis=-1) < 7.0

    grids: list[tuple[dict[str, Any], tuple[int, ...]]] = [
        ({"origin": (-12.0, -20.0, -6.0)}, (30, 30, 34)),
        ({"spacing": (0.8, 0.8, 2.0), "origin": (-12.0, -22.0, -6.0)}, (16, 40, 42)),
        (
            {"direction": direction, "origin": tuple(center - direction @ np.full(3, 15.0))},
            (31, 31, 31),
        ),
    ]
    rng = np.random.default_rng(0)
    paths = {
        name: write_image(
            f"{name}.nii.gz",
            (rng.normal(100, 2, shape) + 100 * ball(geometry, shape)).astype(np.float32),
            **geometry,
        )
        for name, (geometry, shape) in zip(("t1ce", "t2", "flair"), grids)
    }
    geometry = {
        "spacing": (1.1, 0.9, 1.5),
        "origin": tuple(center + direction @ np.array([-13.0, -15.0, -12.0])),
        "direction": direction,
    }
    shape = (20, 34, 26)
    reference = write_image("reference.nrrd", rng.random(shape), **geometry)
    output = tmp_path / "seg.nrrd"
    segment_files(paths, output, model=str(bright_model()), reference=reference, options=CPU)
    found = sitk.ReadImage(str(output))
    same_grid(found, sitk.ReadImage(str(reference)), 1e-12)
    expected = ball(geometry, shape)
    for mask in BRATS.to_regions(sitk.GetArrayFromImage(found)):
        assert dice(mask, expected) > 0.93
        np.testing.assert_allclose(
            np.argwhere(mask).mean(axis=0), np.argwhere(expected).mean(axis=0), atol=0.15
        )


def test_dicom_in_and_as_reference(
    tmp_path: Path, write_dicom: Callable[..., Path], bright_model: MakeModel, truth: Truth
) -> None:
    turn = np.deg2rad(20)
    direction = np.array(
        [[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]]
    )
    geometry = {"spacing": (0.9, 1.1, 1.5), "origin": ORIGIN, "direction": direction}
    paths = {
        name: write_dicom(name, voxels.astype(np.int16), **geometry)
        for name, voxels in scans(truth).items()
    }
    reference = write_dicom(
        "reference", truth[::2].astype(np.int16), **geometry | {"spacing": (0.9, 1.1, 3.0)}
    )
    output = tmp_path / "seg.nii.gz"
    report = segment_files(
        paths, output, model=str(bright_model()), reference=reference, options=CPU
    )
    found = sitk.ReadImage(str(output))
    assert found.GetSize() == (28, 24, 10)
    np.testing.assert_allclose(found.GetSpacing(), (0.9, 1.1, 3.0), atol=1e-6)
    np.testing.assert_allclose(found.GetOrigin(), ORIGIN, atol=1e-5)
    np.testing.assert_allclose(found.GetDirection(), direction.ravel(), atol=1e-6)
    mask = sitk.GetArrayFromImage(found) > 0
    assert dice(mask, truth[::2] > 0) > 0.9
    content = b"".join(path.read_bytes() for path in sorted(reference.iterdir()))
    assert report["reference"] == {
        "path": str(reference),
        "sha256": hashlib.sha256(content).hexdigest(),
    }


@pytest.mark.parametrize("sliding", [False, True])
@pytest.mark.parametrize("mirror", [False, True])
def test_every_way_of_computing_gives_the_same(
    bright: Model, images: dict[str, sitk.Image], truth: Truth, sliding: bool, mirror: bool
) -> None:
    options = SegmentationOptions(device="cpu", sliding=sliding, mirror=mirror)
    events: list[ProgressEvent] = []
    result = segment_case(images, bright, options=options, progress=Progress(events.append))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(result.labels), truth)
    assert result.device == "cpu" and result.windows == 1
    passes = [event.message for event in events if event.stage == "segment"]
    assert passes == ["window 1 of 1" if sliding else ""] * (8 if mirror else 1)


def test_the_order_of_the_scans_does_not_matter_but_for_the_grid(
    bright: Model, images: dict[str, sitk.Image], truth: Truth
) -> None:
    images["flair"] = sitk.Flip(images["flair"], (True, False, False))
    for first in MODALITIES:
        ordered = {first: images[first], **images}
        result = segment_case(ordered, bright, options=CPU)
        same_grid(result.labels, images[first], 0)
        expected = truth[:, :, ::-1] if first == "flair" else truth
        np.testing.assert_array_equal(sitk.GetArrayFromImage(result.labels), expected)


def test_probabilities_and_volumes(
    bright: Model, images: dict[str, sitk.Image], truth: Truth
) -> None:
    result = segment_case(images, bright, options=CPU)
    masks = BRATS.to_regions(truth)
    assert list(result.probabilities) == ["WT", "TC", "ET"]
    for (name, image), mask in zip(result.probabilities.items(), masks):
        same_grid(image, images["t1"], 0)
        assert image.GetPixelID() == sitk.sitkFloat32
        values = sitk.GetArrayFromImage(image)
        assert values.min() >= 0 and values.max() <= 1
        np.testing.assert_array_equal(values >= 0.5, mask)
        assert result.volumes_ml[name] == pytest.approx(mask.sum() / 1000)
    assert set(result.seconds) == {"prepare", "predict", "restore"}


def test_small_islands_are_removed_on_request(
    bright: Model, make_image: Callable[..., sitk.Image], truth: Truth
) -> None:
    speckled = truth.copy()
    speckled[16:18, 2:4, 22:26] = 2  # 16 mm3
    images = {name: make_image(voxels) for name, voxels in scans(speckled).items()}
    for cleanup, expected in ((CPU.cleanup, truth), (Cleanup(), speckled), (Cleanup(16), speckled)):
        options = SegmentationOptions(device="cpu", cleanup=cleanup)
        found = segment_case(images, bright, options=options).labels
        np.testing.assert_array_equal(sitk.GetArrayFromImage(found), expected)


# Confidence


def test_confidence_is_told_by_a_model_that_knows_its_doubts(
    images: dict[str, sitk.Image], bright_model: MakeModel
) -> None:
    sure = load_model(str(bright_model(temperatures=(1.0, 1.0, 1.0), doubtful_below=(0.5,) * 3)))
    result = segment_case(images, sure, options=CPU)
    assert list(result.confidence) == ["WT", "TC", "ET"]
    assert min(result.confidence.values()) > 0.95  # its answers are far from one half
    assert not any("confidence" in warning for warning in result.warnings)

    # The same answers as frequencies near one half: the masks stay, the confidence falls.
    doubtful = load_model(
        str(bright_model(temperatures=(1.0, 1.0, 200.0), doubtful_below=(0.5, 0.5, 0.9)))
    )
    other = segment_case(images, doubtful, options=CPU)
    assert (sitk.GetArrayFromImage(other.labels) == sitk.GetArrayFromImage(result.labels)).all()
    assert other.confidence["WT"] == result.confidence["WT"]
    assert other.confidence["ET"] < 0.9
    (warning,) = [text for text in other.warnings if "confidence" in text]
    assert warning.startswith("ET: low confidence (expected Dice 0.")


def test_a_model_whose_doubts_are_unknown_claims_no_confidence(
    images: dict[str, sitk.Image], bright: Model
) -> None:
    assert segment_case(images, bright, options=CPU).confidence == {}


# Modalities and warnings


def test_one_scan_may_be_missing(
    bright: Model, images: dict[str, sitk.Image], truth: Truth
) -> None:
    del images["t1"]
    result = segment_case(images, bright, options=CPU)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(result.labels), truth)
    assert "t1 is missing: the result is less reliable" in result.warnings
    images["t1"] = images.pop("flair")  # now no WT, in which the other regions lie
    result = segment_case(images, bright, options=CPU)
    assert not sitk.GetArrayFromImage(result.labels).any()
    assert sitk.GetArrayFromImage(result.probabilities["ET"]).max() < 0.01
    assert result.warnings[0] == "flair is missing: the result is less reliable"
    assert result.warnings[-1] == "nothing was found, all regions are empty"
    assert result.volumes_ml == {"WT": 0, "TC": 0, "ET": 0}


@pytest.mark.parametrize(
    ("known", "told"),
    [
        ({"t1": {"WT": 0.86, "ET": 0.62}}, " (Dice without it: WT 0.86, ET 0.62)"),
        ({"t2": {"WT": 0.86}}, ""),
        ({"t1": 0.86}, ""),
        ([], ""),
    ],
)
def test_what_a_missing_scan_costs_is_told_as_far_as_it_is_known(
    bright_model: MakeModel, known: object, told: str
) -> None:
    model = load_model(str(bright_model(metrics={"without_one_modality_dice": known})))
    warning = f"t1 is missing: the result is less reliable{told}"
    assert check_modalities(["t1ce", "t2", "flair"], model) == [warning]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            ["t1", "t2"],
            "model bright takes t1, t1ce, t2, flair, and works with 1 of them missing; missing: "
            "t1ce, flair",
        ),
        ([], "missing: t1, t1ce, t2, flair"),
        (["t1", "t1ce", "t2", "flair", "dwi"], "t1, t1ce, t2, flair, but not dwi"),
    ],
)
def test_scans_that_are_not_the_models(bright: Model, given: list[str], message: str) -> None:
    image = sitk.GetImageFromArray(np.random.default_rng(0).random((8, 8, 8)))
    with pytest.raises(InputError, match=message):
        check_modalities(given, bright)
    with pytest.raises(InputError, match=message):
        segment_case(dict.fromkeys(given, image), bright)


def test_a_model_that_needs_every_scan(bright_model: MakeModel) -> None:
    model = load_model(str(bright_model(may_miss=0)))
    assert check_modalities(list(MODALITIES), model) == []
    with pytest.raises(InputError, match=r"takes t1, t1ce, t2, flair; missing: t2$"):
        check_modalities(["t1", "t1ce", "flair"], model)


@pytest.mark.parametrize(
    ("spacing", "warning"),
    [
        (6.0, "fills 2903 ml, more than a brain: they must be skull-stripped"),
        (5.0, None),
        (3.0, "fills only 363 ml, less than a brain"),
    ],
)
def test_what_is_no_brain_is_warned_of(
    bright_model: MakeModel,
    make_image: Callable[..., sitk.Image],
    truth: Truth,
    spacing: float,
    warning: str | None,
) -> None:
    model = load_model(str(bright_model(spacing_mm=(spacing,) * 3)))
    images = {name: make_image(voxels, (spacing,) * 3) for name, voxels in scans(truth).items()}
    result = segment_case(images, model, options=CPU)
    assert len(result.warnings) == (1 if warning else 0)
    assert warning is None or warning in result.warnings[0]


def test_other_organs_are_not_measured_against_a_brain(
    bright: Model, images: dict[str, sitk.Image]
) -> None:
    assert "less than a brain" in segment_case(images, bright, options=CPU).warnings[0]
    scheme = bright.card.scheme
    for region in scheme["regions"]:
        region["terminology"]["anatomic_region"] = None
    model = Model(bright.network, replace(bright.card, scheme=scheme))
    assert segment_case(images, model, options=CPU).warnings == []


def test_what_happened_to_the_memory_is_told(
    bright: Model, images: dict[str, sitk.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("MISSUCore.inference.predictor.free_memory_bytes", lambda device: 0)
    result = segment_case(images, bright, options=CPU)
    assert "too little memory for a single pass, used a sliding window" in result.warnings


def test_a_reference_somewhere_else(
    bright: Model, images: dict[str, sitk.Image], make_image: Callable[..., sitk.Image]
) -> None:
    reference = make_image(np.zeros((8, 8, 8)), origin=(500.0, 0.0, 0.0))
    with pytest.raises(InputError, match="the reference lies apart in space from the scans"):
        segment_case(images, bright, reference, CPU)


# The report and the files


def test_the_report(
    tmp_path: Path, paths: dict[str, Path], bright_model: MakeModel, truth: Truth
) -> None:
    weights = bright_model()
    output, report = tmp_path / "out" / "seg.nii.gz", tmp_path / "out" / "report.json"
    options = SegmentationOptions(device="cpu", cleanup=Cleanup(50.0, 5.0))
    facts = segment_files(paths, output, model=str(weights), report=report, options=options)
    assert json.loads(report.read_text()) == facts
    assert facts["inputs"] == {
        name: {"path": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        for name, path in paths.items()
    }
    assert facts["model"] == {
        "name": "bright",
        "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
    }
    labels = sitk.GetArrayFromImage(sitk.ReadImage(str(output)))
    assert facts["volumes_ml"] == {
        "WT": (labels > 0).sum() / 1000,
        "TC": np.isin(labels, (1, 4)).sum() / 1000,
        "ET": (labels == 4).sum() / 1000,
    }
    assert facts["volumes_ml"]["WT"] == (truth > 0).sum() / 1000 > 0
    assert facts["options"] == {
        "device": "cpu",
        "mirror": False,
        "sliding": None,
        "cleanup": {
            "minimum_island_mm3": 50.0,
            "minimum_innermost_mm3": 5.0,
            "fill_holes": False,
        },
    }
    assert facts["output"] == str(output)
    assert facts["reference"] is None
    assert facts["device"] == "cpu" and facts["windows"] == 1
    assert facts["missu_version"] == __version__
    assert "not a medical device" in facts["notice"]
    assert datetime.fromisoformat(facts["created"]).tzinfo is not None
    assert facts["warnings"] == ["what is not 0 in the scans fills only 13 ml, less than a brain"]
    seconds = facts["seconds"]
    assert set(seconds) == {"read", "prepare", "predict", "restore", "write", "total"}
    assert seconds["total"] == pytest.approx(
        sum(value for stage, value in seconds.items() if stage != "total"), abs=0.5
    )


def test_probability_files(
    tmp_path: Path, paths: dict[str, Path], bright_model: MakeModel, truth: Truth
) -> None:
    output = tmp_path / "out" / "patient.1.nii.gz"
    output.parent.mkdir()
    segment_files(paths, output, model=str(bright_model()), probabilities=True, options=CPU)
    files = {path.name for path in output.parent.iterdir()}
    maps = {f"patient_probability_{name}.1.nii.gz" for name in ("WT", "TC", "ET")}
    assert files == {"patient.1.nii.gz", *maps}
    for name, mask in zip(("WT", "TC", "ET"), BRATS.to_regions(truth)):
        image = sitk.ReadImage(str(output.with_name(f"patient_probability_{name}.1.nii.gz")))
        same_grid(image, sitk.ReadImage(str(paths["t1"])), 1e-6)
        np.testing.assert_array_equal(sitk.GetArrayFromImage(image) >= 0.5, mask)


def test_progress_ends_with_the_whole(
    tmp_path: Path, paths: dict[str, Path], bright_model: MakeModel
) -> None:
    events: list[ProgressEvent] = []
    output = tmp_path / "seg.nrrd"
    segment_files(
        paths, output, model=str(bright_model()), options=CPU, progress=Progress(events.append)
    )
    fractions = [event.fraction for event in events]
    assert fractions == sorted(fractions)
    assert [event.stage for event in events] == [
        "read",
        "prepare",
        "segment",
        "restore",
        "write",
        "done",
    ]
    assert events[-1].fraction == 1.0 and events[-1].message == f"wrote {output}"


# What cannot be done is refused before anything is written


@pytest.mark.parametrize(
    "name", ["seg", "seg.txt", "seg.png", "seg.mhd", "seg.nhdr", "seg.NII.GZ", "seg.nii.gz.bak"]
)
def test_an_unknown_ending(
    tmp_path: Path, paths: dict[str, Path], bright_model: MakeModel, name: str
) -> None:
    model = str(bright_model())
    before = everything_below(tmp_path)
    with pytest.raises(InputError, match=r"give a file that ends in \.nii\.gz, \.nii, \.nrrd"):
        segment_files(paths, tmp_path / name, model=model)
    assert everything_below(tmp_path) == before


def test_what_is_wrong_is_refused_before_the_scans_are_read(
    tmp_path: Path,
    paths: dict[str, Path],
    bright_model: MakeModel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = str(bright_model())
    old = tmp_path / "old.nii.gz"
    old.write_text("old")
    (tmp_path / "file").touch()
    os.link(paths["t2"], tmp_path / "link.nii.gz")
    new = tmp_path / "new.nii.gz"
    report = tmp_path / "report.json"
    report.write_text("old")
    (tmp_path / "seg_probability_TC.nii.gz").write_text("old")
    before = everything_below(tmp_path)

    def read(paths: object) -> None:
        pytest.fail("scans were read")

    monkeypatch.setattr("MISSUCore.inference.segmentation.read_case", read)
    options: dict[str, Any]
    for output, options, message in (
        (old, {}, "old.nii.gz: exists already; add --overwrite"),
        (new, {"report": report}, "report.json: exists already"),
        (
            tmp_path / "seg.nii.gz",
            {"probabilities": True},
            "seg_probability_TC.nii.gz: exists already",
        ),
        (paths["flair"], {"overwrite": True}, "flair.nii.gz: is an input too, and would be lost"),
        (tmp_path / "link.nii.gz", {"overwrite": True}, "link.nii.gz: is an input too"),
        (old, {"overwrite": True, "reference": old}, "old.nii.gz: is an input too"),
        (new, {"report": new}, "new.nii.gz: is to be written twice"),
        (new, {"report": tmp_path / "models" / ".." / "new.nii.gz"}, "is to be written twice"),
        (tmp_path / "file" / "seg.nii.gz", {}, "seg.nii.gz: cannot be written"),
        (new, {"model": "no such model"}, "no model 'no such model'"),
        (new, {"options": SegmentationOptions(device="gpu")}, "device 'gpu' is unknown"),
    ):
        with pytest.raises(InputError) as caught:
            segment_files(paths, output, **{"model": model, "options": CPU, **options})
        assert message in str(caught.value)
        assert everything_below(tmp_path) == before
    del paths["t1"], paths["t2"]
    with pytest.raises(InputError, match="missing: t1, t2"):
        segment_files(paths, new, model=model, options=CPU)
    assert everything_below(tmp_path) == before


def test_bad_scans_leave_nothing_behind(
    tmp_path: Path, paths: dict[str, Path], bright_model: MakeModel
) -> None:
    model = str(bright_model())
    paths["t2"].write_bytes(paths["t2"].read_bytes()[:-50])
    before = everything_below(tmp_path)
    with pytest.raises(InputError, match=r"t2\.nii\.gz: is damaged or cut off"):
        segment_files(paths, tmp_path / "new" / "seg.nii.gz", model=model, options=CPU)
    assert everything_below(tmp_path) == before


# Failures in the middle


def test_a_failure_in_the_middle_keeps_the_old_files(
    tmp_path: Path,
    paths: dict[str, Path],
    bright_model: MakeModel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = str(bright_model())
    output, report = tmp_path / "seg.nii.gz", tmp_path / "report.json"
    everything = {
        "model": model,
        "report": report,
        "probabilities": True,
        "overwrite": True,
        "options": CPU,
    }
    output.write_text("old labels")
    report.write_text("old report")
    before = everything_below(tmp_path)
    write = sitk.WriteImage

    def fail_at(number: int) -> Callable[..., None]:
        calls = iter(range(1, 100))

        def write_or_fail(image: sitk.Image, name: str, **options: object) -> None:
            if next(calls) == number:
                Path(name).write_text("half")
                raise RuntimeError("ITK could not write")
            write(image, name, **options)

        return write_or_fail

    for number in (1, 2, 4):
        with monkeypatch.context() as patched:
            patched.setattr(sitk, "WriteImage", fail_at(number))
            with pytest.raises(ResourceError, match=r"\.nii\.gz: cannot be written; is the disk"):
                segment_files(paths, output, **everything)
        assert everything_below(tmp_path) == before
    with monkeypatch.context() as patched:
        patched.setattr(
            Path, "write_text", lambda *args, **options: (_ for _ in ()).throw(OSError(28, "full"))
        )
        with pytest.raises(ResourceError, match=r"report\.json: the disk is full"):
            segment_files(paths, output, **everything)
    assert everything_below(tmp_path) == before
    segment_files(paths, output, **everything)
    added = everything_below(tmp_path).keys() - before.keys()
    assert added == {f"seg_probability_{name}.nii.gz" for name in ("WT", "TC", "ET")}
    assert report.read_text() != "old report" and output.read_bytes() != b"old labels"


@pytest.mark.parametrize("ending", ["nii", "nii.gz", "nrrd", "mha"])
def test_a_full_disk_leaves_no_half_written_image(
    tmp_path: Path,
    paths: dict[str, Path],
    bright_model: MakeModel,
    file_size_limit: Callable[[int], AbstractContextManager[None]],
    ending: str,
) -> None:
    model = str(bright_model())
    output = tmp_path / f"seg.{ending}"
    output.write_text("old")
    before = everything_below(tmp_path)
    full = pytest.raises(ResourceError, match=f"seg.{ending}: cannot be written; is the disk full")
    with full, file_size_limit(380 if ending == "nii" else 60):  # less than the image takes
        segment_files(paths, output, model=model, overwrite=True, options=CPU)
    assert everything_below(tmp_path) == before


def test_too_little_memory_leaves_nothing(
    tmp_path: Path,
    paths: dict[str, Path],
    bright_model: MakeModel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_memory(*args: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: not enough memory")

    model = str(bright_model())
    before = everything_below(tmp_path)
    monkeypatch.setattr(torch.nn.Conv3d, "forward", no_memory)
    with pytest.raises(ResourceError, match="out of memory"):
        segment_files(paths, tmp_path / "seg.nii.gz", model=model, options=CPU)
    assert everything_below(tmp_path) == before
