"""File names in a folder for radiomics."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...contract.labels import LabelScheme

NORMALIZATIONS = ("none", "zscore")


@dataclass(frozen=True)
class RadiomicsFiles:
    """Paths of the files of a case for radiomics.

    Attributes:
        folder: folder of the files.
        case: name of the case in the table of images and masks.
    """

    folder: Path
    case: str

    def image(self, modality: str, normalization: str) -> Path:
        """Path of a scan; ``normalization`` is one of :data:`NORMALIZATIONS`."""
        kind = "" if normalization == "none" else f"_{normalization}"
        return self.folder / f"{modality}{kind}.nii.gz"

    def mask(self, name: str) -> Path:
        """Path of the mask of a region, or of a label that is not a region by itself."""
        return self.folder / f"mask_{name}.nii.gz"

    @property
    def brain(self) -> Path:
        """Path of the brain mask."""
        return self.folder / "brain_mask.nii.gz"

    @property
    def table(self) -> Path:
        """Path of the table of images and masks."""
        return self.folder / "pyradiomics.csv"

    @property
    def settings(self) -> Path:
        """Path of a settings file to start from."""
        return self.folder / "pyradiomics.yaml"

    @property
    def processing(self) -> Path:
        """Path of the description of how the images were processed."""
        return self.folder / "processing.json"

    def every(self, modalities: Sequence[str], scheme: LabelScheme) -> list[Path]:
        """All files that may be written for a model with these modalities and this scheme."""
        return [
            *(self.image(name, kind) for name in modalities for kind in NORMALIZATIONS),
            *(self.mask(name) for name, _ in mask_labels(scheme)),
            self.brain,
            self.table,
            self.settings,
            self.processing,
        ]


def mask_labels(scheme: LabelScheme) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Name and label values of each mask: all regions, then labels that are not a region.

    A label that has the name of a region is called ``label-NAME``.
    """
    known = {region.name.casefold() for region in scheme.regions}
    for region in scheme.regions:
        yield region.name, region.labels
    for label in scheme.labels:
        if all(region.labels != (label.value,) for region in scheme.regions):
            taken = label.name.casefold() in known
            yield f"label-{label.name}" if taken else label.name, (label.value,)
