"""A simulated case to try MISSU on without patient data: four sequences of an anatomy.

Every seed gives another brain with another glioblastoma, whose true outline is known. The images
are plausible, not physical: each tissue is painted with the intensity it has in BraTS.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from ..io.writing import write_image
from .anatomy import Anatomy, Volume, bent_template, smooth_noise
from .contrast import BRATS_CONTRAST, Contrast, SequenceContrast
from .lesion import ED, ET, NCR, grow_lesion

_UNIT = 100.0  # Intensity of one standard deviation: MRI has no units of its own.
# The regions of the lesion, outermost first: innermost label, labels, how gradually it ends in mm.
_REGIONS = ((ED, (NCR, ED, ET), 1.5), (ET, (NCR, ET), 0.7), (NCR, (NCR,), 0.7))


@dataclass(frozen=True)
class SimulatedCase:
    """A skull-stripped case whose lesion is known.

    Attributes:
        name: what its files are called.
        images: t1, t1ce, t2 and flair; float32, exactly 0 outside the brain.
        labels: BraTS label map (uint8; 1 NCR, 2 ED, 4 ET); all zero without a lesion.
    """

    name: str
    images: dict[str, sitk.Image]
    labels: sitk.Image

    def write(self, folder: Path) -> None:
        """Write NAME_t1.nii.gz to NAME_flair.nii.gz and NAME_seg.nii.gz, as BraTS names them.

        Raises:
            InputError: if the folder cannot be written.
            ResourceError: if the disk is full.
        """
        with ExitStack() as stack:  # all of them appear, or none
            for kind, image in {**self.images, "seg": self.labels}.items():
                write_image(stack, image, folder / f"{self.name}_{kind}.nii.gz")


def simulate_case(
    seed: int = 0,
    lesion: bool = True,
    spacing_mm: float = 1.0,
    contrast: Contrast = BRATS_CONTRAST,
    anatomy: Callable[[np.random.Generator, float], Anatomy] = bent_template,
) -> SimulatedCase:
    """The simulated case of this seed: same seed, contrast and anatomy, same case.

    All five images have one grid: axes LPS as in BraTS, isotropic voxels of ``spacing_mm``.

    Args:
        seed: another number is another patient.
        lesion: whether there is a tumor.
        spacing_mm: edge of a voxel.
        contrast: how the sequences show the tissues.
        anatomy: :func:`.bent_template` or :func:`.drawn_brain`.

    Raises:
        MISSUError: if nilearn, which has the template, is not installed.
    """
    rng = np.random.default_rng(seed)
    brain = anatomy(rng, spacing_mm)
    labels = grow_lesion(brain, rng) if lesion else np.zeros(brain.brain.shape, np.uint8)
    images = {
        name: brain.to_image(_scan(sequence, contrast, brain, labels, rng))
        for name, sequence in contrast.sequences.items()
    }
    return SimulatedCase(f"simulated{seed}", images, brain.to_image(labels))


def _scan(
    sequence: SequenceContrast,
    contrast: Contrast,
    anatomy: Anatomy,
    labels: NDArray[np.uint8],
    rng: np.random.Generator,
) -> Volume:
    """Intensities (depth, height, width) of one sequence."""
    spacing_mm = anatomy.grid.GetSpacing()[0]

    def noise(scale_mm: float) -> Volume:
        return smooth_noise(labels.shape, scale_mm, spacing_mm, rng)

    brain = (
        sequence.white * anatomy.white
        + sequence.gray * anatomy.gray
        + sequence.fluid * anatomy.fluid
        + sequence.detail * anatomy.detail
        + sequence.texture * noise(3.0)
    )
    if labels.any():
        uneven = 0.9 * noise(4.0) + 0.4 * noise(1.5)
        for value, inside, border_mm in _REGIONS:
            weight = ndimage.gaussian_filter(
                np.isin(labels, inside).astype(np.float32), border_mm / spacing_mm
            )
            mean, spread = sequence.lesion[value]
            brain += weight * (mean + spread * uneven - brain)
    brain = (brain + sequence.level) * np.exp(contrast.bias * noise(40.0))
    # The magnitude of two noisy channels is Rician, and interpolation has smoothed it.
    real, imaginary = contrast.noise * rng.standard_normal((2, *labels.shape), dtype=np.float32)
    magnitude = ndimage.gaussian_filter(np.hypot(brain + real, imaginary), 0.5)
    return np.where(anatomy.brain, np.maximum(_UNIT * magnitude, 1), 0).astype(np.float32)
