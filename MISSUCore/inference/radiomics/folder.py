"""Writing a folder that radiomics software can use as it is.

Scans and masks lie on the grid of the result, so that origin, spacing and direction are identical,
as pyradiomics requires. Each scan is written in its own intensities and normalized: MRI has
arbitrary units, so first-order features and a fixed bin width need a common scale. A fixed number
of bins does not, and users who normalize by themselves need the original intensities.

The terms of ``processing.json`` are those of the Image Biomarker Standardisation Initiative (IBSI,
Zwanenburg et al. 2020, doi:10.1148/radiol.2020191145, and its reference manual, arXiv:1612.07003).
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from ... import __version__
from ...contract.labels import LabelScheme
from ...contract.model_card import RESEARCH_ONLY
from ...contract.options import PreprocessingOptions
from ...core.files import atomic_write
from ...core.serialization import JsonObject
from ...io.geometry import image_like
from ...io.writing import write_image
from ...preprocessing.working_grid import resample_brain
from ..case_scans import ScansInOneSpace
from .files import NORMALIZATIONS, RadiomicsFiles, mask_labels

_SETTINGS = """\
# pyradiomics pyradiomics.csv --param pyradiomics.yaml --out features.csv --format csv
# A fixed number of bins, as IBSI advises for arbitrary units: it suits both kinds of images. The
# default of pyradiomics, a bin width of 25, would put all of a z-scored image into one bin.
setting:
  binCount: 32
"""
COLUMNS = ("ID", "Modality", "Normalization", "Region", "Image", "Mask", "Label")

Row = Mapping[str, str]


@dataclass
class RadiomicsFolder:
    """Result of :func:`write_radiomics`.

    Attributes:
        paths: the written files.
        warnings: for the user, one sentence each.
    """

    paths: set[Path] = field(default_factory=set)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Scan:
    """A scan on the grid of the result.

    Attributes:
        inside: (depth, height, width), true in the brain.
        values: (N,), intensities of the scan in the brain.
    """

    inside: NDArray[np.bool_]
    values: NDArray[np.float32]

    @property
    def mean(self) -> float:
        """Mean intensity of the brain."""
        return float(self.values.mean(dtype=np.float64))

    @property
    def deviation(self) -> float:
        """Population standard deviation of the brain's intensities; 0 without a brain."""
        return float(self.values.std(dtype=np.float64)) if self.values.size else 0.0

    def voxels(self, normalization: str) -> NDArray[np.float32]:
        """Voxels (depth, height, width), 0 outside the brain."""
        values = self.values
        if normalization == "zscore":
            values = ((values - self.mean) / self.deviation).astype(np.float32)
        result = np.zeros(self.inside.shape, dtype=np.float32)
        result[self.inside] = values
        return result


def write_radiomics(
    stack: ExitStack,
    files: RadiomicsFiles,
    scans: ScansInOneSpace,
    labels: sitk.Image,
    scheme: LabelScheme,
    options: PreprocessingOptions,
) -> RadiomicsFolder:
    """Write the folder; its files appear when the stack is closed.

    Args:
        stack: collects all files that appear together.
        files: paths of the files.
        scans: the segmented scans.
        labels: label map in the reference's own space, in the numbering of the scheme.
        scheme: meaning of the labels.
        options: how the scans were preprocessed.

    Returns:
        The written files, without empty masks and scans that show nothing on the grid.

    Raises:
        ResourceError: if the disk is full.
    """
    made = RadiomicsFolder()

    def write(voxels: NDArray[Any], path: Path) -> None:
        write_image(stack, image_like(voxels, labels), path)
        made.paths.add(path)

    brain, intensities = _write_scans(write, files, scans, made.warnings)
    write(brain.astype(np.uint8), files.brain)
    masks = _masks(labels, scheme)
    filled = [name for name, mask in masks.items() if mask.any()]
    for name in filled:
        write(masks[name].astype(np.uint8), files.mask(name))
    empty = [name for name in masks if name not in filled]
    if empty:
        made.warnings.append(f"left out of the radiomics folder, being empty: {', '.join(empty)}")
    write_table(
        stack.enter_context(atomic_write(files.table)), [*_rows(files, list(intensities), filled)]
    )
    facts = _processing(files, scans, options, intensities, masks, brain)
    texts = {files.settings: _SETTINGS, files.processing: json.dumps(facts, indent=2) + "\n"}
    for path, text in texts.items():
        stack.enter_context(atomic_write(path)).write_text(text, encoding="utf-8")
    made.paths |= {files.table, *texts}
    return made


def _write_scans(
    write: Callable[[NDArray[Any], Path], None],
    files: RadiomicsFiles,
    scans: ScansInOneSpace,
    warnings: list[str],
) -> tuple[NDArray[np.bool_], dict[str, dict[str, float]]]:
    """Write the images; returns their joint brain mask, and mean and deviation by modality."""
    intensities: dict[str, dict[str, float]] = {}
    brain = np.zeros(scans.reference.GetSize()[::-1], dtype=np.bool_)
    for modality, image in scans.prepared.images.items():
        scan = _on_grid(image, scans.reference)
        if not scan.deviation > 0:
            warnings.append(f"left out of the radiomics folder, showing nothing: {modality}")
            continue
        for kind in NORMALIZATIONS:
            write(scan.voxels(kind), files.image(modality, kind))
        intensities[modality] = {
            "brain_mean": scan.mean,
            "brain_standard_deviation": scan.deviation,
        }
        brain |= scan.inside
    return brain, intensities


def _on_grid(image: sitk.Image, reference: sitk.Image) -> _Scan:
    """A skull-stripped scan resampled to the grid of the result; unchanged if it has that grid."""
    voxels = sitk.GetArrayFromImage(image)
    return _Scan(*resample_brain(voxels, voxels != 0, image, reference))


def _masks(labels: sitk.Image, scheme: LabelScheme) -> dict[str, NDArray[np.bool_]]:
    voxels = sitk.GetArrayViewFromImage(labels)
    return {name: np.isin(voxels, values) for name, values in mask_labels(scheme)}


def _rows(
    files: RadiomicsFiles, modalities: list[str], masks: list[str]
) -> Iterator[dict[str, str]]:
    """A row for each image and mask; paths are relative, so that the folder can be moved."""
    for modality in modalities:
        for kind in NORMALIZATIONS:
            for name in masks:
                yield {
                    "ID": files.case,
                    "Modality": modality,
                    "Normalization": kind,
                    "Region": name,
                    "Image": files.image(modality, kind).name,
                    "Mask": files.mask(name).name,
                    "Label": "1",
                }


def write_table(path: Path, rows: Sequence[Row]) -> None:
    """Write a table of images and masks for pyradiomics; without rows it has only the header."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _processing(
    files: RadiomicsFiles,
    scans: ScansInOneSpace,
    options: PreprocessingOptions,
    intensities: Mapping[str, Mapping[str, float]],
    masks: Mapping[str, NDArray[np.bool_]],
    brain: NDArray[np.bool_],
) -> JsonObject:
    """How the images were processed, in the terms of IBSI."""
    return {
        "notice": RESEARCH_ONLY,
        "missu_version": __version__,
        "case": files.case,
        "image_interpolation": {
            "grid": scans.reference_name,
            "voxel_spacing_mm": list(scans.reference.GetSpacing()),
            "method": "trilinear, a scan on that grid keeps its voxels; cubic B-spline between "
            "slices that are thicker than those of the grid, Gaussian smoothing before a coarser "
            "grid",
        },
        "registration": "rigid" if scans.prepared.was_moved else "none",
        "brain_extraction": scans.prepared.brain_method or "none",
        "bias_field_correction": options.bias_field,
        "intensity_normalisation": {
            "none": "intensities of the scan",
            "zscore": "minus brain_mean, divided by brain_standard_deviation (population); both "
            "over the voxels of the scan that are not 0 without the skull, tumor included",
        },
        "intensities": {name: dict(values) for name, values in intensities.items()},
        "outside_of_the_brain": 0,
        "re_segmentation": "none",
        "outlier_filtering": "none",
        "discretisation": "none, see pyradiomics.yaml",
        "roi_interpolation": "none, masks are on the grid of the label map",
        "masks": {
            name: {
                "voxels": int(mask.sum()),
                "outside_of_the_brain": int(np.count_nonzero(mask & ~brain)),
            }
            for name, mask in masks.items()
        },
    }
