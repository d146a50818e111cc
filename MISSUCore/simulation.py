"""A simulated case to try MISSU on without patient data: four sequences of a real anatomy.

Every seed gives another brain with another glioblastoma, whose true outline is known. The images
are plausible, not physical: each tissue is painted with the intensity it has in BraTS.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from .simulated_anatomy import Anatomy, Volume, bent_template, smooth_noise
from .simulated_lesion import ED, ET, NCR, grow_lesion


@dataclass(frozen=True)
class _Sequence:
    """How one sequence shows the brain, in standard deviations of the brain's intensities.

    Attributes:
        white, gray, fluid: healthy tissues, above the brain's mean.
        lesion: parts of the lesion by label value: mean above the brain's mean, and spread.
        detail: how strongly the template's T1 detail shows; negative: inverted.
        mottle: standard deviation of what varies inside the healthy tissues.
        level: the brain's mean above zero.
    """

    white: float
    gray: float
    fluid: float
    lesion: dict[int, tuple[float, float]]
    detail: float
    mottle: float
    level: float


# Chosen so that the medians of the simulated tissues, z-scored in the brain, come near those
# measured on BraTS training cases with at least 1 ml of NCR and 2 ml of ET.
_SEQUENCES = {
    "t1": _Sequence(
        white=0.9,
        gray=-0.25,
        fluid=-2.2,
        lesion={NCR: (-0.75, 0.3), ED: (-0.15, 0.2), ET: (-0.3, 0.3)},
        detail=5.0,
        mottle=0.08,
        level=4.1,
    ),
    "t1ce": _Sequence(
        white=0.3,
        gray=-0.25,
        fluid=-1.4,
        lesion={NCR: (-0.7, 0.2), ED: (-0.3, 0.15), ET: (1.1, 0.6)},
        detail=3.0,
        mottle=0.1,
        level=2.2,
    ),
    "t2": _Sequence(
        white=-0.6,
        gray=-0.1,
        fluid=2.8,
        lesion={NCR: (2.1, 0.6), ED: (1.15, 0.3), ET: (1.2, 0.4)},
        detail=-3.0,
        mottle=0.1,
        level=1.8,
    ),
    "flair": _Sequence(
        white=-0.3,
        gray=0.2,
        fluid=-1.8,
        lesion={NCR: (1.3, 0.6), ED: (1.2, 0.3), ET: (1.35, 0.4)},
        detail=-1.5,
        mottle=0.12,
        level=2.6,
    ),
}
_UNIT = 100.0  # Intensity of one standard deviation: MRI has no units of its own.
_NOISE = 0.2  # Standard deviation of the scanner's noise, in the same units.
_BIAS = 0.05  # Relative standard deviation of the coil's sensitivity in space.
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
        """Write NAME_t1.nii.gz to NAME_flair.nii.gz and NAME_seg.nii.gz, as BraTS names them."""
        folder.mkdir(parents=True, exist_ok=True)
        for kind, image in {**self.images, "seg": self.labels}.items():
            sitk.WriteImage(image, str(folder / f"{self.name}_{kind}.nii.gz"))


def simulate_case(seed: int = 0, lesion: bool = True, spacing_mm: float = 1.0) -> SimulatedCase:
    """The simulated case of this seed: same seed, same case.

    All five images have one grid: axes LPS as in BraTS, isotropic voxels of ``spacing_mm``.

    Raises:
        MISSUError: if nilearn is not installed.
    """
    rng = np.random.default_rng(seed)
    anatomy = bent_template(rng, spacing_mm)
    labels = grow_lesion(anatomy, rng) if lesion else np.zeros(anatomy.brain.shape, np.uint8)
    images = {
        name: anatomy.to_image(_scan(sequence, anatomy, labels, rng))
        for name, sequence in _SEQUENCES.items()
    }
    return SimulatedCase(f"simulated{seed}", images, anatomy.to_image(labels))


def _scan(
    sequence: _Sequence, anatomy: Anatomy, labels: NDArray[np.uint8], rng: np.random.Generator
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
        + sequence.mottle * noise(3.0)
    )
    if labels.any():
        uneven = 0.9 * noise(4.0) + 0.4 * noise(1.5)
        for value, inside, border_mm in _REGIONS:
            share = ndimage.gaussian_filter(
                np.isin(labels, inside).astype(np.float32), border_mm / spacing_mm
            )
            mean, spread = sequence.lesion[value]
            brain += share * (mean + spread * uneven - brain)
    brain = (brain + sequence.level) * np.exp(_BIAS * noise(40.0))
    # The magnitude of two noisy channels is Rician, and interpolation has smoothed it.
    real, imaginary = _NOISE * rng.standard_normal((2, *labels.shape), dtype=np.float32)
    magnitude = ndimage.gaussian_filter(np.hypot(brain + real, imaginary), 0.5)
    return np.where(anatomy.brain, np.maximum(_UNIT * magnitude, 1), 0).astype(np.float32)
