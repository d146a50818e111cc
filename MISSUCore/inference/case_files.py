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
from ..contract.model_identity import ModelIdentity
from ..contract.segmentation_report import (
    FileFact,
    SegmentationReport,
)
from ..core.errors import InputError
from ..core.events import Progress, Stage
from ..core.files import atomic_write, translate_os_errors
from ..core.messages import Text, a_file
from ..io.dicom import ScanSource
from ..io.reading import checksum
from ..models.store import Model, default_model, find_model, load_model
from ..preprocessing.pipeline import PreprocessingOptions
from ..reporting.dicom_scan import DicomScan, read_dicom_scan
from ..reporting.dicom_seg import (
    AUTOMATIC,
    Algorithm,
    check_dicom_seg,
    region_segments,
    write_dicom_seg,
)
from ..reporting.quality_page import write_quality_page
from .case_scans import ScansInOneSpace, input_files, read_scans, reference_name
from .missing_scans import answering_model
from .outputs import OUTPUT_ENDINGS, check_outputs, sibling_path, write_image, write_transform
from .predictor import choose_device
from .segmentation import Segmentation, SegmentationOptions, segment_case


def segment_files(
    paths: Mapping[str, ScanSource],
    output: Path,
    *,
    model: str | Model | None = None,
    reference: str | Path | None = None,
    brain_mask: Path | None = None,
    report: Path | None = None,
    quality_page: Path | None = None,
    dicom_seg: Path | None = None,
    probabilities: bool = False,
    overwrite: bool = False,
    preprocessing: PreprocessingOptions | None = None,
    options: SegmentationOptions | None = None,
    sequences: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> SegmentationReport:
    """Segment the scans in files and write the label map, and what else is asked for.

    Files appear only once all is done. If scans had to be moved, the transform of each is written
    beside the label map, ``seg_transform_t2.tfm``: it maps points of the space of the fixed scan
    to points of the scan's own, as ITK and Slicer have it. Transforms and probability maps of an
    earlier result with the same name are removed with it.

    Args:
        paths: by modality: image files or DICOM series.
        output: label map to write; its ending decides the format.
        model: loaded, or a name or path; by default the one in use, see :func:`.default_model`.
        reference: image whose grid the result has, see :func:`.read_scans`.
        brain_mask: takes the place of brain extraction.
        report: JSON file to write, see below.
        quality_page: HTML file to write, see :func:`.write_quality_page`.
        dicom_seg: DICOM Segmentation object to write, of the regions that are not empty; the
            reference must be DICOM, and highdicom be installed.
        probabilities: also write a map for each region: ``seg_probability_WT.nii.gz``.
        overwrite: replace files that exist.
        preprocessing: what is done to the scans; by default what they need.
        options: how it is segmented.
        sequences: for the report: why each scan was taken for its modality.
        progress: reports the stages.

    Returns:
        What the report file holds.

    Raises:
        InputError: if anything given cannot be used; nothing is written then.
        MISSUError: if a package is missing that is needed for what was asked.
        ResourceError: if memory or disk space do not suffice.

    Examples:
        >>> from MISSUCore import find_case, segment_files
        >>> sorted(segment_files(find_case(folder).scans, folder / "seg.nii.gz").volumes_ml)
        ['ET', 'TC', 'WT']
    """
    began = time.monotonic()
    inputs = _Inputs(paths, reference, brain_mask, preprocessing or PreprocessingOptions())
    files = _OutputFiles(output, report, quality_page, dicom_seg, probabilities)
    how = options or SegmentationOptions()
    plan = _plan(inputs, files, model, how, sequences or {}, overwrite)
    return _run(plan, began, progress or Progress())


@dataclass(frozen=True)
class _Inputs:
    """What is read, and how it is brought into one space."""

    paths: Mapping[str, ScanSource]
    reference: str | Path | None
    brain_mask: Path | None
    preprocessing: PreprocessingOptions


@dataclass(frozen=True)
class _OutputFiles:
    """What is written."""

    labels: Path
    report: Path | None
    quality_page: Path | None
    dicom_seg: Path | None
    probabilities: bool


@dataclass(frozen=True)
class _Plan:
    """A segmentation that can begin: all that is given fits together.

    Attributes:
        inputs: what is read.
        files: what is written.
        maps: files for the probabilities, by region.
        transforms: files for the transforms of scans that are moved, by modality.
        model: that segments.
        options: how.
        sequences: for the report: why each scan was taken for its modality.
        dicom_scan: the reference, if a DICOM object is to refer to it.
    """

    inputs: _Inputs
    files: _OutputFiles
    maps: Mapping[str, Path]
    transforms: Mapping[str, Path]
    model: Model
    options: SegmentationOptions
    sequences: Mapping[str, Any]
    dicom_scan: DicomScan | None

    @property
    def algorithm(self) -> Algorithm:
        """What DICOM calls the model."""
        return Algorithm(AUTOMATIC, self.model.card.name)

    @property
    def scheme(self) -> LabelScheme:
        """What is segmented."""
        return self.model.card.label_scheme()


def _model_files(model: str | Model | None) -> list[Path]:
    """Weights and card of a model that was given by name or path."""
    if isinstance(model, Model):
        return []
    weights = find_model(model or default_model())
    return [weights, weights.with_suffix(".json")]


def _plan(
    inputs: _Inputs,
    files: _OutputFiles,
    model: str | Model | None,
    options: SegmentationOptions,
    sequences: Mapping[str, Any],
    overwrite: bool,
) -> _Plan:
    """Check all that can be checked before the scans are read.

    Raises:
        InputError: naming what cannot be used.
    """
    output = files.labels
    if not output.name.endswith(OUTPUT_ENDINGS):
        raise InputError(a_file(output), f": give a file that ends in {', '.join(OUTPUT_ENDINGS)}")
    choose_device(options.device)
    loaded = model if isinstance(model, Model) else load_model(model or default_model())
    answering_model(list(inputs.paths), loaded)
    card = loaded.card
    regions = card.label_scheme().region_names
    maps = {name: sibling_path(output, f"probability_{name}") for name in regions}
    transforms = {
        name: sibling_path(output, f"transform_{name}", ".tfm") for name in card.modalities
    }
    asked = (path for path in (files.report, files.quality_page, files.dicom_seg) if path)
    check_outputs(
        [output, *asked, *maps.values(), *transforms.values()],
        [
            *input_files(inputs.paths, inputs.reference, inputs.brain_mask),
            *_model_files(model),
        ],
        overwrite,
    )
    scan = _dicom_scan(inputs) if files.dicom_seg else None
    plan = _Plan(inputs, files, maps, transforms, loaded, options, sequences, scan)
    if scan:
        check_dicom_seg(scan, plan.scheme, plan.algorithm)
    return plan


def _dicom_scan(inputs: _Inputs) -> DicomScan:
    """The reference, for a DICOM object that refers to it."""
    name = reference_name(inputs.paths, inputs.reference)
    return read_dicom_scan(inputs.paths.get(name, Path(name)))


def _run(plan: _Plan, began: float, progress: Progress) -> SegmentationReport:
    """Read, segment, write; returns what the report file holds."""
    inputs = plan.inputs
    scans = read_scans(
        inputs.paths,
        plan.scheme,
        inputs.reference,
        inputs.brain_mask,
        inputs.preprocessing,
        progress.part(0, 0.5),
    )
    result = segment_case(
        scans.prepared.images, plan.model, scans.reference, plan.options, progress.part(0.5, 0.95)
    )
    progress(Stage.WRITE, 0.95, "writing the result")
    facts = _write(plan, scans, result, began)
    progress(Stage.DONE, 1.0, f"wrote {plan.files.labels}")
    return facts


def _write(
    plan: _Plan, scans: ScansInOneSpace, result: Segmentation, began: float
) -> SegmentationReport:
    """Write all files at once, and remove what an earlier result has beside them.

    Args:
        plan: says which files.
        scans: that were segmented.
        result: their segmentation.
        began: when the work began, on the monotonic clock.

    Returns:
        What the report file holds.
    """
    writing = time.monotonic()
    registrations = scans.prepared.registrations if scans.prepared.was_moved else {}
    maps = plan.maps if plan.files.probabilities else {}
    transforms = {name: plan.transforms[name] for name in registrations}
    with ExitStack() as stack:
        write_image(stack, scans.where_it_was(result.labels), plan.files.labels)
        for name, path in maps.items():
            write_image(stack, scans.where_it_was(result.probabilities[name]), path)
        for name, path in transforms.items():
            write_transform(stack, registrations[name].transform, path)
        seconds = {**scans.seconds, **result.seconds, "write": time.monotonic() - writing}
        seconds["total"] = time.monotonic() - began
        facts = _report(plan, scans, result, seconds)
        if plan.files.quality_page:
            temporary = stack.enter_context(atomic_write(plan.files.quality_page))
            prepared = scans.prepared
            write_quality_page(
                temporary,
                prepared.whole,
                result.labels,
                plan.scheme,
                facts,
                prepared.brain,
            )
        segments = []
        if plan.files.dicom_seg:
            segments = region_segments(sitk.GetArrayViewFromImage(result.labels), plan.scheme)
        if plan.files.dicom_seg and plan.dicom_scan and segments:
            temporary = stack.enter_context(atomic_write(plan.files.dicom_seg))
            write_dicom_seg(temporary, plan.dicom_scan, segments, plan.algorithm)
        if plan.files.report:
            temporary = stack.enter_context(atomic_write(plan.files.report))
            temporary.write_text(json.dumps(facts.to_dict(), indent=2) + "\n", encoding="utf-8")
    written = {*maps.values(), *transforms.values()}
    known = {*plan.maps.values(), *plan.transforms.values()}
    if plan.files.dicom_seg and not segments:
        known.add(plan.files.dicom_seg)
    for outdated in known - written:
        with translate_os_errors(outdated):
            outdated.unlink(missing_ok=True)
    return facts


def _report(
    plan: _Plan, scans: ScansInOneSpace, result: Segmentation, seconds: Mapping[str, float]
) -> SegmentationReport:
    """What the scans and the result tell."""
    case, prepared, name = scans.case, scans.prepared, scans.reference_name
    path = case.paths.get(name, Path(name))
    transforms = {scan: file.name for scan, file in plan.transforms.items()}
    return SegmentationReport(
        missu_version=__version__,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        inputs={
            modality: FileFact(str(source), case.checksums[modality])
            for modality, source in case.paths.items()
        },
        sequences=dict(plan.sequences),
        reference=FileFact(str(path), case.checksums.get(name) or checksum(Path(name))),
        output=str(plan.files.labels),
        model=_identity(plan.model),
        finder=_identity(plan.model.finder),
        options={**asdict(plan.options), "preprocessing": asdict(plan.inputs.preprocessing)},
        device=result.device,
        windows=result.windows,
        seconds={stage: round(value, 2) for stage, value in seconds.items()},
        fixed=prepared.fixed,
        registrations=prepared.registration_facts(transforms if prepared.was_moved else {}),
        brain_method=prepared.brain_method,
        brain_ml=prepared.brain_ml,
        volumes_ml={region: round(volume, 3) for region, volume in result.volumes_ml.items()},
        confidence={region: round(value, 3) for region, value in result.confidence.items()},
        warnings=[
            Text(warning)
            for warning in (*prepared.warnings, *result.warnings, *_left_out(plan, result))
        ],
    )


def _left_out(plan: _Plan, result: Segmentation) -> list[str]:
    """What is not in the DICOM object, since it would be empty there."""
    empty = [region for region, volume_ml in result.volumes_ml.items() if volume_ml == 0]
    if not plan.files.dicom_seg or not empty:
        return []
    if len(empty) == len(result.volumes_ml):
        return ["nothing was found, so no DICOM segmentation was written"]
    return [f"left out of the DICOM segmentation, being empty: {', '.join(empty)}"]


def _identity(model: Model | None) -> ModelIdentity:
    return ModelIdentity(model.card.name, model.card.sha256) if model else ModelIdentity()
