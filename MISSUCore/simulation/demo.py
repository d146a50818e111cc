"""``missu demo``: simulate a case, segment it, compare with the truth, draw both."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..contract.labels import BRATS
from ..core.events import Progress, Stage
from ..core.files import check_output, kept_by
from ..core.written import RUN_RECORD, Written
from ..evaluation.comparison import Comparison, compare
from ..inference.case_files import segment_files
from ..inference.segmentation import SegmentationOptions
from ..io.reading import read_label_map
from ..reporting.quality_page import write_quality_page
from .case import SimulatedCase, simulate_case


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
        folder: made if need be; the files of an earlier demonstration are replaced, no others.
        seed: of the simulated patient.
        model: name or path.
        device: as :func:`MISSUCore.inference.predictor.choose_device` takes it.
        progress: reports the stages.

    Raises:
        MISSUError: if the optional package nilearn is missing.
        InputError: if the folder cannot be written, a file there is not of a demonstration or was
            changed since, or the model cannot be used.
    """
    progress = progress or Progress()
    progress(Stage.SIMULATE, 0.0, "simulating a case")
    check_output(folder / RUN_RECORD, overwrite=True)
    written = Written(folder, RUN_RECORD, checksums=True)
    case = simulate_case(seed)
    with kept_by(written):
        return _segmented(case, folder, model, device, written, progress)


def _segmented(
    case: SimulatedCase,
    folder: Path,
    model: str,
    device: str,
    written: Written,
    progress: Progress,
) -> DemoResult:
    """Write, segment, compare and draw; what is not ours is found out before the work."""
    scans = folder / "scans"
    segmentation = folder / f"{case.name}.nii.gz"
    page, facts = folder / f"{case.name}.html", folder / f"{case.name}_report.json"
    for path in (segmentation, page, facts):
        written.check(path)
    case.write(scans)
    report = segment_files(
        {name: scans / f"{case.name}_{name}.nii.gz" for name in case.images},
        segmentation,
        model=model,
        report=facts,
        overwrite=True,
        options=SegmentationOptions(device=device),
        progress=progress.part(0.3, 0.8),
    )
    truth = scans / f"{case.name}_seg.nii.gz"
    comparison = compare(segmentation, truth, progress=progress.part(0.8, 0.9))
    progress(Stage.DRAW, 0.9, "drawing the page")
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
