"""Segmentations as DICOM Segmentation objects (PS3.3, A.51), for archives and their viewers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .. import __version__
from ..contract.labels import LabelScheme
from ..contract.terminology import Code, Terminology
from .dicom_scan import DicomScan, highdicom, referring

if TYPE_CHECKING:
    from pydicom import Dataset

AUTOMATIC, SEMIAUTOMATIC, MANUAL = "AUTOMATIC", "SEMIAUTOMATIC", "MANUAL"
SERIES_NUMBER = 1000  # above those of the scanner
NOTICE = "Research software, not a medical device"
PRIVATE_SCHEME = "99MISSU"
LONGEST_TEXT = 64  # characters of DICOM's long string (LO)


@dataclass(frozen=True)
class Algorithm:
    """Who drew the segments.

    Attributes:
        kind: AUTOMATIC, SEMIAUTOMATIC (a person has corrected it) or MANUAL.
        name: of the model or program; empty if drawn by hand.
        version: of the model or program.
    """

    kind: str
    name: str = ""
    version: str = __version__


@dataclass(frozen=True)
class DicomSegment:
    """A segment of a DICOM Segmentation.

    Attributes:
        label: name for readers.
        terminology: codes of what it shows.
        color: RGB, 0 to 255.
        mask: (D, H, W) on the grid of the scan that is referred to.
        tracking: name and UID by which measurements refer to it; None if none do.
    """

    label: str
    terminology: Terminology
    color: tuple[int, int, int]
    mask: NDArray[np.bool_]
    tracking: tuple[str, str] | None = None


def region_segments(labels: NDArray[np.uint8], scheme: LabelScheme) -> list[DicomSegment]:
    """A segment for each nonempty region of a label map (D, H, W)."""
    return [
        DicomSegment(region.title, region.terminology, region.color, mask)
        for region, mask in zip(scheme.regions, scheme.to_regions(labels))
        if mask.any()
    ]


def check_dicom_seg(scan: DicomScan, scheme: LabelScheme, algorithm: Algorithm) -> None:
    """Check in advance that the scan's headers allow an object, by making one of a single slice.

    Raises:
        InputError: if they do not.
        MISSUError: if highdicom is not installed.
    """
    first = scan.headers[0]
    mask = np.zeros((scan.frames, int(first.Rows), int(first.Columns)), dtype=bool)
    mask[0] = True
    region = scheme.regions[0]
    segment = DicomSegment(region.title, region.terminology, region.color, mask)
    dicom_seg(scan, [segment], algorithm)


def write_dicom_seg(
    path: Path, scan: DicomScan, segments: Sequence[DicomSegment], algorithm: Algorithm
) -> Dataset:
    """Write segments as an object that refers to a scan, and return the object.

    Raises:
        InputError: see :func:`dicom_seg`.
        MISSUError: if highdicom is not installed.
    """
    made = dicom_seg(scan, segments, algorithm)
    made.save_as(path)
    return made


def dicom_seg(scan: DicomScan, segments: Sequence[DicomSegment], algorithm: Algorithm) -> Dataset:
    """A DICOM Segmentation that refers to the slices of a scan.

    Segments may overlap. Slices without a voxel of a segment are left out, as is usual, so no
    segment may be empty.

    Args:
        scan: on whose grid the segments lie.
        segments: one or more.
        algorithm: who drew them.

    Raises:
        InputError: if the headers of the scan break DICOM's rules.
        MISSUError: if highdicom is not installed.
        ValueError: if a segment is empty or has another shape than the scan.
    """
    hd = highdicom()
    shapes = {segment.mask.shape for segment in segments}
    first = scan.headers[0]
    if shapes != {(scan.frames, first.Rows, first.Columns)}:
        raise ValueError(f"segments of shape {shapes} do not fit the scan")
    if not all(segment.mask.any() for segment in segments):
        raise ValueError("a segment is empty")
    with referring(scan, "object"):
        return _segmentation(hd, scan, segments, algorithm)


def _segmentation(
    hd: Any, scan: DicomScan, segments: Sequence[DicomSegment], algorithm: Algorithm
) -> Dataset:
    return hd.seg.Segmentation(
        source_images=scan.headers,
        pixel_array=np.stack([segment.mask for segment in segments], axis=-1),
        segmentation_type="BINARY",
        segment_descriptions=[
            _description(hd, number, segment, algorithm)
            for number, segment in enumerate(segments, start=1)
        ],
        series_instance_uid=hd.UID(),
        series_number=SERIES_NUMBER,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer="MISSU",
        manufacturer_model_name=(algorithm.name or "MISSU")[:LONGEST_TEXT],
        software_versions=__version__,
        device_serial_number="none",
        content_description=NOTICE,
        content_label="TUMOR",
        series_description="Brain tumor segmentation (MISSU)",
        coding_schemes=private_schemes(),
    )


def private_schemes() -> list[Any]:
    """Identification of our private coding schemes, for other programs."""
    from highdicom.coding_schemes import CodingSchemeIdentificationItem

    return [CodingSchemeIdentificationItem(PRIVATE_SCHEME, name="MISSU tumor regions")]


def coded(hd: Any, code: Code) -> Any:
    """A code as a highdicom object."""
    return hd.sr.CodedConcept(code.value, code.scheme, code.meaning)


def _description(hd: Any, number: int, segment: DicomSegment, algorithm: Algorithm) -> Any:
    terminology = segment.terminology
    region = terminology.anatomic_region
    identification = None
    if algorithm.kind != MANUAL:
        identification = hd.AlgorithmIdentificationSequence(
            name=algorithm.name[:LONGEST_TEXT],
            family=hd.sr.CodedConcept("123110", "DCM", "Artificial Intelligence"),
            version=algorithm.version,
        )
    tracking_id, tracking_uid = segment.tracking or (None, None)
    described = hd.seg.SegmentDescription(
        number,
        segment.label[:LONGEST_TEXT],
        coded(hd, terminology.category),
        coded(hd, terminology.type),
        algorithm.kind,
        algorithm_identification=identification,
        tracking_id=tracking_id,
        tracking_uid=tracking_uid,
        anatomic_regions=[coded(hd, region)] if region else None,
        display_color=hd.color.CIELabColor.from_rgb(*segment.color),
    )
    if terminology.modifier:
        kind = described.SegmentedPropertyTypeCodeSequence[0]
        kind.SegmentedPropertyTypeModifierCodeSequence = [coded(hd, terminology.modifier)]
    return described
