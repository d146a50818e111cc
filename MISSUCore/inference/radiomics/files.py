"""The names in a folder for radiomics."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...contract.labels import LabelScheme

NORMALIZATIONS = ("none", "zscore")


@dataclass(frozen=True)
class RadiomicsFiles:
    """The files of a case for radiomics.

    Attributes:
        folder: that holds them.
        case: its name in the list of images and masks.
    """

    folder: Path
    case: str

    def image(self, modality: str, normalization: str) -> Path:
        """A scan; ``normalization`` is one of :data:`NORMALIZATIONS`."""
        kind = "" if normalization == "none" else f"_{normalization}"
        return self.folder / f"{modality}{kind}.nii.gz"

    def mask(self, name: str) -> Path:
        """The mask of a region, or of a label that is not a region by itself."""
        return self.folder / f"mask_{name}.nii.gz"

    @property
    def brain(self) -> Path:
        """The mask of the brain."""
        return self.folder / "brain_mask.nii.gz"

    @property
    def table(self) -> Path:
        """The list of images and masks."""
        return self.folder / "pyradiomics.csv"

    @property
    def settings(self) -> Path:
        """Settings to begin with."""
        return self.folder / "pyradiomics.yaml"

    @property
    def processing(self) -> Path:
        """What was done to the images."""
        return self.folder / "processing.json"

    def every(self, modalities: Sequence[str], scheme: LabelScheme) -> list[Path]:
        """All that a model with these modalities and this scheme may write."""
        return [
            *(self.image(name, kind) for name in modalities for kind in NORMALIZATIONS),
            *(self.mask(name) for name, _ in mask_labels(scheme)),
            self.brain,
            self.table,
            self.settings,
            self.processing,
        ]


def mask_labels(scheme: LabelScheme) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Name and label values of each mask: all regions, then labels that are not regions too.

    A label whose name a region has already is called ``label-NAME``.
    """
    known = {region.name.casefold() for region in scheme.regions}
    for region in scheme.regions:
        yield region.name, region.labels
    for label in scheme.labels:
        if all(region.labels != (label.value,) for region in scheme.regions):
            taken = label.name.casefold() in known
            yield f"label-{label.name}" if taken else label.name, (label.value,)
