"""Where the results of a case lie in the folder of its cohort."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..contract.segmentation_report import SegmentationReport
from ..inference.radiomics.files import RadiomicsFiles
from ..inference.result_files import ResultFiles
from ..io.case_lists import CasePaths

RADIOMICS_NAME = "radiomics"


@dataclass(frozen=True)
class Layout:
    """A folder of its own for each case, with the same file names in all.

    Attributes:
        quality_pages: whether each case has a quality page.
        probabilities: whether each case has a map for each region.
        radiomics: whether each case has a folder ``radiomics``.
    """

    quality_pages: bool = False
    probabilities: bool = False
    radiomics: bool = False

    def place(self, case: CasePaths) -> Path:
        """Folder of a case's results, relative to that of the cohort."""
        return Path(case.name)

    def files(self, case: CasePaths, place: Path) -> ResultFiles:
        """The results of a case, in its folder."""
        return ResultFiles(
            place / "segmentation.nii.gz",
            report=place / "report.json",
            quality_page=place / "quality.html" if self.quality_pages else None,
            thumbnail=place / "thumbnail.svg",
            probabilities=self.probabilities,
            radiomics=self.radiomics_files(case, place),
        )

    def radiomics_files(self, case: CasePaths, place: Path) -> RadiomicsFiles | None:
        """What a case has for radiomics, in its folder."""
        return RadiomicsFiles(place / RADIOMICS_NAME, case.name) if self.radiomics else None

    def shared_files(self) -> Mapping[str, str]:
        """Texts by name of what lies in the folder of the cohort, beside what tells of all."""
        return {}

    def write_sidecars(self, case: CasePaths, place: Path, report: SegmentationReport) -> None:
        """Write what describes the results of a case, once they are there.

        Raises:
            InputError: if it cannot be written.
            ResourceError: if the disk is full.
        """
