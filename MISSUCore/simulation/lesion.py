"""A simulated glioblastoma: necrosis inside an enhancing rim, edema along the white matter."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from .anatomy import Anatomy, Volume, smooth_noise

NCR, ED, ET = 1, 2, 4  # BraTS label values.
# Between the quartiles of BraTS training cases that have both parts.
CORE_ML = (15.0, 45.0)
EDEMA_ML = (40.0, 90.0)
FRONT_STOPS = 60.0  # mm in white matter: far beyond the largest edema.


def grow_lesion(anatomy: Anatomy, rng: np.random.Generator) -> NDArray[np.uint8]:
    """BraTS label map (depth, height, width) of a lesion in the white matter of a hemisphere."""
    spacing_mm = anatomy.grid.GetSpacing()[0]
    shape = anatomy.brain.shape
    tissue = anatomy.brain & (anatomy.fluid < 0.5)

    def noise(scale_mm: float) -> Volume:
        return smooth_noise(shape, scale_mm, spacing_mm, rng)

    center = _center(anatomy, rng)
    away_mm = np.sqrt(
        sum(((axis - c) * spacing_mm) ** 2 for axis, c in zip(np.indices(shape), center))
    )
    # A ball with lobes and notches.
    core_cost = away_mm + 3.0 * noise(8.0) + 1.2 * noise(3.0)
    core = _largest_part(_cheapest(core_cost, tissue, rng.uniform(*CORE_ML), spacing_mm))
    depth_mm = ndimage.distance_transform_edt(core, sampling=spacing_mm)
    rim_mm = np.maximum(4.5 + 1.8 * noise(5.0), 1.0)
    necrosis = core & (depth_mm > rim_mm)

    speed = (0.05 + anatomy.white**2) * np.exp(0.5 * noise(5.0))
    speed[~tissue] = 1e-3
    speed[core] = 1e3  # The edema starts everywhere at the border of the core at once.
    arrival = _arrival_times(anatomy, speed, center)
    edema = _cheapest(arrival, tissue & ~core, rng.uniform(*EDEMA_ML), spacing_mm)
    # Drawn by hand, an outline is smooth.
    whole = ndimage.gaussian_filter((edema | core).astype(np.float32), 1.0 / spacing_mm) > 0.5

    labels = np.zeros(shape, dtype=np.uint8)
    labels[_largest_part(whole & tissue)] = ED
    labels[core] = ET
    labels[necrosis] = NCR
    return labels


def _center(anatomy: Anatomy, rng: np.random.Generator) -> tuple[int, ...]:
    """Index of a random voxel deep in the white matter beside the ventricles."""
    spacing_mm = anatomy.grid.GetSpacing()[0]
    origin_mm = anatomy.grid.GetOrigin()
    around = ndimage.gaussian_filter(anatomy.white, 5.0 / spacing_mm)
    z_mm, _, x_mm = (
        start + spacing_mm * axis
        for start, axis in zip(origin_mm[::-1], np.indices(anatomy.brain.shape))
    )
    # MNI coordinates: x = 0 is the midline, z = 0 the anterior commissure.
    allowed = (np.abs(x_mm) > 28) & (np.abs(x_mm) < 48) & (z_mm > 0) & (z_mm < 40) & (around > 0.6)
    return tuple(int(i) for i in rng.choice(np.argwhere(allowed)))


def _arrival_times(anatomy: Anatomy, speed: Volume, start: tuple[int, ...]) -> Volume:
    """Time at which a front reaches each voxel from the start (index in array order).

    Very large where it does not come within ``FRONT_STOPS``.
    """
    times = sitk.FastMarching(
        anatomy.to_image(speed.astype(np.float32)),
        trialPoints=[[*start[::-1]]],
        stoppingValue=FRONT_STOPS,
    )
    return sitk.GetArrayFromImage(times)


def _cheapest(
    cost: Volume, allowed: NDArray[np.bool_], volume_ml: float, spacing_mm: float
) -> NDArray[np.bool_]:
    """The allowed voxels of lowest cost that together have this volume."""
    count = round(volume_ml * 1000 / spacing_mm**3)
    return allowed & (cost <= np.partition(cost[allowed], count)[count])


def _largest_part(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest connected part of a mask, its holes filled."""
    parts, _ = ndimage.label(mask)
    largest = parts == np.bincount(parts.ravel())[1:].argmax() + 1
    return ndimage.binary_fill_holes(largest)
