"""A measured segmentation as DICOM objects for the archive: segments, report, picture."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import astuple, dataclass
from pathlib import Path

from ..contract.labels import LabelScheme
from ..contract.segmentation_report import SegmentationReport, read_report
from ..core.errors import InputError
from ..core.files import atomic_write
from ..core.messages import a_file
from ..io.dicom import ScanSource
from ..measurement.case import MeasuredCase
from .capture.drawing import draw_measurements
from .capture.secondary_capture import write_secondary_capture
from .dicom_scan import read_dicom_scan
from .dicom_seg import (
    AUTOMATIC,
    LONGEST_TEXT,
    MANUAL,
    Algorithm,
    check_dicom_seg,
    write_dicom_seg,
)
from .dicom_sr import algorithm_of, lesion_segments, write_dicom_sr

_MAKERS = (
    "the report of missu segment (a JSON file), the name of another program (up to 64 letters), or "
    "'manual'"
)


@dataclass(frozen=True)
class DicomOutputs:
    """Paths of the DICOM files to write; None for those that are not wanted.

    Attributes:
        segmentation: DICOM Segmentation, a segment for each region of each lesion.
        report: DICOM Structured Report, which refers to the segmentation.
        picture: DICOM Secondary Capture with the diameters and a table.
    """

    segmentation: Path | None = None
    report: Path | None = None
    picture: Path | None = None

    def paths(self) -> list[Path]:
        """Paths of the files to write."""
        return [path for path in astuple(self) if path]


class DicomArchive:
    """Writes DICOM objects that refer to a scan; finds errors before any work is done.

    Args:
        outputs: files to write.
        scan: DICOM series on whose grid the segments lie.
        scheme: of the regions.
        made_by: who drew the segments: the report of ``missu segment``, the name of another
            program, or "manual"; may be empty without a segmentation.

    Raises:
        InputError: if an input is missing, or the scan's headers do not allow a reference to it.
        MISSUError: if highdicom is not installed.
    """

    def __init__(
        self, outputs: DicomOutputs, scan: ScanSource | None, scheme: LabelScheme, made_by: str = ""
    ) -> None:
        if outputs.report and not outputs.segmentation:
            raise InputError("--dicom-sr refers to a segmentation; give --dicom-seg FILE, too")
        if not scan:
            raise InputError("a DICOM object refers to the scan; give --t1ce with a DICOM series")
        if outputs.segmentation and not made_by:
            raise InputError(f"DICOM asks who drew the segments; give --made-by with {_MAKERS}")
        self.outputs = outputs
        self.scheme = scheme
        self.is_known = bool(made_by)
        self.algorithm, self.report = _maker(made_by)
        self.scan = read_dicom_scan(scan)
        if outputs.segmentation:
            check_dicom_seg(self.scan, scheme, self.algorithm)

    def write(self, stack: ExitStack, measured: MeasuredCase) -> None:
        """Write the objects to temporary paths, renamed once the whole stack has succeeded.

        Raises:
            InputError: if a file cannot be written.
            ResourceError: if the disk is full.
        """
        algorithm = algorithm_of(self.report, measured) if self.report else self.algorithm
        if self.outputs.segmentation:
            segments = lesion_segments(measured, self.scheme)
            temporary = stack.enter_context(atomic_write(self.outputs.segmentation))
            made = write_dicom_seg(temporary, self.scan, segments, algorithm)
            if self.outputs.report:
                temporary = stack.enter_context(atomic_write(self.outputs.report))
                write_dicom_sr(temporary, self.scan, made, segments, measured, self.scheme)
        if self.outputs.picture:
            picture = draw_measurements(measured, algorithm if self.is_known else None)
            temporary = stack.enter_context(atomic_write(self.outputs.picture))
            write_secondary_capture(temporary, self.scan, picture, measured.report.plane)


def is_report(made_by: str) -> bool:
    """Whether ``made_by`` is the path of a report rather than the name of a program."""
    return made_by.casefold().endswith(".json")


def _maker(made_by: str) -> tuple[Algorithm, SegmentationReport | None]:
    """Who drew the segments, and the report of ``missu segment`` if ``made_by`` is one.

    Raises:
        InputError: if it is neither a report nor the name of a program.
    """
    if made_by.casefold() == MANUAL.casefold():
        return Algorithm(MANUAL), None
    if is_report(made_by):
        return Algorithm(AUTOMATIC), read_report(Path(made_by))
    plain = len(made_by) <= LONGEST_TEXT and made_by.isprintable() and not set(made_by) & set("/\\")
    if not plain or Path(made_by).is_file():
        raise InputError(
            a_file(made_by),
            f": is neither a report nor the name of a program; give --made-by with {_MAKERS}",
        )
    return Algorithm(AUTOMATIC, made_by, "unknown"), None
