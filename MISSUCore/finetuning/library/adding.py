"""A corrected case, from its files into a library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ...contract.case_record import CaseRecord
from ...contract.labels import BRATS, LabelScheme
from ...contract.model_identity import ModelIdentity
from ...contract.provenance.record import Provenance
from ...core.events import Progress, Stage
from ...inference.case_scans import read_scans
from ...io.dicom import ScanSource
from ...preprocessing.pipeline import PreprocessingOptions
from .store import CaseLibrary


class AddedCase(NamedTuple):
    """What was stored, and what the user should know of it."""

    record: CaseRecord
    warnings: tuple[str, ...]


def add_case(
    library: CaseLibrary,
    scans: Mapping[str, ScanSource],
    labels: Path,
    scheme: LabelScheme = BRATS,
    *,
    reference: str | None = None,
    brain_mask: Path | None = None,
    preprocessing: PreprocessingOptions | None = None,
    result: Path | None = None,
    model: ModelIdentity | None = None,
    scene: str = "",
    note: str = "",
    tumor: bool = True,
    replacing: bool = False,
    provenance: Provenance | None = None,
    progress: Progress | None = None,
) -> AddedCase:
    """Bring the scans of a case into one space, skull-stripped, and store them with their labels.

    Args:
        library: that takes the case.
        scans: by modality: image files or DICOM series.
        labels: corrected label map.
        scheme: what its values mean.
        reference: modality or image that the labels were drawn on; by default T1ce.
        brain_mask: takes the place of brain extraction.
        preprocessing: what is done to the scans; by default what they need.
        result: label map that the model gave, to say how much was changed.
        model: name and checksum of that model.
        scene: where the case comes from; nothing that names the patient.
        note: any text.
        tumor: whether there is one; a label map without any must be meant.
        replacing: take the new labels if the scans are in the library already.
        provenance: who changed what in the labels.
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
    record = library.add(
        found.on_reference(), labels, scheme, as_read=found.case.images, result=result, model=model,
        scene=scene, note=note, tumor=tumor, replacing=replacing, provenance=provenance,
    )  # fmt: skip
    return _done(steps, record, found.prepared.warnings)


def _done(progress: Progress, record: CaseRecord, warnings: Sequence[str]) -> AddedCase:
    progress(Stage.DONE, 1.0, f"added {record.id}")
    return AddedCase(record, (*warnings, *record.warnings))
