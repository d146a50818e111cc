"""Brain extraction: detecting the skull, finding the brain, and setting the rest to 0.

The network is trained on brains with 0 around them. The brain is found by deepbet (Fisch et al.,
Computers in Biology and Medicine 2024), an optional package: its networks are trained on
T1-weighted heads of healthy adults, and find the brain in T2 and FLAIR scans nearly as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from ..core.errors import ErrorCode, InputError
from ..core.events import Progress, Stage
from ..core.messages import a_modality, an_option
from ..io.geometry import image_like, same_grid, voxel_ml
from ..io.resampling import on_grid
from .background import FAINT, background, content_mask, contrast_to_background
from .working_grid import working_grid

# A brain with the fluid around it has 1000 to 2000 ml; volumes beyond these are something else.
PLAUSIBLE_BRAIN_ML = (700, 2200)
# Votes by modality, otherwise 1: deepbet is trained on T1-weighted scans.
_VOTES = {"t1": 2, "t1ce": 2}
# Wide enough for cracks left by the vote, but too narrow for the fissures of the brain.
_CLOSING_MM = 3
# Voxels of about 2 mm suffice to distinguish a head from a brain.
_COARSE_MM = 2.0
# A brain ends within the scan; a head is cut at the neck, which has about 200 square centimeters.
_CUT_CM2 = 40.0
# Scalp is 3 to 9 mm deep, skull 6 to 18 mm. The rim of a brain is hardly brighter than its inside.
_SHELL_MM, _SCALP, _SKULL = 3.0, slice(1, 3), slice(2, 6)
_BRIGHT_SCALP = 1.4


class BrainExtractionMissing(InputError):  # noqa: N818
    """The package that finds the brain in a head is missing. The message names the choices."""

    exit_code = 4
    code = ErrorCode.BRAIN_EXTRACTION_MISSING

    def __init__(self) -> None:
        super().__init__(
            "the scans show the skull, and the package that takes it away is not installed: "
            "install it with pip install deepbet; or strip the scans with another tool, as HD-BET, "
            "and give its mask with ",
            an_option("--brain-mask FILE"),
            "; or, if they are stripped already, say ",
            an_option("--brain-extraction never"),
        )


@dataclass(frozen=True)
class Brain:
    """The brain in one scan.

    Attributes:
        mask: 1 in the brain, 0 outside (8-bit), on the scan's grid.
        stripped: whether the scan had no skull.
    """

    mask: sitk.Image
    stripped: bool


@dataclass(frozen=True)
class AgreedBrain:
    """The brain that several scans of one patient agree on.

    Attributes:
        mask: 1 in the brain, 0 outside (8-bit), on a 1 mm grid along the patient's axes.
        dice: Dice of each scan's own mask with it, in that scan's field of view, by modality.
        left_out: reasons why scans had no vote, by modality.
    """

    mask: sitk.Image
    dice: dict[str, float]
    left_out: dict[str, str]


def find_brains(
    images: Mapping[str, sitk.Image], fixed: str | None = None, progress: Progress | None = None
) -> dict[str, Brain]:
    """Find the brain in each scan: what differs from the background, or in heads by deepbet.

    If the fixed scan is a T1-weighted head and its whole brain is found, other heads get no brain
    of their own, since they will be registered to that scan. Without deepbet, heads are skipped if
    at least one of the scans is stripped.

    Args:
        images: 3-D float images by modality, anywhere in space.
        fixed: modality that the others will be registered to, if any.
        progress: reports each scan.

    Raises:
        BrainExtractionMissing: if all scans show the skull, and deepbet is not installed.
        InputError: if no brain is found in a scan; the message names the modality.
    """
    progress = progress or Progress()
    progress(Stage.BRAIN, 0.0, "looking for skulls")
    brains, heads = {}, []
    for name, image in images.items():
        contrast = contrast_to_background(image)
        if has_skull(image, contrast):
            heads.append(name)
        else:
            brains[name] = Brain(content_mask(image, contrast), stripped=True)
    heads.sort(key=lambda name: name != fixed)
    for number, name in enumerate(heads):
        progress(Stage.BRAIN, number / len(heads), f"looking for the brain in {name}")
        try:
            brains[name] = brain_in_head(name, images[name])
        except BrainExtractionMissing:
            if not brains:
                raise
            break
        if name == fixed and is_enough(name, brains[name]):
            break
    progress(Stage.BRAIN, 1.0)
    return brains


def brain_in_head(name: str, image: sitk.Image) -> Brain:
    """Brain that :func:`extract_brain` finds in a head.

    Raises:
        BrainExtractionMissing: if deepbet is not installed.
        InputError: if no brain is found; the message names the modality.
    """
    try:
        return Brain(extract_brain(image), stripped=False)
    except BrainExtractionMissing:
        raise
    except InputError as error:
        raise InputError(a_modality(name), ": ", error.text) from error


def is_enough(name: str, brain: Brain) -> bool:
    """Whether the brain found in a head can be used for the other heads registered to it."""
    low, high = PLAUSIBLE_BRAIN_ML
    spacing_mm = np.array(brain.mask.GetSpacing()[::-1])
    return (
        name in _VOTES
        and not brain.stripped
        and low <= content_ml(brain.mask) <= high
        and _cut_cm2(sitk.GetArrayViewFromImage(brain.mask) > 0, spacing_mm) <= _CUT_CM2
    )


def has_skull(image: sitk.Image, contrast: NDArray[np.float32] | None = None) -> bool:
    """Whether a scan shows a head, rather than a brain on a constant background.

    A head has a larger volume than a brain. If the scan shows only a part of it, the border of the
    image cuts through it, and a head is recognized by noise around it or a bright scalp over a dark
    skull. Zeros in the air, a missing face, or a background other than 0 make no difference.

    Args:
        image: 3-D image.
        contrast: its :func:`.contrast_to_background`, if already computed.
    """
    # Rounded down, and at most the size of a slab thinner than a coarse voxel.
    factors = [
        max(1, min(int(_COARSE_MM // spacing), length))
        for spacing, length in zip(image.GetSpacing(), image.GetSize())
    ]
    full = contrast_to_background(image) if contrast is None else contrast
    coarse = sitk.BinShrink(image_like(full, image), factors)
    voxels = sitk.GetArrayViewFromImage(coarse)
    spacing_mm = np.array(coarse.GetSpacing()[::-1])
    content = ndimage.binary_fill_holes(voxels > FAINT)
    if content.sum() * voxel_ml(coarse.GetSpacing()) > PLAUSIBLE_BRAIN_ML[1]:
        return True
    if _cut_cm2(content, spacing_mm) <= _CUT_CM2:
        return False
    # The border of the scan is not a surface of the head.
    depth_mm = ndimage.distance_transform_edt(np.pad(content, 1, mode="edge"), sampling=spacing_mm)
    shells = np.where(content, depth_mm[1:-1, 1:-1, 1:-1] // _SHELL_MM, -1)
    layers = [voxels[shells == shell] for shell in range(_SKULL.stop)]
    medians = [float(np.median(layer)) for layer in layers if layer.size]
    scalp, skull = medians[_SCALP], medians[_SKULL]
    if scalp and skull and max(scalp) > _BRIGHT_SCALP * min(skull):
        return True
    return bool((voxels[~content] > 0).mean() > 0.5)


def extract_brain(image: sitk.Image) -> sitk.Image:
    """Mask (8-bit) of the brain in a head by deepbet, on the image's grid; takes seconds on a CPU.

    deepbet gets the original voxels in RAS order: resampling oblique scans, or to an isotropic
    spacing, would not help it.

    Raises:
        BrainExtractionMissing: if deepbet is not installed.
        InputError: if no brain is found.
    """
    try:
        import nibabel
        from deepbet import BrainExtraction
    except ImportError as error:
        raise BrainExtractionMissing from error
    turned = sitk.DICOMOrient(image, "RAS")
    voxels = _without_gap(sitk.GetArrayFromImage(turned))
    head = nibabel.Nifti1Image(voxels.T, np.diag([*turned.GetSpacing(), 1.0]))
    try:
        _, mask, _ = BrainExtraction(no_gpu=True).run(head)
    except (AssertionError, ValueError) as error:  # from an empty bounding box or component
        raise InputError(
            "no brain was found in the scan; look whether it shows a head, or strip the scans with "
            "another tool and give its mask with ",
            an_option("--brain-mask FILE"),
        ) from error
    found = image_like(np.asarray(mask.dataobj).T.astype(np.uint8), turned)
    direction = sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(image.GetDirection())
    # Back to the original order of voxels, with the original header to avoid rounding errors.
    return image_like(sitk.GetArrayFromImage(sitk.DICOMOrient(found, direction)), image)


def agreed_brain(brains: Mapping[str, Brain]) -> AgreedBrain:
    """The brain that several registered scans agree on.

    If any scans came stripped, only these vote, since someone has checked them. Otherwise each scan
    votes within its field of view, T1 and T1ce twice. Half of the votes is enough, since losing a
    tumor at the brain's edge is more likely than including a bit of skull. Holes and cracks up to
    6 mm wide are closed, so that no cavity is cut off, and only the largest component is kept.

    Args:
        brains: by modality, from :func:`find_brains`, moved into one space.

    Raises:
        InputError: if none of the masks has the size of a brain.
    """
    stripped = {name: brain for name, brain in brains.items() if brain.stripped}
    masks, left_out = {}, {}
    for name, brain in (stripped or brains).items():
        volume_ml = content_ml(brain.mask)
        if PLAUSIBLE_BRAIN_ML[0] <= volume_ml <= PLAUSIBLE_BRAIN_ML[1]:
            masks[name] = brain.mask
        else:
            left_out[name] = f"what was found in it has {volume_ml:.0f} ml, not a whole brain"
    if not masks:
        first = next(iter(left_out))
        raise InputError(
            "no brain was found in the scans: ",
            *(
                part
                for name, reason in left_out.items()
                for part in ("; " if name != first else "", a_modality(name), f": {reason}")
            ),
        )
    grid = _grid_around(list(masks.values()))
    own = {name: on_grid(brain.mask, grid) for name, brain in brains.items()}
    reach = {name: on_grid(brain.mask * 0 + 1, grid) for name, brain in brains.items()}
    votes = np.sum([_VOTES.get(name, 1) * own[name] for name in masks], axis=0)
    voters = np.sum([_VOTES.get(name, 1) * reach[name] for name in masks], axis=0)
    majority = (voters > 0) & (votes >= 0.5 * voters)
    mask = _in_one_piece(image_like(majority.astype(np.uint8), grid))
    inside = sitk.GetArrayViewFromImage(mask) > 0
    return AgreedBrain(
        mask,
        {name: _dice(own[name] >= 0.5, inside & (reach[name] >= 0.5)) for name in brains},
        left_out,
    )


def mask_dice(first: sitk.Image, second: sitk.Image) -> float:
    """Dice of two brain masks (0 and 1) where both images reach; at 2 mm if their grids differ."""
    if same_grid(first, second):
        return _dice(*(sitk.GetArrayViewFromImage(mask) > 0 for mask in (first, second)))
    grid = working_grid([first, second], (_COARSE_MM,) * 3)
    masks = [on_grid(mask, grid) >= 0.5 for mask in (first, second)]
    reach = [on_grid(mask * 0 + 1, grid) >= 0.5 for mask in (first, second)]
    return _dice(masks[0] & reach[1], masks[1] & reach[0])


def strip(image: sitk.Image, mask: sitk.Image) -> sitk.Image:
    """The image with 0 outside the brain (float32); the mask (0 and 1) may have any grid.

    Brain voxels that are 0 get a tiny positive value, since 0 means outside.
    """
    voxels = sitk.GetArrayViewFromImage(image)
    if same_grid(mask, image):
        inside = sitk.GetArrayViewFromImage(mask) > 0
    else:
        inside = on_grid(mask, image) >= 0.5
    if image.GetPixelID() == sitk.sitkFloat32 and np.array_equal(inside, voxels != 0):
        return image  # it is stripped already
    stripped = np.where(inside, voxels, np.float32(0)).astype(np.float32, copy=False)
    stripped[inside & (voxels == 0)] = np.finfo(np.float32).tiny
    return image_like(stripped, image)


def content_ml(image: sitk.Image) -> float:
    """Volume in ml of the nonzero voxels of an image."""
    voxels = np.count_nonzero(sitk.GetArrayViewFromImage(image))
    return float(voxels * voxel_ml(image.GetSpacing()))


def _cut_cm2(content: NDArray[np.bool_], spacing_mm: NDArray[np.float64]) -> float:
    """The largest area of content on any face of the image, in square centimeters."""
    return max(
        content.take(end, axis).sum() * np.delete(spacing_mm, axis).prod() / 100
        for axis in range(3)
        for end in (0, -1)
    )


def _without_gap(voxels: NDArray[np.float32]) -> NDArray[np.float32]:
    """The voxels with the background set to the head's darkest, as -1024 would cost contrast."""
    outside = voxels == background(voxels)
    low = np.percentile(voxels[~outside], 0.1)
    return np.where(outside, low, np.maximum(voxels, low)).astype(np.float32)


def _grid_around(masks: list[sitk.Image]) -> sitk.Image:
    """Empty 1 mm grid around masks, with a margin of half a slice and for the closing."""
    thickest_mm = max(max(mask.GetSpacing()) for mask in masks)
    margin = [int(thickest_mm / 2) + _CLOSING_MM + 1] * 3
    return sitk.ConstantPad(working_grid(masks, (1.0, 1.0, 1.0)), margin, margin)


def _in_one_piece(mask: sitk.Image) -> sitk.Image:
    """Largest component of a mask on a 1 mm grid, with cracks and holes closed."""
    closed = sitk.BinaryMorphologicalClosing(mask, [_CLOSING_MM] * 3, sitk.sitkBall)
    pieces = sitk.RelabelComponent(sitk.ConnectedComponent(closed))  # the largest is 1
    return sitk.BinaryFillhole(pieces == 1)


def _dice(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    both = first.sum() + second.sum()
    return float(2 * (first & second).sum() / both) if both else 0.0
