"""Many cases from Python: every case goes through the whole pipeline."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from MISSUCore.cohorts import cohort
from MISSUCore.cohorts.cohort import CohortOptions, device_of_process, segment_cohort
from MISSUCore.core.errors import InputError
from MISSUCore.io.case_lists import CasePaths
from MISSUCore.preprocessing.pipeline import PreprocessingOptions

AS_IS = CohortOptions(
    preprocessing=PreprocessingOptions(registration=False, brain_extraction=False)
)


def write_case(folder: Path) -> dict[str, Path]:
    """Scans of a bright ball in noise, 12 voxels of 1 mm along each axis."""
    folder.mkdir(parents=True)
    paths = {}
    for seed, name in enumerate(("t1", "t1ce", "t2", "flair")):
        voxels = np.random.default_rng(seed).normal(100, 5, (12, 12, 12)).astype(np.float32)
        voxels[4:8, 4:8, 4:8] += 60
        paths[name] = folder / f"{name}.nii.gz"
        sitk.WriteImage(sitk.GetImageFromArray(voxels), str(paths[name]))
    return paths


def test_a_list_and_a_folder_of_folders_are_segmented_alike(
    tmp_path: Path, tiny_model: Path
) -> None:
    paths = write_case(tmp_path / "scans" / "p1")
    told: list[str] = []
    for cases, place in (
        ([CasePaths("p1", paths)], "listed"),
        (tmp_path / "scans", "found"),
    ):
        summary = segment_cohort(cases, tmp_path / place, str(tiny_model), AS_IS, tell=told.append)
        assert [(name, record.state) for name, record in summary.records.items()] == [
            ("p1", "done")
        ]
    listed, found = (tmp_path / place / "p1" for place in ("listed", "found"))
    images = [sitk.ReadImage(str(place / "segmentation.nii.gz")) for place in (listed, found)]
    assert np.array_equal(*(sitk.GetArrayFromImage(image) for image in images))
    reports = [json.loads((place / "report.json").read_text()) for place in (listed, found)]
    assert reports[0]["sequences"] == {} and set(reports[1]["sequences"]) == set(paths)
    assert len(told) == 4  # a sentence for each scan found in a folder, none for those listed
    with (tmp_path / "found" / "summary.csv").open(encoding="utf-8", newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert (row["name"], row["state"]) == ("p1", "done")


def test_a_case_from_python_cannot_write_elsewhere(tmp_path: Path, tiny_model: Path) -> None:
    for name in ("../p1", "a/b", ""):
        case = CasePaths(name, {"t1": tmp_path / "t1.nii"})
        with pytest.raises(InputError, match="the list of cases"):
            segment_cohort([case], tmp_path / "out", str(tiny_model))
    assert not (tmp_path / "out").exists()


def test_each_process_has_a_gpu_of_its_own(monkeypatch):
    assert device_of_process("auto") == "auto"
    monkeypatch.setenv("WORLD_SIZE", "6")
    monkeypatch.setenv("LOCAL_RANK", "5")
    monkeypatch.setattr(cohort, "choose_device", torch.device)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert device_of_process("cuda") == "cuda:1"
    assert device_of_process("cpu") == "cpu"
    assert device_of_process("cuda:3") == "cuda:3"
