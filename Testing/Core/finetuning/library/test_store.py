"""The library of corrected cases: what is stored, what is refused, and what a kill leaves."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from MISSUCore.contract.case_record import Change
from MISSUCore.contract.labels import BRATS
from MISSUCore.contract.model_identity import ModelIdentity
from MISSUCore.contract.provenance.record import Edit, Provenance
from MISSUCore.core.errors import InputError, ResourceError
from MISSUCore.core.files import folder_lock
from MISSUCore.finetuning.library.details import CaseDetails
from MISSUCore.finetuning.library.store import CaseLibrary
from MISSUCore.io.reading import read_case

NOW = "2026-11-27T10:40:00+00:00"
SHAPE = (12, 14, 16)
BLOCK = (slice(2, 10), slice(2, 12), slice(3, 13))  # the brain
OBLIQUE = sitk.Euler3DTransform((0, 0, 0), 0.3, -0.2, 0.4).GetMatrix()


def scan(seed: int) -> np.ndarray:
    voxels = np.zeros(SHAPE, np.float32)
    voxels[BLOCK] = np.random.default_rng(seed).uniform(10, 20, (8, 10, 10))
    return voxels


def tumor() -> np.ndarray:
    labels = np.zeros(SHAPE, np.uint8)
    labels[4:8, 4:9, 5:10] = 2
    labels[5:7, 5:8, 6:9] = 1
    labels[6, 6, 7] = 4
    return labels


@pytest.fixture
def library(tmp_path: Path) -> CaseLibrary:
    return CaseLibrary(tmp_path / "library")


@pytest.fixture
def add(library: CaseLibrary, write_image: Callable[..., Path]) -> Callable[..., object]:
    """Adds a case of T1 and FLAIR, with these labels and geometry, to the library."""

    def call(labels=None, seed=0, label_geometry=None, scheme=BRATS, ending=".nii.gz", **details):
        geometry = {"spacing": (5.0, 6.0, 7.0), "direction": OBLIQUE, "origin": (3.0, -4.0, 5.0)}
        paths = {
            name: write_image(f"John_Doe_{name}{ending}", scan(2 * seed + number), **geometry)
            for number, name in enumerate(("t1", "flair"))
        }
        labels = write_image(
            "labels.nii.gz", tumor() if labels is None else labels, **(label_geometry or geometry)
        )
        return library.add(read_case(paths).images, labels, scheme, CaseDetails(**details))

    return call


def test_what_is_stored_is_what_was_given(library: CaseLibrary, add: Callable) -> None:
    model = ModelIdentity("some", "abc")
    record = add(scene="Monday", note="a note", model=model)
    assert library.records() == [record]
    assert (record.scene, record.note, record.model) == ("Monday", "a note", model)
    voxel_ml = 5 * 6 * 7 / 1000
    assert record.volumes_ml == pytest.approx(
        {"WT": 100 * voxel_ml, "TC": 18 * voxel_ml, "ET": voxel_ml}, abs=1e-3
    )
    ((_, case),) = library.labeled_cases()
    stored = sitk.ReadImage(str(case.images["flair"]))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(stored), scan(1))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(case.labels))), tumor())
    np.testing.assert_allclose(stored.GetDirection(), OBLIQUE, atol=1e-5)
    np.testing.assert_allclose(stored.GetSpacing(), (5, 6, 7), rtol=1e-5)
    np.testing.assert_allclose(stored.GetOrigin(), (3, -4, 5), atol=1e-4)


def test_nothing_of_the_source_is_stored(
    library: CaseLibrary, write_dicom: Callable, write_image: Callable, tmp_path: Path
) -> None:
    voxels = scan(0).astype(np.int16)
    series = write_dicom("Doe^John", voxels, spacing=(5.0, 6.0, 7.0))
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for path in series.iterdir():
        image = sitk.ReadImage(str(path))
        image.SetMetaData("0010|0010", "Doe^John")
        image.SetMetaData("0008|103e", "Doe^John T1")
        writer.SetFileName(str(path))
        writer.Execute(image)
    case = read_case({"t1": series})
    labels = sitk.GetImageFromArray(tumor())
    labels.CopyInformation(case.images["t1"])
    labels.SetMetaData("ITK_FileNotes", "Doe^John")
    sitk.WriteImage(labels, str(tmp_path / "Doe^John.nrrd"))
    library.add(case.images, tmp_path / "Doe^John.nrrd", BRATS)
    files = [path for path in library.folder.rglob("*") if path.is_file()]
    names = sorted(path.name for path in files)
    assert names == [".lock", "labels.nii.gz", "record.json", "t1.nii.gz"]
    for path in files:
        content = path.read_bytes()
        content += gzip.decompress(content) if path.suffix == ".gz" else b""
        for secret in (b"John", b"Doe", str(tmp_path).encode()):
            assert secret not in content
    descriptions = [sitk.ReadImage(str(path)) for path in files if path.suffix == ".gz"]
    assert all(image.GetMetaData("descrip") == "" for image in descriptions)


def test_scans_are_resampled_in_space(
    library: CaseLibrary, write_image: Callable, tmp_path: Path
) -> None:
    # A ramp along the patient's x axis, on an oblique grid; labels along the axes.
    grid = {"spacing": (2.0, 2.5, 3.0), "direction": OBLIQUE, "origin": (-20.0, -22.0, -24.0)}
    image = sitk.Image([30, 30, 30], sitk.sitkFloat32)
    image.SetSpacing(grid["spacing"])
    image.SetDirection(grid["direction"])
    image.SetOrigin(grid["origin"])
    x_mm = np.array(
        [
            [
                [image.TransformIndexToPhysicalPoint((i, j, k))[0] for i in range(30)]
                for j in range(30)
            ]
            for k in range(30)
        ]
    )
    t1 = write_image("t1.nii.gz", (200 + x_mm).astype(np.float32), **grid)
    center = image.TransformContinuousIndexToPhysicalPoint((14.5, 14.5, 14.5))
    labels = np.zeros((6, 6, 6), np.uint8)
    labels[2:4, 2:4, 2:4] = 4
    origin = tuple(c - 15.0 for c in center)
    path = write_image("labels.nii.gz", labels, spacing=(6.0, 6.0, 6.0), origin=origin)
    with pytest.raises(InputError, match=r"reaches only .* of the brain in t1"):
        library.add(read_case({"t1": t1}).images, path, BRATS)
    labels = np.zeros((32, 32, 32), np.uint8)
    labels[14:18, 14:18, 14:18] = 4
    origin = tuple(c - 15.5 * 4 for c in center)
    path = write_image("labels.nii.gz", labels, spacing=(4.0, 4.0, 4.0), origin=origin)
    library.add(read_case({"t1": t1}).images, path, BRATS)
    ((_, case),) = library.labeled_cases()
    stored = sitk.ReadImage(str(case.images["t1"]))
    assert stored.GetSpacing() == (4, 4, 4) and stored.GetSize() == (32, 32, 32)
    for index in ((16, 16, 16), (12, 17, 15)):
        expected = 200 + stored.TransformIndexToPhysicalPoint(index)[0]
        assert stored[index] == pytest.approx(expected, abs=0.01)
    assert stored[0, 0, 0] == 0


def test_what_was_changed_is_told(add: Callable, write_image: Callable) -> None:
    before = tumor()
    before[before == 4] = 1
    before[4, 4, 5] = 0
    path = write_image(
        "result.nii.gz",
        before,
        spacing=(5.0, 6.0, 7.0),
        direction=OBLIQUE,
        origin=(3.0, -4.0, 5.0),
    )
    changes = add(result=path).changes
    assert changes["WT"] == Change(0.21, 0.0, round(198 / 199, 4))
    assert changes["TC"] == Change(0.0, 0.0, 1.0)
    assert changes["ET"] == Change(0.21, 0.0, 0.0)


def test_the_same_scans_again_are_recognized(library: CaseLibrary, add: Callable) -> None:
    first = add()
    other = tumor()
    other[other == 4] = 2
    with pytest.raises(InputError, match=f"in the library already, as {first.id}; add --replace"):
        add(other, ending=".nrrd")
    second = add(other, replacing=True)
    assert second.id == first.id and library.records() == [second]
    assert second.volumes_ml["ET"] == 0
    assert add(seed=1).id != first.id
    assert len(library.records()) == 2


def test_scans_are_recognized_whatever_preprocessing_did(
    library: CaseLibrary, write_image: Callable[..., Path]
) -> None:
    raw = read_case({"t1": write_image("raw.nii.gz", scan(0) + 3)}).images
    turned = {"t1": sitk.Image(raw["t1"])}  # as under a transform in Slicer
    turned["t1"].SetDirection(OBLIQUE)
    given = {"t1": write_image("stripped.nii.gz", scan(0))}
    labels = write_image("labels.nii.gz", tumor())
    first = library.add(read_case(given).images, labels, BRATS, as_read=raw)
    ((_, stored),) = library.labeled_cases()
    again = read_case(stored.images).images
    other = {"t1": again["t1"] * 1.5}  # another brain extraction, say
    for scans, as_read in ((other, turned), (again, None), (other, again)):
        with pytest.raises(InputError, match=f"in the library already, as {first.id}"):
            library.add(scans, labels, BRATS, as_read=as_read)
    # Corrected once more from the stored version: what that was read from is not forgotten.
    second = library.add(again, labels, BRATS, CaseDetails(replacing=True))
    assert (second.id, second.scans_sha256) == (first.id, first.scans_sha256)
    with pytest.raises(InputError, match=f"in the library already, as {first.id}"):
        library.add(other, labels, BRATS, as_read=turned)
    assert library.add(other, labels, BRATS).id != first.id


@pytest.mark.parametrize("name", ["labels", "Labels", "../t1", "a/b", ""])
def test_a_modality_cannot_name_another_file(
    library: CaseLibrary, write_image: Callable[..., Path], name: str
) -> None:
    scans = {name: read_case({"t1": write_image("t1.nii.gz", scan(0))}).images["t1"]}
    with pytest.raises(InputError, match="cannot be named"):
        library.add(scans, write_image("labels.nii.gz", tumor()), BRATS)


def test_a_library_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file; a library is a folder"):
        CaseLibrary(tmp_path / "file")
    with pytest.raises(InputError, match="holds no case"):
        CaseLibrary(tmp_path / "missing").remove("case-1")
    assert not (tmp_path / "missing").exists()


def test_one_process_changes_it_at_a_time(library: CaseLibrary, add: Callable) -> None:
    record = add()
    with folder_lock(library.folder):
        for change in (library.exclude, library.remove):
            with pytest.raises(InputError, match="another process is at work there"):
                change(record.id)
        with pytest.raises(InputError, match="another process is at work there"):
            add(seed=1)
        assert library.records() == [record]


def test_cases_are_excluded_and_removed(library: CaseLibrary, add: Callable) -> None:
    first, second = add(), add(seed=1)
    library.exclude(first.id)
    assert [record.id for record, _ in library.labeled_cases()] == [second.id]
    library.exclude(first.id, excluded=False)
    assert len(library.labeled_cases()) == 2
    library.remove(first.id)
    assert [record.id for record in library.records()] == [second.id]
    assert [path.name for path in library.cases.iterdir()] == [second.id]
    for case_id in (first.id, "..", "no/such"):
        with pytest.raises(InputError, match="holds no case"):
            library.remove(case_id)


def test_a_file_of_the_user_is_not_removed_with_a_case(library: CaseLibrary, add: Callable) -> None:
    record = add()
    notes = library.case_folder(record.id) / "notes.txt"
    notes.write_text("mine")
    with pytest.raises(InputError, match=r"not of the case \(notes.txt\); move them away"):
        library.remove(record.id)
    assert notes.read_text() == "mine"
    assert [one.id for one in library.records()] == [record.id]


SHIFTED = np.roll(tumor(), 8, axis=2)


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        (tumor() * 0, {}, "the labels are empty; .* --no-tumor"),
        (tumor(), {"tumor": False}, "though the case is said to have none"),
        (tumor() + (tumor() == 2) * 7, {}, "label values .* are not those of BraTS"),
        (SHIFTED, {}, "lie where all scans are 0"),
        (
            tumor(),
            {"label_geometry": {"origin": (900.0, 0.0, 0.0)}},
            "lie apart in space from t1",
        ),
    ],
)
def test_labels_that_cannot_be_right_are_refused(
    library: CaseLibrary, add: Callable, labels: np.ndarray, options: dict, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        add(labels, **options)
    assert library.records() == []
    assert not library.cases.exists() or list(library.cases.iterdir()) == []


def test_odd_labels_are_warned_of(add: Callable) -> None:
    spilled = tumor()
    spilled[4, 4:6, 13] = 2
    assert add(spilled).warnings == ("2.0% of the labeled voxels lie outside the brain",)
    assert add(tumor() * 0, seed=1, tumor=False).warnings == ()
    whole = (scan(0) > 0).astype(np.uint8)  # a brain mask, say
    (warning,) = add(whole, seed=2).warnings
    assert warning == "the labels fill 100% of the brain: is it the right segmentation?"


def test_scans_with_a_skull_are_refused(library: CaseLibrary, write_image: Callable) -> None:
    geometry = {"spacing": (12.0, 14.0, 14.0)}
    t1 = write_image("t1.nii.gz", scan(0) + 1, **geometry)  # 6.3 liters
    labels = write_image("labels.nii.gz", tumor(), **geometry)
    with pytest.raises(InputError, match="fill 6322 ml, more than a brain"):
        library.add(read_case({"t1": t1}).images, labels, BRATS)


def test_a_kill_leaves_every_case_whole(library: CaseLibrary, add: Callable) -> None:
    record = add()
    folder = library.cases / record.id
    # Killed while writing, between the two renamings of a replacement, and while removing.
    (library.cases / ".adding-case-1").mkdir()
    (library.cases / ".removed-x").mkdir()
    folder.rename(library.cases / f".replaced-{record.id}")
    assert library.records() == [record]
    assert [path.name for path in library.cases.iterdir()] == [record.id]
    # Killed after both: the new one stays.
    (library.cases / f".replaced-{record.id}").mkdir()
    assert library.records() == [record]
    assert not (library.cases / f".replaced-{record.id}").exists()


def test_a_replacement_that_fails_keeps_the_old(
    library: CaseLibrary, add: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = add()
    rename = Path.rename

    def failing(path: Path, target: Path) -> Path:
        if path.name.startswith(".adding"):
            raise OSError("no")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(InputError, match="cannot be written: no"):
        add(replacing=True)
    assert library.records() == [record] and len(list(library.cases.iterdir())) == 1


def test_a_full_disk_leaves_no_case(
    library: CaseLibrary, add: Callable, tmp_path: Path, file_size_limit: Callable
) -> None:
    library.remove(add().id)  # its files are there
    case = read_case({name: tmp_path / f"John_Doe_{name}.nii.gz" for name in ("t1", "flair")})
    with pytest.raises(ResourceError), file_size_limit(1000):
        library.add(case.images, tmp_path / "labels.nii.gz", BRATS)
    assert library.records() == [] and list(library.cases.iterdir()) == []


def test_who_changed_what_is_stored(library: CaseLibrary, add: Callable) -> None:
    assert add(seed=1).provenance is None
    history = Provenance(edits=(Edit("ET", NOW, NOW, by="A. Reader"),)).signed_off("B", "fine")
    record = add(provenance=history)
    assert library.records()[-1] == record and record.provenance == history


def test_a_damaged_record_is_named(library: CaseLibrary, add: Callable) -> None:
    path = library.cases / add().id / "record.json"
    record = json.loads(path.read_text())
    for change in (
        {"id": 3},
        {"volumes_ml": {"WT": "big"}},
        {"modalities": [3]},
        {"modalities": ["../t1"]},
        {"warnings": [None]},
        {"scans_sha256": {"t1": []}},
        {"changes": {"WT": {"added_ml": "much"}}},
        {"volumes_ml": {"WT": 1.0}},
        {"added": "on Monday"},
        {"provenance": {"edits": [{"began": "on Monday"}]}},
        {"provenance": {"contents": {"grid": [float("nan")]}}},
        {"provenance": 3},
    ):
        path.write_text(json.dumps({**record, **change}))
        with pytest.raises(InputError, match=r"record.json: is damaged: .*add the case again"):
            library.records()
    path.write_text("[" * 100_000)
    with pytest.raises(InputError, match=r"record.json: is damaged: .*add the case again"):
        library.records()


def test_a_record_of_another_folder_is_refused(library: CaseLibrary, add: Callable) -> None:
    path = library.cases / add().id / "record.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "id": "../../elsewhere"}))
    with pytest.raises(InputError, match=r"is of a case named '../../elsewhere'"):
        library.labeled_cases()
