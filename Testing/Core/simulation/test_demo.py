"""The demonstration: what it finds, and what it leaves in its folder."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from MISSUCore.core.errors import InputError
from MISSUCore.simulation import demo
from MISSUCore.simulation.anatomy import drawn_brain
from MISSUCore.simulation.case import simulate_case

pytestmark = pytest.mark.slow


def test_a_demonstration_finds_the_tumor_and_shows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = partial(simulate_case, spacing_mm=2.0, anatomy=drawn_brain)  # in seconds
    monkeypatch.setattr(demo, "simulate_case", drawn)
    for _ in range(2):  # an earlier one is replaced
        result = demo.run_demo(tmp_path, 1, "missu-brats-fast", "cpu")
    dice = {row.region: row.dice for row in result.comparison.rows}
    assert dice["WT"] > 0.9
    names = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*"))
    assert names == [
        ".written.sha256",
        "scans/simulated1_flair.nii.gz",
        "scans/simulated1_seg.nii.gz",
        "scans/simulated1_t1.nii.gz",
        "scans/simulated1_t1ce.nii.gz",
        "scans/simulated1_t2.nii.gz",
        "simulated1.html",
        "simulated1.nii.gz",
        "simulated1_report.json",
    ]
    page = result.page.read_text(encoding="utf-8")
    assert 'class="region"' in page and 'class="reference"' in page


@pytest.mark.parametrize("name", ["simulated1.html", "scans/simulated1_t1.nii.gz"])
def test_a_file_of_the_users_own_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    drawn = partial(simulate_case, spacing_mm=4.0, anatomy=drawn_brain)
    monkeypatch.setattr(demo, "simulate_case", drawn)
    own = tmp_path / name
    own.parent.mkdir(exist_ok=True)
    own.write_text("mine")
    with pytest.raises(InputError, match=f"{own.name}: is there, and not written by this command"):
        demo.run_demo(tmp_path, 1, "missu-brats-fast", "cpu")
    assert own.read_text() == "mine"
    assert [path for path in tmp_path.rglob("*.*") if path.suffix in (".html", ".gz")] == [own]


def test_a_name_that_itk_cannot_read_is_refused(tmp_path: Path) -> None:
    case = simulate_case(1, spacing_mm=8.0, anatomy=drawn_brain)
    with pytest.raises(InputError, match="the name cannot be read by ITK"):
        case.write(tmp_path / "M\udcfcller")


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file"):
        demo.run_demo(tmp_path / "file", 1, "missu-brats-fast", "cpu")
