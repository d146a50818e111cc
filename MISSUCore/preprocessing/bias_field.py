"""Evening out slow changes of brightness that come from the coil, not from the patient."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from ..core.errors import InputError
from ..core.events import Progress
from ..io.geometry import image_like

# The field is smooth: estimating it on voxels of about 4 mm takes seconds instead of minutes.
_COARSE_MM = 4.0
_ITERATIONS = (50, 50)  # twice as many control points at the second level; more would fit tumors
# N4 takes logarithms: what is darker than this part of the brain's mean tells it nothing.
_DARKEST = 0.01


def correct_bias_field(
    image: sitk.Image, mask: sitk.Image, progress: Progress | None = None
) -> sitk.Image:
    """The image divided by its bias field in the brain, its mean there kept (float32).

    N4 (Tustison et al., IEEE TMI 2010), which gives the same result every time. Voxels outside the
    mask stay as they are.

    Args:
        image: 3-D image.
        mask: the brain, not 0, on the same voxels.
        progress: hears of the iterations.

    Raises:
        InputError: if the brain's intensities are not above 0 for the most part, as after a
            z-score: there is no field to divide by.
    """
    progress = progress or Progress()
    voxels = sitk.GetArrayFromImage(image).astype(np.float32)
    brain = sitk.GetArrayViewFromImage(mask) != 0
    if not brain.any() or np.median(voxels[brain]) <= 0:
        raise InputError(
            "the bias field cannot be corrected: half of the brain or more has no intensity above "
            "0; give the scan as it was measured, not z-scored"
        )
    mean = voxels[brain].mean(dtype=np.float64)
    bright = np.maximum(voxels, np.float32(_DARKEST * mean)) * brain

    factors = [max(1, round(_COARSE_MM / spacing)) for spacing in image.GetSpacing()]
    part = sitk.BinShrink(image_like(brain.astype(np.float32), image), factors)
    inside = part >= 0.5
    # Dividing by the part keeps the background from darkening the brain's edge.
    coarse = sitk.BinShrink(image_like(bright, image), factors) / sitk.Maximum(part, 1e-3)

    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations(_ITERATIONS)
    done = 0

    def report() -> None:
        nonlocal done
        done += 1
        progress("bias", done / sum(_ITERATIONS))

    n4.AddCommand(sitk.sitkIterationEvent, report)
    n4.Execute(coarse, inside)
    field = np.exp(sitk.GetArrayFromImage(n4.GetLogBiasFieldAsImage(image)))
    corrected = voxels[brain] / field[brain]
    voxels[brain] = corrected * (mean / corrected.mean(dtype=np.float64))
    progress("bias", 1.0)
    return image_like(voxels, image)
