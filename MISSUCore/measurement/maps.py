"""Statistics of further maps, such as ADC or CBV, in the regions of a segmentation.

The map is never interpolated. Diffusion and perfusion maps are coarser than the scans on which a
tumor is outlined, and interpolation would invent values between their voxels, smooth the extremes
away and count each measured value many times. So the regions are resampled to the map instead: a
voxel of the map is used where a region fills at least half of it, and minimum, percentiles and
maximum are of values that were measured.

A map's header is trusted to place it in the space of the reference scan. The map is not registered:
with its low contrast and different distortions, only a reader can tell whether registration
improves it. If it is needed, register the images that the map was computed from (b = 0, or the
perfusion series), and apply the same transform to the map.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from ..contract.segmentation_report import MapStatistics, RegionStatistics
from ..core.errors import InputError
from ..core.messages import Text, a_file
from ..io.dicom import ScanSource
from ..io.geometry import block_in, image_like, overlap, voxel_ml
from ..io.reading import checksum
from ..io.resampling import on_grid
from .map_files import FurtherMap, read_maps

LEAST_COVERED = 0.95
MOST_ZEROS = 0.05  # fraction of a region's voxels above which a warning asks what 0 means
PERCENTILES = (5, 10, 25, 75, 90, 95)
_MOST_POINTS = 10  # sampling points along an axis of a voxel

Masks = NDArray[np.bool_]


@dataclass(frozen=True)
class MeasuredMaps:
    """Statistics of maps in the regions of a case.

    Attributes:
        maps: as they were read.
        statistics: by the name of the map.
        warnings: doubts about the statistics, one sentence each.
    """

    maps: Sequence[FurtherMap]
    statistics: Mapping[str, MapStatistics]
    warnings: Sequence[Text]


def measure_maps(
    paths: Mapping[str, ScanSource],
    masks: Masks,
    image: sitk.Image,
    regions: Sequence[str],
    scans: Iterable[ScanSource] = (),
) -> MeasuredMaps:
    """Read further maps and measure them in regions.

    Args:
        paths: image files, or DICOM folders or series, by the name of the map.
        masks: (regions, depth, height, width).
        image: with the geometry of the masks.
        regions: names of the masks.
        scans: on which the masks were drawn; a map of another patient is refused, as far as DICOM
            or BIDS tells.

    Raises:
        InputError: if a map cannot be used, is another patient's, or lies apart from the regions.
    """
    return measure_read_maps(read_maps(paths, scans), masks, image, regions)


def measure_read_maps(
    maps: Sequence[FurtherMap], masks: Masks, image: sitk.Image, regions: Sequence[str]
) -> MeasuredMaps:
    """:func:`measure_maps` for maps that have already been read."""
    statistics, warnings = {}, []
    for one in maps:
        check_overlap(one, image)
        found = statistics_by_region(one.image, masks, image, regions)
        statistics[one.name] = MapStatistics(
            str(one.source), checksum(one.source), one.image.GetSpacing(), found
        )
        warnings += [*map(Text, one.warnings), *_doubts(one, found)]
    return MeasuredMaps(maps, statistics, warnings)


def check_overlap(one: FurtherMap, image: sitk.Image) -> None:
    """Refuse a map that shares no space with an image.

    Raises:
        InputError: naming the map.
    """
    if not overlap(one.image, image):
        raise InputError(
            a_file(one.source),
            f": the map {one.name} lies apart in space from the segmentation; it is not of this "
            "examination, was moved with another scan, or its header is wrong",
        )


def statistics_by_region(
    map_image: sitk.Image, masks: Masks, image: sitk.Image, regions: Sequence[str]
) -> dict[str, RegionStatistics]:
    """Statistics of a map in each region that is not empty.

    Args:
        map_image: float, NaN where it has no number; on any grid.
        masks: (regions, depth, height, width).
        image: with the geometry of the masks.
        regions: names of the masks.
    """
    anywhere = np.argwhere(masks.any(axis=0))[:, ::-1]
    if not len(anywhere):
        return {}
    low, high = anywhere.min(axis=0), anywhere.max(axis=0)
    x, y, z = (slice(int(first), int(last) + 1) for first, last in zip(low, high))
    labels, inside = image[x, y, z], masks[:, z, y, x]
    place = block_in(image, low - 0.5, high + 0.5, map_image)
    seen = map_image[place[::-1]] if all(side.start < side.stop for side in place) else None
    covered = _covered(seen, labels)
    return {
        name: _statistics(seen, mask, labels, float(covered[mask].mean()))
        for name, mask in zip(regions, inside)
        if mask.any()
    }


def _covered(seen: sitk.Image | None, labels: sitk.Image) -> NDArray[np.bool_]:
    """Mask (depth, height, width) of a segmentation's voxels where a map has a value."""
    if seen is None:
        return np.zeros(labels.GetSize()[::-1], dtype=np.bool_)
    known = np.isfinite(sitk.GetArrayViewFromImage(seen)).astype(np.uint8)
    there: Masks = on_grid(image_like(known, seen), labels, sitk.sitkNearestNeighbor) != 0
    return there


def _statistics(
    seen: sitk.Image | None, mask: Masks, labels: sitk.Image, covered: float
) -> RegionStatistics:
    """Statistics of one region, from the block of the map around all regions."""
    if seen is None:
        return RegionStatistics()
    voxels = sitk.GetArrayViewFromImage(seen)
    used = (_filled(mask, labels, seen) >= 0.5) & np.isfinite(voxels)
    values = voxels[used].astype(np.float64)
    if not values.size:
        return RegionStatistics(covered)
    return RegionStatistics(
        covered,
        int(values.size),
        values.size * voxel_ml(seen.GetSpacing()),
        int(np.count_nonzero(values == 0)),
        mean=float(values.mean()),
        standard_deviation=float(values.std()),
        minimum=float(values.min()),
        median=float(np.median(values)),
        maximum=float(values.max()),
        **{f"percentile_{part}": float(np.percentile(values, part)) for part in PERCENTILES},
    )


def _filled(mask: Masks, labels: sitk.Image, seen: sitk.Image) -> NDArray[np.float64]:
    """Fraction of each voxel (depth, height, width) of a map that a mask fills.

    It is sampled at points in the voxel, no farther apart than half a voxel of the mask.
    """
    finest = min(labels.GetSpacing())
    points = [
        min(max(math.ceil(2 * step / finest - 1e-3), 1), _MOST_POINTS) for step in seen.GetSpacing()
    ]
    size, spacing = seen.GetSize(), seen.GetSpacing()
    grid = sitk.Image([count * length for count, length in zip(points, size)], sitk.sitkUInt8)
    grid.SetSpacing([step / count for count, step in zip(points, spacing)])
    grid.SetDirection(seen.GetDirection())
    first = [0.5 / count - 0.5 for count in points]
    grid.SetOrigin(seen.TransformContinuousIndexToPhysicalPoint(first))
    there = on_grid(image_like(mask.astype(np.uint8), labels), grid, sitk.sitkNearestNeighbor)
    (x, y, z), (width, height, depth) = points, size
    part: NDArray[np.float64] = there.reshape(depth, z, height, y, width, x).mean(axis=(1, 3, 5))
    return part


def _doubts(one: FurtherMap, found: Mapping[str, RegionStatistics]) -> list[Text]:
    """Warnings about the statistics of a map, one sentence each."""
    covered = [
        f"{told.covered:.0%} of {region}"
        for region, told in found.items()
        if told.covered < LEAST_COVERED
    ]
    thin = [region for region, told in found.items() if not told.voxels and told.covered > 0]
    zeros = [
        f"{told.zeros / told.voxels:.0%} of its voxels in {region}"
        for region, told in found.items()
        if told.zeros > MOST_ZEROS * told.voxels
    ]
    doubts = []
    if covered:
        doubts.append(f"covers only {', '.join(covered)}; its figures are of what it covers")
    if thin:
        doubts.append(
            f"has no voxel that is filled at least by half by {', '.join(thin)}, and so no figures"
        )
    if zeros:
        doubts.append(
            f"is exactly 0 in {', '.join(zeros)}, which are counted; where 0 stands for no data, "
            "set it to NaN"
        )
    return [Text(a_file(one.source), f": the map {one.name} {doubt}") for doubt in doubts]
