"""The pictures of a quality page: slices with outlines, and checkerboards of two scans."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from ..contract.labels import LabelScheme
from ..io.geometry import image_like
from .planes import (
    AXIAL,
    PLANES,
    SAGITTAL,
    Plane,
    areas,
    checkerboard,
    cut,
    gray_window,
    inside,
    largest_slice,
    outline_path,
    picture_grid,
    png,
    to_gray,
)

PICTURE_PIXELS = 256  # along the patient's longest side
MARGIN_MM = 8.0  # around the brain mask, to show what it left out
FIELD_PIXELS = 28  # of a checkerboard
EXTRA_SLICES = (0.2, 0.8)  # positions of axial slices, as fractions of the lesion's height


@dataclass(frozen=True)
class Tile:
    """A picture of one scan, or of two in a checkerboard.

    Attributes:
        png: gray pixels as PNG in base 64.
        width, height: in pixels.
        caption: short, shown on the picture.
        text: alternative text, for those who cannot see the picture.
    """

    png: str
    width: int
    height: int
    caption: str
    text: str


@dataclass(frozen=True)
class Outline:
    """An outline in a slice.

    Attributes:
        kind: ``tissue``, ``region`` or ``reference``.
        path: SVG path data, in pixels of the tiles; empty if there is nothing in the slice.
        color: of a region, 0 to 255.
        width: in screen pixels.
    """

    kind: str
    path: str
    color: tuple[int, int, int] | None = None
    width: float = 0.0


@dataclass(frozen=True)
class Row:
    """One slice in several tiles.

    Attributes:
        title: plane and position: ``"Axial, S 34 mm"``.
        sides: of the patient at the left, right, upper and lower edge.
        tiles: all of one size.
        outlines: drawn on each tile, later ones on top.
    """

    title: str
    sides: tuple[str, str, str, str]
    tiles: Sequence[Tile]
    outlines: Sequence[Outline] = ()


@dataclass(frozen=True)
class Drawing:
    """The data that all pictures of a case share.

    Attributes:
        grid: upright, empty.
        images: scans in one space by modality.
        windows: by modality, the intensities shown as black and as white.
        scheme: of the regions.
        regions: for each of its regions a float image, 1 inside and 0 outside.
        reference: the same for the reference; empty without one.
        tissue: float images, above 0 in the brain, or where a scan is nonzero.
    """

    grid: sitk.Image
    images: Mapping[str, sitk.Image]
    windows: dict[str, tuple[float, float]]
    scheme: LabelScheme
    regions: list[sitk.Image]
    reference: list[sitk.Image]
    tissue: list[sitk.Image]

    @classmethod
    def of(
        cls,
        images: Mapping[str, sitk.Image],
        labels: sitk.Image,
        scheme: LabelScheme,
        brain: sitk.Image | None = None,
        reference: sitk.Image | None = None,
        pixels: int = 0,
    ) -> Drawing:
        """The drawing of a case; see :func:`.write_quality_page` for the arguments.

        Args:
            images: scans.
            labels: label map.
            scheme: of the labels.
            brain: mask.
            reference: label map.
            pixels: of a picture along the patient's longest side; 0 for :data:`PICTURE_PIXELS`.

        Raises:
            InputError: if there is nothing to draw.
        """
        # One mask for all scans, or one each.
        tissue = [
            sitk.Cast(image != 0, sitk.sitkFloat32)
            for image in (images.values() if brain is None else [brain])
        ]
        label_maps = [labels] if reference is None else [labels, reference]
        windows = {
            name: gray_window(sitk.GetArrayViewFromImage(image)[inside(mask, image)])
            for (name, image), mask in zip(images.items(), cycle(tissue))
        }
        return cls(
            grid=picture_grid([*tissue, *label_maps], pixels or PICTURE_PIXELS, MARGIN_MM),
            images=images,
            windows=windows,
            scheme=scheme,
            regions=_region_masks(labels, scheme),
            reference=[] if reference is None else _region_masks(reference, scheme),
            tissue=tissue,
        )

    def with_maps(self, maps: Mapping[str, sitk.Image]) -> Drawing:
        """The drawing with further images, which do not affect the choice of slices.

        Args:
            maps: on any grid in the same space, by name; NaN is shown as black.
        """
        images, windows = dict(self.images), dict(self.windows)
        tissue = image_like(self._anywhere(self.tissue).astype(np.float32), self.grid)
        for name, image in maps.items():
            voxels = sitk.GetArrayViewFromImage(image)
            known = np.isfinite(voxels)
            shown = name if name not in images else f"{name} (map)"
            windows[shown] = gray_window(voxels[known & inside(tissue, image)])
            images[shown] = image_like(np.where(known, voxels, np.float32(0)), image)
        return replace(self, images=images, windows=windows)

    def outlined(self) -> list[Row]:
        """A row for each slice, with a tile for each scan and the outlines on all tiles."""
        return [self._outlined_row(plane, index) for plane, index in self._slices()]

    def largest(self) -> Row:
        """The axial slice in which the lesion, or else the brain, is largest."""
        return self._outlined_row(*self._slices()[0])

    def checkerboards(self, fixed: str) -> list[Row]:
        """Checkerboards of every other scan with the fixed one; none if that is the only scan."""
        others = [name for name in self.images if name != fixed]
        rows = []
        tissue = self._anywhere(self.tissue)
        for plane in (AXIAL, SAGITTAL) if others else ():
            index = largest_slice(tissue, plane)
            first = self._pixels(fixed, plane, index)
            tiles = []
            for name in others:
                pixels = checkerboard(first, self._pixels(name, plane, index), FIELD_PIXELS)
                text = f"checkerboard of {fixed} and {name}, {plane.name} slice"
                tiles.append(_tile(pixels, f"{fixed} / {name}", text))
            rows.append(Row(self._title(plane, index), plane.sides, tiles))
        return rows

    def _slices(self) -> list[tuple[Plane, int]]:
        """For each plane the slice where the lesion is largest, then axial slices below and above.

        If no lesion was found, that of the reference is used, or else the brain.
        """
        places = (self._anywhere(masks) for masks in (self.regions, self.reference) if masks)
        shown = next((lesion for lesion in places if lesion.any()), self._anywhere(self.tissue))
        slices = [(plane, largest_slice(shown, plane)) for plane in PLANES]
        heights = np.flatnonzero(areas(shown, AXIAL))
        extra = {int(heights[int(part * (len(heights) - 1))]) for part in EXTRA_SLICES}
        return slices + [(AXIAL, index) for index in sorted(extra - {slices[0][1]})]

    def _anywhere(self, masks: list[sitk.Image]) -> NDArray[np.bool_]:
        """Union of the masks on the grid (depth, height, width)."""
        return np.logical_or.reduce([inside(mask, self.grid) for mask in masks])

    def _outlined_row(self, plane: Plane, index: int) -> Row:
        tiles = [
            _tile(
                self._pixels(name, plane, index), name, f"{name}, {plane.name} slice with outlines"
            )
            for name in self.images
        ]
        outlines = self._outlines(plane, index)
        return Row(self._title(plane, index), plane.sides, tiles, outlines)

    def _outlines(self, plane: Plane, index: int) -> list[Outline]:
        # At least half, the rule for every mask that is resampled to another grid.
        regions, reference, tissue = (
            [cut(mask, self.grid, plane, index) >= 0.5 for mask in group]
            for group in (self.regions, self.reference, self.tissue)
        )
        outlines = [Outline("tissue", outline_path(np.logical_or.reduce(tissue)))]
        for kind, masks in (("region", regions), ("reference", reference)):
            for order, (region, mask) in enumerate(zip(self.scheme.regions, masks)):
                # A line on top of a wider one leaves its edges visible.
                width = 1.1 + 0.7 * (len(masks) - 1 - order)
                outlines.append(Outline(kind, outline_path(mask), region.color, width))
        return outlines

    def _pixels(self, modality: str, plane: Plane, index: int) -> NDArray[np.uint8]:
        values = cut(self.images[modality], self.grid, plane, index)
        return to_gray(values, self.windows[modality])

    def _title(self, plane: Plane, index: int) -> str:
        return f"{plane.name.capitalize()}, {plane.place(self.grid, index)}"


def _region_masks(labels: sitk.Image, scheme: LabelScheme) -> list[sitk.Image]:
    """For each region a float image, 1 inside and 0 outside."""
    masks = scheme.to_regions(sitk.GetArrayViewFromImage(labels)).astype(np.float32)
    return [image_like(mask, labels) for mask in masks]


def _tile(pixels: NDArray[np.uint8], caption: str, text: str) -> Tile:
    height, width = pixels.shape
    return Tile(base64.b64encode(png(pixels)).decode("ascii"), width, height, caption, text)
