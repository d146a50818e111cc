"""The anatomy of a simulated case, a little different for every seed: a template, or drawn.

The template is MNI ICBM152 2009a symmetric (Fonov et al. 2011) with its maps of gray and white
matter. The nilearn package carries them inside its wheel, so that nothing is downloaded. The drawn
one is made of ellipsoids and needs no package that Slicer has not: it is the module's sample case.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import fft, ndimage

from ..core.errors import MISSUError
from ..io.geometry import image_like

Volume = NDArray[np.float32]
MARGIN_MM = 5.0
BEND_MM = 5.0  # Standard deviation at the control points; the brain itself moves about half.
# Of the drawn brain, (superior, posterior, left) like the axes of its arrays.
BRAIN_RADII_MM = (64.0, 84.0, 68.0)
VENTRICLE_RADII_MM = (10.0, 26.0, 5.0)
VENTRICLE_CENTERS_MM = ((4.0, 0.0, -9.0), (4.0, 0.0, 9.0))
CORTEX_BEGINS = 0.86  # of the radius


@dataclass(frozen=True)
class Anatomy:
    """A healthy brain; all arrays are (depth, height, width).

    Attributes:
        white, gray, fluid: fraction of each tissue in each voxel; they sum to 1 in the brain.
        detail: what the T1 template shows beyond these tissues, in its intensities of 0 to 1.
        brain: the brain mask.
        grid: image with the origin, spacing and direction of the arrays (axes LPS).
    """

    white: Volume
    gray: Volume
    fluid: Volume
    detail: Volume
    brain: NDArray[np.bool_]
    grid: sitk.Image

    def to_image(self, array: NDArray[Any]) -> sitk.Image:
        """The array as an image on the grid."""
        return image_like(array, self.grid)


def bent_template(rng: np.random.Generator, spacing_mm: float) -> Anatomy:
    """The template bent smoothly at random, cropped to the brain and resampled.

    Raises:
        MISSUError: if nilearn is not installed.
    """
    try:
        from nilearn import datasets
    except ImportError as error:
        raise MISSUError(
            'a simulated case needs nilearn: install with pip install "MISSUCore[demo]"'
        ) from error
    loaders = (
        datasets.load_mni152_template,
        datasets.load_mni152_gm_template,
        datasets.load_mni152_wm_template,
    )
    maps = [from_nifti(load(resolution=1)) for load in loaders]
    bend = sitk.BSplineTransformInitializer(maps[0], (6, 6, 6))
    bend.SetParameters(rng.normal(0, BEND_MM, len(bend.GetParameters())).tolist())
    grid = _grid_around(maps[0] > 0, spacing_mm)
    bent = sitk.Resample(sitk.Compose(maps), grid, bend, sitk.sitkLinear)
    t1, gray, white = np.moveaxis(sitk.GetArrayViewFromImage(bent), -1, 0)
    brain = t1 > 0.2  # nilearn's own threshold of the brain mask.
    fluid = np.clip(1 - gray - white, 0, 1)
    # Subtracted are the template's intensities where one tissue fills the voxel.
    detail = t1 - (0.87 * white + 0.65 * gray + 0.28 * fluid)
    # An average of 152 brains is blurred: squares sharpen the borders, and the factor gives back
    # the fluid of the sulci, which lie nowhere twice in the same place.
    fractions = np.stack([white, gray, 2 * fluid]) ** 2
    fractions *= brain / np.maximum(fractions.sum(axis=0), 1e-6)
    white, gray, fluid = fractions
    return Anatomy(white, gray, fluid, detail * brain, brain, grid)


def drawn_brain(rng: np.random.Generator, spacing_mm: float) -> Anatomy:
    """A brain of ellipsoids with white matter, cortex, sulci and ventricles, around the origin."""
    radii_mm = np.array(BRAIN_RADII_MM) * rng.normal(1, 0.02, 3)
    shape = tuple(int(n) for n in np.ceil(2 * (radii_mm + MARGIN_MM) / spacing_mm))
    places_mm = spacing_mm * (np.indices(shape).T - (np.array(shape) - 1) / 2).T

    def distance(center_mm: Any, radii_mm: Any) -> Volume:
        """From a center, in units of the radii."""
        parts = zip(places_mm, center_mm, radii_mm)
        return np.sqrt(sum(((place - center) / radius) ** 2 for place, center, radius in parts))

    from_center = distance((0.0, 0.0, 0.0), radii_mm)
    brain = from_center + 0.01 * smooth_noise(shape, 6.0, spacing_mm, rng) < 1
    cortex = from_center + 0.06 * smooth_noise(shape, 4.0, spacing_mm, rng) > CORTEX_BEGINS
    sulci = cortex & (smooth_noise(shape, 2.0, spacing_mm, rng) > 0.9)
    ventricles = [distance(center, VENTRICLE_RADII_MM) < 1 for center in VENTRICLE_CENTERS_MM]
    filled = np.logical_or.reduce([sulci, *ventricles])
    tissues = (~cortex & ~filled, cortex & ~filled, filled)
    fractions = np.stack(
        [ndimage.gaussian_filter((brain & tissue).astype(np.float32), 0.5) for tissue in tissues]
    )
    white, gray, fluid = fractions * (brain / np.maximum(fractions.sum(axis=0), 1e-6))
    grid = sitk.Image([*shape[::-1]], sitk.sitkUInt8)
    grid.SetSpacing([spacing_mm] * 3)
    grid.SetOrigin(places_mm[:, 0, 0, 0][::-1].tolist())
    return Anatomy(white, gray, fluid, np.zeros_like(white), brain, grid)


def from_nifti(nifti: Any) -> sitk.Image:
    """A nibabel image as SimpleITK would have read it, with axes in the order LPS; float32.

    NIfTI's world is RAS, ITK's is LPS: the first two coordinates change their sign.
    """
    array = np.asarray(nifti.dataobj, dtype=np.float32)
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ nifti.affine
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    image = sitk.GetImageFromArray(array.transpose(2, 1, 0))
    image.SetSpacing(spacing.tolist())
    image.SetDirection((affine[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    return sitk.DICOMOrient(image, "LPS")


def smooth_noise(
    shape: tuple[int, ...], scale_mm: float, spacing_mm: float, rng: np.random.Generator
) -> Volume:
    """Random field of mean 0 and standard deviation 1, smoothed by a Gaussian of ``scale_mm``."""
    white_noise = rng.standard_normal(shape, dtype=np.float32)
    spectrum = ndimage.fourier_gaussian(fft.rfftn(white_noise), scale_mm / spacing_mm, n=shape[-1])
    field = fft.irfftn(spectrum, shape).astype(np.float32)
    field -= field.mean()
    return field / field.std()


def _grid_around(mask: sitk.Image, spacing_mm: float) -> sitk.Image:
    """Empty image on isotropic voxels around a mask."""
    shape = sitk.LabelShapeStatisticsImageFilter()
    shape.Execute(mask)
    index, size = np.split(np.array(shape.GetBoundingBox(1), dtype=float), 2)
    spacing = np.array(mask.GetSpacing())
    grid = sitk.Image(
        np.ceil((size * spacing + 2 * MARGIN_MM) / spacing_mm).astype(int).tolist(), sitk.sitkUInt8
    )
    corner = mask.TransformContinuousIndexToPhysicalPoint(index.tolist())
    grid.SetOrigin((np.array(corner) - MARGIN_MM).tolist())
    grid.SetSpacing([spacing_mm] * 3)
    return grid
