"""Plan of which files are read and written for a case, checked before the work begins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..contract.labels import LabelScheme
from ..contract.model_card import ModelCard
from ..core.errors import InputError
from ..core.messages import a_file
from ..io.dicom import ScanSource, source_files
from ..io.writing import OUTPUT_ENDINGS, check_outputs
from ..models.store import Model, default_model, find_model, load_model
from ..preprocessing.pipeline import PreprocessingOptions
from ..reporting.dicom_scan import DicomScan, read_dicom_scan
from ..reporting.dicom_seg import AUTOMATIC, Algorithm, check_dicom_seg
from .case_scans import input_files, reference_name
from .missing_scans import answering_model
from .predictor import choose_device
from .result_files import ResultFiles
from .segmentation import SegmentationOptions


@dataclass(frozen=True)
class Inputs:
    """Files to read, and how the scans are brought into one space.

    Attributes:
        paths: scans by modality.
        reference: see :func:`.read_scans`.
        brain_mask: replaces brain extraction.
        preprocessing: what is done to the scans.
        maps: further maps that are measured in the regions, by name.
    """

    paths: Mapping[str, ScanSource]
    reference: str | Path | None
    brain_mask: Path | None
    preprocessing: PreprocessingOptions
    maps: Mapping[str, ScanSource]


@dataclass(frozen=True)
class Plan:
    """A segmentation that is ready to begin, with all inputs checked.

    Attributes:
        inputs: files to read.
        files: files to write.
        probability_maps: files for the probabilities, by region.
        transforms: files for the transforms of scans that are moved, by modality.
        model: the model to apply.
        options: options of the segmentation.
        sequences: why each scan was taken for its modality, for the report.
        dicom_scan: the reference scan, if a DICOM segmentation is to refer to it.
    """

    inputs: Inputs
    files: ResultFiles
    probability_maps: Mapping[str, Path]
    transforms: Mapping[str, Path]
    model: Model
    options: SegmentationOptions
    sequences: Mapping[str, Any]
    dicom_scan: DicomScan | None

    @property
    def radiomics_files(self) -> list[Path]:
        """All files that may be written to the folder for radiomics."""
        return _radiomics_files(self.files, self.model.card)

    @property
    def algorithm(self) -> Algorithm:
        """The model as DICOM describes it."""
        return Algorithm(AUTOMATIC, self.model.card.name)

    @property
    def scheme(self) -> LabelScheme:
        """Label scheme of the model."""
        return self.model.card.label_scheme()


def _model_files(model: str | Model | None) -> list[Path]:
    """Weight file and card of a model given by name or path; none if it is loaded already."""
    if isinstance(model, Model):
        return []
    weights = find_model(model or default_model())
    return [weights, weights.with_suffix(".json")]


def _radiomics_files(files: ResultFiles, card: ModelCard) -> list[Path]:
    if files.radiomics is None:
        return []
    return files.radiomics.every(card.modalities, card.label_scheme())


def plan_case(
    inputs: Inputs,
    files: ResultFiles,
    model: str | Model | None,
    options: SegmentationOptions,
    sequences: Mapping[str, Any],
    overwrite: bool,
) -> Plan:
    """Plan of a case, with everything checked that can be before the scans are read.

    Raises:
        InputError: if something cannot be used; the message names it.
    """
    output = files.labels
    if not output.name.endswith(OUTPUT_ENDINGS):
        raise InputError(a_file(output), f": give a file that ends in {', '.join(OUTPUT_ENDINGS)}")
    choose_device(options.device)
    loaded = model if isinstance(model, Model) else load_model(model or default_model())
    answering_model(list(inputs.paths), loaded)
    card = loaded.card
    regions = card.label_scheme().region_names
    maps = {name: files.probability_map(name) for name in regions}
    transforms = {name: files.transform(name) for name in card.modalities}
    check_outputs(
        [*files.asked(), *maps.values(), *transforms.values(), *_radiomics_files(files, card)],
        [
            *input_files(inputs.paths, inputs.reference, inputs.brain_mask),
            *source_files(inputs.maps.values()),
            *_model_files(model),
        ],
        overwrite,
    )
    scan = _dicom_scan(inputs) if files.dicom_seg else None
    plan = Plan(inputs, files, maps, transforms, loaded, options, sequences, scan)
    if scan:
        check_dicom_seg(scan, plan.scheme, plan.algorithm)
    return plan


def _dicom_scan(inputs: Inputs) -> DicomScan:
    """The reference scan, to which a DICOM segmentation refers."""
    name = reference_name(inputs.paths, inputs.reference)
    return read_dicom_scan(inputs.paths.get(name, Path(name)))
