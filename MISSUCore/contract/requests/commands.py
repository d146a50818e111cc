"""What MISSUCore can be asked to do: a class for each command."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from ...core.serialization import by_name, many, maybe
from ..measurement.lesions import MeasurementSettings
from ..naming.rules import Guess
from ..options import FineTuningOptions, PreprocessingOptions, SegmentationOptions
from ..provenance.record import Provenance
from ..visits.report import VisitsSettings
from ..visits.response import GivenVisit


@dataclass(frozen=True)
class ScanInputs:
    """The scans of a case, and what is done to them first.

    Attributes:
        images: files or DICOM folders by modality; they go before what is found in ``case``.
        case: folder to look for scans in.
        allow_missing: go on without a scan of ``case`` that cannot be used.
        reference: modality or image whose grid the result has; empty for T1ce, or what there is.
        brain_mask: in place of brain extraction.
        preprocessing: what is done to them.
    """

    images: dict[str, Path] = by_name(Path)
    case: Path | None = maybe(Path)
    allow_missing: bool = False
    reference: str = ""
    brain_mask: Path | None = maybe(Path)
    preprocessing: PreprocessingOptions = field(default_factory=PreprocessingOptions)


@dataclass(frozen=True)
class SegmentRequest:
    """Segment a case.

    Attributes:
        scans: of the case.
        output: label map to write.
        report: JSON file to write.
        quality_page: HTML file to write.
        dicom_seg: DICOM Segmentation to write.
        probabilities: also write a map for each region.
        radiomics: folder to write, with images and masks on one grid.
        maps: further maps, as ADC, that are measured in the regions, by name.
        overwrite: replace files that exist.
        model: name or path; empty for the one in use.
        options: how it is segmented.
    """

    command: ClassVar[str] = "segment"
    scans: ScanInputs = field(default_factory=ScanInputs)
    output: Path = Path()
    report: Path | None = maybe(Path)
    quality_page: Path | None = maybe(Path)
    dicom_seg: Path | None = maybe(Path)
    probabilities: bool = False
    radiomics: Path | None = maybe(Path)
    maps: dict[str, Path] = by_name(Path)
    overwrite: bool = False
    model: str = ""
    options: SegmentationOptions = field(default_factory=SegmentationOptions)


@dataclass(frozen=True)
class AddCaseRequest:
    """Add a corrected case to a library.

    Attributes:
        library: its folder.
        scans: of the case.
        labels: corrected label map.
        result: label map that the model gave.
        model: that model, by name or path; empty if unknown.
        scheme: what the labels mean: a name, a JSON file, or JSON itself.
        scene: where the case comes from.
        note: any text.
        no_tumor: the labels are empty because there is none.
        replace: take the new labels if the scans are there already.
        provenance: who changed what in the labels; None if unknown.
    """

    command: ClassVar[str] = "library add"
    library: Path = Path()
    scans: ScanInputs = field(default_factory=ScanInputs)
    labels: Path = Path()
    result: Path | None = maybe(Path)
    model: str = ""
    scheme: str = "brats"
    scene: str = ""
    note: str = ""
    no_tumor: bool = False
    replace: bool = False
    provenance: Provenance | None = maybe(Provenance)


@dataclass(frozen=True)
class ChangeCasesRequest:
    """Exclude cases of a library from fine-tuning, include them again, or remove them for good.

    Attributes:
        library: its folder.
        action: "exclude", "include" or "remove".
        ids: of the cases.
    """

    command: ClassVar[str] = "library change"
    library: Path = Path()
    action: str = ""
    ids: tuple[str, ...] = many(str)


@dataclass(frozen=True)
class ModelRequest:
    """Change which models there are; one of these is given.

    Attributes:
        accept: run whose candidate is installed.
        force: also if it is not better than its base.
        discard: run whose candidate is deleted.
        use: name of the model that is to be the default.
        remove: name of the model that is to be deleted.
    """

    command: ClassVar[str] = "models"
    accept: Path | None = maybe(Path)
    force: bool = False
    discard: Path | None = maybe(Path)
    use: str = ""
    remove: str = ""


@dataclass(frozen=True)
class EvaluateRequest:
    """Compare segmentations with references.

    Attributes:
        prediction: label map, or a folder of them.
        reference: label map, or a folder of them, named alike.
        scheme: what the labels mean: a name, a JSON file, or JSON itself.
        csv: file to write, a row per case and region.
        json: file to write, rows and summary.
        overwrite: replace files that exist.
    """

    command: ClassVar[str] = "evaluate"
    prediction: Path = Path()
    reference: Path = Path()
    scheme: str = "brats"
    csv: Path | None = maybe(Path)
    json: Path | None = maybe(Path)
    overwrite: bool = False


@dataclass(frozen=True)
class MeasureRequest:
    """Measure the lesions in a segmentation.

    Attributes:
        segmentation: label map.
        t1ce: scan that it was drawn on.
        output: JSON file to write.
        csv: file to write, a row per lesion.
        dicom_seg: DICOM Segmentation to write, a segment for each region of each lesion.
        dicom_sr: DICOM report to write, which refers to it.
        secondary_capture: DICOM picture to write, with the diameters and a table.
        made_by: who drew the segments, for DICOM: report of a segmentation, name of a program, or
            "manual".
        maps: further maps, as ADC, that are measured in the regions, by name.
        overwrite: replace files that exist.
        scheme: what the labels mean: a name, a JSON file, or JSON itself.
        settings: how lesions are measured and judged.
    """

    command: ClassVar[str] = "measure"
    segmentation: Path = Path()
    t1ce: Path | None = maybe(Path)
    output: Path | None = maybe(Path)
    csv: Path | None = maybe(Path)
    dicom_seg: Path | None = maybe(Path)
    dicom_sr: Path | None = maybe(Path)
    secondary_capture: Path | None = maybe(Path)
    made_by: str = ""
    maps: dict[str, Path] = by_name(Path)
    overwrite: bool = False
    scheme: str = "brats"
    settings: MeasurementSettings = field(default_factory=MeasurementSettings)


@dataclass(frozen=True)
class VisitsRequest:
    """Compare a tumor over several visits.

    Attributes:
        visits: two or more, in the order of their dates.
        output: JSON file to write.
        csv: table to write.
        page: HTML file to write.
        overwrite: replace files that exist.
        scheme: what the labels mean: a name, a JSON file, or JSON itself.
        settings: how they are compared.
        surgery: dates of operations, ISO 8601.
        radiotherapy: dates on which radiotherapies ended.
        different_anatomy: go on with scans that seem to be of two patients.
        allow_empty: take an empty segmentation for a tumor that is gone.
    """

    command: ClassVar[str] = "visits"
    visits: tuple[GivenVisit, ...] = many(GivenVisit)
    output: Path | None = maybe(Path)
    csv: Path | None = maybe(Path)
    page: Path | None = maybe(Path)
    overwrite: bool = False
    scheme: str = "brats"
    settings: VisitsSettings = field(default_factory=VisitsSettings)
    surgery: tuple[str, ...] = many(str)
    radiotherapy: tuple[str, ...] = many(str)
    different_anatomy: bool = False
    allow_empty: bool = False


@dataclass(frozen=True)
class GuessRequest:
    """Tell of scans whose names say nothing what sequences they look like.

    Attributes:
        images: files of one case, by any name.
        among: the sequences that come into question.
        output: JSON file to write, see :class:`GuessAnswer`.
    """

    command: ClassVar[str] = "guess"
    images: dict[str, Path] = by_name(Path)
    among: tuple[str, ...] = many(str)
    output: Path = Path()


@dataclass(frozen=True)
class GuessAnswer:
    """The answer to a :class:`GuessRequest`: a guess for each image."""

    guesses: dict[str, Guess] = by_name(Guess)


@dataclass(frozen=True)
class FineTuneRequest:
    """Tune a model.

    Attributes:
        library: of corrected cases, or None.
        cases: JSON list of cases, or None.
        output: folder of the run.
        base: model to tune; empty for the one in use.
        name: of the tuned model.
        scheme: what the labels mean: a name, a JSON file, or JSON itself; empty: as the library or
            the base has it.
        modalities: to use, of a new task; none: those of the base.
        options: how.
    """

    command: ClassVar[str] = "finetune"
    library: Path | None = maybe(Path)
    cases: Path | None = maybe(Path)
    output: Path = Path()
    base: str = ""
    name: str = "my-model"
    scheme: str = ""
    modalities: tuple[str, ...] = many(str)
    options: FineTuningOptions = field(default_factory=FineTuningOptions)


Request = (
    SegmentRequest
    | AddCaseRequest
    | ChangeCasesRequest
    | FineTuneRequest
    | ModelRequest
    | EvaluateRequest
    | MeasureRequest
    | VisitsRequest
    | GuessRequest
)
