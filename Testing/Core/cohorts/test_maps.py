"""Further maps of a cohort: listed for each case, and told in the table of all."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from MISSUCore.cohorts.cohort import CohortOptions, segment_cohort
from MISSUCore.inference.segmentation import SegmentationOptions
from MISSUCore.preprocessing.pipeline import AS_THEY_ARE

AS_IS = CohortOptions(preprocessing=AS_THEY_ARE, segmentation=SegmentationOptions(device="cpu"))


def test_figures_of_maps_stand_in_the_table_of_all_cases(
    tmp_path: Path,
    write_image: Callable[..., Path],
    scans: Callable[[NDArray[np.uint8]], dict[str, NDArray[np.float32]]],
    truth: NDArray[np.uint8],
    bright_model: Callable[..., Path],
) -> None:
    """The first case has a map, the second none, that of the third is cut off."""
    for name, voxels in scans(truth).items():
        write_image(f"{name}.nii.gz", voxels)
    write_image("adc.nii", np.where(truth == 4, 850, 1200).astype(np.int16))
    (tmp_path / "cut.nii").write_bytes((tmp_path / "adc.nii").read_bytes()[:-100])
    scan_names = "t1.nii.gz,t1ce.nii.gz,t2.nii.gz,flair.nii.gz"
    table = tmp_path / "cases.csv"
    table.write_text(
        "name,t1,t1ce,t2,flair,map:ADC\n"
        f"p1,{scan_names},adc.nii\np2,{scan_names},\np3,{scan_names},cut.nii\n"
    )
    model = str(bright_model())

    def run() -> list[dict[str, str]]:
        segment_cohort(table, tmp_path / "out", model, AS_IS)
        with (tmp_path / "out" / "summary.csv").open(encoding="utf-8", newline="") as stream:
            return list(csv.DictReader(stream))

    first, second, third = run()
    assert (first["ADC_ET_mean"], first["ADC_ET_voxels"]) == ("850.0", "125")
    assert float(first["ADC_TC_mean"]) == (163 * 1200 + 125 * 850) / 288
    assert first["ADC_WT_median"] == first["ADC_WT_percentile_95"] == "1200.0"
    assert (second["state"], second["ADC_ET_mean"]) == ("done", "")
    assert (third["state"], third["ADC_ET_mean"]) == ("failed", "")
    assert "cut.nii: is cut off, 100 bytes are missing" in third["error"]
    # A map that has changed since is measured anew.
    write_image("adc.nii", np.where(truth == 4, 700, 1200).astype(np.int16))
    assert run()[0]["ADC_ET_mean"] == "700.0"
