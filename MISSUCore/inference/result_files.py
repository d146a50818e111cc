"""The files that a segmented case is written to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..io.writing import sibling_path
from .radiomics.files import RadiomicsFiles


@dataclass(frozen=True)
class ResultFiles:
    """The files that a segmented case is written to.

    Attributes:
        labels: label map; its ending decides the format.
        report: JSON file, see :class:`.SegmentationReport`.
        quality_page: HTML file, see :func:`.write_quality_page`.
        dicom_seg: DICOM Segmentation object, of the regions that are not empty; the reference
            must be DICOM, and highdicom installed.
        thumbnail: SVG file with a small picture, see :func:`.write_thumbnail`.
        probabilities: whether a map for each region is written, ``seg_probability_WT.nii.gz``.
        radiomics: folder with images and masks, see :func:`.write_radiomics`.
    """

    labels: Path
    report: Path | None = None
    quality_page: Path | None = None
    dicom_seg: Path | None = None
    thumbnail: Path | None = None
    probabilities: bool = False
    radiomics: RadiomicsFiles | None = None

    def asked(self) -> list[Path]:
        """The files with fixed names that are to be written."""
        others = (self.report, self.quality_page, self.dicom_seg, self.thumbnail)
        return [self.labels, *(path for path in others if path)]

    def probability_map(self, region: str) -> Path:
        """The file for the probabilities of a region."""
        return sibling_path(self.labels, f"probability_{region}")

    def transform(self, modality: str) -> Path:
        """The file for the transform of a scan that is moved."""
        return sibling_path(self.labels, f"transform_{modality}", ".tfm")
