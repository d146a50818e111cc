"""Comparison of a patient's visits, from files to a report in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from .. import __version__
from ..contract.labels import BRATS, LabelScheme
from ..contract.segmentation_report import FileFact, ScanRegistration
from ..contract.visits.report import Visit, VisitsReport, VisitsSettings
from ..contract.visits.response import GivenVisit
from ..core.errors import ErrorCode, InputError
from ..core.events import Progress, Stage
from ..core.messages import Text, a_file, an_option
from ..evaluation.comparison import check_grids, read_regions
from ..io.geometry import image_like
from ..io.reading import checksum, read_image
from ..measurement.inside_head import check_lies_inside
from ..measurement.masks import Measured, check_settings, measure_masks
from ..preprocessing.registration.rigid import Registration, moved
from .alignment import align, alignment_warnings
from .files import checked, future_dates
from .following import follow


@dataclass(frozen=True)
class ComparedVisits:
    """The comparison's report, and the images needed to draw it.

    Attributes:
        report: of the comparison.
        scans: by visit, not resampled.
        lesions: by visit, on the scan's grid: the number of the lesion that a voxel belongs to.
        registrations: by visit, on the first one's scan; None for that.
    """

    report: VisitsReport
    scans: Sequence[sitk.Image]
    lesions: Sequence[sitk.Image]
    registrations: Sequence[Registration | None]


@dataclass(frozen=True)
class _Read:
    """The contents of a visit's files."""

    masks: NDArray[np.bool_]
    image: sitk.Image
    scan: sitk.Image


def compare_visits(
    visits: Sequence[GivenVisit],
    scheme: LabelScheme = BRATS,
    settings: VisitsSettings | None = None,
    *,
    surgery: Sequence[str] = (),
    radiotherapy: Sequence[str] = (),
    different_anatomy: bool = False,
    allow_empty: bool = False,
    progress: Progress | None = None,
) -> ComparedVisits:
    """Measure a tumor at every visit, follow its lesions, and propose a response.

    Args:
        visits: two or more, in the order of their dates.
        scheme: what the values of the label maps mean; BraTS is read in both of its numberings.
        settings: how.
        surgery: dates of operations, ISO 8601.
        radiotherapy: dates on which radiotherapies ended.
        different_anatomy: go on with scans that fit so poorly that they seem to be of two patients.
        allow_empty: take an empty segmentation for a tumor that is gone.
        progress: reports the stages.

    Raises:
        InputError: if a visit cannot be used, or the visits do not belong together.
    """
    progress = progress or Progress()
    settings = settings or VisitsSettings()
    settings = _for_scheme(settings, scheme)
    given = checked(visits)
    progress(Stage.READ, 0.0, "reading the visits")
    read = _read_all(given, settings.baseline, scheme, allow_empty)
    scans = [each.scan for each in read]
    names = [visit.name for visit in given]
    sources = [visit.t1ce for visit in given]
    registrations = align(names, scans, sources, different_anatomy, progress.part(0.1, 0.8))
    progress(Stage.MEASURE, 0.8, "measuring the lesions")
    measured = [
        measure_masks(each.masks, each.image, scheme, settings.measurement) for each in read
    ]
    lesions = [image_like(each.numbers, one.image) for each, one in zip(measured, read)]
    in_one_space = [
        image if registration is None else moved(image, registration.transform)
        for image, registration in zip(lesions, registrations)
    ]
    report = VisitsReport(
        missu_version=__version__,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        settings=settings,
        visits=_visits(given, measured, registrations),
        lesions=tuple(follow(in_one_space, settings.measurement.join_mm)),
        surgery=tuple(surgery),
        radiotherapy=tuple(radiotherapy),
    ).judged()
    warnings = [
        *future_dates(given, surgery, radiotherapy),
        *alignment_warnings(registrations),
        *_warnings(report),
    ]
    return ComparedVisits(replace(report, warnings=tuple(warnings)), scans, lesions, registrations)


def _read_all(
    visits: Sequence[GivenVisit], baseline: int, scheme: LabelScheme, allow_empty: bool
) -> list[_Read]:
    """Scan, label map and masks of every visit.

    Raises:
        InputError: if a file cannot be used, there is no such baseline, or no tumor at any visit.
    """
    if not 1 <= baseline < len(visits):
        raise InputError(
            f"visit {baseline} cannot be the baseline of {len(visits)} visits; give a number from "
            "1, with a visit behind it"
        )
    read = [_read(visit, scheme, allow_empty) for visit in visits]
    if not any(each.masks.any() for each in read):
        raise InputError("the segmentations of all visits are empty", code=ErrorCode.LABELS_EMPTY)
    return read


def _visits(
    given: Sequence[GivenVisit],
    measured: Sequence[Measured],
    registrations: Sequence[Registration | None],
) -> tuple[Visit, ...]:
    """The report's entry for each visit."""
    return tuple(
        Visit(
            visit.name,
            visit.date,
            replace(
                each.report,
                segmentation=FileFact(str(visit.segmentation), checksum(visit.segmentation)),
                scan=FileFact(str(visit.t1ce), checksum(visit.t1ce)),
            ),
            _fact(registration),
            visit.reader,
        )
        for visit, each, registration in zip(given, measured, registrations)
    )


def _for_scheme(settings: VisitsSettings, scheme: LabelScheme) -> VisitsSettings:
    """The settings with the name of the region whose lesions are followed."""
    measurement = settings.measurement
    region = measurement.region or scheme.region_names[-1]
    measurement = replace(measurement, region=region, lesions_of=measurement.lesions_of or region)
    check_settings(measurement, scheme)
    return replace(settings, measurement=measurement)


def _read(visit: GivenVisit, scheme: LabelScheme, allow_empty: bool) -> _Read:
    image, masks = read_regions(visit.segmentation, scheme)
    if not masks.any() and not allow_empty:
        raise InputError(
            a_file(visit.segmentation),
            ": is empty; if the tumor is gone, give ",
            an_option("--allow-empty"),
            ", else segment again",
            code=ErrorCode.LABELS_EMPTY,
        )
    scan = read_image(visit.t1ce)
    check_grids((visit.segmentation, image), (visit.t1ce, scan))
    check_lies_inside(masks, scan, visit.segmentation, visit.t1ce)
    return _Read(masks, image, scan)


def _fact(registration: Registration | None) -> ScanRegistration | None:
    if registration is None:
        return None
    return ScanRegistration(
        round(registration.quality, 3), round(registration.moved_mm, 2), registration.skipped
    )


def _warnings(report: VisitsReport) -> list[Text]:
    """Warnings for a reader who sees only the numbers."""
    warnings = []
    baseline = report.visits[report.settings.baseline - 1]
    if not any(lesion.target for lesion in report.lesions):
        warnings.append(
            Text(
                f"no lesion of {report.region} is measurable on {baseline.date}, the baseline: the "
                "sum of products says nothing, look at the volumes"
            )
        )
    planes = {visit.measurement.plane for visit in report.visits}
    if len(planes) > 1:
        warnings.append(
            Text(
                f"the scans have their slices in different planes ({', '.join(sorted(planes))}), "
                "so that diameters differ by that alone; compare the volumes"
            )
        )
    steps = [visit.measurement.slice_mm for visit in report.visits]
    if max(steps) > 2 * min(steps):
        warnings.append(
            Text(
                f"slices are {min(steps):g} to {max(steps):g} mm apart: small changes may come "
                "from that alone"
            )
        )
    warnings += [
        Text(f"{visit.name}: ", *warning.parts)
        for visit in report.visits
        for warning in map(Text, visit.measurement.warnings)
    ]
    return warnings
