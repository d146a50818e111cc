"""Compares a segmentation with a reference: Dice and Hausdorff distance by ``missu evaluate``."""

from __future__ import annotations

import json
import re

import numpy as np
import slicer

from MISSUCore.contract.labels import Label, LabelScheme, Region, numbering_of
from MISSUCore.contract.region_scores import read_region_scores
from MISSUCore.contract.requests.commands import EvaluateRequest

from ..Core.CoreRun import CoreRun
from ..Core.Errors import ExchangeError
from ..Scene.SceneExchange import imageOn, scanOf, segmentImage, volumeLike, voxelsOn, writeVolume

# Dice and 95 % Hausdorff distance in mm by region name.
Scores = dict[str, tuple[float, float]]


def writePair(
    run: CoreRun,
    segmentationNode: slicer.vtkMRMLSegmentationNode,
    referenceNode: slicer.vtkMRMLSegmentationNode | slicer.vtkMRMLLabelMapVolumeNode,
    scheme: LabelScheme,
) -> EvaluateRequest:
    """Write both as label maps on one grid; returns the request.

    Only regions that are present in both are compared.

    Raises:
        ExchangeError: if they cannot be compared or written.
    """
    grid = _commonGrid(segmentationNode, referenceNode)
    result, itsRegions = labelsOn(grid, segmentationNode, scheme)
    reference, referenceRegions = labelsOn(grid, referenceNode, scheme)
    common = [name for name in scheme.region_names if name in itsRegions & referenceRegions]
    if not common:
        raise ExchangeError(
            f"{segmentationNode.GetName()} and {referenceNode.GetName()} have no region in common; "
            "name their segments alike."
        )
    files = []
    for node, labels in ((segmentationNode, result), (referenceNode, reference)):
        path = run.folder / f"{len(files)}.nrrd"
        writeVolume(volumeLike(grid, labels), path, node.GetName())
        run.names[path] = node.GetName()
        files.append(path)
    (run.folder / "common.json").write_text(json.dumps(common), encoding="utf-8")
    return EvaluateRequest(
        *files, scheme=json.dumps(scheme.as_dict()), json=run.folder / "scores.json"
    )


def readScores(run: CoreRun) -> Scores:
    """The scores of the regions present in both; NaN where a score is undefined."""
    common = json.loads((run.folder / "common.json").read_text(encoding="utf-8"))
    rows = read_region_scores(run.folder / "scores.json")
    return {row.region: (row.dice, row.hausdorff95_mm) for row in rows if row.region in common}


def labelsOn(
    grid: slicer.vtkMRMLVolumeNode,
    node: slicer.vtkMRMLSegmentationNode | slicer.vtkMRMLLabelMapVolumeNode,
    scheme: LabelScheme,
) -> tuple[np.ndarray, set[str]]:
    """Label map (k, j, i) of a node resampled to a grid, and the names of the regions it defines.

    Segments are recognized by ID or name: the short or long name of a region or label of the
    scheme, or Segment_4 for label value 4. Where regions are not nested, the inner one wins. A name
    of both a region and a label, such as ET, is taken as a region unless other labels are present:
    ET alone does not imply that there is no edema.

    Raises:
        ExchangeError: if nothing is recognized, or a label map has no voxels.
    """
    name = node.GetName()
    if not node.IsA("vtkMRMLSegmentationNode"):
        if node.GetImageData() is None:
            raise ExchangeError(f"{name} has no voxels; load it again or select another one.")
        labels = voxelsOn(grid, node)
        numbering = numbering_of(np.unique(labels).tolist(), scheme)
        if not numbering.accepts(np.unique(labels).tolist()):
            expected = ", ".join(f"{label.value} = {label.name}" for label in scheme.labels)
            raise ExchangeError(f"{name} has other labels than {expected}; select another one.")
        return scheme.to_labels(numbering.to_regions(labels)), set(scheme.region_names)
    found, ofLabels = _recognized(node, scheme.regions), _recognized(node, scheme.labels)
    areLabels = set(ofLabels) - set(scheme.region_names)
    if set(found) - set(ofLabels) or (found and not areLabels):
        masks = [_mask(grid, node, found.get(region.name)) for region in scheme.regions]
        return scheme.to_labels(np.stack(masks)), set(found)
    found = ofLabels or _numbered(node, scheme)
    if not found:
        names = ", ".join((*scheme.region_names, *(label.name for label in scheme.labels)))
        raise ExchangeError(
            f"No segment of {name} is recognized; name them after regions or labels ({names})."
        )
    labels = np.zeros(slicer.util.arrayFromVolume(grid).shape, np.uint8)
    for label in scheme.labels:
        labels[_mask(grid, node, found.get(label.name))] = label.value
    return labels, set(scheme.region_names)


def _recognized(
    node: slicer.vtkMRMLSegmentationNode, parts: tuple[Region, ...] | tuple[Label, ...]
) -> dict[str, str]:
    """Segment IDs by name of the region or label."""
    found: dict[str, str] = {}
    for segmentId, name in _segmentNames(node).items():
        for part in parts:
            if {segmentId.lower(), name.lower()} & {part.name.lower(), part.title.lower()}:
                found.setdefault(part.name, segmentId)
    return found


def _numbered(node: slicer.vtkMRMLSegmentationNode, scheme: LabelScheme) -> dict[str, str]:
    """Segment IDs by label name, as Slicer numbers the segments of a label map."""
    matches = {
        segmentId: re.fullmatch(r"(?:(?:segment|label)[_ ])?(\d+)", name, re.IGNORECASE)
        for segmentId, name in _segmentNames(node).items()
    }
    numbers = {int(match[1]): segmentId for segmentId, match in matches.items() if match}
    numbering = numbering_of(numbers, scheme)
    return {
        label.name: numbers[numbered.value]
        for label, numbered in zip(scheme.labels, numbering.labels)
        if numbered.value in numbers
    }


def _segmentNames(node: slicer.vtkMRMLSegmentationNode) -> dict[str, str]:
    segmentation = node.GetSegmentation()
    return {
        segmentId: segmentation.GetSegment(segmentId).GetName() or ""
        for segmentId in segmentation.GetSegmentIDs()
    }


def _mask(
    grid: slicer.vtkMRMLVolumeNode, node: slicer.vtkMRMLSegmentationNode, segmentId: str | None
) -> np.ndarray:
    image = slicer.vtkOrientedImageData() if segmentId is None else segmentImage(node, segmentId)
    if image is None:
        raise ExchangeError(
            f"No voxels can be made of {node.GetName()}; create its binary labelmap in the "
            "Segmentations module."
        )
    if image.IsEmpty():
        return np.zeros(slicer.util.arrayFromVolume(grid).shape, bool)
    return imageOn(grid, image, node.GetParentTransformNode()) != 0


def _commonGrid(
    segmentationNode: slicer.vtkMRMLSegmentationNode,
    referenceNode: slicer.vtkMRMLSegmentationNode | slicer.vtkMRMLLabelMapVolumeNode,
) -> slicer.vtkMRMLVolumeNode:
    grids = [referenceNode]
    if referenceNode.IsA("vtkMRMLSegmentationNode"):
        grids = [scan for scan in (scanOf(referenceNode), scanOf(segmentationNode)) if scan]
    for grid in grids:
        if grid.GetImageData():  # missing if its file was not found on loading the scene
            return grid
    if grids:
        raise ExchangeError(f"{grids[0].GetName()} has no voxels; load it again.")
    raise ExchangeError(
        f"The volume that {segmentationNode.GetName()} was made from is gone; load and segment it "
        "again."
    )
