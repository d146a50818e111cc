"""Check that a segmentation can belong to the scan it is given with."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from ..core.errors import InputError
from ..core.messages import a_file
from ..preprocessing.background import shift_to_nonnegative
from ..preprocessing.registration.head import find_head

# 98 % and more are inside in 89 cases of BraTS and in 22 scans with skull (docs/evidence.md). Those
# of another patient may be, too: two brains on one grid are alike.
LEAST_INSIDE = 0.5


def part_inside(mask: NDArray[np.bool_], scan: sitk.Image) -> float:
    """Fraction of a mask (depth, height, width) inside the head, or brain, that a scan shows."""
    head = find_head("t1ce", shift_to_nonnegative(scan)).mask_on(scan)
    return float(np.mean(sitk.GetArrayViewFromImage(head)[mask] != 0))


def check_lies_inside(
    masks: NDArray[np.bool_], scan: sitk.Image, segmentation: object, source: object
) -> None:
    """Refuse a segmentation that lies in the air around the head.

    Args:
        masks: (regions, depth, height, width); empty masks pass.
        scan: on the same voxels.
        segmentation: where the masks come from, for the message.
        source: where the scan comes from.

    Raises:
        InputError: if more than half of it lies there.
    """
    whole: NDArray[np.bool_] = np.any(masks, axis=0)
    if not whole.any():
        return
    inside = part_inside(whole, scan)
    if inside < LEAST_INSIDE:
        raise InputError(
            a_file(segmentation),
            f": lies outside of the head by {100 * (1 - inside):.0f} % in ",
            a_file(source),
            "; it was not drawn on this scan, or one of both is mirrored or moved: give the scan "
            "that it was drawn on",
        )
