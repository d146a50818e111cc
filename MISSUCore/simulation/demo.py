"""``missu demo``: simulate a case, segment it, compare with the truth, draw a picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..core.events import Progress, Stage
from ..core.files import check_output
from ..evaluation.comparison import Comparison, compare
from ..inference.case_files import segment_files
from ..inference.segmentation import SegmentationOptions
from ..io.reading import read_label_map
from ..reporting.contours import write_contour_picture
from .case import simulate_case


@dataclass(frozen=True)
class DemoResult:
    """What a demonstration found, and the picture it drew."""

    comparison: Comparison
    picture: Path


def run_demo(
    folder: Path, seed: int, model: str, device: str, progress: Progress | None = None
) -> DemoResult:
    """Segment a simulated case and write scans, segmentation, report and picture to a folder.

    Args:
        folder: made if need be; the files of an earlier demonstration are replaced.
        seed: of the simulated patient.
        model: name or path.
        device: as :func:`MISSUCore.inference.predictor.choose_device` takes it.
        progress: hears of the stages.

    Raises:
        MISSUError: if an optional package is missing (nilearn, matplotlib).
        InputError: if the folder cannot be written or the model cannot be used.
    """
    progress = progress or Progress()
    progress(Stage.SIMULATE, 0.0, "simulating a case")
    case = simulate_case(seed)
    scans = folder / "scans"
    segmentation = folder / f"{case.name}.nii.gz"
    check_output(segmentation, overwrite=True)
    case.write(scans)
    segment_files(
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
    progress(Stage.DRAW, 0.9, "drawing the picture")
    picture = folder / f"{case.name}.png"
    write_contour_picture(
        picture,
        case.images,
        read_label_map(segmentation),
        case.labels,
        title="Simulated case: segmentation and truth",
    )
    progress(Stage.DONE, 1.0, f"wrote {folder}")
    return DemoResult(comparison, picture)
