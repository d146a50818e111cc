"""Checks of visits and of a case's scans before anything is started."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
import slicer
import vtk

from MISSUCore.contract.visits.response import iso_date

from ..Core.Errors import ExchangeError
from .SceneExchange import (
    arrayFromImage,
    checkVolumes,
    ijkToRasArray,
    matrixBetween,
    segmentImage,
)
from .VisitNodes import SceneVisit, VisitsEntry, acquisitionDate, patientOf


def checkedVisits(entry: VisitsEntry) -> VisitsEntry:
    """The visits sorted by date, after checking that all can be written.

    Raises:
        ExchangeError: naming the visit that cannot be used.
    """
    visits = []
    for visit in entry.visits:
        for node, what in ((visit.segmentation, "segmentation"), (visit.scan, "T1ce")):
            if node is None or node.GetScene() is None:
                raise ExchangeError(
                    f"The {what} of {visit.name} was deleted; remove this visit, and add it again."
                )
        checkVolumes({"t1ce": visit.scan})
        checkRigid(visit.scan)
        _checkInside(visit)
        day = visit.date or acquisitionDate(visit.scan)
        try:
            visits.append(replace(visit, date=iso_date(day)))
        except ValueError as error:
            raise ExchangeError(
                f"{visit.name} has no date; enter the day of its scan as YYYY-MM-DD."
            ) from error
    entry = replace(entry, visits=tuple(visits)).ordered()
    if len(visits) < 2:
        raise ExchangeError("Add two visits or more.")
    _checkApart(entry.visits)
    if entry.baselineNumber() == len(visits):
        raise ExchangeError("The last visit cannot be the baseline; choose an earlier one.")
    return entry


def checkOnePatient(scans: Iterable[slicer.vtkMRMLScalarVolumeNode]) -> None:
    """Check that scans are of one patient, as far as DICOM patient IDs are known.

    Raises:
        ExchangeError: naming two scans that are not.
    """
    known = [(scan, patientOf(scan)) for scan in scans]
    known = [(scan, patient) for scan, patient in known if patient]
    for scan, patient in known[1:]:
        if patient != known[0][1]:
            raise ExchangeError(
                f"{known[0][0].GetName()} and {scan.GetName()} are of two patients, as their DICOM "
                "Patient IDs say."
            )


def daysApart(scans: Iterable[slicer.vtkMRMLScalarVolumeNode]) -> str:
    """A warning if scans were acquired on different days; empty if not, or if unknown."""
    byDay: dict[str, list[str]] = {}
    for scan in scans:
        byDay.setdefault(acquisitionDate(scan), []).append(scan.GetName())
    byDay.pop("", None)
    if len(byDay) < 2:
        return ""
    told = "; ".join(f"{', '.join(names)}: {day}" for day, names in sorted(byDay.items()))
    return f"The scans are of several days; check that they are of one visit ({told})."


def checkRigid(node: slicer.vtkMRMLTransformableNode) -> None:
    """Check that a node is not under a transform that changes lengths.

    Raises:
        ExchangeError: if it is under one.
    """
    matrix = matrixBetween(node.GetParentTransformNode(), None)
    if matrix is None or not np.allclose(matrix[:3, :3].T @ matrix[:3, :3], np.eye(3), atol=1e-4):
        raise ExchangeError(
            f"{node.GetName()} is under a transform that changes lengths; harden it, or move "
            "the node out of it."
        )


def emptyVisits(entry: VisitsEntry) -> list[SceneVisit]:
    """The visits whose segmentations are empty."""
    return [
        visit
        for visit in entry.visits
        if visit.segmentation and not any(len(places) for places in _places(visit.segmentation))
    ]


def _checkApart(visits: tuple[SceneVisit, ...]) -> None:
    """Check that the visits, sorted by date, are distinct and of one patient."""
    for number, visit in enumerate(visits):
        for earlier in visits[:number]:
            for one, other in (
                (visit.segmentation, earlier.segmentation),
                (visit.scan, earlier.scan),
            ):
                if one is other:
                    raise ExchangeError(
                        f"{one.GetName()} is there for two visits; each has its own."
                    )
            if visit.date == earlier.date:
                raise ExchangeError(
                    f"{visit.name} and {earlier.name} are both from {visit.date}; correct a date, "
                    "or remove one."
                )
            checkOnePatient([visit.scan, earlier.scan])


def _checkInside(visit: SceneVisit) -> None:
    """Check that a segmentation lies within its scan; otherwise it belongs to another scan.

    Raises:
        ExchangeError: if it does not.
    """
    scan, node = visit.scan, visit.segmentation
    toScan = matrixBetween(node.GetParentTransformNode(), scan.GetParentTransformNode())
    if toScan is None:
        raise ExchangeError(
            f"A transform that is not linear lies between {node.GetName()} and {scan.GetName()}; "
            "harden it."
        )
    toIjk = np.linalg.inv(ijkToRasArray(scan)) @ toScan
    last = np.array(scan.GetImageData().GetDimensions()) - 1
    for places in _places(node):
        indices = places @ toIjk[:3, :3].T + toIjk[:3, 3]
        if ((indices < -1) | (indices > last + 1)).any():
            raise ExchangeError(
                f"{node.GetName()} reaches beyond {scan.GetName()}; choose the T1ce that it was "
                "drawn on."
            )


def _places(node: slicer.vtkMRMLSegmentationNode) -> Iterator[np.ndarray]:
    """Yield, for each segment, its voxel centers (n, 3) in RAS before the node's transform."""
    for segmentId in node.GetSegmentation().GetSegmentIDs():
        image = segmentImage(node, segmentId)
        if image is not None and not image.IsEmpty():
            yield _points(image)


def _points(image: slicer.vtkOrientedImageData) -> np.ndarray:
    """Centers (n, 3) of the nonzero voxels of an image."""
    first = np.array(image.GetExtent())[::2]
    indices = np.argwhere(arrayFromImage(image))[:, ::-1] + first
    toRas = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(toRas)
    matrix = slicer.util.arrayFromVTKMatrix(toRas)
    return indices @ matrix[:3, :3].T + matrix[:3, 3]
