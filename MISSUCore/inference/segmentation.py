"""From the scans of a case to its segmentation, in memory or from files to files."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch

from .. import __version__
from ..errors import InputError, ResourceError
from ..evaluation.measurements import volumes_ml
from ..files import atomic_write, check_output, sha256
from ..imaging.case import Case, check_complete, overlap, read_case, read_image
from ..imaging.preparation import PreparedCase, image_like, prepare, to_reference
from ..model_store import DEFAULT_MODEL, RESEARCH_ONLY, Model, ModelCard, load_model
from ..progress import Progress
from ..regions import BRAIN
from .cleanup import Cleanup, clean, nest
from .confidence import doubts, expected_dice
from .predictor import Predictor, choose_device

OUTPUT_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha")
# With the fluid around it a brain has 1000 to 2000 ml; beyond, it is something else.
PLAUSIBLE_BRAIN_ML = (700, 2200)


@dataclass(frozen=True)
class SegmentationOptions:
    """How a case is segmented.

    Args:
        device: ``"auto"``, ``"cuda"``, ``"mps"`` or ``"cpu"``.
        mirror: average over mirror images: eight times slower, and hardly better.
        sliding: force the sliding window (True) or the single pass (False); None decides by
            memory.
        cleanup: what is put right afterwards.
    """

    device: str = "auto"
    mirror: bool = False
    sliding: bool | None = None
    cleanup: Cleanup = field(
        default_factory=lambda: Cleanup(minimum_island_mm3=100.0, fill_holes=True)
    )


@dataclass(frozen=True)
class Segmentation:
    """A segmented case, on the grid of its reference image.

    Attributes:
        labels: label map (8-bit) in the numbering of the model's scheme.
        probabilities: by region name, float32 images.
        volumes_ml: by region name.
        confidence: expected Dice by region name; empty if the model's probabilities were never
            held against the truth.
        warnings: what the user should know before trusting it.
        seconds: by stage.
        windows: forward passes per orientation; 1 is a single pass.
        device: where it was computed.
    """

    labels: sitk.Image
    probabilities: dict[str, sitk.Image]
    volumes_ml: dict[str, float]
    confidence: dict[str, float]
    warnings: list[str]
    seconds: dict[str, float]
    windows: int
    device: str


def segment_case(
    images: Mapping[str, sitk.Image],
    model: Model,
    reference: sitk.Image | None = None,
    options: SegmentationOptions | None = None,
    progress: Progress | None = None,
) -> Segmentation:
    """Segment skull-stripped, co-registered scans.

    Args:
        images: 3-D float images by modality; their grids may differ.
        model: from :func:`MISSUCore.model_store.load_model`.
        reference: its grid is the result's; by default the first image's.
        options: how.
        progress: hears of the stages.

    Raises:
        InputError: if the modalities are not those of the model, a scan has no contrast, or the
            reference lies apart from the scans.
        ResourceError: if the memory does not suffice.
    """
    options = options or SegmentationOptions()
    progress = progress or Progress()
    card = model.card
    scheme = card.label_scheme()
    warnings = check_modalities(list(images), model)
    reference = checked_reference(images, reference)
    seconds: dict[str, float] = {}

    began = time.monotonic()
    progress("prepare", 0.0, "bringing the scans to one grid")
    prepared = prepare(images, card.modalities, card.spacing_mm)
    if scheme.regions[0].terminology.anatomic_region == BRAIN:
        warnings += _brain_warnings(prepared)
    seconds["prepare"] = time.monotonic() - began

    began = time.monotonic()
    predictor = Predictor(
        model.network,
        torch.from_numpy(scheme.membership),
        card.targets,
        choose_device(options.device),
        sliding=options.sliding,
        mirror=options.mirror,
        temperatures=card.temperatures,
    )
    volume = torch.from_numpy(prepared.volume)
    probabilities = predictor(volume, progress.part(0.15, 0.85)).numpy()
    warnings += predictor.notes
    seconds["predict"] = time.monotonic() - began

    began = time.monotonic()
    progress("restore", 0.85, "bringing the result to the reference grid")
    probabilities = to_reference(nest(probabilities, scheme), prepared.grid, reference)
    spacing_mm = reference.GetSpacing()[::-1]
    masks = clean(probabilities >= 0.5, scheme, spacing_mm, options.cleanup)
    if not masks.any():
        warnings.append("nothing was found, all regions are empty")
    confidence = {}
    if card.temperatures:
        expected = expected_dice(probabilities, masks, spacing_mm)
        confidence = dict(zip(scheme.region_names, expected))
        warnings += doubts(confidence, card.doubtful_below)
    seconds["restore"] = time.monotonic() - began
    return Segmentation(
        labels=image_like(scheme.to_labels(masks), reference),
        probabilities={
            name: image_like(channel, reference)
            for name, channel in zip(scheme.region_names, probabilities)
        },
        volumes_ml=volumes_ml(masks, spacing_mm, scheme.region_names),
        confidence=confidence,
        warnings=warnings,
        seconds=seconds,
        windows=predictor.windows,
        device=str(predictor.device),
    )


def checked_reference(images: Mapping[str, sitk.Image], reference: sitk.Image | None) -> sitk.Image:
    """The image whose grid a result has: the one that is given, or the first of the scans.

    Raises:
        InputError: if it lies apart from the scans.
    """
    if reference is None:
        reference = next(iter(images.values()))
    if not any(overlap(reference, image) for image in images.values()):
        raise InputError("the reference lies apart in space from the scans")
    return reference


def check_modalities(given: list[str], model: Model) -> list[str]:
    """Warnings about modalities that are missing but may be.

    Raises:
        InputError: if a modality is not of the model, or more are missing than may be.
    """
    card = model.card
    foreign = [name for name in given if name not in card.modalities]
    missing = [name for name in card.modalities if name not in given]
    needs = f"model {card.name} takes {', '.join(card.modalities)}"
    if foreign:
        raise InputError(f"{needs}, but not {', '.join(foreign)}")
    if len(missing) > card.may_miss:
        allowed = f", and works with {card.may_miss} of them missing" if card.may_miss else ""
        raise InputError(f"{needs}{allowed}; missing: {', '.join(missing)}")
    return [
        f"{name} is missing: the result is less reliable{_without(card, name)}" for name in missing
    ]


def _without(card: ModelCard, modality: str) -> str:
    """What the model card knows of cases in which a modality is missing."""
    figures = card.metrics.get("without_one_modality_dice")
    dice = figures.get(modality) if isinstance(figures, dict) else None
    if not isinstance(dice, dict):
        return ""
    return f" (Dice without it: {', '.join(f'{name} {value}' for name, value in dice.items())})"


def segment_files(
    paths: Mapping[str, Path],
    output: Path,
    *,
    model: str = DEFAULT_MODEL,
    reference: Path | None = None,
    report: Path | None = None,
    probabilities: bool = False,
    overwrite: bool = False,
    options: SegmentationOptions | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Segment the scans in files and write the label map, and what else is asked for.

    Everything is checked before the work begins, and files appear only once all is done.

    Args:
        paths: scans by modality: image files or DICOM series folders.
        output: label map to write; its ending decides the format.
        model: name or path.
        reference: image whose grid the result has; by default the first scan.
        report: JSON file to write, see below.
        probabilities: also write a map for each region, beside the label map:
            ``seg_probability_WT.nii.gz``.
        overwrite: replace files that exist.
        options: how.
        progress: hears of the stages.

    Returns:
        What the report file holds: inputs with checksums, model, device, seconds, volumes in ml,
        confidence, warnings.

    Raises:
        InputError: if anything given cannot be used; nothing is written then.
        ResourceError: if memory or disk space do not suffice.
    """
    began = time.monotonic()
    options = options or SegmentationOptions()
    progress = progress or Progress()
    if not output.name.endswith(OUTPUT_ENDINGS):
        raise InputError(f"{output}: give a file that ends in {', '.join(OUTPUT_ENDINGS)}")
    choose_device(options.device)
    loaded = load_model(model)
    check_modalities(list(paths), loaded)
    region_names = loaded.card.label_scheme().region_names
    maps = {name: _beside(output, f"probability_{name}") for name in region_names}
    files = [output, *([report] if report else []), *(maps.values() if probabilities else [])]
    check_outputs(files, [*paths.values(), *([reference] if reference else [])], overwrite)

    progress("read", 0.0, "reading the scans")
    case = read_case(paths)
    reference_image = read_image(reference) if reference else None
    reading = time.monotonic() - began
    result = segment_case(case.images, loaded, reference_image, options, progress.part(0.1, 0.95))
    progress("write", 0.95, "writing the result")
    writing = time.monotonic()
    with ExitStack() as stack:
        write_image(stack, result.labels, output)
        if probabilities:
            for name, path in maps.items():
                write_image(stack, result.probabilities[name], path)
        seconds = {"read": reading, **result.seconds, "write": time.monotonic() - writing}
        seconds["total"] = time.monotonic() - began
        facts = _report(case, output, reference, loaded, options, result, seconds)
        if report:
            temporary = stack.enter_context(atomic_write(report))
            temporary.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    progress("done", 1.0, f"wrote {output}")
    return facts


def _report(
    case: Case,
    output: Path,
    reference: Path | None,
    model: Model,
    options: SegmentationOptions,
    result: Segmentation,
    seconds: dict[str, float],
) -> dict[str, Any]:
    return {
        "notice": RESEARCH_ONLY,
        "missu_version": __version__,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "inputs": {
            name: {"path": str(path), "sha256": case.checksums[name]}
            for name, path in case.paths.items()
        },
        "reference": ({"path": str(reference), "sha256": sha256(reference)} if reference else None),
        "output": str(output),
        "model": {"name": model.card.name, "sha256": model.card.sha256},
        "device": result.device,
        "options": asdict(options),
        "windows": result.windows,
        "seconds": {stage: round(value, 2) for stage, value in seconds.items()},
        "volumes_ml": {name: round(value, 3) for name, value in result.volumes_ml.items()},
        "confidence": {name: round(value, 3) for name, value in result.confidence.items()},
        "warnings": result.warnings,
    }


def _brain_warnings(prepared: PreparedCase) -> list[str]:
    brain_ml = prepared.volume.any(axis=0).sum() * float(np.prod(prepared.grid.GetSpacing())) / 1000
    low, high = PLAUSIBLE_BRAIN_ML
    if brain_ml > high:
        return [
            f"what is not 0 in the scans fills {brain_ml:.0f} ml, more than a brain: they must be "
            "skull-stripped, with 0 outside the brain"
        ]
    if brain_ml < low:
        return [f"what is not 0 in the scans fills only {brain_ml:.0f} ml, less than a brain"]
    return []


def check_outputs(files: list[Path], inputs: list[Path], overwrite: bool) -> None:
    """Make sure that files can be written, and that no input is lost by it.

    Raises:
        InputError: naming the file.
    """
    for number, path in enumerate(files):
        if path.resolve() in [other.resolve() for other in files[:number]]:
            raise InputError(f"{path}: is to be written twice; give two different names")
        if any(path.exists() and path.samefile(given) for given in inputs if given.exists()):
            raise InputError(f"{path}: is an input too, and would be lost")
        check_output(path, overwrite)


def write_image(stack: ExitStack, image: sitk.Image, path: Path) -> None:
    """Write an image that appears at its path once all of the stack is done.

    Raises:
        ResourceError: if it did not get to the disk whole.
    """
    temporary = stack.enter_context(atomic_write(path))
    try:
        sitk.WriteImage(image, str(temporary), useCompression=True)
        check_complete(temporary)
    except (RuntimeError, InputError) as error:
        raise ResourceError(f"{path}: cannot be written; is the disk full?") from error


def _beside(path: Path, what: str) -> Path:
    """``seg.nii.gz`` and ``probability_WT`` make ``seg_probability_WT.nii.gz``."""
    stem, dot, endings = path.name.partition(".")
    return path.with_name(f"{stem}_{what}{dot}{endings}")
