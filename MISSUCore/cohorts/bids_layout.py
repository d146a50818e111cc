"""Results as a BIDS derivative dataset.

Brain Imaging Data Structure 1.10, https://bids-specification.readthedocs.io: "BIDS Derivatives",
"Segmentations" and "BIDS URI". What BIDS has no name for lies beside it, named in ``.bidsignore``.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from .. import __version__
from ..contract.labels import LabelScheme
from ..contract.model_card import RESEARCH_ONLY, ModelCard
from ..contract.segmentation_report import SegmentationReport
from ..core.errors import InputError
from ..core.files import write_json
from ..core.serialization import JsonObject
from ..inference.result_files import ResultFiles
from ..io.bids.dataset import DESCRIPTION_NAME, BidsDataset
from ..io.case_lists import CasePaths
from .layout import RADIOMICS_NAME, Layout

BIDS_VERSION = "1.10.0"
# What the names of a case's label map and report end with.
LABELS_END, REPORT_END = "_space-orig_desc-tumor_dseg.nii.gz", "_desc-tumor_report.json"
_RAW = "raw"  # the name of the raw dataset in BIDS URIs
_IGNORED = (
    "cohort.json",
    "*_report.json",
    "*_xfm.tfm",
    "*.html",
    "*.svg",
    RADIOMICS_NAME,  # with a slash, the validator would still name the folder itself
    "pyradiomics.csv",
    "summary.csv",
    "methods.txt",
    "written*.sha256",
)
_README = f"""# Tumor segmentations

Written by MISSU {__version__} (`missu segment --bids`). {RESEARCH_ONLY}

- `*_desc-tumor_dseg.nii.gz`: label maps on the grid of the scan that is their `SpatialReference`;
  `desc-tumor_dseg.tsv` says what the values mean.
- `*_probseg.nii.gz`, where asked for: the probability of a region.
- `*_report.json`: volumes, expected Dice, warnings, checksums of scans and model.
- `cohort.html`, `summary.csv`: all cases; `methods.txt`: a paragraph for a paper.
"""


@dataclass(frozen=True)
class BidsFiles(ResultFiles):
    """The files of a case in a derivative dataset.

    Attributes:
        stem: what their names begin with, as ``sub-01_ses-02``.
    """

    stem: str = ""

    def probability_map(self, region: str) -> Path:
        """The file for the probabilities of a region."""
        label = bids_label(region)
        return self.labels.with_name(
            f"{self.stem}_space-orig_label-{label}_desc-tumor_probseg.nii.gz"
        )

    def transform(self, modality: str) -> Path:
        """The file for the transform of a scan that is moved."""
        return self.labels.with_name(f"{self.stem}_from-{bids_label(modality)}_mode-image_xfm.tfm")


@dataclass(frozen=True, kw_only=True)
class BidsLayout(Layout):
    """A folder ``sub-01/ses-02/anat`` for each case, with names and sidecars of BIDS.

    Attributes:
        dataset: that is segmented.
        folder: of the derivative dataset.
        card: of the model.
    """

    dataset: BidsDataset
    folder: Path
    card: ModelCard

    def place(self, case: CasePaths) -> Path:
        """Folder of a case's results, relative to the dataset."""
        return Path(*case.name.split("_"), "anat")

    def files(self, case: CasePaths, place: Path) -> ResultFiles:
        """The results of a case, in its folder."""
        stem = f"{case.name}_desc-tumor"
        return BidsFiles(
            place / f"{case.name}{LABELS_END}",
            report=place / f"{case.name}{REPORT_END}",
            quality_page=place / f"{stem}_quality.html" if self.quality_pages else None,
            thumbnail=place / f"{stem}_thumbnail.svg",
            probabilities=self.probabilities,
            radiomics=self.radiomics_files(case, place),
            stem=case.name,
        )

    def shared_files(self) -> Mapping[str, str]:
        """Texts by name of what describes the dataset."""
        return {
            DESCRIPTION_NAME: json.dumps(self._description(), indent=2) + "\n",
            ".bidsignore": "".join(f"{pattern}\n" for pattern in _IGNORED),
            "README.md": _README,
            "desc-tumor_dseg.tsv": _lookup_table(self.card.label_scheme()),
        }

    def write_sidecars(self, case: CasePaths, place: Path, report: SegmentationReport) -> None:
        """Write a JSON file for each image.

        Raises:
            InputError: if it cannot be written.
            ResourceError: if the disk is full.
        """
        files = self.files(case, place)
        described = {files.labels: "Label map of the tumor; desc-tumor_dseg.tsv names its values."}
        if self.probabilities:
            for region in self.card.label_scheme().regions:
                text = f"Probability, from 0 to 1, of the region {region.name} ({region.title})."
                described[files.probability_map(region.name)] = text
        for image, text in described.items():
            name = f"{image.name.removesuffix('.nii.gz')}.json"
            write_json(image.with_name(name), self._sidecar(text, report))

    def _sidecar(self, description: str, report: SegmentationReport) -> JsonObject:
        return {
            "Description": f"{description} {RESEARCH_ONLY}",
            "Sources": [self._uri(Path(scan.path)) for scan in report.inputs.values()],
            "SpatialReference": self._uri(Path(report.reference.path)),
            "Manual": False,
            "Model": report.model.name,
            "ModelSHA256": report.model.sha256,
            "MISSUVersion": report.missu_version,
            "Warnings": [str(warning) for warning in report.warnings],
        }

    def _uri(self, path: Path) -> str:
        if self.dataset.folder in path.parents:
            return f"bids:{_RAW}:{path.relative_to(self.dataset.folder).as_posix()}"
        return path.resolve().as_uri()

    def _description(self) -> JsonObject:
        raw = self.dataset.description
        doi = raw.get("DatasetDOI")
        source = {"URL": self._link(), "DOI": doi if isinstance(doi, str) else ""}
        return {
            "Name": f"Tumor segmentations of {raw['Name']}",
            "BIDSVersion": BIDS_VERSION,
            "DatasetType": "derivative",
            "GeneratedBy": [
                {
                    "Name": "missu",
                    "Version": __version__,
                    "Description": f"Model {self.card.name}. {RESEARCH_ONLY}",
                }
            ],
            "SourceDatasets": [{key: value for key, value in source.items() if value}],
            "DatasetLinks": {_RAW: self._link()},
        }

    def _link(self) -> str:
        """URI of the raw dataset, relative to this one where there is a path from it."""
        raw = self.dataset.folder.resolve()
        try:
            return quote(Path(os.path.relpath(raw, self.folder.resolve())).as_posix())
        except ValueError:  # on another drive of Windows
            return raw.as_uri()


def bids_label(name: str) -> str:
    """A name as a label of BIDS, which has letters and digits only."""
    return re.sub(r"[^0-9a-zA-Z]", "", name)


def check_labels(scheme: LabelScheme) -> None:
    """Make sure that the regions have different names in BIDS.

    Raises:
        InputError: if not.
    """
    labels = [bids_label(name) for name in scheme.region_names]
    if not all(labels) or len({label.casefold() for label in labels}) < len(labels):
        raise InputError(
            f"the regions {', '.join(scheme.region_names)} have no different names of letters and "
            "digits, as BIDS needs them; leave out --bids"
        )


def _lookup_table(scheme: LabelScheme) -> str:
    """What the values of a label map mean, as tab-separated values."""
    rows = [("index", "name", "abbreviation", "color")]
    for label in scheme.labels:
        color = "#" + "".join(f"{part:02x}" for part in label.color)
        rows.append((str(label.value), label.title, label.name, color))
    return "".join("\t".join(" ".join(cell.split()) for cell in row) + "\n" for row in rows)
