"""A page to judge a segmented case by: pictures, volumes, warnings, and what was done to the scans.

One HTML file without scripts, that loads nothing from elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from ..contract.labels import LabelScheme, Region
from ..contract.model_card import RESEARCH_ONLY
from ..core.files import atomic_write
from ..preprocessing.registration.checks import POOR_QUALITY
from .pictures import Drawing, css_color

# Forbids scripts and any access to the network, whatever a file name may hold.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
STYLE = Path(__file__).with_suffix(".css")


def write_quality_page(
    path: Path,
    images: Mapping[str, sitk.Image],
    labels: sitk.Image,
    scheme: LabelScheme,
    report: Mapping[str, Any],
    brain: sitk.Image | None = None,
) -> None:
    """Write a page that shows how far a segmentation can be trusted.

    Slices along the patient's axes where the lesion is largest; where nothing was found, where the
    brain is. The patient's left is on the right.

    Args:
        path: HTML file to write; what is there is replaced only by a complete page.
        images: 3-D scans in one space by modality, with or without skull; grids may differ.
        labels: label map on any grid in that space.
        scheme: what its values mean, and the colors.
        report: what :func:`.segment_files` returns; what it lacks is left out.
        brain: mask of the brain on any grid; by default what is not 0 in the scans.

    Raises:
        InputError: if there is nothing to draw, or the file cannot be written.
        ResourceError: if the disk is full.
    """
    drawing = Drawing.of(images, labels, scheme, brain)
    page = "\n".join(
        [
            _head(report),
            f'<div class="findings">{_warnings(report)}{_regions(scheme, report)}</div>',
            _pictures(drawing, brain is not None),
            _registration(drawing, report),
            _scans(report),
            _processing(report),
            "</body>\n</html>\n",
        ]
    )
    with atomic_write(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _head(report: Mapping[str, Any]) -> str:
    output = Path(str(report.get("output", "segmentation")))
    title = escape(f"{output.resolve().parent.name}/{output.name}")
    origin = [
        f"Model {report.get('model', {}).get('name', 'not known')}",
        str(report.get("created", "")).replace("T", " "),
        f"MISSU {report.get('missu_version', '')}",
    ]
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<title>{title}: segmentation</title>
<style>
{STYLE.read_text(encoding="utf-8")}</style>
</head>
<body>
<p class="notice">{escape(RESEARCH_ONLY)}</p>
<h1>{title}</h1>
<p class="faint">{escape(" · ".join(origin))}</p>"""


def _warnings(report: Mapping[str, Any]) -> str:
    warnings = report.get("warnings", [])
    if not warnings:
        return (
            '<section class="quiet"><h2>No warnings</h2>'
            "<p>Nothing unusual was noticed. Compare the outlines with every scan.</p></section>"
        )
    items = "".join(f"<li>{escape(warning)}</li>" for warning in warnings)
    count = "1 warning" if len(warnings) == 1 else f"{len(warnings)} warnings"
    return f'<section class="warnings"><h2>{count}</h2><ul>{items}</ul></section>'


def _regions(scheme: LabelScheme, report: Mapping[str, Any]) -> str:
    volumes_ml, confidence = report.get("volumes_ml", {}), report.get("confidence", {})
    rows = "".join(
        f"<tr><td>{_swatch(region)}{escape(region.title)} ({escape(region.name)})</td>"
        f'<td class="number">{_number(volumes_ml.get(region.name), 1)}</td>'
        f'<td class="number">{_number(confidence.get(region.name), 2)}</td></tr>'
        for region in scheme.regions
    )
    return (
        "<section><h2>Regions</h2><table><caption>Inner regions are part of the outer ones. "
        "Expected Dice is the model's own estimate of how far an expert would agree; 1 is "
        'perfect.</caption><tr><th scope="col">Region</th><th scope="col" class="number">Volume, '
        f'ml</th><th scope="col" class="number">Expected Dice</th></tr>{rows}</table></section>'
    )


def _swatch(region: Region) -> str:
    return f'<span class="swatch" style="background: {css_color(region.color)}"></span>'


def _pictures(drawing: Drawing, has_mask: bool) -> str:
    tissue = "Brain mask" if has_mask else "What is not 0 in the scans"
    legend = "".join(_swatch(region) + escape(region.name) for region in drawing.scheme.regions)
    return f"""<h2>Outlines on the scans</h2>
<input type="checkbox" id="regions" checked><label for="regions">Regions{legend}</label>
<input type="checkbox" id="tissue" checked><label for="tissue">{tissue} (thin white line)</label>
<div class="pictures">
{drawing.outlined()}</div>"""


def _registration(drawing: Drawing, report: Mapping[str, Any]) -> str:
    fixed = report.get("registration", {}).get("fixed")
    if fixed not in drawing.images:
        fixed = next(iter(drawing.images))
    pictures = drawing.checkerboards(fixed)
    if not pictures:
        return ""
    return f"""<h2>Do the scans lie on each other?</h2>
<p class="faint">Fields of {escape(fixed)} and of another scan in turn: the edges of the brain and
of its ventricles must go on from field to field.</p>
{pictures}"""


def _scans(report: Mapping[str, Any]) -> str:
    rows = [
        [
            name,
            given.get("path", ""),
            _sequence(report.get("sequences", {}).get(name)),
            _position(name, report.get("registration", {})),
            given.get("sha256", ""),
        ]
        for name, given in report.get("inputs", {}).items()
    ]
    position = f"Position, and fit (normalized mutual information; below {POOR_QUALITY} is poor)"
    headings = ("Scan", "File", "Why it was taken for this sequence", position, "SHA-256")
    return f"<h2>Scans</h2>{_table(headings, rows)}" if rows else ""


def _sequence(guess: Mapping[str, Any] | None) -> str:
    if guess is None:
        return "given by the user"
    confidence = guess.get("confidence")
    sure = "" if confidence is None else f" (confidence {confidence:.0%})"
    return f"{guess.get('reason', '')}{sure}"


def _position(name: str, registration: Mapping[str, Any]) -> str:
    """What was done to bring a scan to the others."""
    if name == registration.get("fixed"):
        return "stays; the others are moved to it"
    scan = registration.get("scans", {}).get(name)
    if scan is None:
        return "as its header says"
    fit = f"fit {_number(scan.get('quality'), 3)}"
    if scan.get("skipped"):
        return f"lies right as it is; {fit}"
    transform = f"; {scan['transform']}" if scan.get("transform") else ""
    return f"moved by {_number(scan.get('moved_mm'), 1)} mm; {fit}{transform}"


def _processing(report: Mapping[str, Any]) -> str:
    brain, model = report.get("brain") or {}, report.get("model", {})
    brain_ml = brain.get("volume_ml")
    seconds = report.get("seconds", {})
    facts = {
        "Brain": [brain.get("method"), brain_ml is not None and f"{brain_ml:.0f} ml"],
        "Grid of the result": [(report.get("reference") or {}).get("path")],
        "Result": [report.get("output")],
        "Model": [model.get("name"), "sha256" in model and f"SHA-256 {model['sha256']}"],
        "Device": [report.get("device")],
        "Time": [f"{step} {value:.1f} s" for step, value in seconds.items()],
    }
    rows = [(what, ", ".join(map(str, filter(None, parts)))) for what, parts in facts.items()]
    return f"<h2>Processing</h2>{_table((), [row for row in rows if row[1]])}"


def _table(headings: Iterable[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table of texts, the first cell of each row its heading."""
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in headings)
    body = "".join(
        f'<tr><th scope="row">{escape(str(first))}</th>'
        + "".join(f"<td>{escape(str(cell))}</td>" for cell in cells)
        + "</tr>"
        for first, *cells in rows
    )
    return f'<table class="details">{f"<tr>{head}</tr>" if head else ""}{body}</table>'


def _number(value: Any, digits: int) -> str:
    return "not known" if value is None else f"{value:.{digits}f}"
