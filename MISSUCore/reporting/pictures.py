"""The pictures of a quality page, as HTML: slices with outlines, and checkerboards of two scans."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
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
MARGIN_MM = 8.0  # shows what the brain mask left out
FIELD_PIXELS = 28  # of a checkerboard
EXTRA_SLICES = (0.2, 0.8)  # parts of the lesion's height


@dataclass(frozen=True)
class Drawing:
    """What all pictures of a case share.

    Attributes:
        grid: upright, empty.
        images: scans in one space by modality.
        windows: by modality, the intensities shown as black and as white.
        scheme: of the regions.
        regions: for each of its regions a float image, 1 inside and 0 outside.
        tissue: float images, above 0 in the brain, or where a scan is not 0.
    """

    grid: sitk.Image
    images: Mapping[str, sitk.Image]
    windows: dict[str, tuple[float, float]]
    scheme: LabelScheme
    regions: list[sitk.Image]
    tissue: list[sitk.Image]

    @classmethod
    def of(
        cls,
        images: Mapping[str, sitk.Image],
        labels: sitk.Image,
        scheme: LabelScheme,
        brain: sitk.Image | None,
    ) -> Drawing:
        """The drawing of a case; see :func:`.write_quality_page` for the arguments.

        Raises:
            InputError: if there is nothing to draw.
        """
        # One mask for all scans, or one each.
        tissue = [
            sitk.Cast(image != 0, sitk.sitkFloat32)
            for image in (images.values() if brain is None else [brain])
        ]
        grid = picture_grid([*tissue, labels], PICTURE_PIXELS, MARGIN_MM)
        windows = {
            name: gray_window(sitk.GetArrayViewFromImage(image)[inside(mask, image)])
            for (name, image), mask in zip(images.items(), cycle(tissue))
        }
        masks = scheme.to_regions(sitk.GetArrayViewFromImage(labels)).astype(np.float32)
        return cls(
            grid=grid,
            images=images,
            windows=windows,
            scheme=scheme,
            regions=[image_like(mask, labels) for mask in masks],
            tissue=tissue,
        )

    def outlined(self) -> str:
        """A row for each slice, a column for each scan, all with the outlines."""
        return "".join(
            self._outlined_row(f"outlines{number}", plane, index)
            for number, (plane, index) in enumerate(self._slices())
        )

    def checkerboards(self, fixed: str) -> str:
        """Every other scan in a checkerboard with the fixed one; nothing if it is alone."""
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
                tiles.append(_tile(pixels, f"{fixed} / {name}", text, plane))
            rows.append(self._row(plane, index, tiles))
        return "".join(rows)

    def _slices(self) -> list[tuple[Plane, int]]:
        """Each plane where the lesion is largest, then axial slices below and above.

        Of the brain if nothing was found.
        """
        lesion = self._anywhere(self.regions)
        shown = lesion if lesion.any() else self._anywhere(self.tissue)
        slices = [(plane, largest_slice(shown, plane)) for plane in PLANES]
        heights = np.flatnonzero(areas(shown, AXIAL))
        extra = {int(heights[int(part * (len(heights) - 1))]) for part in EXTRA_SLICES}
        return slices + [(AXIAL, index) for index in sorted(extra - {slices[0][1]})]

    def _anywhere(self, masks: list[sitk.Image]) -> NDArray[np.bool_]:
        """Where (depth, height, width) on the grid any of the masks is."""
        return np.logical_or.reduce([inside(mask, self.grid) for mask in masks])

    def _outlined_row(self, outlines_id: str, plane: Plane, index: int) -> str:
        tiles: list[str] = []
        for name in self.images:
            pixels = self._pixels(name, plane, index)
            height, width = pixels.shape
            # The first picture's outlines serve the others too.
            lines = f'<use href="#{outlines_id}"/>'
            if not tiles:
                lines = f'<g id="{outlines_id}">{self._outlines(plane, index)}</g>'
            svg = f'<svg viewBox="0 0 {width} {height}" aria-hidden="true">{lines}</svg>'
            text = f"{name}, {plane.name} slice with outlines"
            tiles.append(_tile(pixels, name, text, plane, svg))
        return self._row(plane, index, tiles)

    def _outlines(self, plane: Plane, index: int) -> str:
        # At least half, as wherever a mask comes to another grid.
        masks, tissue = (
            [cut(mask, self.grid, plane, index) >= 0.5 for mask in group]
            for group in (self.regions, self.tissue)
        )
        edge = outline_path(np.logical_or.reduce(tissue))
        paths = [f'<path class="tissue" d="{edge}"/>']
        for order, (region, mask) in enumerate(zip(self.scheme.regions, masks)):
            # A line upon a wider one leaves its rims visible.
            width = 1.1 + 0.7 * (len(self.regions) - 1 - order)
            paths.append(
                f'<path class="region" stroke="{css_color(region.color)}" '
                f'stroke-width="{width:.1f}" d="{outline_path(mask)}"/>'
            )
        return "".join(paths)

    def _pixels(self, modality: str, plane: Plane, index: int) -> NDArray[np.uint8]:
        values = cut(self.images[modality], self.grid, plane, index)
        return to_gray(values, self.windows[modality])

    def _row(self, plane: Plane, index: int, tiles: list[str]) -> str:
        columns = f"repeat({len(tiles)}, minmax(0, 310px))"
        style = f"grid-template-columns: {columns}"
        return (
            f'<p class="row">{plane.name.capitalize()}, {plane.place(self.grid, index)}</p>\n'
            f'<div class="tiles" style="{style}">\n{"".join(tiles)}</div>\n'
        )


def css_color(color: tuple[int, int, int]) -> str:
    """A color, 0 to 255, as style sheets write it."""
    return "#{:02x}{:02x}{:02x}".format(*color)


def _tile(pixels: NDArray[np.uint8], caption: str, text: str, plane: Plane, svg: str = "") -> str:
    height, width = pixels.shape
    data = base64.b64encode(png(pixels)).decode("ascii")
    sides = "".join(f'<span class="side" aria-hidden="true">{side}</span>' for side in plane.sides)
    return (
        f'<figure class="tile"><img src="data:image/png;base64,{data}" width="{width}" '
        f'height="{height}" alt="{escape(text)}">{svg}<figcaption>{escape(caption)}</figcaption>'
        f"{sides}</figure>\n"
    )
