"""The contrast of a simulated case: what intensity each sequence gives each tissue.

The contrast of BraTS is the one that models are trained for; others stand for other scanners, and
for tumors of another kind.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .lesion import ED, ET, NCR


@dataclass(frozen=True)
class SequenceContrast:
    """How one sequence shows the brain, in standard deviations of the brain's intensities.

    Attributes:
        white, gray, fluid: healthy tissues, above the brain's mean.
        lesion: parts of the lesion by label value: mean above the brain's mean, and spread.
        detail: how strongly the template's T1 detail shows; negative: inverted.
        texture: standard deviation of what varies inside the healthy tissues.
        level: the brain's mean above zero.
    """

    white: float
    gray: float
    fluid: float
    lesion: dict[int, tuple[float, float]]
    detail: float
    texture: float
    level: float


@dataclass(frozen=True)
class Contrast:
    """How all sequences show a case.

    Attributes:
        sequences: by modality.
        noise: standard deviation of the scanner's noise, in those of the brain's intensities.
        bias: relative standard deviation of the coil's sensitivity in space.
    """

    sequences: dict[str, SequenceContrast]
    noise: float = 0.2
    bias: float = 0.05


# Chosen so that the medians of the simulated tissues, z-scored in the brain, come near those
# measured on BraTS training cases with at least 1 ml of NCR and 2 ml of ET.
BRATS_CONTRAST = Contrast(
    sequences={
        "t1": SequenceContrast(
            white=0.9,
            gray=-0.25,
            fluid=-2.2,
            lesion={NCR: (-0.75, 0.3), ED: (-0.15, 0.2), ET: (-0.3, 0.3)},
            detail=5.0,
            texture=0.08,
            level=4.1,
        ),
        "t1ce": SequenceContrast(
            white=0.3,
            gray=-0.25,
            fluid=-1.4,
            lesion={NCR: (-0.7, 0.2), ED: (-0.3, 0.15), ET: (1.1, 0.6)},
            detail=3.0,
            texture=0.1,
            level=2.2,
        ),
        "t2": SequenceContrast(
            white=-0.6,
            gray=-0.1,
            fluid=2.8,
            lesion={NCR: (2.1, 0.6), ED: (1.15, 0.3), ET: (1.2, 0.4)},
            detail=-3.0,
            texture=0.1,
            level=1.8,
        ),
        "flair": SequenceContrast(
            white=-0.3,
            gray=0.2,
            fluid=-1.8,
            lesion={NCR: (1.3, 0.6), ED: (1.2, 0.3), ET: (1.35, 0.4)},
            detail=-1.5,
            texture=0.12,
            level=2.6,
        ),
    }
)


def random_contrast(rng: np.random.Generator) -> Contrast:
    """The contrast of BraTS with everything changed at random, sharply where it is the lesion's."""
    return Contrast(
        sequences={
            name: replace(
                sequence,
                white=sequence.white + rng.normal(0, 0.25),
                gray=sequence.gray + rng.normal(0, 0.25),
                fluid=sequence.fluid + rng.normal(0, 0.3),
                lesion={
                    value: (mean + rng.normal(0, 0.5), spread * rng.uniform(0.6, 1.5))
                    for value, (mean, spread) in sequence.lesion.items()
                },
                texture=sequence.texture * rng.uniform(0.7, 2),
            )
            for name, sequence in BRATS_CONTRAST.sequences.items()
        },
        noise=rng.uniform(0.1, 0.4),
        bias=rng.uniform(0.03, 0.12),
    )
