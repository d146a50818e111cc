"""Segmentation of a case from files to files; everything is checked before the work begins."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import SimpleITK as sitk

from ..contract.segmentation_report import SegmentationReport
from ..core.events import Progress, Stage
from ..core.files import atomic_write, sha256, translate_os_errors
from ..evaluation.verification import grid_of, mask_facts
from ..io.dicom import ScanSource
from ..io.writing import write_image, write_transform
from ..measurement.map_files import FurtherMap, read_maps
from ..measurement.maps import MeasuredMaps, check_overlap, measure_read_maps
from ..models.store import Model
from ..preprocessing.pipeline import PreprocessingOptions
from ..reporting.dicom_seg import region_segments, write_dicom_seg
from ..reporting.quality_page import write_quality_page
from ..reporting.thumbnail import write_thumbnail
from .case_plan import Inputs, Plan, plan_case
from .case_report import report_of
from .case_scans import ScansInOneSpace, read_scans
from .radiomics.folder import RadiomicsFolder, write_radiomics
from .result_files import ResultFiles
from .segmentation import Segmentation, SegmentationOptions, segment_case

NOTHING: Mapping[str, Any] = MappingProxyType({})


def segment_files(
    paths: Mapping[str, ScanSource],
    output: Path | ResultFiles,
    *,
    model: str | Model | None = None,
    reference: str | Path | None = None,
    brain_mask: Path | None = None,
    report: Path | None = None,
    quality_page: Path | None = None,
    maps: Mapping[str, ScanSource] = NOTHING,
    overwrite: bool = False,
    preprocessing: PreprocessingOptions | None = None,
    options: SegmentationOptions | None = None,
    sequences: Mapping[str, Any] = NOTHING,
    progress: Progress | None = None,
) -> SegmentationReport:
    """Segment the scans in files, and write the label map and the other requested files.

    Files appear only once everything is done. For a moved scan such as T2,
    ``seg_transform_t2.tfm`` maps points of the fixed scan's space to its own; files of this kind
    from an earlier result are removed.

    Args:
        paths: by modality: image files or DICOM series.
        output: label map to write, or all files to write (some have no argument of their own).
        model: loaded, or a name or path; by default the one in use, see :func:`.default_model`.
        reference: image whose grid the result has, see :func:`.read_scans`.
        brain_mask: replaces brain extraction.
        report: JSON file to write, see below.
        quality_page: HTML file to write, see :func:`.write_quality_page`.
        maps: further maps such as ADC by name, measured in the regions, see :func:`.measure_maps`.
        overwrite: replace files that exist.
        preprocessing: what is done to the scans; by default what they need.
        options: options of the segmentation.
        sequences: why each scan was taken for its modality, for the report.
        progress: reports the stages.

    Returns:
        The content of the report file.

    Raises:
        InputError: if anything given cannot be used; nothing is written then.
        MISSUError: if a package that a requested file needs is missing.
        ResourceError: if there is too little memory or disk space.

    Examples:
        >>> from MISSUCore import find_case, segment_files
        >>> sorted(segment_files(find_case(folder).scans, folder / "seg.nii.gz").volumes_ml)
        ['ET', 'TC', 'WT']
    """
    began = time.monotonic()
    files = output if isinstance(output, ResultFiles) else ResultFiles(output, report, quality_page)
    given = Inputs(
        paths, reference, brain_mask, preprocessing or PreprocessingOptions(), maps or {}
    )
    options = options or SegmentationOptions()
    plan = plan_case(given, files, model, options, sequences or {}, overwrite)
    return _run(plan, began, progress or Progress())


def _run(plan: Plan, began: float, progress: Progress) -> SegmentationReport:
    """Read, segment and write a case; returns the content of the report file."""
    inputs = plan.inputs
    maps = read_maps(inputs.maps, inputs.paths.values())
    scans = read_scans(
        inputs.paths,
        plan.scheme,
        inputs.reference,
        inputs.brain_mask,
        inputs.preprocessing,
        progress.part(0, 0.5),
    )
    for one in maps:
        check_overlap(one, scans.own_reference)
    result = segment_case(
        scans.prepared.images, plan.model, scans.reference, plan.options, progress.part(0.5, 0.95)
    )
    progress(Stage.WRITE, 0.95, "writing the result")
    facts = _write(plan, scans, result, _measured(maps, plan, scans, result), began)
    progress(Stage.DONE, 1.0, f"wrote {plan.files.labels}")
    return facts


def _measured(
    maps: Sequence[FurtherMap], plan: Plan, scans: ScansInOneSpace, result: Segmentation
) -> MeasuredMaps:
    """Measurements of further maps in the regions, in the space of the reference's header."""
    if not maps:
        return MeasuredMaps((), {}, ())
    labels = scans.where_it_was(result.labels)
    masks = plan.scheme.to_regions(sitk.GetArrayViewFromImage(labels))
    return measure_read_maps(maps, masks, labels, plan.scheme.region_names)


def _write(
    plan: Plan,
    scans: ScansInOneSpace,
    result: Segmentation,
    measured: MeasuredMaps,
    began: float,
) -> SegmentationReport:
    """Write all files at once, and remove files of an earlier result that were not replaced.

    Args:
        plan: which files to write.
        scans: the segmented scans.
        result: their segmentation.
        measured: measurements of further maps in it.
        began: time of the start on the monotonic clock.

    Returns:
        The content of the report file.
    """
    writing = time.monotonic()
    registrations = scans.prepared.registrations if scans.prepared.was_moved else {}
    maps = {
        path: scans.where_it_was(result.probabilities[name])
        for name, path in (plan.probability_maps if plan.files.probabilities else {}).items()
    }
    transforms = {
        plan.transforms[name]: registration.transform
        for name, registration in registrations.items()
    }
    with ExitStack() as stack:
        labels = scans.where_it_was(result.labels)
        new = _write_images(stack, plan, labels, maps, transforms)
        made = _write_radiomics(stack, plan, scans, labels)
        seconds = {**scans.seconds, **result.seconds, "write": time.monotonic() - writing}
        seconds["total"] = time.monotonic() - began
        facts = replace(
            report_of(plan, scans, result, measured, seconds, made.warnings),
            written={path.name: sha256(temporary) for path, temporary in new.items()},
            grid=grid_of(labels),
            masks=mask_facts(labels, plan.scheme),
        )
        _write_pictures(stack, plan, scans, result, measured.maps, facts)
        segments = []
        if plan.files.dicom_seg:
            segments = region_segments(sitk.GetArrayViewFromImage(result.labels), plan.scheme)
        if plan.files.dicom_seg and plan.dicom_scan and segments:
            temporary = stack.enter_context(atomic_write(plan.files.dicom_seg))
            write_dicom_seg(temporary, plan.dicom_scan, segments, plan.algorithm)
        if plan.files.report:
            temporary = stack.enter_context(atomic_write(plan.files.report))
            temporary.write_text(json.dumps(facts.to_dict(), indent=2) + "\n", encoding="utf-8")
    known = {*plan.probability_maps.values(), *plan.transforms.values(), *plan.radiomics_files}
    if plan.files.dicom_seg and not segments:
        known.add(plan.files.dicom_seg)
    for outdated in known - new.keys() - made.paths:
        with translate_os_errors(outdated):
            outdated.unlink(missing_ok=True)
    return facts


def _write_images(
    stack: ExitStack,
    plan: Plan,
    labels: sitk.Image,
    maps: Mapping[Path, sitk.Image],
    transforms: Mapping[Path, sitk.Transform],
) -> dict[Path, Path]:
    """Write label map, maps and transforms; returns the temporary file of each path."""
    new = {plan.files.labels: write_image(stack, labels, plan.files.labels)}
    for path, image in maps.items():
        new[path] = write_image(stack, image, path)
    for path, transform in transforms.items():
        new[path] = write_transform(stack, transform, path)
    return new


def _write_radiomics(
    stack: ExitStack, plan: Plan, scans: ScansInOneSpace, labels: sitk.Image
) -> RadiomicsFolder:
    """Write the folder for radiomics, if requested."""
    files, before = plan.files.radiomics, plan.inputs.preprocessing
    if files is None:
        return RadiomicsFolder()
    return write_radiomics(stack, files, scans, labels, plan.scheme, before)


def _write_pictures(
    stack: ExitStack,
    plan: Plan,
    scans: ScansInOneSpace,
    result: Segmentation,
    maps: Sequence[FurtherMap],
    facts: SegmentationReport,
) -> None:
    """Write the thumbnail and the quality page, if requested."""
    prepared = scans.prepared
    if plan.files.thumbnail:
        scan = prepared.whole.get("flair", prepared.whole[prepared.fixed])
        temporary = stack.enter_context(atomic_write(plan.files.thumbnail))
        write_thumbnail(temporary, scan, result.labels, plan.scheme)
    if plan.files.quality_page:
        temporary = stack.enter_context(atomic_write(plan.files.quality_page))
        shown = {one.name: prepared.moved_along(one.image, scans.reference_scan) for one in maps}
        write_quality_page(
            temporary,
            prepared.whole,
            result.labels,
            plan.scheme,
            facts,
            prepared.brain,
            maps=shown,
        )
