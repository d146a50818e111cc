"""How well a segmented region agrees with its reference: overlap and distance metrics.

All functions take two boolean masks of one shape (depth, height, width); distances also take
``spacing_mm`` in the same order. They raise ValueError if shapes or spacing do not match.

A mask may be empty: a patient may have no enhancing tumor. There the rules of the BraTS
challenges hold (the CaPTk and BraTS 2023 evaluation code): if both masks are empty, Dice and
sensitivity are 1 and distances 0; if one is, Dice and sensitivity are 0 and every distance is
:data:`EMPTY_MM`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, distance_transform_edt

from .masks import Mask, joint_block
from .surfaces import surface_distances

Distances = NDArray[np.float64]

# The diagonal of 240 x 240 x 155 voxels of 1 mm, 373.13 mm. It is the same for every image, so that
# a case cropped to the brain scores the same as the whole one.
EMPTY_MM = math.hypot(240, 240, 155)

NSD_TOLERANCE_MM = 1.0


@dataclass(frozen=True)
class HausdorffDistances:
    """Distances between two masks in mm; see :func:`hausdorff`."""

    maximum_mm: float
    percentile95_mm: float
    average_mm: float


@dataclass(frozen=True)
class RegionMetrics:
    """All metrics of one region: rates from 0 to 1, distances in mm."""

    dice: float
    accuracy: float
    sensitivity: float
    specificity: float
    hausdorff_mm: float
    hausdorff95_mm: float
    average_hausdorff_mm: float
    surface_dice: float
    nsd_1mm: float


def score_region(prediction: Mask, reference: Mask, spacing_mm: Sequence[float]) -> RegionMetrics:
    """All metrics of a region at once."""
    distances = hausdorff(prediction, reference, spacing_mm)
    return RegionMetrics(
        dice=dice(prediction, reference),
        accuracy=accuracy(prediction, reference),
        sensitivity=sensitivity(prediction, reference),
        specificity=specificity(prediction, reference),
        hausdorff_mm=distances.maximum_mm,
        hausdorff95_mm=distances.percentile95_mm,
        average_hausdorff_mm=distances.average_mm,
        surface_dice=surface_dice(prediction, reference, spacing_mm),
        nsd_1mm=surface_distances(prediction, reference, spacing_mm).normalized_surface_distance(
            NSD_TOLERANCE_MM
        ),
    )


def dice(prediction: Mask, reference: Mask) -> float:
    """Dice coefficient, 2 |P and G| / (|P| + |G|) (paper eq. 7)."""
    _check_masks(prediction, reference)
    sizes = _count(prediction) + _count(reference)
    return 2 * _count(prediction & reference) / sizes if sizes else 1.0


def accuracy(prediction: Mask, reference: Mask) -> float:
    """Fraction of all voxels on which the masks agree (paper eq. 8).

    Background counts too, so it is close to 1 wherever the region is small.
    """
    _check_masks(prediction, reference)
    return _count(prediction == reference) / reference.size


def sensitivity(prediction: Mask, reference: Mask) -> float:
    """Fraction of the reference that was found.

    If the reference is empty: 1 if nothing was found, otherwise 0, as in BraTS.
    """
    _check_masks(prediction, reference)
    size = _count(reference)
    if not size:
        return float(not prediction.any())
    return _count(prediction & reference) / size


def specificity(prediction: Mask, reference: Mask) -> float:
    """Fraction of the background that was not segmented: the sensitivity for the background."""
    return sensitivity(~prediction, ~reference)


def hausdorff(prediction: Mask, reference: Mask, spacing_mm: Sequence[float]) -> HausdorffDistances:
    """Hausdorff distances between the centers of voxels, in mm.

    * Maximum (paper eq. 9): the longest distance from a voxel of either mask to the other mask, as
      in SimpleITK's HausdorffDistanceImageFilter.
    * Average: the mean distance from all voxels of a mask, 0 where the masks overlap, averaged over
      both directions. It is GetAverageHausdorffDistance of the same filter, and what the
      paper's tables call HD.
    * 95th percentile of the distances from surface to surface, the longer of both directions, as in
      MONAI. Surface voxels have a face neighbor outside the mask; the image border is outside.
      The packages of BraTS have other definitions: that of 2023 weights the distances by area, and
      ``brats-evaluation`` takes the percentile of both directions pooled.

    Since the percentile measures to the surface and not to the mask, it can exceed the maximum
    where a mask has holes.
    """
    _check_masks(prediction, reference)
    _check_spacing(spacing_mm)
    if prediction.any() != reference.any():
        return HausdorffDistances(EMPTY_MM, EMPTY_MM, EMPTY_MM)
    if not reference.any():
        return HausdorffDistances(0.0, 0.0, 0.0)

    prediction, reference = joint_block(prediction, reference)
    forth, forth_surface = _distances_mm(prediction, reference, spacing_mm)
    back, back_surface = _distances_mm(reference, prediction, spacing_mm)
    return HausdorffDistances(
        maximum_mm=float(max(forth.max(), back.max())),
        percentile95_mm=float(
            max(np.percentile(forth_surface, 95), np.percentile(back_surface, 95))
        ),
        average_mm=float((forth.mean() + back.mean()) / 2),
    )


def surface_dice(prediction: Mask, reference: Mask, spacing_mm: Sequence[float]) -> float:
    """Voxel-based surface Dice: fraction of a surface near the other, averaged over both.

    Near is within the shortest edge of a voxel, as in the NSD of single lesions in
    ``brats-evaluation`` 0.0.10. (Its NSD of a whole region uses half a voxel, so it is lower.)
    The NSD of :mod:`.surfaces` pools both surfaces, weighted by area.
    """
    _check_masks(prediction, reference)
    _check_spacing(spacing_mm)
    if not (prediction.any() and reference.any()):
        return float(prediction.any() == reference.any())
    forth, back = surface_distances_mm(*joint_block(prediction, reference), spacing_mm)
    return near(forth, back, min(spacing_mm))


def near(forth_mm: Distances, back_mm: Distances, tolerance_mm: float) -> float:
    """Fraction of the distances within the tolerance, averaged over both directions."""
    return float(((forth_mm <= tolerance_mm).mean() + (back_mm <= tolerance_mm).mean()) / 2)


def surface_distances_mm(
    prediction: Mask, reference: Mask, spacing_mm: Sequence[float]
) -> tuple[Distances, Distances]:
    """Distances from each surface voxel of a mask to the other's surface, in both directions."""
    surfaces = _surface(prediction), _surface(reference)
    to_prediction, to_reference = (
        distance_transform_edt(~surface, sampling=spacing_mm) for surface in surfaces
    )
    return to_reference[surfaces[0]], to_prediction[surfaces[1]]


def _distances_mm(
    start: Mask, target: Mask, spacing_mm: Sequence[float]
) -> tuple[Distances, Distances]:
    """Distances from all voxels of ``start`` to ``target``, and from surface to surface."""
    to_surface = distance_transform_edt(~_surface(target), sampling=spacing_mm)
    from_surface = to_surface[_surface(start)]
    # From outside, the nearest voxel of a mask is on its surface, so one map serves both.
    to_surface[target] = 0
    return to_surface[start], from_surface


def _surface(mask: Mask) -> Mask:
    surface: Mask = mask & ~binary_erosion(mask)
    return surface


def _count(mask: Mask) -> int:
    return int(np.count_nonzero(mask))  # since NumPy 2.4 this is a NumPy integer


def _check_spacing(spacing_mm: Sequence[float]) -> None:
    if len(spacing_mm) != 3 or not all(0 < step < math.inf for step in spacing_mm):
        raise ValueError(f"spacing must be three positive lengths in mm, got {spacing_mm}")


def _check_masks(prediction: Mask, reference: Mask) -> None:
    if prediction.dtype != np.bool_ or reference.dtype != np.bool_:
        raise ValueError(f"masks must be boolean, got {prediction.dtype} and {reference.dtype}")
    if prediction.shape != reference.shape or reference.ndim != 3 or not reference.size:
        raise ValueError(
            "masks must have one shape (depth, height, width), got "
            f"{prediction.shape} and {reference.shape}"
        )
