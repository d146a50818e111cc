"""Check whether a scan ends within the tumor, which makes its volume doubtful."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from ..core.messages import Text, a_modality

_BRAIN_RADIUS_MM = 70.0
# The end slices of a scan cropped to the brain show only thin caps of it. If the area in one is
# larger than this many caps, the scan ends within the brain. In 89 cropped BraTS cases, tumors
# reach slices of at most 1 cap; scans that end within the brain show 4.6 or more.
_CAPS = 4.0
# Sides of small and of large x, y and z (ITK's axes point left, back and up).
_SIDES = (("right", "left"), ("front", "back"), ("lower", "upper"))


def end_warnings(scans: Mapping[str, sitk.Image], labels: sitk.Image) -> list[str]:
    """Warnings about scans that end within the brain where the tumor is.

    Args:
        scans: 3-D images in one space, 0 outside the brain, by modality.
        labels: label map in the same space, on any grid; nonzero is tumor.
    """
    tumor = np.argwhere(sitk.GetArrayViewFromImage(labels) != 0)[:, ::-1]
    if not len(tumor):
        return []
    points_mm = tumor * labels.GetSpacing() @ _direction(labels).T + labels.GetOrigin()
    return [
        Text(
            a_modality(name),
            f": ends at its {' and its '.join(ends)} side within the brain, and the tumor reaches "
            "that far, or farther: it was not seen there, and the volumes may be wrong",
        )
        for name, image in scans.items()
        if (ends := list(_reached_ends(image, points_mm)))
    ]


def _reached_ends(image: sitk.Image, points_mm: NDArray[np.float64]) -> Iterator[str]:
    """Sides at which an image ends within the brain, and points reach its end slice or beyond."""
    spacing, size = np.array(image.GetSpacing()), np.array(image.GetSize())
    direction = _direction(image)
    places = (points_mm - image.GetOrigin()) @ direction / spacing
    inside = (places > -1) & (places < size)
    for axis in range(3):
        cap_mm2 = 2 * math.pi * _BRAIN_RADIUS_MM * spacing[axis]
        voxel_mm2 = spacing.prod() / spacing[axis]
        in_front = np.delete(inside, axis, axis=1).all(axis=1)
        along = int(np.abs(direction[:, axis]).argmax())
        for is_last in (False, True):
            end = size[axis] - 1 if is_last else 0
            voxels = sitk.GetArrayViewFromImage(image).take(end, axis=2 - axis)
            area_mm2 = np.count_nonzero(voxels) * voxel_mm2
            beyond = (places[:, axis] - end) * (1 if is_last else -1)
            reached = in_front & (beyond >= -1)
            if area_mm2 > _CAPS * cap_mm2 and reached.any():
                yield _SIDES[along][is_last == bool(direction[along, axis] > 0)]


def _direction(image: sitk.Image) -> NDArray[np.float64]:
    return np.reshape(image.GetDirection(), (3, 3))
