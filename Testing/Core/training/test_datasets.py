"""Cases prepared once and kept, and the order in which training sees them."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from torch.utils.data import DataLoader

from MISSUCore.contract.labels import BRATS, CHAOS_LIVER
from MISSUCore.core.errors import InputError
from MISSUCore.core.events import Progress
from MISSUCore.io.reading import read_image
from MISSUCore.preprocessing.working_grid import prepare
from MISSUCore.training import datasets
from MISSUCore.training.cases.brats import find_brats_cases
from MISSUCore.training.cases.labeled import LabeledCase
from MISSUCore.training.datasets import PreparedCases, ResumableSampler

MODALITIES = ("t1", "t1ce", "t2", "flair")
ISOTROPIC = (1.0, 1.0, 1.0)


@pytest.fixture
def prepared(tmp_path, brats_folder) -> PreparedCases:
    return PreparedCases(
        find_brats_cases(brats_folder), MODALITIES, BRATS, ISOTROPIC, tmp_path / "prepared"
    )


def kept(cases: PreparedCases) -> dict[str, int]:
    """Names of the files kept, with the time of their last change."""
    return {path.name: path.stat().st_mtime_ns for path in cases.folder.iterdir()}


def test_a_case_is_what_the_network_sees(prepared):
    volume, classes = prepared[1]
    case = prepared.cases[1]
    images = {name: read_image(path) for name, path in case.images.items()}
    expected = prepare(images, MODALITIES, ISOTROPIC).volume
    assert volume.shape == (4, 16, 16, 16)
    assert (volume.dtype, classes.dtype) == (torch.float32, torch.uint8)
    np.testing.assert_allclose(volume, expected, atol=2e-3)
    labels = sitk.GetArrayFromImage(sitk.ReadImage(str(case.labels)))[1:17, :16, 2:]
    np.testing.assert_array_equal(classes, np.where(labels == 4, 3, labels))
    assert classes.unique().tolist() == [0, 1, 2, 3]


def test_modalities_come_in_the_order_asked_for(prepared, tmp_path):
    turned = PreparedCases(prepared.cases, ("flair", "t1"), BRATS, ISOTROPIC, tmp_path / "prepared")
    assert torch.equal(turned[0][0], prepared[0][0][[3, 0]])


def test_a_case_is_prepared_once(prepared, monkeypatch):
    prepared.prepare_all(Progress())
    before = kept(prepared)
    assert len(before) == len(prepared) == 4
    monkeypatch.setattr(datasets, "prepare", None)
    again = PreparedCases(prepared.cases, MODALITIES, BRATS, ISOTROPIC, prepared.folder)
    again.prepare_all(Progress())
    assert torch.equal(again[2][0], prepared[2][0])
    assert kept(prepared) == before


def test_a_case_whose_files_changed_is_prepared_anew(prepared):
    assert 2 in prepared[0][1]
    before = set(kept(prepared))
    path = prepared.cases[0].labels
    labels = sitk.ReadImage(str(path))
    sitk.WriteImage(sitk.Cast(labels == 1, sitk.sitkUInt8), str(path))
    os.utime(path, ns=(1, 1))
    assert 2 not in prepared[0][1]
    assert len(set(kept(prepared)) - before) == 1


def test_a_case_at_another_spacing_is_another_file(prepared):
    coarse = PreparedCases(prepared.cases, MODALITIES, BRATS, (2.0, 2.0, 2.0), prepared.folder)
    assert prepared[0][0].shape[1:] == (16, 16, 16)
    assert coarse[0][0].shape[1:] == (8, 8, 8)
    assert prepared[0][0].shape[1:] == (16, 16, 16)


def test_a_change_inside_a_dicom_folder_is_seen(tmp_path, brats_folder, monkeypatch):
    (first, *_) = find_brats_cases(brats_folder)
    series = tmp_path / "series"
    series.mkdir()
    first.images["t1"].rename(series / "1.nii.gz")
    monkeypatch.setattr(datasets, "read_image", lambda path: read_image(path / "1.nii.gz"))
    case = LabeledCase("a", {"t1": series}, first.labels)
    cases = PreparedCases([case], ("t1",), BRATS, ISOTROPIC, tmp_path / "prepared")
    cases.prepare_all(Progress())
    cases.prepare_all(Progress())
    assert len(kept(cases)) == 1
    os.utime(series / "1.nii.gz", ns=(1, 1))
    cases.prepare_all(Progress())
    assert len(kept(cases)) == 2


def test_a_bad_case_is_named_before_training_starts(prepared):
    prepared.cases[2].images["t2"].write_bytes(b"no image")
    with pytest.raises(InputError, match=r"^case BraTS2021_00002: .*_t2\.nii\.gz: cannot be read"):
        prepared.prepare_all(Progress())
    assert len(kept(prepared)) == 2


def test_labels_of_another_scheme_name_the_case(prepared):
    prepared.scheme = CHAOS_LIVER
    message = r"^case BraTS2021_00000: .*_seg\.nii\.gz: label values \[0, 1, 2, 4\] are not .*liver"
    with pytest.raises(InputError, match=message):
        prepared.prepare_all(Progress())


def test_a_case_that_lacks_a_file_or_modality_is_named(prepared):
    prepared.cases[0].labels.unlink()
    with pytest.raises(InputError, match=r"^case BraTS2021_00000: .*_seg\.nii\.gz: cannot be read"):
        prepared[0]
    prepared.modalities = ["t1", "pd", "swi"]
    with pytest.raises(InputError, match=r"^case BraTS2021_00000: has no pd, swi"):
        prepared[0]


@pytest.mark.parametrize(("rank", "order"), [(0, "0123"), (1, "2301")])
def test_processes_begin_to_prepare_at_different_cases(prepared, rank, order):
    heard = []
    prepared.prepare_all(Progress(lambda event: heard.append(event)), rank, 2)
    assert "".join(event.message[-1] for event in heard) == order
    assert [event.fraction for event in heard] == [0, 0.25, 0.5, 0.75]
    assert len(kept(prepared)) == 4


def test_every_epoch_is_another_order_of_all_cases():
    epochs = np.reshape(list(ResumableSampler(20, seed=5, start=0, stop=80)), (4, 20))
    np.testing.assert_array_equal(np.sort(epochs), np.tile(np.arange(20), (4, 1)))
    assert len({tuple(epoch) for epoch in epochs}) == 4


def test_the_seed_decides_the_order():
    first, again, other = (list(ResumableSampler(20, seed, 0, 20)) for seed in (5, 5, 6))
    assert first == again != other


@pytest.mark.parametrize("start", [1, 6, 7, 17, 21])
def test_the_rest_is_the_same_from_any_position(start):
    whole = list(ResumableSampler(7, seed=5, start=0, stop=21))
    rest = ResumableSampler(7, seed=5, start=start, stop=21)
    assert list(rest) == whole[start:]
    assert len(rest) == 21 - start


@pytest.mark.parametrize("start", [0, 6])
def test_processes_share_the_samples(start):
    whole = list(ResumableSampler(7, 5, start, stop=21))
    parts = [ResumableSampler(7, 5, start, 21, rank, ranks=3) for rank in range(3)]
    assert [list(part) for part in parts] == [whole[rank::3] for rank in range(3)]
    assert [len(part) for part in parts] == [len(whole) // 3] * 3


def test_workers_keep_the_order(memory_cases):
    cases = memory_cases(range(5))
    orders = []
    for workers in (0, 2):
        sampler = ResumableSampler(5, 5, 2, 12)
        loader = DataLoader(cases, batch_size=None, sampler=sampler, num_workers=workers)
        orders.append([float(volume.sum()) for volume, _ in loader])
    assert orders[0] == orders[1]
    assert len(orders[0]) == 10
    assert len(set(orders[0])) == 5


def test_a_name_leads_nowhere_else(prepared, tmp_path):
    case = prepared.cases[0]
    prepared.cases = [LabeledCase("../../elsewhere/a b", case.images, case.labels)]
    prepared.prepare_all(Progress())
    (name,) = kept(prepared)
    assert name.startswith(".._.._elsewhere_a_b-")


@pytest.mark.parametrize("damage", ["empty", "no end", "no start", "a text"])
def test_a_damaged_case_is_prepared_anew(prepared, damage):
    expected = prepared[0]
    (path,) = prepared.folder.iterdir()
    whole = path.read_bytes()
    damaged = {
        "empty": b"",
        "no end": whole[: len(whole) // 2],
        "no start": bytes(len(whole) // 2) + whole[len(whole) // 2 :],
        "a text": b"mine",
    }
    path.write_bytes(damaged[damage])
    prepared.prepare_all(Progress())
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(prepared[0], expected))
    assert path.read_bytes() == whole


@pytest.mark.parametrize(("cases_that_fit", "workers"), [(100, 4), (7, 2), (2, 0), (0, 0)])
def test_workers_are_as_many_as_the_shared_memory_holds(
    cases_that_fit: int, workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = (torch.zeros(2, 4, 4, 4), torch.zeros(4, 4, 4, dtype=torch.uint8))
    size = 2 * 64 * 4 + 64
    monkeypatch.setattr(datasets, "SHARED_MEMORY", tmp_path)
    usage = SimpleNamespace(free=cases_that_fit * size)
    monkeypatch.setattr(datasets.shutil, "disk_usage", lambda folder: usage)
    assert datasets.workers_that_fit(4, [case]) == workers  # type: ignore[arg-type]
    assert datasets.workers_that_fit(0, [case]) == 0  # type: ignore[arg-type]
