"""Adds a synthetic sample case to the scene, to try the module without a download or patient.

MISSUCore computes it in Slicer's own process. This takes less than a second and needs only numpy,
scipy and SimpleITK, which Slicer has, so the sample works before PyTorch is installed. It also
works from Slicer's Sample Data module, which waits for the result.
"""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
import slicer

from MISSUCore.contract.labels import BRATS
from MISSUCore.simulation.anatomy import drawn_brain
from MISSUCore.simulation.case import simulate_case

NAME = "SimulatedTumor"
SPACING_MM = 2.0  # that of the bundled model


def addSampleCase() -> tuple[
    dict[str, slicer.vtkMRMLScalarVolumeNode], slicer.vtkMRMLSegmentationNode
]:
    """Add the case to the scene; returns its volumes by modality, and the tumor's true outline."""
    case = simulate_case(spacing_mm=SPACING_MM, anatomy=drawn_brain)
    volumes = {
        modality: slicer.util.addVolumeFromArray(
            sitk.GetArrayFromImage(image), _ijkToRas(image), f"{NAME}_{modality}"
        )
        for modality, image in case.images.items()
    }
    return volumes, _addTruth(sitk.GetArrayFromImage(case.labels), volumes["t1ce"])


def _addTruth(
    labels: np.ndarray, reference: slicer.vtkMRMLScalarVolumeNode
) -> slicer.vtkMRMLSegmentationNode:
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


def _ijkToRas(image: sitk.Image) -> np.ndarray:
    """IJK to RAS matrix of an image with the axes left, posterior, superior."""
    matrix = np.diag([*image.GetSpacing(), 1.0])
    matrix[:3, 3] = image.GetOrigin()
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ matrix
