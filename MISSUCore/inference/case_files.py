"""From scans in files to a segmentation in files: everything is checked before the work begins."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from .. import __version__
from ..contract.labels import LabelScheme
from ..contract.model_card import RESEARCH_ONLY
from ..core.errors import InputError
from ..core.events import Progress
from ..core.files import atomic_write, errors_told
from ..io.dicom import ScanSource
from ..io.geometry import image_like
from ..io.nifti import place_warnings
from ..io.reading import Case, checksum, read_case, read_image
from ..models.store import Model, default_model, load_model
from ..preprocessing.pipeline import PreprocessedCase, PreprocessingOptions, preprocess, scan_under
from ..preprocessing.registration.rigid import moved
from ..preprocessing.registration.search import rigid_inverse
from ..reporting.quality_page import write_quality_page
from .outputs import OUTPUT_ENDINGS, beside, check_outputs, write_image, write_transform
from .predictor import choose_device
from .segmentation import Segmentation, SegmentationOptions, check_modalities, segment_case


@dataclass(frozen=True)
class ScansInOneSpace:
    """The scans of a case, ready for a model, and the grid that its result shall have.

    Attributes:
        case: as it was read.
        prepared: in one space.
        reference: gives the grid of the result, in that space.
        own_reference: the same where the reference's header says it is.
        reference_name: a modality or a path.
        reference_scan: the modality on which the reference lies.
        seconds: by step.
    """

    case: Case
    prepared: PreprocessedCase
    reference: sitk.Image
    own_reference: sitk.Image
    reference_name: str
    reference_scan: str
    seconds: dict[str, float]

    def where_it_was(self, result: sitk.Image) -> sitk.Image:
        """A result on the reference grid, back from the common space."""
        return image_like(sitk.GetArrayViewFromImage(result), self.own_reference)

    def on_reference(self) -> dict[str, sitk.Image]:
        """The scans without skull, all moved to where the reference's header says it is."""
        registration = self.prepared.registrations.get(self.reference_scan)
        if registration is None or registration.skipped:
            return self.prepared.images
        back = rigid_inverse(registration.transform)
        return {name: moved(image, back) for name, image in self.prepared.images.items()}


def read_scans(
    paths: Mapping[str, ScanSource],
    scheme: LabelScheme,
    reference: str | Path | None = None,
    brain_mask: Path | None = None,
    preprocessing: PreprocessingOptions | None = None,
    progress: Progress | None = None,
) -> ScansInOneSpace:
    """Read the scans of a case and bring them into one space, without skull.

    Args:
        paths: by modality: image files or DICOM series.
        scheme: what is to be segmented tells whether there is a skull to take off.
        reference: image whose grid the result shall have: one of the modalities, or a file; by
            default T1ce, or the first scan where there is none. A file that is none of the scans
            lies on the scan with the same grid, or else on the one that the others are moved to.
        brain_mask: takes the place of brain extraction, see :func:`.preprocess`.
        preprocessing: what is done to the scans; by default what they need.
        progress: hears of the stages.

    Raises:
        InputError: if anything given cannot be used.
        ResourceError: if memory does not suffice.
    """
    progress = progress or Progress()
    began = time.monotonic()
    progress("read", 0.0, "reading the scans")
    case = read_case(paths)
    name = _reference_name(paths, reference)
    other = None if name in paths else read_image(Path(name))
    mask = read_image(brain_mask) if brain_mask else None
    seconds = {"read": time.monotonic() - began}
    prepared = preprocess(
        case.images,
        preprocessing or PreprocessingOptions(),
        is_head=scheme.is_in_brain,
        brain_mask=mask,
        progress=progress.part(0.1, 1.0),
    )
    for modality, source in case.paths.items():
        if isinstance(source, Path) and source.is_file():
            prepared.warnings += place_warnings(source, case.images[modality])
    own_reference = case.images[name] if other is None else other
    scan = name if other is None else scan_under(other, case.images, prepared.fixed)
    return ScansInOneSpace(
        case,
        prepared,
        reference=prepared.moved_along(own_reference, scan),
        own_reference=own_reference,
        reference_name=name,
        reference_scan=scan,
        seconds={**seconds, **prepared.seconds},
    )


def input_files(
    paths: Mapping[str, ScanSource], reference: str | Path | None, brain_mask: Path | None
) -> list[Path]:
    """All files that :func:`read_scans` reads."""
    files = [brain_mask] if brain_mask else []
    for source in paths.values():
        files += [source] if isinstance(source, Path) else source.files()
    return files if reference is None or str(reference) in paths else [*files, Path(reference)]


def _reference_name(paths: Mapping[str, ScanSource], reference: str | Path | None) -> str:
    """The modality that a reference is, or its path."""
    if reference is None:
        return "t1ce" if "t1ce" in paths else next(iter(paths))
    if str(reference) in paths:
        return str(reference)
    path = Path(reference)
    if not path.exists():
        raise InputError(f"{reference}: no such file, and no modality that is given")
    files = {name: scan for name, scan in paths.items() if isinstance(scan, Path)}
    same = (name for name, scan in files.items() if path.resolve() == scan.resolve())
    return next(same, str(reference))


def segment_files(
    paths: Mapping[str, ScanSource],
    output: Path,
    *,
    model: str | Model | None = None,
    reference: str | Path | None = None,
    brain_mask: Path | None = None,
    report: Path | None = None,
    quality_page: Path | None = None,
    probabilities: bool = False,
    overwrite: bool = False,
    preprocessing: PreprocessingOptions | None = None,
    options: SegmentationOptions | None = None,
    sequences: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Segment the scans in files and write the label map, and what else is asked for.

    Files appear only once all is done. If scans had to be moved, the transform of each is written
    beside the label map, ``seg_transform_t2.tfm``: it maps points of the space of the fixed scan
    to points of the scan's own, as ITK and Slicer have it. Transforms and probability maps of an
    earlier result with the same name are removed with it.

    Args:
        paths: scans by modality: image files or DICOM series.
        output: label map to write; its ending decides the format.
        model: loaded, or a name or path; by default the one in use, see :func:`.default_model`.
        reference: see :func:`read_scans`.
        brain_mask: see :func:`read_scans`.
        report: JSON file to write, see below.
        quality_page: HTML file to write, see :func:`.write_quality_page`.
        probabilities: also write a map for each region, beside the label map:
            ``seg_probability_WT.nii.gz``.
        overwrite: replace files that exist.
        preprocessing: what is done to the scans; by default what they need.
        options: how it is segmented.
        sequences: for the report: why each scan was taken for its modality.
        progress: hears of the stages.

    Returns:
        What the report file holds: inputs with checksums, model, device, seconds, volumes in ml,
        confidence, registration, brain extraction, warnings.

    Raises:
        InputError: if anything given cannot be used; nothing is written then.
        ResourceError: if memory or disk space do not suffice.

    Examples:
        >>> from MISSUCore import find_case, segment_files
        >>> report = segment_files(find_case(folder).scans, folder / "seg.nii.gz")
        >>> sorted(report["volumes_ml"])
        ['ET', 'TC', 'WT']
    """
    began = time.monotonic()
    options = options or SegmentationOptions()
    preprocessing = preprocessing or PreprocessingOptions()
    progress = progress or Progress()
    if not output.name.endswith(OUTPUT_ENDINGS):
        raise InputError(f"{output}: give a file that ends in {', '.join(OUTPUT_ENDINGS)}")
    choose_device(options.device)
    loaded = model if isinstance(model, Model) else load_model(model or default_model())
    check_modalities(list(paths), loaded)
    scheme = loaded.card.label_scheme()
    maps = {name: beside(output, f"probability_{name}") for name in scheme.region_names}
    transforms = {
        name: beside(output, f"transform_{name}", ".tfm") for name in loaded.card.modalities
    }
    companions = [*maps.values(), *transforms.values()]
    files = [output, *(path for path in (report, quality_page) if path), *companions]
    check_outputs(files, input_files(paths, reference, brain_mask), overwrite)

    scans = read_scans(paths, scheme, reference, brain_mask, preprocessing, progress.part(0, 0.5))
    result = segment_case(
        scans.prepared.images, loaded, scans.reference, options, progress.part(0.5, 0.95)
    )
    progress("write", 0.95, "writing the result")
    writing = time.monotonic()
    registrations = scans.prepared.registrations if scans.prepared.was_moved else {}
    with ExitStack() as stack:
        write_image(stack, scans.where_it_was(result.labels), output)
        if probabilities:
            for name, path in maps.items():
                write_image(stack, scans.where_it_was(result.probabilities[name]), path)
                companions.remove(path)
        for name, registration in registrations.items():
            write_transform(stack, registration.transform, transforms[name])
            companions.remove(transforms[name])
        seconds = {**scans.seconds, **result.seconds, "write": time.monotonic() - writing}
        seconds["total"] = time.monotonic() - began
        facts = {
            **_inputs(scans, output, sequences),
            "model": {"name": loaded.card.name, "sha256": loaded.card.sha256},
            "options": {**asdict(options), "preprocessing": asdict(preprocessing)},
            **_findings(scans.prepared, result, seconds),
        }
        for name in registrations:
            facts["registration"]["scans"][name]["transform"] = transforms[name].name
        if quality_page:
            temporary = stack.enter_context(atomic_write(quality_page))
            write_quality_page(
                temporary, scans.prepared.whole, result.labels, scheme, facts, scans.prepared.brain
            )
        if report:
            temporary = stack.enter_context(atomic_write(report))
            temporary.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    for outdated in companions:
        with errors_told(outdated):
            outdated.unlink(missing_ok=True)
    progress("done", 1.0, f"wrote {output}")
    return facts


def _inputs(
    scans: ScansInOneSpace, output: Path, sequences: Mapping[str, Any] | None
) -> dict[str, Any]:
    case = scans.case
    reference = scans.reference_name
    path = case.paths.get(reference, Path(reference))
    return {
        "notice": RESEARCH_ONLY,
        "missu_version": __version__,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "inputs": {
            name: {"path": str(path), "sha256": case.checksums[name]}
            for name, path in case.paths.items()
        },
        "sequences": dict(sequences or {}),
        "reference": {
            "path": str(path),
            "sha256": case.checksums.get(reference) or checksum(Path(reference)),
        },
        "output": str(output),
    }


def _findings(
    prepared: PreprocessedCase, result: Segmentation, seconds: dict[str, float]
) -> dict[str, Any]:
    return {
        "device": result.device,
        "windows": result.windows,
        "seconds": {stage: round(value, 2) for stage, value in seconds.items()},
        **prepared.facts(),
        "volumes_ml": {name: round(value, 3) for name, value in result.volumes_ml.items()},
        "confidence": {name: round(value, 3) for name, value in result.confidence.items()},
        "warnings": [*prepared.warnings, *result.warnings],
    }
