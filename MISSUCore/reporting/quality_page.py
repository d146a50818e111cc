"""An HTML page for judging a segmented case: pictures, volumes, warnings, and processing steps.

One file without scripts that loads nothing from elsewhere. Its layout is in
``quality_page.html`` (a Jinja template) and ``quality_page.css``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from ..contract.labels import LabelScheme
from ..contract.model_card import RESEARCH_ONLY
from ..contract.segmentation_report import SegmentationReport
from ..core.files import atomic_write
from ..measurement.tables import map_rows
from ..preprocessing.registration.checks import POOR_QUALITY
from .pictures import Drawing
from .templates import load_template

TEMPLATE = "quality_page.html"


def write_quality_page(
    path: Path,
    images: Mapping[str, sitk.Image],
    labels: sitk.Image,
    scheme: LabelScheme,
    report: SegmentationReport,
    brain: sitk.Image | None = None,
    reference: sitk.Image | None = None,
    maps: Mapping[str, sitk.Image] | None = None,
) -> None:
    """Write a page that shows how far a segmentation can be trusted.

    It shows slices along the patient's axes where the lesion is largest; if none was found, where
    the reference or else the brain is. The patient's left is on the right.

    Args:
        path: HTML file to write; an existing file is replaced only by a complete page.
        images: 3-D scans in one space by modality, with or without skull; grids may differ.
        labels: label map on any grid in that space.
        scheme: what its values mean, and the colors.
        report: from :func:`.segment_files`; items that it lacks are left out.
        brain: mask of the brain on any grid; by default the nonzero voxels of the scans.
        reference: label map on any grid, drawn dashed for comparison.
        maps: further images in the same space by name, NaN where they have no number.

    Raises:
        InputError: if there is nothing to draw, or the file cannot be written.
        ResourceError: if the disk is full.
    """
    drawing = Drawing.of(images, labels, scheme, brain, reference).with_maps(maps or {})
    fixed = report.fixed if report.fixed in images else next(iter(images))
    page = load_template(TEMPLATE).render(
        notice=RESEARCH_ONLY,
        title=_title(report),
        origin=_origin(report),
        report=report,
        scheme=scheme,
        tissue="Nonzero voxels of the scans" if brain is None else "Brain mask",
        has_reference=reference is not None,
        outlined=drawing.outlined(),
        fixed=fixed,
        checkerboards=drawing.checkerboards(fixed),
        maps=map_rows(report.maps),
        scan_headings=_SCAN_HEADINGS,
        scans=_scans(report),
        processing=_processing(report),
    )
    with atomic_write(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


_SCAN_HEADINGS = (
    "Scan",
    "File",
    "Why it was taken for this sequence",
    f"Position, and fit (normalized mutual information; below {POOR_QUALITY} is poor)",
    "SHA-256",
)


def _title(report: SegmentationReport) -> str:
    output = Path(report.output or "segmentation")
    return f"{output.resolve().parent.name}/{output.name}"


def _origin(report: SegmentationReport) -> list[str]:
    return [
        f"Model {report.model.name or 'not known'}",
        report.created.replace("T", " "),
        f"MISSU {report.missu_version}",
    ]


def _scans(report: SegmentationReport) -> list[tuple[str, ...]]:
    """Table cells, one row for each scan."""
    return [
        (
            name,
            file.path,
            _sequence(report.sequences.get(name)),
            _position(name, report),
            file.sha256,
        )
        for name, file in report.inputs.items()
    ]


def _sequence(guess: Any) -> str:
    """The reason for assigning a scan to its sequence."""
    if guess is None:
        return "given by the user"
    confidence = guess.get("confidence")
    sure = "" if confidence is None else f" (confidence {confidence:.0%})"
    return f"{guess.get('reason', '')}{sure}"


def _position(name: str, report: SegmentationReport) -> str:
    """How a scan was aligned to the others."""
    if name == report.fixed:
        return "stays; the others are moved to it"
    scan = report.registrations.get(name)
    if scan is None:
        return "as its header says"
    fit = f"fit {scan.quality:.3f}"
    if scan.skipped:
        return f"lies right as it is; {fit}"
    transform = f"; {scan.transform}" if scan.transform else ""
    return f"moved by {scan.moved_mm:.1f} mm; {fit}{transform}"


def _processing(report: SegmentationReport) -> list[tuple[str, str]]:
    """Processing steps with their details; unknown ones are left out."""
    model = report.model
    facts = {
        "Brain": [
            report.brain_method,
            "" if report.brain_ml is None else f"{report.brain_ml:.0f} ml",
        ],
        "Grid of the result": [report.reference.path],
        "Result": [report.output],
        "Model": [model.name, model.sha256 and f"SHA-256 {model.sha256}"],
        "Device": [report.device],
        "Time": [f"{step} {value:.1f} s" for step, value in report.seconds.items()],
    }
    rows = [(what, ", ".join(filter(None, parts))) for what, parts in facts.items()]
    return [row for row in rows if row[1]]
