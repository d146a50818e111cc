"""Measurements as DICOM Structured Report (TID 1500 of PS3.16), with a segment for each lesion.

Each region of a lesion has a measurement group that refers to its segment and gives its volume
(TID 1411). The measured region has a second group (TID 1501) for the diameters with their end
points, which a group with a segment may not hold. Both have the segment's tracking identifier.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import __version__
from ..contract.labels import LabelScheme
from ..contract.measurement.lesions import LesionMeasurement, Line
from ..contract.provenance.masks import Contents, Mask
from ..contract.segmentation_report import SegmentationReport
from ..evaluation.verification import contents_on_grid
from ..measurement.case import MeasuredCase
from .dicom_scan import DicomScan, highdicom, referring
from .dicom_seg import (
    AUTOMATIC,
    SEMIAUTOMATIC,
    SERIES_NUMBER,
    Algorithm,
    DicomSegment,
    coded,
    private_schemes,
)

if TYPE_CHECKING:
    from pydicom import Dataset

# Code meanings from PS3.16; the last is of the Image Biomarker Standardization Initiative.
_VOLUME = ("118565006", "SCT", "Volume")
_LONG_AXIS = ("103339001", "SCT", "Long Axis")
_SHORT_AXIS = ("103340004", "SCT", "Short Axis")
_MAXIMUM = ("L0JK", "IBSI", "Maximum 3D Diameter")
_MM = ("mm", "UCUM", "mm")
_ML = ("cm3", "UCUM", "cm3")
_PROCEDURE = ("24590-2", "LN", "MR Brain")
_SAME_ML = 0.001  # reports round to this
_IN_SLICE = 0.01  # of a voxel


def algorithm_of(report: SegmentationReport, measured: MeasuredCase) -> Algorithm:
    """Who drew the segmentation of a report: semiautomatic if it was edited since the report."""
    volumes = measured.report.volumes_ml
    if report.masks:
        named = {name: Mask.of(mask) for name, mask in zip(volumes, measured.masks)}
        found = contents_on_grid(named, measured.image, report.grid)
        same = found.same_as(Contents(tuple(report.grid), dict(report.masks)))
    else:  # a report of an older version
        same = volumes.keys() == report.volumes_ml.keys() and all(
            abs(volumes[name] - told) <= _SAME_ML for name, told in report.volumes_ml.items()
        )
    return Algorithm(
        AUTOMATIC if same else SEMIAUTOMATIC, report.model.name or "MISSU", report.missu_version
    )


def lesion_segments(measured: MeasuredCase, scheme: LabelScheme) -> list[DicomSegment]:
    """A segment for each nonempty region of each lesion, in the order of the lesions."""
    hd = highdicom()
    segments = []
    for lesion in measured.report.lesions:
        inside = measured.numbers == lesion.number
        for region, mask in zip(scheme.regions, measured.masks):
            if region.name in lesion.volumes_ml and lesion.volumes_ml[region.name] > 0:
                segments.append(
                    DicomSegment(
                        f"{region.title}, lesion {lesion.number}",
                        region.terminology,
                        region.color,
                        mask & inside,
                        (_name(lesion, region.name), str(hd.UID())),
                    )
                )
    return segments


def write_dicom_sr(
    path: Path,
    scan: DicomScan,
    segmentation: Dataset,
    segments: Sequence[DicomSegment],
    measured: MeasuredCase,
    scheme: LabelScheme,
) -> None:
    """Write measurements as a structured report that refers to the scan and to the segments.

    Args:
        path: file to write.
        scan: on which the case was measured.
        segmentation: the object that holds the segments.
        segments: from :func:`lesion_segments`.
        measured: the measured case.
        scheme: of the regions.

    Raises:
        InputError: if the headers of the scan break DICOM's rules.
        MISSUError: if highdicom is not installed.
    """
    hd = highdicom()
    with referring(scan, "report"):
        _report(hd, scan, segmentation, segments, measured, scheme).save_as(path)


def _report(
    hd: Any,
    scan: DicomScan,
    segmentation: Dataset,
    segments: Sequence[DicomSegment],
    measured: MeasuredCase,
    scheme: LabelScheme,
) -> Dataset:
    lesions = {
        _name(lesion, region): (lesion, region)
        for lesion in measured.report.lesions
        for region in lesion.volumes_ml
    }
    in_slices = all(
        _slice_of(line, measured) is not None
        for lesion in measured.report.lesions
        for line in (lesion.longest, lesion.perpendicular)
        if line
    )
    groups = []
    for number, segment in enumerate(segments, start=1):
        name, uid = segment.tracking or ("", "")
        lesion, region = lesions[name]
        common = {
            "tracking_identifier": hd.sr.TrackingIdentifier(uid=uid, identifier=name),
            **_finding(hd, segment),
        }
        groups.append(
            hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
                referenced_segment=hd.sr.ReferencedSegment.from_segmentation(
                    segmentation, segment_number=number
                ),
                measurements=_sizes(hd, lesion, region, measured),
                **common,
            )
        )
        if region == measured.report.region and lesion.longest:
            diameters = _diameters(hd, scan, lesion, measured, in_slices)
            groups.append(
                hd.sr.MeasurementsAndQualitativeEvaluations(measurements=diameters, **common)
            )
    content = hd.sr.MeasurementReport(
        observation_context=_observer(hd),
        procedure_reported=hd.sr.CodedConcept(*_PROCEDURE),
        imaging_measurements=groups,
        title=hd.sr.CodedConcept("126000", "DCM", "Imaging Measurement Report"),
    )
    kind = hd.sr.ComprehensiveSR if in_slices else hd.sr.Comprehensive3DSR
    return kind(
        evidence=[segmentation, *scan.headers],
        content=content[0],
        series_instance_uid=hd.UID(),
        series_number=SERIES_NUMBER + 1,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer="MISSU",
        is_complete=True,
        series_description="Brain tumor measurements (MISSU)",
        coding_schemes=private_schemes(),
    )


def _finding(hd: Any, segment: DicomSegment) -> dict[str, Any]:
    """Codes of the finding and of its site."""
    site = segment.terminology.anatomic_region
    return {
        "finding_type": coded(hd, segment.terminology.type),
        "finding_sites": [hd.sr.FindingSite(coded(hd, site))] if site else None,
    }


def _observer(hd: Any) -> Any:
    attributes = hd.sr.DeviceObserverIdentifyingAttributes(
        uid=hd.UID(), name="MISSU", manufacturer_name="MISSU", model_name=f"MISSU {__version__}"
    )
    device = hd.sr.CodedConcept("121007", "DCM", "Device")
    return hd.sr.ObservationContext(
        observer_device_context=hd.sr.ObserverContext(device, attributes)
    )


def _sizes(hd: Any, lesion: LesionMeasurement, region: str, measured: MeasuredCase) -> list[Any]:
    """The volume of a region in a lesion, and its largest diameter if that was measured."""
    volume, unit = hd.sr.CodedConcept(*_VOLUME), hd.sr.CodedConcept(*_ML)
    made = [hd.sr.Measurement(volume, round(lesion.volumes_ml[region], 4), unit)]
    if region == measured.report.region and lesion.maximum:
        length_mm = round(lesion.maximum.length_mm, 3)
        made.append(
            hd.sr.Measurement(hd.sr.CodedConcept(*_MAXIMUM), length_mm, hd.sr.CodedConcept(*_MM))
        )
    return made


def _diameters(
    hd: Any,
    scan: DicomScan,
    lesion: LesionMeasurement,
    measured: MeasuredCase,
    in_slices: bool,
) -> list[Any]:
    made = []
    for name, line in ((_LONG_AXIS, lesion.longest), (_SHORT_AXIS, lesion.perpendicular)):
        if line:
            place = _in_slice(hd, scan, line, measured) if in_slices else _in_space(hd, scan, line)
            made.append(
                hd.sr.Measurement(
                    hd.sr.CodedConcept(*name),
                    round(line.length_mm, 3),
                    hd.sr.CodedConcept(*_MM),
                    referenced_coordinates=[place],
                )
            )
    return made


def _slice_of(line: Line, measured: MeasuredCase) -> int | None:
    """The slice of the scan that a line lies in; None if it lies across them."""
    heights = [
        measured.image.TransformPhysicalPointToContinuousIndex(end)[2]
        for end in (line.start, line.end)
    ]
    number = round(heights[0])
    return number if all(abs(height - number) <= _IN_SLICE for height in heights) else None


def _in_slice(hd: Any, scan: DicomScan, line: Line, measured: MeasuredCase) -> Any:
    """A line in image coordinates of its slice: (column, row) from the first pixel's corner."""
    number = _slice_of(line, measured) or 0
    ends = [
        measured.image.TransformPhysicalPointToContinuousIndex(end)[:2]
        for end in (line.start, line.end)
    ]
    single = len(scan.headers) == 1 and scan.frames > 1
    header = scan.headers[0 if single else number]
    return hd.sr.CoordinatesForMeasurement(
        graphic_type="POLYLINE",
        graphic_data=np.array(ends) + 0.5,
        source_image=hd.sr.SourceImageForRegion(
            header.SOPClassUID, header.SOPInstanceUID, [number + 1] if single else None
        ),
    )


def _in_space(hd: Any, scan: DicomScan, line: Line) -> Any:
    """A line in patient coordinates (mm)."""
    return hd.sr.CoordinatesForMeasurement3D(
        graphic_type="POLYLINE",
        graphic_data=np.array([line.start, line.end]),
        frame_of_reference_uid=scan.headers[0].FrameOfReferenceUID,
    )


def _name(lesion: LesionMeasurement, region: str) -> str:
    return f"lesion {lesion.number} {region}"
