"""The head or brain in a scan: its mask and extent, and the scan at lower resolution."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from ...core.errors import InputError
from ...core.messages import a_modality
from ...io.geometry import image_like
from ...io.resampling import on_grid

Points = NDArray[np.float64]
Faces = tuple[list[bool], list[bool]]

MASK_SPACING_MM = 4.0
# Fraction of the intensity range: air is darker, all but the darkest tissue brighter.
_TISSUE = 0.1
# Fraction of zeros from which a face of the volume is taken to continue as background.
_EMPTY_FACE = 0.9
_MARGIN_MM = 30.0


@dataclass(frozen=True)
class Head:
    """A scan, and where the head (or brain, if skull-stripped) is in it.

    Attributes:
        name: name of the scan in messages.
        image: the original scan, float32.
        empty_faces: whether the scan ends in background at the first and at the last voxel along
            each axis (x, y, z); background is then assumed to continue.
        mask: uint8, 1 in the head, about 4 mm spacing along the image's axes.
        points_mm: (N, 3) centers of the mask's voxels, patient coordinates (x, y, z).
    """

    name: str
    image: sitk.Image
    empty_faces: Faces
    mask: sitk.Image
    points_mm: Points

    @property
    def center_mm(self) -> Points:
        """Center of mass of the mask."""
        return self.points_mm.mean(axis=0)

    @property
    def extent_mm(self) -> Points:
        """Extent of the head left-right, front-back and feet-head, without its outermost 1 %."""
        return extent_mm(self.points_mm)

    def shows(self, points_mm: Points) -> NDArray[np.bool_]:
        """Mask (N,) of the points (N, 3) that lie in the scan or its continued background."""
        direction = np.array(self.image.GetDirection()).reshape(3, 3)
        index = (points_mm - self.image.GetOrigin()) @ direction / self.image.GetSpacing()
        below, above = np.array(_margins(self.image, self.empty_faces))
        last = np.array(self.image.GetSize()) - 0.5
        return np.all((index >= -0.5 - below) & (index <= last + above), axis=1)

    def shrunk(self, spacing_mm: float) -> sitk.Image:
        """The scan at about this spacing, or its own if coarser; its brightest voxels clipped."""
        image = _padded(_shrunk(self.image, spacing_mm), self.empty_faces)
        inside = sitk.GetArrayFromImage(self.mask_on(image)) > 0
        values = sitk.GetArrayViewFromImage(image)[inside]
        return sitk.Clamp(image, upperBound=float(np.percentile(values, 99.8)))

    def mask_on(self, grid: sitk.Image, grown_mm: float = 0.0) -> sitk.Image:
        """The mask on a grid, dilated by some mm."""
        mask = self.mask
        if grown_mm:
            radius = [math.ceil(grown_mm / step) for step in mask.GetSpacing()]
            mask = sitk.BinaryDilate(mask, radius)
        return sitk.Resample(mask, grid, sitk.Transform(), sitk.sitkNearestNeighbor)


def find_head(name: str, image: sitk.Image, mask: sitk.Image | None = None) -> Head:
    """The head in a scan: the mask if given, or the largest component brighter than air.

    Args:
        name: name of the scan in messages.
        image: 3-D scan, float.
        mask: nonzero in the head or brain, on any grid.

    Raises:
        InputError: if the scan is constant, or the mask is empty or lies outside of the scan.
    """
    faces = _empty_faces(image)
    small = _padded(_shrunk(image, MASK_SPACING_MM), faces)
    voxels = sitk.GetArrayViewFromImage(small)
    if mask is None:
        inside = _bright_part(name, voxels)
    else:
        inside = _half_inside(mask, small)
        if not inside.any():
            raise InputError(a_modality(name), ": its mask is empty or lies outside of it")
    points = np.array(np.nonzero(inside)[::-1]).T * small.GetSpacing()
    direction = np.array(small.GetDirection()).reshape(3, 3)
    return Head(
        name,
        image,
        faces,
        image_like(inside.astype(np.uint8), small),
        np.array(small.GetOrigin()) + points @ direction.T,
    )


def extent_mm(points_mm: Points) -> Points:
    """Extent of points (N, 3) along each axis, without the outermost 1 %."""
    low, high = np.percentile(points_mm, (0.5, 99.5), axis=0)
    return high - low


def _bright_part(name: str, voxels: NDArray[np.float32]) -> NDArray[np.bool_]:
    low = np.percentile(voxels, 1)
    brighter = voxels[voxels > low]
    if not brighter.size:
        raise InputError(a_modality(name), f": is empty, every voxel has the value {low:g}")
    high = np.percentile(brighter, 98)
    parts, _ = ndimage.label(voxels > low + _TISSUE * (high - low))
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return ndimage.binary_fill_holes(parts == sizes.argmax())


def _shrunk(image: sitk.Image, spacing_mm: float) -> sitk.Image:
    factors = [
        # A few voxels must remain along each axis.
        max(1, min(round(spacing_mm / step), length // 4))
        for step, length in zip(image.GetSpacing(), image.GetSize())
    ]
    return sitk.BinShrink(image, factors)


def _half_inside(mask: sitk.Image, grid: sitk.Image) -> NDArray[np.bool_]:
    """Voxels (D, H, W) of a coarse grid that are at least half filled by a mask."""
    # As 8-bit integers, which take a quarter of the time.
    full = (sitk.GetArrayViewFromImage(mask) != 0).view(np.uint8) * np.uint8(255)
    return on_grid(_shrunk(image_like(full, mask), MASK_SPACING_MM), grid) >= 127.5


def _empty_faces(image: sitk.Image) -> Faces:
    voxels = sitk.GetArrayViewFromImage(image)
    first, last = (
        [bool(np.mean(voxels.take(face, axis) == 0) > _EMPTY_FACE) for axis in (2, 1, 0)]
        for face in (0, -1)
    )
    return first, last


def _margins(image: sitk.Image, faces: Faces) -> tuple[list[int], list[int]]:
    """Numbers of background voxels to add before and after the image along each axis."""
    margins = [math.ceil(_MARGIN_MM / step) for step in image.GetSpacing()]
    below, above = ([n if empty else 0 for n, empty in zip(margins, ends)] for ends in faces)
    return below, above


def _padded(image: sitk.Image, faces: Faces) -> sitk.Image:
    """The image with a margin of 0 at each empty face."""
    return sitk.ConstantPad(image, *_margins(image, faces), 0.0)
