"""Resampling of scans to the network's input, and of its output back to a scan's grid.

The network sees the brain on a *working grid*: along the patient's axes (LPS, as in BraTS) at a
fixed spacing, whatever the orientation and spacing of the scans. All resampling is done in
physical space.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from ..contract.labels import LabelScheme
from ..core.errors import InputError
from ..core.messages import a_modality
from ..io.geometry import image_like, physical_box
from ..io.resampling import interpolate, resample

# Public data sets have a few voxels far above the brain's range.
CLIPPED_PERCENTILES = (0.05, 99.95)
MAXIMUM_WORKING_VOXELS = 2**26


@dataclass(frozen=True)
class NetworkInput:
    """Input of the network for a case.

    Attributes:
        volume: (modalities, D, H, W) float32; each modality is z-scored over the brain, and exactly
            0 outside; a missing modality is all 0.
        grid: empty image with the geometry of the working grid.
    """

    volume: NDArray[np.float32]
    grid: sitk.Image


def prepare(
    images: Mapping[str, sitk.Image],
    modalities: Sequence[str],
    spacing_mm: tuple[float, float, float],
) -> NetworkInput:
    """Bring skull-stripped scans to the working grid and to comparable intensities.

    Nonzero voxels are brain. Intensities are clipped at the percentiles 0.05 and 99.95 of the
    brain, resampled, and z-scored over the brain (as in nnU-Net and in the paper).

    Args:
        images: 3-D float images by modality; grids may differ; modalities may be missing.
        modalities: the network's modalities, in its order.
        spacing_mm: working spacing (depth, height, width).

    Raises:
        InputError: if none of the modalities is given, or one has no contrast.
    """
    present = {name: images[name] for name in modalities if name in images}
    if not present:
        raise InputError(f"none of the modalities {', '.join(modalities)} is given")
    for name, image in present.items():
        if not sitk.GetArrayViewFromImage(image).any():
            raise InputError(a_modality(name), ": is empty, every voxel is 0")
    grid = working_grid(list(present.values()), spacing_mm)
    shape = grid.GetSize()[::-1]
    volume = np.zeros((len(modalities), *shape), dtype=np.float32)
    for channel, name in enumerate(modalities):
        if name in present:
            volume[channel] = _prepare_modality(name, present[name], grid)
    # Crop to the brain: the box around an oblique scan is larger, and the amount of background
    # must not depend on the tilt of the scan.
    depth, height, width = _block(np.logical_or.reduce(volume != 0))
    return NetworkInput(volume[:, depth, height, width], grid[width, height, depth])


def working_grid(
    images: Sequence[sitk.Image], spacing_mm: tuple[float, float, float]
) -> sitk.Image:
    """Empty image along the patient's axes that covers the nonzero voxels of any of the images.

    Its first voxel coincides with a corner voxel of the images' content, so that an image that has
    the working spacing and orientation already is cropped without interpolation.

    Raises:
        InputError: if the content is too large to be a head at this spacing.
    """
    boxes = [physical_box(image, *_content(image)) for image in images]
    low = np.min([box[0] for box in boxes], axis=0)
    high = np.max([box[1] for box in boxes], axis=0)
    spacing = np.array(spacing_mm[::-1])
    # The tolerance avoids an extra voxel due to rounding errors.
    size = np.ceil((high - low) / spacing - 1e-3) + 1
    if np.prod(size, dtype=float) > MAXIMUM_WORKING_VOXELS:
        extent = " x ".join(f"{length:.0f}" for length in high - low)
        raise InputError(f"the scans span {extent} mm, too large for a head; check their headers")
    grid = sitk.Image([int(length) for length in size], sitk.sitkUInt8)
    grid.SetOrigin(low.tolist())
    grid.SetSpacing(spacing.tolist())
    return grid


def prepare_labels(labels: sitk.Image, scheme: LabelScheme, grid: sitk.Image) -> NDArray[np.uint8]:
    """Class numbers (D, H, W) on the working grid, from a label map on any grid.

    A voxel belongs to a region if the region fills at least half of it.
    """
    masks = scheme.to_regions(sitk.GetArrayViewFromImage(labels)).astype(np.float32)
    resampled = np.stack([resample(image_like(mask, labels), grid) >= 0.5 for mask in masks])
    return scheme.to_classes(scheme.to_labels(resampled))


def to_reference(
    probabilities: NDArray[np.float32], grid: sitk.Image, reference: sitk.Image
) -> NDArray[np.float32]:
    """Probabilities (regions, D, H, W) resampled from the working grid to that of a reference.

    Interpolated linearly in physical space; 0 outside the working grid.
    """
    return np.stack([interpolate(image_like(map_, grid), reference) for map_ in probabilities])


def _prepare_modality(name: str, image: sitk.Image, grid: sitk.Image) -> NDArray[np.float32]:
    start, stop = _content(image)
    image = image[tuple(slice(first, end) for first, end in zip(start, stop))]
    voxels = sitk.GetArrayFromImage(image)
    brain = voxels != 0
    low, high = np.percentile(voxels[brain], CLIPPED_PERCENTILES).astype(np.float32)
    if low == high:
        raise InputError(
            a_modality(name), ": the brain has no contrast, every voxel has the same value"
        )
    clipped = np.where(brain, np.clip(voxels, low, high), np.float32(0))
    inside, values = resample_brain(clipped, brain, image, grid)
    deviation = values.std(dtype=np.float64) if values.size else 0.0
    if not deviation > 0:
        raise InputError(a_modality(name), ": the brain is too small to show any contrast")
    prepared = np.zeros(inside.shape, dtype=np.float32)
    prepared[inside] = (values - values.mean(dtype=np.float64)) / deviation
    return prepared


def resample_brain(
    voxels: NDArray[np.float32], brain: NDArray[np.bool_], image: sitk.Image, grid: sitk.Image
) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Brain mask and intensities resampled to a grid.

    Args:
        voxels: (D, H, W) on the grid of ``image``, 0 outside the brain.
        brain: (D, H, W), brain mask on that grid.
        image: image with the geometry of the input.
        grid: image with the geometry of the output.

    Returns:
        Mask (D, H, W) of voxels that are at least half brain, and the intensities in it (N,).
    """
    weight = resample(image_like(brain.astype(np.float32), image), grid)
    inside = weight >= 0.5
    # Dividing by the weight keeps the background from darkening the brain's edge.
    return inside, resample(image_like(voxels, image), grid)[inside] / weight[inside]


def _content(image: sitk.Image) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Start and stop indices (x, y, z) of the block that holds all nonzero voxels."""
    block = _block(sitk.GetArrayViewFromImage(image) != 0)
    return tuple(span.start for span in block[::-1]), tuple(span.stop for span in block[::-1])


def _block(mask: NDArray[np.bool_]) -> tuple[slice, ...]:
    """Slices (D, H, W) of the smallest block that holds all of a mask."""
    any_of = np.logical_or.reduce
    flat = any_of(mask)
    lines = (any_of(mask, axis=(1, 2)), any_of(flat, axis=1), any_of(flat, axis=0))
    found = [np.flatnonzero(line) for line in lines]
    return tuple(slice(int(there[0]), int(there[-1]) + 1) for there in found)
