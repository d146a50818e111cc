"""Contents of a node's segments, in a form that saving and loading does not change."""

from __future__ import annotations

import numpy as np
import slicer
import vtk

from MISSUCore.contract.provenance.masks import Contents, Mask, start_on_grid, voxel_ml

from ...Core.Errors import ExchangeError
from ..SceneExchange import LPS_TO_RAS, arrayFromImage, ijkToRas, scanOf
from ..SegmentationNodes import BINARY_LABELMAP

Grid = tuple[float, ...]
NOTHING = Mask((0, 0, 0), np.zeros((0, 0, 0), bool))


def masksOf(node: slicer.vtkMRMLSegmentationNode, grid: Grid = ()) -> tuple[Grid, dict[str, Mask]]:
    """Voxels of the segments by ID, on the given grid if they fit it, otherwise on their own.

    Volumes and positions are before the segmentation's parent transform.

    Args:
        node: the segmentation.
        grid: the grid as in :class:`.Contents`.

    Returns:
        The grid, empty if unknown, and the voxels on it.

    Raises:
        ExchangeError: if a segment cannot be converted to voxels, or the segments are on several
            grids.
    """
    if not node.CreateBinaryLabelmapRepresentation():
        raise ExchangeError(
            f"No voxels can be made of {node.GetName()}; create its binary labelmap in the "
            "Segmentations module."
        )
    images = {}
    segmentation = node.GetSegmentation()
    for segmentId in segmentation.GetSegmentIDs():
        image = segmentation.GetSegment(segmentId).GetRepresentation(BINARY_LABELMAP)
        images[segmentId] = None if image is None or image.IsEmpty() else image
    places = [_gridOf(image) for image in images.values() if image]
    grid = next(
        (one for one in (grid, *places) if one and all(start_on_grid(one, p) for p in places)), ()
    )
    if places and not grid:
        raise ExchangeError(
            f"The segments of {node.GetName()} lie on several grids; give them one geometry in the "
            "Segment Editor."
        )
    masks = {}
    for segmentId, image in images.items():
        label = segmentation.GetSegment(segmentId).GetLabelValue()
        masks[segmentId] = _mask(image, label, grid) if image else NOTHING
    return grid or _scansGrid(node), masks


def contentsOf(grid: Grid, masks: dict[str, Mask]) -> Contents:
    """The contents record of segments as returned by :func:`masksOf`."""
    volumeMl = voxel_ml(grid) if grid else 0.0
    return Contents(grid, {name: mask.fact(volumeMl) for name, mask in masks.items()})


def _mask(image: slicer.vtkOrientedImageData, label: int, grid: Grid) -> Mask:
    i, _, j, _, k, _ = image.GetExtent()
    mask = Mask.of(arrayFromImage(image) == label, (k, j, i))
    return mask.shifted(start_on_grid(grid, _gridOf(image)) or (0, 0, 0))


def _gridOf(image: slicer.vtkOrientedImageData) -> Grid:
    toRas = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(toRas)
    return _lps(toRas)


def _scansGrid(node: slicer.vtkMRMLSegmentationNode) -> Grid:
    scan = scanOf(node)
    return _lps(ijkToRas(scan)) if scan else ()


def _lps(toRas: vtk.vtkMatrix4x4) -> Grid:
    """The grid (LPS) that belongs to an IJK to RAS matrix."""
    return tuple((LPS_TO_RAS @ slicer.util.arrayFromVTKMatrix(toRas))[:3].ravel().tolist())
