"""Paths of the files that a segmented case is written to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..io.writing import sibling_path
from .radiomics.files import RadiomicsFiles


@dataclass(frozen=True)
class ResultFiles:
    """Paths of the files that a segmented case is written to.

    Attributes:
        labels: label map; its ending decides the format.
        report: JSON file, see :class:`.SegmentationReport`.
        quality_page: HTML file, see :func:`.write_quality_page`.
        dicom_seg: DICOM Segmentation object of the regions that are not empty; needs a DICOM
            reference, and highdicom.
        thumbnail: SVG file with a small picture, see :func:`.write_thumbnail`.
        probabilities: whether to write a map of each region, such as ``seg_probability_WT.nii.gz``.
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
        """The requested files whose paths are given."""
        others = (self.report, self.quality_page, self.dicom_seg, self.thumbnail)
        return [self.labels, *(path for path in others if path)]

    def probability_map(self, region: str) -> Path:
        """Path for the probabilities of a region."""
        return sibling_path(self.labels, f"probability_{region}")

    def transform(self, modality: str) -> Path:
        """Path for the transform of a moved scan."""
        return sibling_path(self.labels, f"transform_{modality}", ".tfm")
