"""Measures the lesions of any segmentation by ``missu measure``, and shows them in the scene."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import slicer
import vtk

from MISSUCore.contract.labels import Label, LabelScheme, Region
from MISSUCore.contract.measurement.lesions import MeasurementSettings
from MISSUCore.contract.measurement.report import MeasurementReport, read_measurement
from MISSUCore.contract.requests.commands import MeasureRequest
from MISSUCore.contract.segmentation_report import FileFact
from MISSUCore.contract.terminology import TISSUE, Terminology
from MISSUCore.core.messages import Text

from ..Core.CoreRun import CoreRun
from ..Core.Errors import ExchangeError
from ..Scene.MeasurementNodes import keepMeasurement
from ..Scene.SceneExchange import imageOn, scanOf, segmentImage, volumeLike, writeVolume
from ..Scene.VisitChecks import checkRigid
from .Comparison import labelsOn

# Margin around a segmentation without a scan, so that the grid has several slices.
MARGIN_VOXELS = 4
_ANYTHING = Terminology(TISSUE, TISSUE)
ALL_SEGMENTS = LabelScheme(
    "all segments",
    (Label(1, "segments", "All segments", (255, 255, 255), _ANYTHING),),
    (Region("segments", "All segments", (1,), (255, 255, 255), _ANYTHING),),
)


def writeSegmentation(
    run: CoreRun,
    node: slicer.vtkMRMLSegmentationNode,
    grid: slicer.vtkMRMLVolumeNode,
    scheme: LabelScheme,
    settings: MeasurementSettings,
) -> MeasureRequest:
    """Write a segmentation as a label map; returns the request.

    Only the regions that are present are written. If no segment is recognized, the union of all
    segments is taken as the lesions.

    Raises:
        ExchangeError: if it cannot be written.
    """
    try:
        labels, told = labelsOn(grid, node, scheme)
        masks = scheme.to_regions(labels)
        told = [name for name in scheme.region_names if name in told]
        written = reduced(scheme, told)
        masks = masks[[scheme.region_names.index(name) for name in told]]
    except ExchangeError:
        if not node.GetSegmentation().GetNumberOfSegments():
            raise
        written, masks = ALL_SEGMENTS, allSegments(node, grid)[None]
    path = run.folder / "labels.nrrd"
    run.names[path] = node.GetName()
    writeVolume(volumeLike(grid, written.to_labels(masks)), path, node.GetName())
    return MeasureRequest(
        path,
        output=run.folder / "measurement.json",
        scheme=json.dumps(written.as_dict()),
        settings=settings,
    )


def readMeasurement(
    run: CoreRun,
    node: slicer.vtkMRMLSegmentationNode,
    grid: slicer.vtkMRMLVolumeNode,
    checksum: str,
) -> MeasurementReport:
    """Add the measurements of the process to the scene; returns the report.

    Raises:
        ExchangeError: if the segmentation was deleted in the meantime.
    """
    if node.GetScene() is None:
        raise ExchangeError(f"{node.GetName()} was deleted meanwhile; nothing was added.")
    report = read_measurement(run.folder / "measurement.json")
    warnings = [Text(run.inUsersWords(Text(warning))) for warning in report.warnings]
    if report.scheme == ALL_SEGMENTS.name:
        warnings.append(Text("No segment is known by its name: all of them together are measured."))
    report = replace(report, segmentation=FileFact(node.GetName()), warnings=tuple(warnings))
    keepMeasurement(node, report, grid, checksum)
    return report


def gridOf(node: slicer.vtkMRMLSegmentationNode) -> slicer.vtkMRMLVolumeNode:
    """The volume that a segmentation was drawn on; if deleted, one with the segments' own grid.

    Raises:
        ExchangeError: if it has no voxels, or is under a transform that changes lengths.
    """
    scan = scanOf(node)
    if scan and scan.GetImageData():
        checkRigid(scan)
        return scan
    checkRigid(node)
    image = slicer.vtkOrientedImageData()
    if not (
        node.CreateBinaryLabelmapRepresentation()
        and node.GenerateMergedLabelmapForAllSegments(image)
        and not image.IsEmpty()
    ):
        raise ExchangeError(f"{node.GetName()} has no voxels; there is nothing to measure.")
    extent = np.array(image.GetExtent()).reshape(3, 2)
    toWorld = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(toWorld)
    matrix = slicer.util.arrayFromVTKMatrix(toWorld)
    first = extent[:, 0] - MARGIN_VOXELS
    matrix[:3, 3] += matrix[:3, :3] @ first
    grid = slicer.vtkMRMLScalarVolumeNode()
    shape = (extent[:, 1] - extent[:, 0] + 1 + 2 * MARGIN_VOXELS)[::-1]
    slicer.util.updateVolumeFromArray(grid, np.zeros(shape, np.uint8))
    grid.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(matrix))
    grid.SetScene(node.GetScene())  # needed to find the transform
    grid.SetAndObserveTransformNodeID(node.GetTransformNodeID())
    return grid


def reduced(scheme: LabelScheme, told: list[str]) -> LabelScheme:
    """The scheme with only these regions, and its labels renumbered."""
    kept = [region for region in scheme.regions if region.name in told]
    labels, regions = [], []
    for number, region in enumerate(kept, start=1):
        labels.append(Label(number, region.name, region.title, region.color, region.terminology))
        inside = [
            other
            for other, inner in enumerate(kept, start=1)
            if set(inner.labels) <= set(region.labels)
        ]
        regions.append(replace(region, labels=tuple(inside)))
    return LabelScheme(scheme.name, tuple(labels), tuple(regions))


def allSegments(node: slicer.vtkMRMLSegmentationNode, grid: slicer.vtkMRMLVolumeNode) -> np.ndarray:
    """Mask (k, j, i) of the union of all segments, resampled to a grid.

    Raises:
        ExchangeError: if a segment cannot be converted to voxels.
    """
    mask = np.zeros(slicer.util.arrayFromVolume(grid).shape, bool)
    for segmentId in node.GetSegmentation().GetSegmentIDs():
        image = segmentImage(node, segmentId)
        if image is None:
            raise ExchangeError(
                f"No voxels can be made of {node.GetName()}; create its binary labelmap in the "
                "Segmentations module."
            )
        if not image.IsEmpty():
            mask |= imageOn(grid, image, node.GetParentTransformNode()) != 0
    return mask
