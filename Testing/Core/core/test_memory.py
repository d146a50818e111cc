"""Memory limits of containers, as the files of Linux tell them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from torch import nn

from MISSUCore.contract.labels import BRATS
from MISSUCore.core import memory
from MISSUCore.core.errors import ResourceError
from MISSUCore.inference import case_scans, predictor
from MISSUCore.inference.predictor import Predictor
from MISSUCore.preprocessing.pipeline import AS_THEY_ARE, PreprocessingOptions


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Function that writes files of /proc and /sys/fs/cgroup."""
    monkeypatch.setattr(memory, "PROCESS", tmp_path / "proc")
    monkeypatch.setattr(memory, "CGROUPS", tmp_path / "cgroup")

    def write(**files: str) -> None:
        for name, text in files.items():
            path = tmp_path / name.replace("__", "/").replace("~", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    write(**{"proc/meminfo": "MemTotal: 9000 kB\nMemAvailable:    8000 kB\n"})
    return write


def test_without_a_limit_the_machine_tells(system) -> None:
    assert memory.free_main_memory_bytes() == 8000 * 1024
    system(**{"proc/self/cgroup": "0::/job\n", "cgroup/job/memory.max": "max\n"})
    assert memory.limited_bytes() is None
    assert memory.free_main_memory_bytes() == 8000 * 1024


def test_the_number_that_version_1_has_for_no_limit_is_none(system) -> None:
    system(
        **{
            "proc/self/cgroup": "4:memory:/job\n",
            "cgroup/memory/job/memory.limit_in_bytes": "9223372036854771712\n",
            "cgroup/memory/job/memory.usage_in_bytes": "1000\n",
            "cgroup/memory/job/memory.stat": "total_inactive_file 0\n",
        }
    )
    assert memory.limited_bytes() is None


def test_the_peak_is_told_where_the_system_tells_it(system) -> None:
    assert memory.peak_bytes() is None
    system(**{"proc/self/status": "Name:\tpython\nVmPeak:\t 900 kB\nVmHWM:\t    700 kB\n"})
    assert memory.peak_bytes() == 700 * 1024


def test_the_tightest_group_of_version_2_counts(system) -> None:
    stat = "anon 1\ninactive_file 400\n"
    for place, limit in (("a/b", "max"), ("a", "3000"), ("", "9000")):
        system(
            **{
                "proc/self/cgroup": "0::/a/b\n",
                f"cgroup/{place}/memory.max": limit,
                f"cgroup/{place}/memory.current": "1000",
                f"cgroup/{place}/memory.stat": stat,
            }
        )
    assert memory.free_main_memory_bytes() == 3000 - 1000 + 400


def test_version_1_where_the_place_is_that_on_the_host(system) -> None:
    system(
        **{
            "proc/self/cgroup": "12:cpu:/docker/1\n5:memory:/docker/1\n0::/\n",
            "cgroup/memory/memory.limit_in_bytes": "5000\n",
            "cgroup/memory/memory.usage_in_bytes": "4500\n",
            "cgroup/memory/memory.stat": "inactive_file 7\ntotal_inactive_file 100\n",
        }
    )
    assert memory.limited_bytes() == 600


def test_too_little_memory_is_said_before_it_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    class Never(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise AssertionError("the kernel would have killed it")

    def predict(left: int, network: nn.Module) -> Predictor:
        for name in ("free_main_memory_bytes", "limited_bytes"):
            monkeypatch.setattr(predictor, name, lambda: left)
        membership = torch.tensor([[False, True]])
        made = Predictor(network, membership, "regions", torch.device("cpu"), window=(8, 8, 8))
        made(torch.zeros(1, 16, 16, 16))
        return made

    with pytest.raises(ResourceError, match="too little memory: the limit of this container"):
        predict(predictor.BYTES_PER_VOXEL * 8**3 - 1, Never())
    fits = predict(predictor.BYTES_PER_VOXEL * 8**3, nn.Identity())
    assert fits.windows == 27 and "sliding window" in fits.notes[0]


def test_scans_that_a_limit_has_no_room_for_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = {name: tmp_path / f"{name}.nii" for name in ("t1", "t1ce", "t2", "flair")}
    rng = np.random.default_rng(0)
    for path in paths.values():
        voxels = rng.integers(1, 99, (10, 11, 12)).astype(np.int16)
        sitk.WriteImage(sitk.GetImageFromArray(voxels), str(path))
    as_floats = 4 * 4 * voxels.size
    for left, options in (
        (2 * as_floats - 1, AS_THEY_ARE),
        (4 * as_floats, PreprocessingOptions()),
    ):
        monkeypatch.setattr(case_scans, "limited_bytes", lambda left=left: left)
        with pytest.raises(ResourceError, match="limit of this container or job leaves"):
            case_scans.read_scans(paths, BRATS, preprocessing=options)
    for left in (2 * as_floats, None):
        monkeypatch.setattr(case_scans, "limited_bytes", lambda left=left: left)
        assert set(case_scans.read_scans(paths, BRATS, preprocessing=AS_THEY_ARE).case.images)


def test_a_cpu_that_runs_out_of_memory_tries_the_window() -> None:
    class Small(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if x.numel() > 8**3:
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to ...")
            return x

    membership = torch.tensor([[False, True]])
    made = Predictor(Small(), membership, "regions", torch.device("cpu"), window=(8, 8, 8))
    assert made(torch.zeros(1, 16, 16, 16)).shape == (1, 16, 16, 16)
    assert made.notes == ["out of memory in a single pass, used a sliding window"]
