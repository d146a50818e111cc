"""``missu demo``: simulate a case, segment it, compare with the truth, draw both."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..contract.labels import BRATS
from ..core.events import Progress, Stage
from ..core.files import check_output
from ..evaluation.comparison import Comparison, compare
from ..inference.case_files import segment_files
from ..inference.segmentation import SegmentationOptions
from ..io.reading import read_label_map
from ..reporting.quality_page import write_quality_page
from .case import simulate_case


@dataclass(frozen=True)
class DemoResult:
    """What a demonstration found, and the page that shows it."""

    comparison: Comparison
    page: Path


def run_demo(
    folder: Path, seed: int, model: str, device: str, progress: Progress | None = None
) -> DemoResult:
    """Segment a simulated case and write scans, segmentation, report and page to a folder.

    Args:
        folder: made if need be; the files of an earlier demonstration are replaced.
        seed: of the simulated patient.
        model: name or path.
        device: as :func:`MISSUCore.inference.predictor.choose_device` takes it.
        progress: reports the stages.

    Raises:
        MISSUError: if the optional package nilearn is missing.
        InputError: if the folder cannot be written or the model cannot be used.
    """
    progress = progress or Progress()
    progress(Stage.SIMULATE, 0.0, "simulating a case")
    case = simulate_case(seed)
    scans = folder / "scans"
    segmentation = folder / f"{case.name}.nii.gz"
    check_output(segmentation, overwrite=True)
    case.write(scans)
    report = segment_files(
        {name: scans / f"{case.name}_{name}.nii.gz" for name in case.images},
        segmentation,
        model=model,
        report=folder / f"{case.name}_report.json",
        overwrite=True,
        options=SegmentationOptions(device=device),
        progress=progress.part(0.3, 0.8),
    )
    truth = scans / f"{case.name}_seg.nii.gz"
    comparison = compare(segmentation, truth, progress=progress.part(0.8, 0.9))
    progress(Stage.DRAW, 0.9, "drawing the page")
    page = folder / f"{case.name}.html"
    write_quality_page(
        page,
        case.images,
        read_label_map(segmentation),
        BRATS,
        report,
        reference=case.labels,
    )
    progress(Stage.DONE, 1.0, f"wrote {folder}")
    return DemoResult(comparison, page)
