"""From files to files with a model whose answer is known: every file at its place, or none."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from numpy.typing import NDArray

from MISSUCore import __version__
from MISSUCore.contract.labels import BRATS
from MISSUCore.contract.segmentation_report import read_report
from MISSUCore.core.errors import InputError, ResourceError
from MISSUCore.core.events import Progress, ProgressEvent
from MISSUCore.inference import case_files, case_scans
from MISSUCore.inference.postprocessing import Cleanup
from MISSUCore.inference.radiomics.files import RadiomicsFiles
from MISSUCore.inference.result_files import ResultFiles
from MISSUCore.inference.segmentation import SegmentationOptions
from MISSUCore.preprocessing import pipeline as preprocessing
from MISSUCore.preprocessing.pipeline import AS_THEY_ARE, PreprocessingOptions
from MISSUCore.preprocessing.registration.rigid import Registration, Target, moved
from MISSUCore.preprocessing.registration.search import rigid_inverse

ORIGIN = (-31.0, 42.5, 17.25)
CPU = SegmentationOptions(device="cpu")
MakeModel = Callable[..., Path]
MakeScans = Callable[[NDArray[np.uint8]], dict[str, NDArray[np.float32]]]
SameGrid = Callable[[sitk.Image, sitk.Image, float], None]
Truth = NDArray[np.uint8]
WriteScans = Callable[..., dict[str, Path]]
# What is done to raw scans comes at the end; these are not brains.
read_report_of = partial(case_files.segment_files, preprocessing=AS_THEY_ARE)


def segment_files(*arguments: Any, **options: Any) -> Mapping[str, Any]:
    """What the report file would hold."""
    return read_report_of(*arguments, **options).to_dict()


def dice(found: NDArray[np.bool_], expected: NDArray[np.bool_]) -> float:
    return float(2 * (found & expected).sum() / (found.sum() + expected.sum()))


def everything_below(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b"folder"
        for path in folder.rglob("*")
    }


@pytest.mark.parametrize("ending", ["nii.gz", "nii", "nrrd", "mha"])
def test_a_case_at_the_working_spacing_comes_back_exactly(
    tmp_path: Path,
    write_image: Callable[..., Path],
    bright_model: MakeModel,
    truth: Truth,
    direction: NDArray[np.float64],
    ending: str,
    same_grid: SameGrid,
    write_scans: WriteScans,
) -> None:
    paths = write_scans(truth, ending, origin=ORIGIN, direction=direction)
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
    same_grid: SameGrid,
    write_scans: WriteScans,
) -> None:
    geometry = {"spacing": spacing, "origin": ORIGIN, "direction": direction}
    paths = write_scans(truth, **geometry)
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
    same_grid: SameGrid,
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
    tmp_path: Path,
    write_dicom: Callable[..., Path],
    bright_model: MakeModel,
    truth: Truth,
    scans: MakeScans,
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
        "preprocessing": asdict(AS_THEY_ARE),
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
    assert facts["reference"] == {
        "path": str(paths["t1ce"]),
        "sha256": facts["inputs"]["t1ce"]["sha256"],
    }
    assert facts["sequences"] == {}
    assert facts["device"] == "cpu" and facts["windows"] == 1
    assert facts["missu_version"] == __version__
    assert "not a medical device" in facts["notice"]
    assert datetime.fromisoformat(facts["created"]).tzinfo is not None
    assert facts["warnings"] == ["nonzero voxels of the scans fill only 13 ml, less than a brain"]
    seconds = facts["seconds"]
    assert set(seconds) == {"read", "prepare", "predict", "restore", "write", "total"}
    assert seconds["total"] == pytest.approx(
        sum(value for stage, value in seconds.items() if stage != "total"), abs=0.5
    )


def test_a_doubtful_place_is_told(
    tmp_path: Path, paths: dict[str, Path], bright_model: MakeModel
) -> None:
    nibabel = pytest.importorskip("nibabel")
    scan = nibabel.load(paths["t2"])
    elsewhere = scan.affine + np.eye(4, k=3) * 25.0  # to the patient's right
    scan = nibabel.Nifti1Image(np.asarray(scan.dataobj), scan.affine)
    scan.set_qform(scan.affine, 1)
    scan.set_sform(elsewhere, 2)
    nibabel.save(scan, paths["t2"])
    report = segment_files(paths, tmp_path / "seg.nii.gz", model=str(bright_model()), options=CPU)
    (warning,) = (text for text in report["warnings"] if "two places" in text)
    assert str(paths["t2"]) in warning and "25 mm" in warning


def test_probability_files(
    tmp_path: Path,
    paths: dict[str, Path],
    bright_model: MakeModel,
    truth: Truth,
    same_grid: SameGrid,
) -> None:
    output = tmp_path / "out" / "patient.1.nii.gz"
    output.parent.mkdir()
    wanted = ResultFiles(output, probabilities=True)
    segment_files(paths, wanted, model=str(bright_model()), options=CPU)
    files = {path.name for path in output.parent.iterdir()}
    maps = {f"patient.1_probability_{name}.nii.gz" for name in ("WT", "TC", "ET")}
    assert files == {"patient.1.nii.gz", *maps}
    for name, mask in zip(("WT", "TC", "ET"), BRATS.to_regions(truth)):
        image = sitk.ReadImage(str(output.with_name(f"patient.1_probability_{name}.nii.gz")))
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

    monkeypatch.setattr("MISSUCore.inference.case_scans.read_case", read)
    options: dict[str, Any]
    for output, options, message in (
        (old, {}, "old.nii.gz: exists already; add --overwrite"),
        (new, {"report": report}, "report.json: exists already"),
        (
            ResultFiles(tmp_path / "seg.nii.gz", probabilities=True),
            {},
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


def test_a_failure_in_the_middle_keeps_the_old_files(
    tmp_path: Path,
    paths: dict[str, Path],
    bright_model: MakeModel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = str(bright_model())
    output, report = tmp_path / "seg.nii.gz", tmp_path / "report.json"
    wanted = ResultFiles(output, report, probabilities=True)
    everything = {"model": model, "overwrite": True, "options": CPU}
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
                segment_files(paths, wanted, **everything)
        assert everything_below(tmp_path) == before
    with monkeypatch.context() as patched:
        patched.setattr(
            Path, "write_text", lambda *args, **options: (_ for _ in ()).throw(OSError(28, "full"))
        )
        with pytest.raises(ResourceError, match=r"report\.json: the disk is full"):
            segment_files(paths, wanted, **everything)
    assert everything_below(tmp_path) == before
    segment_files(paths, wanted, **everything)
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


# Scans that had to be moved


def turned(degrees: float, shift_mm: tuple[float, float, float]) -> sitk.Euler3DTransform:
    transform = sitk.Euler3DTransform()
    transform.SetRotation(np.radians(degrees), 0.0, np.radians(degrees / 2))
    transform.SetCenter((-15.0, 50.0, 25.0))
    transform.SetTranslation(shift_mm)
    return transform


@pytest.fixture
def moved_case(
    tmp_path: Path, paths: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> tuple[dict[str, Path], dict[str, sitk.Euler3DTransform]]:
    """Scans whose headers say other places than where they belong, and where they belong.

    Registration is told the answer: what is tested is what is made of it.
    """
    moves = {"t1ce": turned(12, (3.0, -4.0, 2.0)), "t2": turned(-8, (0.0, 6.0, -3.0))}
    moves["flair"] = turned(0, (0.0, 0.0, 0.0))
    moved_paths = {"t1": paths["t1"]}
    for name, transform in moves.items():
        image = moved(sitk.ReadImage(str(paths[name])), rigid_inverse(transform))
        moved_paths[name] = tmp_path / f"moved_{name}.nii.gz"
        sitk.WriteImage(image, str(moved_paths[name]))

    def register_on(
        target: Target, moving: Any, mask: Any, name: str, **given: Any
    ) -> Registration:
        return Registration(moves[name], 1.1, 5.0, name == "flair", [])

    monkeypatch.setattr(preprocessing, "register_on", register_on)
    return moved_paths, moves


REGISTER = PreprocessingOptions(brain_extraction=False)


@pytest.mark.parametrize("reference", [None, "t1", "t2", "flair", "path of t2"])
def test_the_result_lies_where_the_reference_says_it_is(
    tmp_path: Path,
    moved_case: tuple[dict[str, Path], dict[str, sitk.Euler3DTransform]],
    bright_model: MakeModel,
    truth: Truth,
    same_grid: SameGrid,
    reference: str | None,
) -> None:
    """The scans hold the same voxels at different places, so the truth is theirs, voxel for voxel.

    What rounding of headers costs at the edges of the boxes is allowed for.
    """
    scans, _ = moved_case
    given = scans["t2"] if reference == "path of t2" else reference
    output = tmp_path / "seg.nii.gz"
    report = segment_files(
        scans,
        ResultFiles(output, probabilities=True),
        model=str(bright_model()),
        reference=given,
        preprocessing=REGISTER,
        options=CPU,
    )
    wanted = scans[{None: "t1ce", "path of t2": "t2"}.get(reference, reference)]
    found = sitk.ReadImage(str(output))
    same_grid(found, sitk.ReadImage(str(wanted)), 1e-5)
    labels = sitk.GetArrayFromImage(found)
    for mask, expected in zip(BRATS.to_regions(labels), BRATS.to_regions(truth)):
        # Scans that lie obliquely to the network's grid are interpolated.
        assert dice(mask, expected) > (0.99 if wanted in (scans["t1"], scans["flair"]) else 0.9)
        np.testing.assert_allclose(
            np.argwhere(mask).mean(axis=0), np.argwhere(expected).mean(axis=0), atol=0.15
        )
    same_grid(
        sitk.ReadImage(str(tmp_path / "seg_probability_ET.nii.gz")),
        sitk.ReadImage(str(wanted)),
        1e-5,
    )
    assert report["reference"]["path"] == str(wanted)


def test_the_transforms_are_saved(
    tmp_path: Path,
    moved_case: tuple[dict[str, Path], dict[str, sitk.Euler3DTransform]],
    bright_model: MakeModel,
) -> None:
    scans, moves = moved_case
    (tmp_path / "out").mkdir()
    output = tmp_path / "out" / "seg.nii.gz"
    report = segment_files(
        scans, output, model=str(bright_model()), preprocessing=REGISTER, options=CPU
    )
    names = {name: f"seg_transform_{name}.tfm" for name in moves}
    assert {path.name for path in output.parent.iterdir()} == {"seg.nii.gz", *names.values()}
    for name, move in moves.items():
        assert report["registration"]["scans"][name]["transform"] == names[name]
        saved = sitk.ReadTransform(str(output.with_name(names[name])))
        for point in ((0.0, 0.0, 0.0), (-20.0, 55.0, 30.0)):
            np.testing.assert_allclose(saved.TransformPoint(point), move.TransformPoint(point))


def test_a_reference_that_is_no_scan_lies_in_the_space_of_t1(
    tmp_path: Path,
    moved_case: tuple[dict[str, Path], dict[str, sitk.Euler3DTransform]],
    bright_model: MakeModel,
    truth: Truth,
) -> None:
    scans, _ = moved_case
    reference = tmp_path / "planning.nii.gz"
    sitk.WriteImage(sitk.ReadImage(str(scans["t1"]))[2:, 3:, 1:], str(reference))
    output = tmp_path / "seg.nii.gz"
    segment_files(
        scans,
        output,
        model=str(bright_model()),
        reference=reference,
        preprocessing=REGISTER,
        options=CPU,
    )
    labels = sitk.GetArrayFromImage(sitk.ReadImage(str(output)))
    for mask, expected in zip(BRATS.to_regions(labels), BRATS.to_regions(truth)):
        assert dice(mask, expected[1:, 3:, 2:]) > 0.99


def test_a_reference_on_the_grid_of_a_scan_lies_where_that_is(
    tmp_path: Path,
    moved_case: tuple[dict[str, Path], dict[str, sitk.Euler3DTransform]],
    bright_model: MakeModel,
    truth: Truth,
    same_grid: SameGrid,
) -> None:
    """As labels that someone has drawn on T2."""
    scans, _ = moved_case
    drawn = tmp_path / "drawn.nii.gz"
    t2 = sitk.ReadImage(str(scans["t2"]))
    sitk.WriteImage(sitk.Cast(t2 > 150, sitk.sitkUInt8), str(drawn))
    output = tmp_path / "seg.nii.gz"
    report = segment_files(
        scans,
        output,
        model=str(bright_model()),
        reference=drawn,
        preprocessing=REGISTER,
        options=CPU,
    )
    found = sitk.ReadImage(str(output))
    same_grid(found, t2, 1e-5)
    labels = sitk.GetArrayFromImage(found)
    for mask, expected in zip(BRATS.to_regions(labels), BRATS.to_regions(truth)):
        assert dice(mask, expected) > 0.9
    assert report["reference"]["path"] == str(drawn)


@pytest.mark.parametrize("reference", [None, "t1", "t2"])
def test_scans_on_the_reference_lie_where_its_header_says(
    moved_case: tuple[dict[str, Path], dict[str, sitk.Euler3DTransform]], reference: str | None
) -> None:
    """A voxel of any scan comes to where the same voxel of the reference is: they are one image."""
    scans, _ = moved_case
    found = case_scans.read_scans(scans, BRATS, reference, preprocessing=REGISTER).on_reference()
    header = sitk.ReadImage(str(scans[reference or "t1ce"]))
    for image in found.values():
        for index in ((0, 0, 0), (9, 2, 5), (3, 11, 7)):
            np.testing.assert_allclose(
                image.TransformIndexToPhysicalPoint(index),
                header.TransformIndexToPhysicalPoint(index),
                atol=1e-4,
            )


def test_what_belongs_to_an_earlier_result_goes_with_it(
    tmp_path: Path, paths: dict[str, Path], bright_model: MakeModel
) -> None:
    output = tmp_path / "seg.nii.gz"
    outdated = [
        tmp_path / "seg_transform_t2.tfm",
        tmp_path / "seg_transform_flair.tfm",
        tmp_path / "seg_probability_WT.nii.gz",
    ]
    for path in outdated:
        path.write_text("old")
    del paths["flair"]
    model = str(bright_model(may_miss=1))
    with pytest.raises(InputError, match=r"seg_probability_WT\.nii\.gz: exists already"):
        segment_files(paths, output, model=model, options=CPU)
    assert all(path.exists() for path in outdated)
    segment_files(paths, output, model=model, overwrite=True, options=CPU)
    assert output.exists() and not any(path.exists() for path in outdated)


def test_nothing_moved_no_transforms(
    tmp_path: Path,
    paths: dict[str, Path],
    bright_model: MakeModel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    still = Registration(turned(0, (0.0, 0.0, 0.0)), 1.1, 0.0, True, [])
    monkeypatch.setattr(preprocessing, "register_on", lambda *scans, **given: still)
    output = tmp_path / "seg.nii.gz"
    report = segment_files(
        paths, output, model=str(bright_model()), preprocessing=REGISTER, options=CPU
    )
    assert not list(tmp_path.glob("*.tfm"))
    assert "transform" not in report["registration"]["scans"]["t2"]


def test_the_quality_page_is_written(
    tmp_path: Path, paths: dict[str, Path], bright_model: MakeModel
) -> None:
    page = tmp_path / "page.html"
    segment_files(
        paths, tmp_path / "seg.nii.gz", model=str(bright_model()), quality_page=page, options=CPU
    )
    text = page.read_text(encoding="utf-8")
    assert "t1ce.nii.gz" in text and "data:image/png;base64," in text


@pytest.mark.parametrize("what", ["slice", "weights", "card", "sidecar"])
def test_nothing_that_is_read_is_replaced(
    what: str, write_dicom: Callable, paths: dict[str, Path], bright_model: Callable, tmp_path: Path
) -> None:
    series = write_dicom("series", np.ones((20, 24, 28), np.int16))
    weights = bright_model()
    sidecar = tmp_path / "t1.json"
    sidecar.write_text("{}")
    report = {
        "slice": sorted(series.iterdir())[3],
        "weights": weights,
        "card": weights.with_suffix(".json"),
        "sidecar": sidecar,
    }[what]
    before = report.read_bytes()
    scans = {**paths, "t2": series}
    with pytest.raises(InputError):
        segment_files(
            scans, tmp_path / "new.nii.gz", model=str(weights), report=report, overwrite=True
        )
    assert report.read_bytes() == before


def test_further_maps_are_measured_where_the_reference_lies(
    tmp_path: Path,
    write_image: Callable[..., Path],
    bright_model: MakeModel,
    truth: Truth,
    write_scans: WriteScans,
) -> None:
    """A map with a value for each label, and a voxel of ET that is not a number."""
    geometry = {"origin": ORIGIN, "direction": np.diag([-1.0, -1.0, 1.0])}
    paths = write_scans(truth, **geometry)
    values = np.select([truth == 2, truth == 1, truth == 4], [3.0, 1.0, 8.0], 20.0)
    values[8, 15, 9] = np.nan  # of ET
    adc = write_image("adc.nii.gz", values.astype(np.float32), **geometry)
    before = adc.read_bytes()
    report = read_report_of(
        paths,
        tmp_path / "seg.nii.gz",
        model=str(bright_model()),
        maps={"ADC": adc},
        report=tmp_path / "report.json",
        quality_page=tmp_path / "page.html",
        options=CPU,
    )
    counts = {value: int((truth == value).sum()) for value in (1, 2, 4)}
    assert counts == {1: 6 * 6 * 8 - 125, 2: 10 * 9 * 12 - 6 * 6 * 8, 4: 125}
    told = report.maps["ADC"].regions
    assert (told["ET"].voxels, told["ET"].mean) == (124, 8.0)
    assert told["ET"].covered == pytest.approx(124 / 125)
    assert told["TC"].mean == pytest.approx((163 * 1 + 124 * 8) / 287)
    assert told["WT"].mean == pytest.approx((792 * 3 + 163 * 1 + 124 * 8) / 1079)
    assert (told["WT"].minimum, told["WT"].median, told["WT"].maximum) == (1.0, 3.0, 8.0)
    assert read_report(tmp_path / "report.json").maps == report.maps
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Further maps" in page and ">124<" in page
    assert adc.read_bytes() == before


def test_maps_that_do_not_fit_are_refused_and_nothing_is_written(
    tmp_path: Path,
    paths: dict[str, Path],
    write_image: Callable[..., Path],
    bright_model: MakeModel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = str(bright_model())
    voxels = np.random.default_rng(0).random((20, 24, 28), dtype=np.float32)
    far = write_image("far.nii.gz", voxels, origin=(900.0, 0.0, 0.0))
    near = write_image("near.nii.gz", voxels, origin=ORIGIN)
    before = everything_below(tmp_path)
    monkeypatch.setattr(case_files, "segment_case", lambda *_: pytest.fail("is computed"))
    for maps, output, message in (
        ({"CBV": far}, "seg.nii.gz", r"far\.nii\.gz: the map CBV lies apart in space"),
        ({"CBV": near.with_name("no.nii")}, "seg.nii.gz", r"no\.nii: no such file"),
        ({"CBV": near}, "near.nii.gz", r"near\.nii\.gz: is an input too"),
    ):
        with pytest.raises(InputError, match=message):
            segment_files(paths, tmp_path / output, model=model, maps=maps, overwrite=True)
        assert everything_below(tmp_path) == before


@pytest.mark.parametrize("reference", ["t1ce", "t2"])
def test_maps_and_radiomics_follow_the_reference_to_where_its_header_is(
    tmp_path: Path,
    moved_case: tuple[dict[str, Path], dict[str, sitk.Euler3DTransform]],
    bright_model: MakeModel,
    same_grid: SameGrid,
    reference: str,
) -> None:
    """Voxels of the map are numbered, and lie on the reference: so its figures are the labels'."""
    given, _ = moved_case
    scan = sitk.ReadImage(str(given[reference]))
    numbers = np.arange(np.prod(scan.GetSize()), dtype=np.float32).reshape(scan.GetSize()[::-1])
    numbered = sitk.GetImageFromArray(numbers)
    numbered.CopyInformation(scan)
    sitk.WriteImage(numbered, str(tmp_path / "adc.nii.gz"))
    folder = tmp_path / "features"
    report = read_report_of(
        given,
        ResultFiles(tmp_path / "seg.nii.gz", radiomics=RadiomicsFiles(folder, "p1")),
        model=str(bright_model()),
        reference=reference,
        maps={"ADC": tmp_path / "adc.nii.gz"},
        preprocessing=REGISTER,
        options=CPU,
    )
    labels = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "seg.nii.gz")))
    for name, mask in zip(("WT", "TC", "ET"), BRATS.to_regions(labels)):
        told = report.maps["ADC"].regions[name]
        assert (told.covered, told.voxels) == (1.0, mask.sum())
        assert told.mean == pytest.approx(numbers[mask].mean(dtype=np.float64))
        assert (told.minimum, told.maximum) == (numbers[mask].min(), numbers[mask].max())
        stored = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / f"mask_{name}.nii.gz")))
        np.testing.assert_array_equal(stored, mask)
    inside = (slice(4, -4),) * 3  # beyond it, a scan that lies obliquely may show nothing
    for name, path in given.items():
        image = sitk.ReadImage(str(folder / f"{name}.nii.gz"))
        same_grid(image, scan, 1e-5)
        found, own = (sitk.GetArrayFromImage(one) for one in (image, sitk.ReadImage(str(path))))
        if name == reference:
            np.testing.assert_array_equal(found, own)
        # All scans hold the same place in the same voxel.
        assert np.corrcoef(found[inside].ravel(), own[inside].ravel())[0, 1] > 0.9 or name == "t1"
