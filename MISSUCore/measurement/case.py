"""Measurement of a label map file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import SimpleITK as sitk

from ..contract.labels import BRATS, LabelScheme
from ..contract.measurement.lesions import MeasurementSettings
from ..contract.measurement.report import MeasurementReport
from ..contract.segmentation_report import FileFact
from ..core.errors import ErrorCode, InputError
from ..core.events import Progress, Stage
from ..core.messages import a_file
from ..evaluation.comparison import check_grids, read_regions
from ..io.dicom import ScanSource
from ..io.reading import checksum, read_image
from .inside_head import check_lies_inside
from .masks import Masks, Measured, check_settings, measure_masks


@dataclass(frozen=True)
class MeasuredCase(Measured):
    """The measurements of a label map file, and the images that belong to it.

    Attributes:
        masks: (regions, depth, height, width).
        image: with the geometry of the masks.
        scan: that the label map was drawn on, if it was given.
    """

    masks: Masks
    image: sitk.Image
    scan: sitk.Image | None = None


def measure(
    segmentation: Path,
    scan: ScanSource | None = None,
    scheme: LabelScheme = BRATS,
    settings: MeasurementSettings | None = None,
    progress: Progress | None = None,
) -> MeasurementReport:
    """Measure the lesions in a label map made by any program.

    Args:
        segmentation: the label map.
        scan: that it was drawn on (T1ce), if at hand; must have the same voxels.
        scheme: what the values mean; BraTS is read in both of its numberings.
        settings: how lesions are measured and judged.
        progress: reports the stages.

    Raises:
        InputError: if a file cannot be used, the label map is empty, or the two do not fit.

    Examples:
        >>> from MISSUCore import measure
        >>> report = measure(folder / "labels.nii.gz", folder / "t1ce.nii.gz")
        >>> lesion = report.lesions[0]
        >>> f"{lesion.longest.length_mm:.1f} by {lesion.perpendicular.length_mm:.1f} mm"
        '12.6 by 12.6 mm'
        >>> lesion.reasons
        ()
    """
    return measure_case(segmentation, scan, scheme, settings, progress).report


def measure_case(
    segmentation: Path,
    scan: ScanSource | None = None,
    scheme: LabelScheme = BRATS,
    settings: MeasurementSettings | None = None,
    progress: Progress | None = None,
) -> MeasuredCase:
    """:func:`measure`, also returning the lesion masks."""
    progress = progress or Progress()
    settings = settings or MeasurementSettings()
    check_settings(settings, scheme)
    progress(Stage.READ, 0.0)
    image, masks = read_regions(segmentation, scheme)
    if not masks.any():
        raise InputError(
            a_file(segmentation),
            ": is empty, it has no voxel of "
            + ", ".join(f"{label.value} = {label.name}" for label in scheme.labels)
            + "; there is nothing to measure",
            code=ErrorCode.LABELS_EMPTY,
        )
    fact, shown = FileFact(), None
    if scan is not None:
        shown = read_image(scan)
        check_grids((segmentation, image), (scan, shown))
        check_lies_inside(masks, shown, segmentation, scan)
        fact = FileFact(str(scan), checksum(scan))
    progress(Stage.MEASURE, 0.3)
    try:
        measured = measure_masks(masks, image, scheme, settings)
    except InputError as error:  # about an outline; its message lacks the file's name
        raise InputError(a_file(segmentation), ": ", error.text) from error
    progress(Stage.DONE, 1.0)
    own = FileFact(str(segmentation), checksum(segmentation))
    report = replace(measured.report, segmentation=own, scan=fact)
    return MeasuredCase(report, measured.numbers, masks, image, shown)
