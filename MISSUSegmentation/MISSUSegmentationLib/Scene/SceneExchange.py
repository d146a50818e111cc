"""Writes volumes of the scene to files and reads label maps from files, without resampling.

All files of a run are written in the coordinate system of the reference volume, before its parent
transform: its voxels remain unchanged, and the results belong under the same transform.
Array axes are (k, j, i), coordinates are RAS in mm.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from MISSUCore.contract.modalities import TITLES

from ..Core.Errors import ExchangeError

# A grid whose axes have a larger cosine is sheared; image files need perpendicular axes.
RIGHT_ANGLE_TOLERANCE = 1e-4
# The sequence that radiologists delineate on comes first.
REFERENCE_ORDER = ("t1ce", "t1", "flair", "t2")
# Voxel types that Slicer cannot write (scripts make them from arrays), and their replacements.
WIDER = {
    vtk.VTK_SIGNED_CHAR: np.int16,
    vtk.VTK_LONG_LONG: np.float64,
    vtk.VTK_UNSIGNED_LONG_LONG: np.float64,
}
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def referenceModality(modalities: Collection[str]) -> str:
    """The modality, among those given, that determines the grid and transform of the result."""
    return next(modality for modality in REFERENCE_ORDER if modality in modalities)


def referenceVolume(
    volumes: dict[str, slicer.vtkMRMLScalarVolumeNode],
) -> slicer.vtkMRMLScalarVolumeNode:
    """The volume, among those by modality, that determines the result's grid and transform."""
    return volumes[referenceModality(volumes)]


def checkVolumes(volumes: dict[str, slicer.vtkMRMLScalarVolumeNode]) -> None:
    """Check that the volumes, by modality, can be written.

    Raises:
        ExchangeError: if there is none, one is given twice, has no voxels, is not a scan or has
            an extent not starting at (0, 0, 0), or the reference's axes are not perpendicular.
    """
    if not volumes:
        raise ExchangeError("No volume is selected; select at least one.")
    seen: dict[str, str] = {}
    for modality, node in volumes.items():
        name = node.GetName()
        if node.GetScene() is None:
            raise ExchangeError(f"{name} is no longer in the scene; select another volume.")
        if node.GetID() in seen:
            raise ExchangeError(
                f"{name} is selected as {TITLES[seen[node.GetID()]]} and as {TITLES[modality]}; "
                "select a volume of its own for each."
            )
        seen[node.GetID()] = modality
        image = node.GetImageData()
        if image is None or image.GetNumberOfPoints() == 0:
            raise ExchangeError(f"{name} has no voxels; load it again or select another volume.")
        if image.GetNumberOfScalarComponents() != 1 or node.IsA("vtkMRMLLabelMapVolumeNode"):
            raise ExchangeError(
                f"{name} is not a scan with one gray value per voxel; select another."
            )
        if any(image.GetExtent()[::2]):  # Slicer's modules expect a start at 0
            raise ExchangeError(
                f"The first voxel of {name} has another index than 0, as a script has cut it out; "
                "crop it with the Crop Volume module instead."
            )
    reference = referenceVolume(volumes)
    if not _hasRightAngles(ijkToRas(reference)):
        raise ExchangeError(
            f"The axes of {reference.GetName()} are not at right angles; resample it with the "
            "Crop Volume module first."
        )


def writeVolumes(
    volumes: dict[str, slicer.vtkMRMLScalarVolumeNode], folder: Path
) -> dict[str, Path]:
    """Write volumes, by modality, in the reference volume's coordinates; returns the files.

    A volume under another transform than the reference volume keeps its voxels if the transform
    leaves its axes perpendicular; otherwise it is resampled to the reference volume's grid.

    Raises:
        ExchangeError: if a file cannot be written.
    """
    reference = referenceVolume(volumes)
    paths = {}
    for modality, node in volumes.items():
        paths[modality] = fileOf(modality, folder)
        writeVolume(relativeTo(reference, node), paths[modality], node.GetName())
    return paths


def fileOf(modality: str, folder: Path) -> Path:
    """The file that :func:`writeVolumes` writes a volume to."""
    return folder / f"{modality}.nrrd"


def writeVolume(node: slicer.vtkMRMLVolumeNode, path: Path, name: str) -> None:
    """Write a volume without its parent transform; ``name`` is its name in error messages.

    Raises:
        ExchangeError: if the file cannot be written.
    """
    if node.GetImageData().GetScalarType() in WIDER:
        voxels = slicer.util.arrayFromVolume(node)
        node = volumeLike(node, voxels.astype(WIDER[node.GetImageData().GetScalarType()]))
    storage = slicer.vtkMRMLVolumeArchetypeStorageNode()
    storage.SetFileName(str(path))
    storage.SetUseCompression(False)
    if not storage.WriteData(node):
        raise ExchangeError(f"{name} cannot be written to {path.parent}; is the disk full?")


def readVoxels(path: Path) -> np.ndarray:
    """Voxels (k, j, i) of an image file, with the file's voxel type.

    Raises:
        ExchangeError: if it cannot be read.
    """
    import SimpleITK as sitk  # imported late: it is slow to load

    # Slicer's own reader would reverse an axis of left-handed grids.
    try:
        return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    except RuntimeError as error:
        raise ExchangeError("The result cannot be read; segment again.") from error


def readGrid(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Voxels and IJK to RAS matrix of an image file, or of a folder with one DICOM series.

    Returns:
        The voxels (k, j, i), and the matrix from their indices (i, j, k) to RAS in mm.

    Raises:
        RuntimeError: if it cannot be read.
    """
    import SimpleITK as sitk

    source: Path | tuple[str, ...] = path
    if path.is_dir():
        series = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(path))
        if len(series) != 1:
            raise RuntimeError(f"holds {len(series)} DICOM series")
        source = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(path), series[0])
    image = sitk.ReadImage(source if isinstance(source, tuple) else str(source))
    ijkToLps = np.eye(4)
    ijkToLps[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    ijkToLps[:3, 3] = image.GetOrigin()
    return sitk.GetArrayFromImage(image), LPS_TO_RAS @ ijkToLps


def readTransform(path: Path) -> np.ndarray:
    """Matrix (4 x 4, RAS in mm) of an affine transform in an ITK file.

    Raises:
        ExchangeError: if it cannot be read.
    """
    import SimpleITK as sitk

    try:
        transform = sitk.ReadTransform(str(path))
    except RuntimeError as error:
        raise ExchangeError("The result cannot be read; segment again.") from error
    matrix = np.eye(4)
    matrix[:3, 3] = transform.TransformPoint((0.0, 0.0, 0.0))
    ends = [transform.TransformPoint(axis) for axis in np.eye(3).tolist()]
    matrix[:3, :3] = np.transpose(ends) - matrix[:3, 3:]
    return LPS_TO_RAS @ matrix @ LPS_TO_RAS


def arrayFromImage(image: vtk.vtkImageData) -> np.ndarray:
    """View of the voxels (k, j, i) of an image; valid only as long as the image exists."""
    scalars = vtk_to_numpy(image.GetPointData().GetScalars())
    return scalars.reshape(image.GetDimensions()[::-1])


def segmentImage(
    node: slicer.vtkMRMLSegmentationNode, segmentId: str
) -> slicer.vtkOrientedImageData | None:
    """The voxels of a segment, possibly empty; None if it cannot be converted to voxels."""
    # Contours, e.g. of a radiotherapy structure set, have no voxels yet.
    if not node.CreateBinaryLabelmapRepresentation():
        return None
    image = slicer.vtkOrientedImageData()
    node.GetBinaryLabelmapRepresentation(segmentId, image)
    return image


def scanOf(node: slicer.vtkMRMLSegmentationNode) -> slicer.vtkMRMLVolumeNode | None:
    """The volume that defines the grid of a segmentation; None if it was deleted."""
    role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
    return node.GetNodeReference(role)


def volumeLike(
    reference: slicer.vtkMRMLVolumeNode, voxels: np.ndarray
) -> slicer.vtkMRMLScalarVolumeNode:
    """A volume outside the scene with these voxels (k, j, i) on the grid of another."""
    node = slicer.vtkMRMLScalarVolumeNode()
    slicer.util.updateVolumeFromArray(node, voxels)
    node.SetIJKToRASMatrix(ijkToRas(reference))
    return node


def voxelsOn(
    reference: slicer.vtkMRMLVolumeNode, node: slicer.vtkMRMLVolumeNode, linear: bool = False
) -> np.ndarray:
    """Voxels (k, j, i) of a volume, resampled to the grid of the reference volume.

    Interpolation is nearest neighbor or linear; voxels outside are 0.
    """
    return imageOn(reference, _orientedImage(node), node.GetParentTransformNode(), linear)


def imageOn(
    reference: slicer.vtkMRMLVolumeNode,
    image: slicer.vtkOrientedImageData,
    transform: slicer.vtkMRMLTransformNode | None,
    linear: bool = False,
) -> np.ndarray:
    """Like :func:`voxelsOn`, for an image under a transform."""
    toReference = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(
        transform, reference.GetParentTransformNode(), toReference
    )
    resampled = slicer.vtkOrientedImageData()
    slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage(
        image, _orientedImage(reference), resampled, linear, False, toReference
    )
    return arrayFromImage(resampled).copy()


def relativeTo(
    reference: slicer.vtkMRMLVolumeNode, node: slicer.vtkMRMLVolumeNode
) -> slicer.vtkMRMLScalarVolumeNode:
    """A copy of the volume outside the scene, in the reference's coordinate system."""
    toReference = matrixBetween(node.GetParentTransformNode(), reference.GetParentTransformNode())
    if toReference is not None:
        ijkToReference = slicer.util.vtkMatrixFromArray(toReference @ ijkToRasArray(node))
        if _hasRightAngles(ijkToReference):
            moved = slicer.vtkMRMLScalarVolumeNode()
            moved.SetAndObserveImageData(node.GetImageData())
            moved.SetIJKToRASMatrix(ijkToReference)
            return moved
    return volumeLike(reference, voxelsOn(reference, node, linear=True))


def matrixBetween(
    source: slicer.vtkMRMLTransformNode | None, target: slicer.vtkMRMLTransformNode | None
) -> np.ndarray | None:
    """Matrix from coordinates under one transform to those under another; None if non-linear."""
    matrix = vtk.vtkMatrix4x4()
    isLinear = slicer.vtkMRMLTransformNode.GetMatrixTransformBetweenNodes(source, target, matrix)
    return slicer.util.arrayFromVTKMatrix(matrix) if isLinear else None


def ijkToRas(node: slicer.vtkMRMLVolumeNode) -> vtk.vtkMatrix4x4:
    """IJK to RAS matrix of a volume, before its parent transform."""
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return matrix


def ijkToRasArray(node: slicer.vtkMRMLVolumeNode) -> np.ndarray:
    """IJK to RAS matrix of a volume as an array (4, 4), before its parent transform."""
    return slicer.util.arrayFromVTKMatrix(ijkToRas(node))


def _hasRightAngles(matrix: vtk.vtkMatrix4x4) -> bool:
    axes = slicer.util.arrayFromVTKMatrix(matrix)[:3, :3]
    lengths = np.linalg.norm(axes, axis=0)
    if not lengths.all():
        return False
    directions = axes / lengths
    return np.allclose(directions.T @ directions, np.eye(3), atol=RIGHT_ANGLE_TOLERANCE)


def _orientedImage(node: slicer.vtkMRMLVolumeNode) -> slicer.vtkOrientedImageData:
    image = slicer.vtkOrientedImageData()
    image.ShallowCopy(node.GetImageData())
    image.SetImageToWorldMatrix(ijkToRas(node))
    return image
