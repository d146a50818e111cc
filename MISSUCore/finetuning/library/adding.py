"""Adding a corrected case to a library, from its files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ...contract.case_record import CaseRecord
from ...contract.labels import BRATS, LabelScheme
from ...core.events import Progress, Stage
from ...inference.case_scans import read_scans
from ...io.dicom import ScanSource
from ...preprocessing.pipeline import PreprocessingOptions
from .details import CaseDetails
from .store import CaseLibrary


class AddedCase(NamedTuple):
    """The record of the stored case, and warnings for the user."""

    record: CaseRecord
    warnings: tuple[str, ...]


def add_case(
    library: CaseLibrary,
    scans: Mapping[str, ScanSource],
    labels: Path,
    scheme: LabelScheme = BRATS,
    details: CaseDetails | None = None,
    *,
    reference: str | None = None,
    brain_mask: Path | None = None,
    preprocessing: PreprocessingOptions | None = None,
    progress: Progress | None = None,
) -> AddedCase:
    """Bring the scans of a case into one space, skull-stripped, and store them with their labels.

    Args:
        library: to add the case to.
        scans: by modality: image files or DICOM series.
        labels: corrected label map.
        scheme: what its values mean.
        details: what else is known of the case.
        reference: modality or image that the labels were drawn on; by default T1ce.
        brain_mask: used instead of brain extraction.
        preprocessing: steps to apply to the scans; by default those they need.
        progress: reports the stages.

    Raises:
        InputError, ResourceError: as :func:`.read_scans` and :meth:`.CaseLibrary.add` say.

    Examples:
        >>> from MISSUCore import CaseLibrary, add_case, find_case
        >>> scans, labels = find_case(folder).scans, folder / "labels.nii.gz"
        >>> add_case(CaseLibrary(folder / "library"), scans, labels).record.modalities
        ('t1', 't1ce', 't2', 'flair')
    """
    steps = progress or Progress()
    found = read_scans(scans, scheme, reference, brain_mask, preprocessing, steps.part(0, 0.8))
    steps(Stage.ADD, 0.8, "checking and storing")
    record = library.add(found.on_reference(), labels, scheme, details, as_read=found.case.images)
    steps(Stage.DONE, 1.0, f"added {record.id}")
    return AddedCase(record, (*found.prepared.warnings, *record.warnings))
