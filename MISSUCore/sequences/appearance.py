"""Which sequence is this? From the images, where names and tags are silent.

Fluid is dark in T1, T1ce and FLAIR and bright in T2, vessels and tumor are bright in T1ce, edema is
bright in FLAIR: percentiles of the intensities tell, and which scans resemble which. Looks only at
the middle of the brain, where it makes little difference whether the skull was taken off.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from ..contract.modalities import BRATS_MODALITIES
from ..contract.naming.rules import Guess, Key, to_be_looked_at
from ..contract.requests.commands import GuessAnswer, GuessRequest
from ..core.errors import InputError
from ..core.files import write_json
from ..core.serialization import settings_to_dict
from ..io.geometry import image_like, shrink_factors, voxel_ml
from ..io.reading import read_image
from ..io.resampling import on_grid

# Fluid, white matter and vessels are seen at this spacing, noise is not.
_SPACING_MM = 3.0
# The middle of the brain: an ellipsoid below the top of the head (axes up, front-back, left-right).
_CENTER_BELOW_TOP_MM = 62.0
_HALF_AXES_MM = (48.0, 66.0, 52.0)
# Farther below the top there may be a neck.
_HEAD_MM = 130.0
# What is darker than this part of the bright tissue is air or bone.
_AIR = 0.25
_MINIMUM_BRAIN_ML = 100.0
_MINIMUM_COMMON_VOXELS = 1000
# Even an image that is like one of them may be of another kind.
_HIGHEST_CONFIDENCE = 0.85
_LOWEST_CONFIDENCE = 0.5

# Multinomial logistic regression (L2 penalty 0.01) of t1, t1ce, t2, flair on the features that
# `measure` returns, fitted to the 43 BraTS cases that are not held out, and three times their mean
# rank correlation of two sequences: printed by Testing/Benchmarks/sequence_guess.py --fit.
_MEANS = np.array([1.21, 0.77, 0.45, 0.07])
_DEVIATIONS = np.array([0.63, 0.57, 0.5, 0.18])
_WEIGHTS = np.array(
    [
        [-0.54, 0.51, -0.56, 0.59],
        [-1.61, 1.1, 0.45, 0.06],
        [-0.53, -1.0, 0.62, 0.9],
        [0.17, 0.16, -1.56, 1.22],
        [-0.53, -0.95, 0.47, 1.01],
    ]
)
_LIKENESS = np.array(
    [
        [0.0, 1.99, -1.85, -0.12],
        [1.99, 0.0, -1.44, -0.41],
        [-1.85, -1.44, 0.0, 1.14],
        [-0.12, -0.41, 1.14, 0.0],
    ]
)


@dataclass(frozen=True)
class Middle:
    """The middle of a brain.

    Attributes:
        image: float image with voxels of about 3 mm, along the patient's axes as far as possible.
        inside: its voxels (D, H, W) that count.
        features: how the intensities inside are distributed, see :func:`measure`.
    """

    image: sitk.Image
    inside: NDArray[np.bool_]
    features: NDArray[np.float64]


def with_images(
    guesses: Mapping[Key, Guess], read: Callable[[Key], sitk.Image]
) -> dict[Key, Guess]:
    """The guesses of one case, those that know nothing replaced by what the images look like.

    Args:
        guesses: from names and tags.
        read: gives the 3-D image of a scan; it is asked only for those whose guess knows nothing,
            and not at all if some must be of another kind, see :func:`.to_be_looked_at`.
    """
    silent, missing = to_be_looked_at(guesses)
    return {**guesses, **guess_from_scans(silent, missing, read)}


def guess_from_scans(
    scans: Iterable[Key], among: Collection[str], read: Callable[[Key], sitk.Image]
) -> dict[Key, Guess]:
    """As :func:`guess_from_images`, of scans that have to be read, which may fail.

    Args:
        scans: of one case.
        among: the sequences that come into question.
        read: gives the 3-D image of a scan; where it raises InputError, that is the reason.
    """
    images: dict[Key, sitk.Image] = {}
    unread: dict[Key, Guess] = {}
    for key in scans:
        try:
            images[key] = read(key)
        except InputError as error:
            unread[key] = Guess(None, 0.0, str(error))
    return {**unread, **guess_from_images(images, among)}


def answer(request: GuessRequest) -> None:
    """Write what the scans of a request look like, as a :class:`.GuessAnswer`.

    Raises:
        InputError: if it cannot be written.
        ResourceError: if the disk is full.
    """
    guesses = guess_from_scans(
        request.images, request.among, lambda name: read_image(request.images[name])
    )
    write_json(request.output, settings_to_dict(GuessAnswer(guesses)))


def guess_from_images(
    images: Mapping[Key, sitk.Image], among: Collection[str] = BRATS_MODALITIES
) -> dict[Key, Guess]:
    """What sequences the scans of one case look like.

    As many scans as sequences, or fewer, are taken to be of different sequences and compared with
    each other; more are looked at each by itself. T1 and T1ce are the hardest to tell apart. An
    image of another kind (diffusion, angiography, ...) is not noticed.

    Args:
        images: 3-D images by anything, with skull or without, on any grids.
        among: the sequences that come into question.

    Returns:
        For each image a guess, whose sequence is None if it looks like none clearly.
    """
    names = [name for name in BRATS_MODALITIES if name in among]
    columns = [BRATS_MODALITIES.index(name) for name in names]
    middles = {key: measure(image) for key, image in images.items()}
    seen = {key: middle for key, middle in middles.items() if middle is not None}
    guesses = {key: Guess(None, 0.0, "the image shows no brain") for key in images}
    if not seen or not names:
        return guesses
    scores = evidence(np.stack([middle.features for middle in seen.values()]))[:, columns]
    if len(seen) <= len(names):
        likeness = _LIKENESS[np.ix_(columns, columns)]
        chances = _chances_compared(scores, correlations(list(seen.values())), likeness)
    else:
        chances = _softmax(scores)
    for key, chance in zip(seen, chances):
        best = int(chance.argmax())
        confidence = _HIGHEST_CONFIDENCE * float(chance[best])
        if confidence < _LOWEST_CONFIDENCE:
            guesses[key] = Guess(None, 0.0, "the image looks like none of the sequences clearly")
        else:
            reason = f"the image looks like {names[best]}"
            guesses[key] = Guess(names[best], confidence, reason)
    return guesses


def measure(image: sitk.Image) -> Middle | None:
    """The middle of the brain in an image, and four features; None if there is none.

    The features are logarithms of how far the brightest 0.2 %, the brightest 2 % and the darkest
    2 % lie from the median, and how much farther the upper quartile lies from it than the lower;
    all as parts of the interquartile range, so that the scanner's scale makes no difference.
    """
    coarse = _coarse(image)
    voxels = sitk.GetArrayFromImage(coarse)
    positive = voxels[voxels > 0]
    if not positive.size:
        return None
    head = voxels > _AIR * np.percentile(positive, 90)
    inside = head & _middle(head, np.array(coarse.GetSpacing()[::-1]))
    if inside.sum() * voxel_ml(coarse.GetSpacing()) < _MINIMUM_BRAIN_ML:
        return None
    dark, lower, median, upper, light, lightest = np.percentile(
        voxels[inside], [2, 25, 50, 75, 98, 99.8]
    )
    scale = upper - lower
    if not min(median - dark, light - median, scale) > 0:
        return None
    tails = np.array([lightest - median, light - median, median - dark]) / scale
    asymmetry = (upper + lower - 2 * median) / scale
    return Middle(coarse, inside, np.array([*np.log(tails), asymmetry]))


def evidence(features: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log-probabilities (images, 4) of the sequences, each image by itself."""
    scores = _WEIGHTS[0] + (features - _MEANS) / _DEVIATIONS @ _WEIGHTS[1:]
    return np.log(_softmax(scores))


def correlations(middles: list[Middle]) -> NDArray[np.float64]:
    """Rank correlation of the intensities of each two; 0 where they hardly overlap in space."""
    result = np.zeros((len(middles), len(middles)))
    for i, first in enumerate(middles):
        for j, second in enumerate(middles[:i]):
            voxels, inside = (
                on_grid(image, first.image)
                for image in (
                    second.image,
                    image_like(second.inside.astype(np.float32), second.image),
                )
            )
            common = first.inside & (inside > 0.5)
            if common.sum() >= _MINIMUM_COMMON_VOXELS:
                own = sitk.GetArrayViewFromImage(first.image)[common]
                result[i, j] = result[j, i] = _rank_correlation(own, voxels[common])
    return result


def _rank_correlation(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Spearman's rank correlation, equal values sharing their mean rank.

    As ``scipy.stats`` has it, which takes as long to load as all else that a case needs but torch.
    """
    return float(np.corrcoef(_ranks(first), _ranks(second))[0, 1])


def _ranks(values: NDArray[np.float32]) -> NDArray[np.float64]:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place]


def _softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    exponentials = np.exp(scores - scores.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def _chances_compared(
    scores: NDArray[np.float64], alike: NDArray[np.float64], likeness: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Probabilities (images, sequences), given that no two images are of one sequence.

    Args:
        scores: log-probabilities of each image by itself.
        alike: how much each two images resemble each other.
        likeness: how much each two sequences do.
    """
    count, sequences = scores.shape
    images = np.arange(count)
    orders = np.array(list(permutations(range(sequences), count)))
    sums = [
        scores[images, order].sum() + (alike * likeness[np.ix_(order, order)]).sum() / 2
        for order in orders
    ]
    chances = np.zeros_like(scores)
    for order, weight in zip(orders, _softmax(np.array([sums]))[0]):
        chances[images, order] += weight
    return chances


def _coarse(image: sitk.Image) -> sitk.Image:
    if image.GetPixelID() != sitk.sitkFloat32:
        image = sitk.Cast(image, sitk.sitkFloat32)
    if np.any(np.reshape(image.GetDirection(), (3, 3)) != np.eye(3)):
        image = sitk.DICOMOrient(image, "LPS")
    return sitk.BinShrink(image, shrink_factors(image, _SPACING_MM))


def _middle(head: NDArray[np.bool_], spacing_mm: NDArray[np.float64]) -> NDArray[np.bool_]:
    """The voxels (up, front to back, left-right) in the ellipsoid below the top of the head."""
    heights, *others = (index * step for index, step in zip(np.nonzero(head), spacing_mm))
    top = np.percentile(heights, 99.9)
    upper = heights > top - _HEAD_MM
    center = [top - _CENTER_BELOW_TOP_MM]
    center += [np.percentile(places[upper], [1, 99]).mean() for places in others]
    axes = np.ogrid[tuple(slice(size) for size in head.shape)]
    squares = (
        ((axis * step - middle) / half) ** 2
        for axis, step, middle, half in zip(axes, spacing_mm, center, _HALF_AXES_MM)
    )
    return np.asarray(sum(squares) < 1)
