"""A picture of a segmented case: every scan in three planes, with the outlines of the regions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from ..contract.labels import BRATS, LabelScheme
from ..core.errors import MISSUError
from ..core.files import atomic_write
from .planes import PLANES, UPRIGHT, gray_window, largest_slice, on_grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LINES: tuple[Any, ...] = ("solid", (0, (1.5, 1.5)))  # Segmentation, reference (short dashes).
_MM_PER_INCH = 60.0
_PIXELS_PER_INCH = 150


def write_contour_picture(
    path: Path,
    images: Mapping[str, sitk.Image],
    segmentation: sitk.Image,
    reference: sitk.Image | None = None,
    scheme: LabelScheme = BRATS,
    title: str = "",
) -> None:
    """Write a picture of a case with the outlines of its regions, in the format of the ending.

    A row for each plane (axial, coronal, sagittal), a column for each scan. Each plane lies where
    the segmentation is largest; if that is empty, the reference; without both, the head.
    Radiological convention: the patient's left is on the right.

    Args:
        path: file to write; what is there is replaced only by a complete picture.
        images: scans by the name to show; the first gives the grid that the rest is resampled to.
        segmentation: label map, drawn with solid lines.
        reference: label map, drawn with dashed lines.
        scheme: what the label values mean, and the colors of the regions.
        title: shown above the picture.

    Raises:
        MISSUError: if matplotlib is not installed.
        InputError: if the file cannot be written.
        ResourceError: if the disk is full.
    """
    _require_matplotlib()
    grid = _upright_grid(next(iter(images.values())))
    scans = {name: on_grid(image, grid, sitk.sitkLinear) for name, image in images.items()}
    label_maps = [segmentation] if reference is None else [segmentation, reference]
    masks = [
        scheme.to_regions(on_grid(label_map, grid, sitk.sitkNearestNeighbor))
        for label_map in label_maps
    ]
    lesions = [np.logical_or.reduce(mask) for mask in masks]
    head = np.logical_or.reduce([scan != 0 for scan in scans.values()])
    shown = next((lesion for lesion in lesions if lesion.any()), head)

    spacing_mm = np.array(grid.GetSpacing()[::-1])
    figure, panels = _panels(spacing_mm * head.shape, list(scans), title)
    for row, plane in zip(panels, PLANES):
        axis = plane.axis
        index = largest_slice(shown, plane)
        pixel_mm = np.delete(spacing_mm, axis)
        for panel, scan in zip(row, scans.values()):
            window = gray_window(scan[scan != 0])
            _draw_scan(panel, np.take(scan, index, axis), window, pixel_mm[0] / pixel_mm[1])
            for mask, line in zip(masks, _LINES):
                _draw_outlines(panel, np.take(mask, index, axis + 1), scheme, line)
            for side, x in zip(plane.sides, (0.05, 0.95)):
                panel.text(x, 0.9, side, transform=panel.transAxes, color="white", ha="center")
    _add_legend(figure, scheme, len(masks), columns=2 * len(scans))
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=_PIXELS_PER_INCH)


def _require_matplotlib() -> None:
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise MISSUError(
            'a picture needs matplotlib: install with pip install "MISSUCore[plots]"'
        ) from error


def _panels(size_mm: NDArray[Any], names: list[str], title: str) -> tuple[Figure, NDArray[Any]]:
    """A black figure of panels (planes, scans).

    Args:
        size_mm: of the scans (depth, height, width).
        names: of the scans, shown above the columns.
        title: shown above the picture.
    """
    from matplotlib.figure import Figure

    depth_mm, height_mm, width_mm = size_mm
    rows_mm = [height_mm, depth_mm, depth_mm]
    width_of_all_mm = len(names) * max(width_mm, height_mm)
    figure = Figure(
        figsize=(width_of_all_mm / _MM_PER_INCH, sum(rows_mm) / _MM_PER_INCH + 1),
        facecolor="black",
        layout="constrained",
    )
    figure.suptitle(title, color="white")
    panels = figure.subplots(3, len(names), squeeze=False, height_ratios=rows_mm)
    for panel, name in zip(panels[0], names):
        panel.set_title(name, color="white")
    return figure, panels


def _upright_grid(image: sitk.Image) -> sitk.Image:
    """The image cropped to what is not 0, its slices upright."""
    upright = sitk.DICOMOrient(image, UPRIGHT)
    shape = sitk.LabelShapeStatisticsImageFilter()
    shape.Execute(upright != 0)
    if not shape.HasLabel(1):
        return upright
    box = shape.GetBoundingBox(1)
    return sitk.RegionOfInterest(upright, box[3:], box[:3])


def _draw_scan(
    panel: Axes, pixels: NDArray[Any], window: tuple[float, float], aspect: float
) -> None:
    panel.imshow(pixels, cmap="gray", vmin=window[0], vmax=window[1], aspect=aspect)
    panel.axis("off")


def _draw_outlines(panel: Axes, masks: NDArray[np.bool_], scheme: LabelScheme, line: Any) -> None:
    """Draw the borders of the regions (regions, rows, columns) in one plane."""
    widths = 0.7 + 0.7 * np.arange(len(masks))[::-1]  # An inner line leaves an outer one visible.
    for mask, region, width in zip(masks, scheme.regions, widths):
        if mask.any():
            # One pixel around, so that an outline closes at the picture's edge.
            rows, columns = (np.arange(-1, size + 1) for size in mask.shape)
            panel.contour(
                columns,
                rows,
                np.pad(mask, 1),
                levels=[0.5],
                colors=[_rgb(region.color)],
                linewidths=width,
                linestyles=[line],
            )


def _add_legend(figure: Figure, scheme: LabelScheme, label_maps: int, columns: int) -> None:
    """Name the regions' colors, and the line styles of one or two label maps."""
    from matplotlib.lines import Line2D

    entries = [
        Line2D([], [], color=_rgb(region.color), label=region.title) for region in scheme.regions
    ]
    for line, name in zip(_LINES, ("segmentation", "reference")[:label_maps]):
        entries.append(Line2D([], [], color="white", linestyle=line, label=name))
    figure.legend(
        handles=entries,
        loc="outside lower center",
        ncols=columns,
        fontsize="small",
        labelcolor="white",
        frameon=False,
    )


def _rgb(color: tuple[int, int, int]) -> tuple[float, float, float]:
    """The color in matplotlib's 0 to 1."""
    red, green, blue = color
    return red / 255, green / 255, blue / 255
