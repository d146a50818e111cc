"""Check whether two registered scans show the same patient."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from ..io.geometry import image_like
from ..preprocessing.edge_agreement import edge_agreement
from ..preprocessing.registration.head import find_head
from ..preprocessing.registration.rigid import Registration, moved

# By how much the edges inside fit better where they lie than aside: see docs/evidence.md.
SAME_INSIDE = 0.13
# Normalized mutual information, where too little of the inside is shared to tell.
SAME_OUTSIDE = 1.095
# Scalp and skull lie on each other in strangers, too; and where a tumor was cut out, the edges of
# the rest still tell.
_DEEP_MM = 8.0


@dataclass(frozen=True)
class Similarity:
    """Similarity of two registered scans.

    Attributes:
        outside: normalized mutual information.
        inside: :func:`.edge_agreement` deep inside both heads; None if it cannot be computed.
    """

    outside: float
    inside: float | None

    @property
    def one_patient(self) -> bool:
        """Whether they seem to show one patient."""
        return self.outside >= SAME_OUTSIDE if self.inside is None else self.inside >= SAME_INSIDE

    def __str__(self) -> str:
        if self.inside is None:
            return (
                f"normalized mutual information {self.outside:.3f}, {SAME_OUTSIDE:g} or more is "
                "usual"
            )
        return f"edges inside fit by {self.inside:.2f}, {SAME_INSIDE:g} or more is usual"


def similarity(moving: sitk.Image, fixed: sitk.Image, registration: Registration) -> Similarity:
    """Similarity of two registered scans.

    Args:
        moving: 3-D scan, float, with skull or without, nowhere below 0.
        fixed: the scan that it was registered to.
        registration: of the two.
    """
    lying = moved(moving, registration.transform)
    inside = edge_agreement(lying, fixed, *(_deep_inside(scan) for scan in (lying, fixed)))
    return Similarity(registration.quality, inside)


def _deep_inside(scan: sitk.Image) -> sitk.Image:
    """Mask of the head, or brain, without what lies close to its surface."""
    mask = find_head("the scan", scan).mask
    inside = np.pad(sitk.GetArrayViewFromImage(mask) != 0, 1)
    depth_mm = ndimage.distance_transform_edt(inside, sampling=mask.GetSpacing()[::-1])
    return image_like((depth_mm[1:-1, 1:-1, 1:-1] > _DEEP_MM).astype(np.uint8), mask)
