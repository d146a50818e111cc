"""Resampling of probabilities on the working grid to masks on the grid of the reference.

Most of a scan is far from any tumor. Only the block in which something is likely is resampled and
cleaned up, so that a scan of half a millimeter takes as little time as one of 1 mm.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from ..contract.labels import LabelScheme
from ..io.geometry import block_in, image_like
from ..preprocessing.working_grid import to_reference
from .confidence import LEAST_PROBABILITY
from .postprocessing import Cleanup, clean


@dataclass(frozen=True)
class LikelyBlock:
    """The block of a reference image outside of which no region is likely.

    Attributes:
        place: slices (D, H, W) of the block; a single voxel if nothing is likely anywhere.
        probabilities: (regions, D, H, W) in the block.
    """

    place: tuple[slice, ...]
    probabilities: NDArray[np.float32]

    def masks(
        self, scheme: LabelScheme, reference: sitk.Image, cleanup: Cleanup
    ) -> NDArray[np.bool_]:
        """Masks (regions, D, H, W) of the block after cleanup; outside of it all are empty."""
        return clean(self.probabilities >= 0.5, scheme, reference.GetSpacing()[::-1], cleanup)

    def on_whole(self, labels: NDArray[np.uint8], reference: sitk.Image) -> sitk.Image:
        """The block's label map (D, H, W), extended by 0 to the grid of the reference."""
        whole = np.zeros(reference.GetSize()[::-1], dtype=np.uint8)
        whole[self.place] = labels
        return image_like(whole, reference)


def likely_block(
    probabilities: NDArray[np.float32], grid: sitk.Image, reference: sitk.Image
) -> LikelyBlock:
    """Block of a reference that holds all probabilities of at least LEAST_PROBABILITY."""
    likely = np.argwhere((probabilities >= LEAST_PROBABILITY).any(axis=0))[:, ::-1]
    if not len(likely):
        return _nothing(len(probabilities))
    # Linear interpolation reaches one voxel farther.
    place = block_in(grid, likely.min(axis=0) - 1, likely.max(axis=0) + 1, reference)
    if any(span.start == span.stop for span in place):
        return _nothing(len(probabilities))
    return LikelyBlock(place, to_reference(probabilities, grid, reference[place[::-1]]))


def _nothing(regions: int) -> LikelyBlock:
    """A single voxel with probability 0, since an image cannot be empty."""
    return LikelyBlock((slice(0, 1),) * 3, np.zeros((regions, 1, 1, 1), dtype=np.float32))


class ProbabilityMaps(Mapping[str, sitk.Image]):
    """Probabilities (float32) on the grid of a reference by region name.

    Each is computed on access, since together they can take more memory than everything else.
    """

    def __init__(
        self,
        names: tuple[str, ...],
        probabilities: NDArray[np.float32],
        grid: sitk.Image,
        reference: sitk.Image,
    ) -> None:
        self._channels = dict(zip(names, probabilities))
        self._grid = grid
        self._reference = reference

    def __getitem__(self, name: str) -> sitk.Image:
        (channel,) = to_reference(self._channels[name][None], self._grid, self._reference)
        return image_like(channel, self._reference)

    def __iter__(self) -> Iterator[str]:
        return iter(self._channels)

    def __len__(self) -> int:
        return len(self._channels)
