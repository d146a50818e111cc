"""How much time the Slicer module adds to MISSUCore, from the click to the segments.

Runs on the package slicer-core; the case is a BraTS folder with CASE_t1.nii.gz and so on:

    python Testing/Benchmarks/module_overhead.py BRATS_CASE_FOLDER

The module's own share is "export" (volumes to files), "start" (the process starts, loads Python and
PyTorch, and ends) and "import" (files to segments with surfaces); all else is MISSUCore's report.
With --warm the process stands by before the click, as it does while the panel is open.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

import slicer

sys.path[:0] = [str(Path(__file__).parents[2] / part) for part in (".", "MISSUSegmentation")]
from MISSUCore.contract.modalities import BRATS_MODALITIES  # noqa: E402
from MISSUCore.contract.naming.rules import modality_of_file_name  # noqa: E402
from MISSUSegmentationLib.Logic.SegmentationLogic import (  # noqa: E402
    SegmentationLogic,
    SegmentationResult,
    SegmentationSettings,
)

OWN_STAGES = ("export", "start", "import")


def main() -> None:
    """Print the seconds of each stage, and the module's share."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("case", type=Path)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--warm",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="how long before the click the panel was ready; by default the start is cold",
    )
    options = parser.parse_args()

    volumes = load_case(options.case)
    results: list[SegmentationResult] = []
    for _ in range(options.runs):
        logic = SegmentationLogic()
        if options.warm:
            logic.warmUp()
            time.sleep(options.warm)  # as if the user was looking at the panel
        logic.segment(
            **volumes,
            settings=SegmentationSettings(device=options.device),
            onFinished=results.append,
        )
    medians = {
        stage: statistics.median(result.seconds[stage] for result in results)
        for stage in results[0].seconds
    }
    for stage, seconds in medians.items():
        print(f"{stage:>8} {seconds:6.2f} s {'(module)' if stage in OWN_STAGES else ''}")
    own = sum(medians[stage] for stage in OWN_STAGES)
    print(f"module's own {own:.2f} s, {own / medians['total']:.0%} of the total")
    print(f"exchange alone {own - medians['start']:.2f} s")


def load_case(folder: Path) -> dict[str, slicer.vtkMRMLScalarVolumeNode]:
    """The volumes of a BraTS case by modality, in a new scene."""
    slicer.mrmlScene = slicer.vtkMRMLScene()
    slicer.vtkSlicerSegmentationsModuleLogic().SetMRMLScene(slicer.mrmlScene)
    volumes = {}
    for path in sorted(folder.glob("*.nii.gz")):
        modality = modality_of_file_name(path.name)
        if modality in BRATS_MODALITIES:
            node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", path.stem)
            storage = slicer.vtkMRMLVolumeArchetypeStorageNode()
            storage.SetFileName(str(path))
            if not storage.ReadData(node):
                raise SystemExit(f"{path} cannot be read")
            volumes[modality] = node
    return volumes


if __name__ == "__main__":
    main()
