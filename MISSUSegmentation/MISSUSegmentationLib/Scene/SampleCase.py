"""A drawn case to try the module on: no download, no patient.

A brain of ellipsoids with cortex, white matter, ventricles and one tumor, in four sequences, with
the contrasts between the tissues that BraTS scans have. The true outline of the tumor is known.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import slicer
from scipy.ndimage import gaussian_filter

from MISSUCore.contract.labels import BRATS

NAME = "SimulatedTumor"
SPACING_MM = 2.0
# Array axes: superior, posterior, left, like those of BraTS files.
SHAPE = (76, 96, 82)
BRAIN_RADII_MM = (64.0, 84.0, 68.0)
VENTRICLE_RADII_MM = (10.0, 26.0, 5.0)
VENTRICLE_CENTERS_MM = ((4.0, 0.0, -9.0), (4.0, 0.0, 9.0))
TUMOR_CENTER_MM = (14.0, -22.0, 30.0)

WHITE, GRAY, FLUID, NECROSIS, ENHANCING, EDEMA = range(6)


class TumorPart(NamedTuple):
    """What fills the tumor up to a radius, and its BraTS label."""

    tissue: int
    radiusMm: float
    label: int


TUMOR_PARTS = (
    TumorPart(EDEMA, 30.0, 2),
    TumorPart(ENHANCING, 19.0, 4),
    TumorPart(NECROSIS, 13.0, 1),
)
# Of the tissues in the order above, in standard deviations of the brain's intensities.
INTENSITIES = {
    "t1": (5.0, 3.9, 1.9, 3.2, 3.8, 4.2),
    "t1ce": (2.5, 1.9, 0.8, 1.5, 3.6, 1.9),
    "t2": (1.2, 1.7, 4.6, 3.9, 3.0, 2.7),
    "flair": (2.3, 2.8, 0.8, 3.9, 3.95, 3.6),
}


def addSampleCase() -> tuple[
    dict[str, slicer.vtkMRMLScalarVolumeNode], slicer.vtkMRMLSegmentationNode
]:
    """Add the case to the scene; returns its volumes by modality, and the tumor's true outline."""
    tissues, brain = _drawTissues()
    volumes = {
        modality: slicer.util.addVolumeFromArray(
            _scan(np.array(levels), tissues, brain, seed), _ijkToRas(), f"{NAME}_{modality}"
        )
        for seed, (modality, levels) in enumerate(INTENSITIES.items())
    }
    return volumes, _addTruth(tissues, volumes["t1ce"])


def _addTruth(
    tissues: np.ndarray, reference: slicer.vtkMRMLScalarVolumeNode
) -> slicer.vtkMRMLSegmentationNode:
    labels = np.zeros(SHAPE, np.uint8)
    for part in TUMOR_PARTS:
        labels[tissues == part.tissue] = part.label
    truth = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", f"{NAME}_truth")
    truth.CreateDefaultDisplayNodes()
    truth.SetReferenceImageGeometryParameterFromVolumeNode(reference)
    for region, mask in zip(BRATS.regions, BRATS.to_regions(labels)):
        color = [part / 255 for part in region.color]
        segmentId = truth.GetSegmentation().AddEmptySegment(region.name, region.title, color)
        slicer.util.updateSegmentBinaryLabelmapFromArray(
            mask.astype(np.uint8), truth, segmentId, reference
        )
    truth.GetDisplayNode().SetVisibility(False)
    return truth


def _ijkToRas() -> np.ndarray:
    matrix = np.diag([-SPACING_MM, -SPACING_MM, SPACING_MM, 1.0])
    middle = (np.array(SHAPE[::-1]) - 1) / 2
    matrix[:3, 3] = -matrix[:3, :3] @ middle
    return matrix


def _distance(centerMm: tuple[float, ...], radiiMm: tuple[float, ...] = (1.0,) * 3) -> np.ndarray:
    """Distance of every voxel from a center, in units of the radii along the array's axes."""
    axes = np.indices(SHAPE).transpose(1, 2, 3, 0) - (np.array(SHAPE) - 1) / 2
    return np.linalg.norm((axes * SPACING_MM - centerMm) / radiiMm, axis=-1)


def _noise(scaleMm: float, seed: int) -> np.ndarray:
    """Smooth noise with standard deviation 1."""
    white = np.random.default_rng(seed).standard_normal(SHAPE)
    noise = gaussian_filter(white, scaleMm / SPACING_MM)
    return noise / noise.std()


def _drawTissues() -> tuple[np.ndarray, np.ndarray]:
    """The tissue of every voxel, and the mask of the brain."""
    fromCenter = _distance((0.0, 0.0, 0.0), BRAIN_RADII_MM)
    brain = fromCenter + 0.01 * _noise(6, 1) < 1
    tissues = np.where(fromCenter + 0.06 * _noise(4, 2) > 0.86, GRAY, WHITE)
    for center in VENTRICLE_CENTERS_MM:
        tissues[_distance(center, VENTRICLE_RADII_MM) < 1] = FLUID
    # Lobes and notches instead of a ball.
    fromTumor = _distance(TUMOR_CENTER_MM) + 2 * _noise(7, 3)
    for part in TUMOR_PARTS:
        tissues[brain & (fromTumor < part.radiusMm)] = part.tissue
    return tissues, brain


def _scan(levels: np.ndarray, tissues: np.ndarray, brain: np.ndarray, seed: int) -> np.ndarray:
    scan = gaussian_filter(levels[tissues], 0.5)
    scan += 0.12 * _noise(3, 10 + seed) + 0.12 * _noise(1, 20 + seed)
    return np.where(brain, np.maximum(100 * scan, 1), 0).astype(np.float32)
