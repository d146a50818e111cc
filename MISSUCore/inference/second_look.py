"""Two looks: a coarse model finds where a tumor may be, and a fine model segments it there.

The fine model sees only boxes of its own working grid. Outside of them there is no tumor, as the
coarse model ruled it out. Inside, a connected component of the result is kept only if the coarse
model was sure of at least one of its voxels.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
import torch
from numpy.typing import NDArray
from scipy import ndimage

from ..contract.model_card import ModelCard
from ..core.events import Progress, Stage
from ..io.geometry import image_like
from ..io.resampling import interpolate
from ..models.store import Model
from ..preprocessing.working_grid import NetworkInput
from .missing_scans import network_input
from .postprocessing import outermost_regions
from .predictor import Predictor

# Bound of all log-odds; its negative stands for "no tumor".
CERTAIN = 13.0
# Smallest side of a box: a network needs context, and was never trained on less.
SMALLEST_BOX = 64

Box = tuple[slice, ...]
Odds = NDArray[np.float32]


@dataclass(frozen=True)
class FirstResult:
    """Result of the first look.

    Attributes:
        log_odds: (regions, D, H, W) of the coarse model, on its working grid.
        grid: the coarse working grid.
        fine: the whole case as prepared for the fine model.
        boxes: boxes of the fine working grid (D, H, W); empty if nothing was found.
        notes: remarks of the predictor for the user.
        prepare_seconds: time that preparing the case for both models took.
        trusted: whether it may overrule the fine model; not if a scan is missing without which
            the coarse model is unreliable according to its card.
    """

    log_odds: Odds
    grid: sitk.Image
    fine: NetworkInput
    boxes: list[Box]
    notes: list[str]
    prepare_seconds: float
    trusted: bool


@dataclass(frozen=True)
class SecondResult:
    """Combined result of both looks.

    Attributes:
        probabilities: (regions, D, H, W) on the grid.
        grid: the block of the fine working grid that holds all boxes, or the coarse working grid
            if there are none.
        windows: the most forward passes per orientation for any box.
    """

    probabilities: Odds
    grid: sitk.Image
    windows: int


def look_first(
    images: Mapping[str, sitk.Image],
    model: Model,
    predictor: Callable[[Model], Predictor],
    progress: Progress,
) -> FirstResult:
    """Apply the model's finder to the whole case.

    Args:
        images: as :func:`.segment_case` takes them.
        model: the fine model, with its finder.
        predictor: makes a predictor without temperatures for a model.
        progress: reports the stages.
    """
    finder = model.finder
    if finder is None:
        raise ValueError(f"model {model.card.name} looks once")
    progress(Stage.PREPARE, 0.0, "bringing the scans to one grid")
    began = time.monotonic()
    coarse = network_input(images, finder.card)
    progress(Stage.PREPARE, 0.15, "bringing the scans to a finer grid")
    fine = network_input(images, model.card)
    seconds = time.monotonic() - began
    predict = predictor(finder)
    probabilities = predict(torch.from_numpy(coarse.volume), progress.part(0.4, 1.0)).numpy()
    odds = log_odds(probabilities)
    outermost = outermost_regions(finder.card.label_scheme())
    found = odds[outermost].max(axis=0) > model.card.first_look.threshold
    names = {finder.card.label_scheme().region_names[region] for region in outermost}
    unreliable = finder.card.unreliable(set(finder.card.modalities) - set(images))
    return FirstResult(
        odds,
        coarse.grid,
        fine,
        find_boxes(found, coarse.grid, fine.grid, model.card.first_look.margin),
        predict.notes,
        seconds,
        names.isdisjoint(unreliable),
    )


def look_closely(
    first: FirstResult, model: Model, predict: Predictor, progress: Progress
) -> SecondResult:
    """Apply the fine model to the boxes, and combine the results of both looks.

    Args:
        first: result of its finder.
        model: the fine model.
        predict: its predictor, without temperatures.
        progress: reports the boxes.
    """
    temperatures = np.array(model.card.temperatures or (1.0,), dtype=np.float32)
    temperatures = temperatures[:, None, None, None]
    if not first.boxes:
        return SecondResult(probability(first.log_odds / temperatures), first.grid, 1)
    block = hull(first.boxes)
    z, y, x = block
    grid = first.fine.grid[x, y, z]
    odds: Odds = np.full((len(first.log_odds), *grid.GetSize()[::-1]), -CERTAIN, dtype=np.float32)
    windows, done = 1, 0
    voxels = sum(map(_voxels, first.boxes))
    for box in first.boxes:
        part = progress.part(done / voxels, (done + _voxels(box)) / voxels)
        inside = (slice(None), *box)  # a star in the index is Python 3.11 syntax to mypy
        volume = np.ascontiguousarray(first.fine.volume[inside])
        answer = log_odds(predict(torch.from_numpy(volume), part).numpy())
        spans = (
            slice(span.start - whole.start, span.stop - whole.start)
            for span, whole in zip(box, block)
        )
        place = (slice(None), *spans)
        odds[place] = _together(answer, first, box, model.card)
        windows, done = max(windows, predict.windows), done + _voxels(box)
    if first.trusted:
        outermost = outermost_regions(model.card.label_scheme())
        sure = np.max([coarse_log_odds(first, region, grid) for region in outermost], axis=0)
        odds[:, unsupported(odds, sure, model.card.first_look.support)] = -CERTAIN
    return SecondResult(probability(odds / temperatures), grid, windows)


def unsupported(odds: Odds, sure: Odds, support: float) -> NDArray[np.bool_]:
    """Mask of what the fine model found without support from the first look.

    Args:
        odds: log-odds (regions, D, H, W) of the fine model.
        sure: log-odds (D, H, W) of any tumor from the first look, on the same grid.
        support: log-odds of the first look that a component must reach in at least one voxel.

    Returns:
        (D, H, W): the connected components that lack this support.
    """
    parts, count = ndimage.label(odds.max(axis=0) > 0, structure=np.ones((3, 3, 3)))
    most = ndimage.maximum(sure, parts, index=np.arange(1, count + 1))
    weak = 1 + np.flatnonzero(np.asarray(most) < support)
    found: NDArray[np.bool_] = np.isin(parts, weak)
    return found


def _together(fine: Odds, first: FirstResult, box: Box, card: ModelCard) -> Odds:
    """Log-odds in a box: of the fine model, or the mean of both models where the card says so."""
    z, y, x = box
    grid, names = first.fine.grid[x, y, z], card.label_scheme().region_names
    for name in card.first_look.averaged:
        region = names.index(name)
        fine[region] = (fine[region] + coarse_log_odds(first, region, grid)) / 2
    return fine


def coarse_log_odds(first: FirstResult, region: int, grid: sitk.Image) -> Odds:
    """Log-odds (D, H, W) of a region from the first look, interpolated on a grid."""
    # Interpolation gives 0 outside the coarse grid, which must mean no tumor.
    above = first.log_odds[region] + CERTAIN
    return interpolate(image_like(above, first.grid), grid) - CERTAIN


def find_boxes(
    found: NDArray[np.bool_], coarse: sitk.Image, fine: sitk.Image, margin: int
) -> list[Box]:
    """Boxes of a fine grid around what was found on a coarse one.

    Both grids have the same axes. Components get boxes of their own if these have fewer voxels
    than one box around both.

    Args:
        found: (D, H, W) on the coarse grid.
        coarse: its geometry.
        fine: geometry of the boxes.
        margin: voxels of the fine grid added beyond the centers of the outermost coarse voxels.
    """
    parts, _ = ndimage.label(found, structure=np.ones((3, 3, 3)))
    boxes = [_on_fine(part, coarse, fine, margin) for part in ndimage.find_objects(parts)]
    return _merged(boxes, fine.GetSize()[::-1])


def _on_fine(part: Box, coarse: sitk.Image, fine: sitk.Image, margin: int) -> Box:
    """The box of a fine grid around a box of a coarse one."""
    ends = [[span.start for span in part[::-1]], [span.stop - 1 for span in part[::-1]]]
    points = [coarse.TransformIndexToPhysicalPoint(end) for end in ends]
    low, high = (fine.TransformPhysicalPointToContinuousIndex(point)[::-1] for point in points)
    spans = []
    for first, last, length in zip(low, high, fine.GetSize()[::-1]):
        # Tolerate rounding errors of whole indices.
        start = min(max(0, int(np.floor(first + 1e-3)) - margin), length - 1)
        stop = min(length, int(np.ceil(last - 1e-3)) + margin + 1)
        spans.append(slice(start, max(start + 1, stop)))
    return tuple(spans)


def _merged(boxes: Sequence[Box], size: Sequence[int]) -> list[Box]:
    """Boxes of sufficient size; those that overlap, or are cheaper as one, are merged."""
    merged: list[Box] = []
    for small in boxes:
        box = _grown(small, size)
        while near := next((other for other in merged if _better_as_one(box, other)), None):
            merged.remove(near)
            box = hull([box, near])
        merged.append(box)
    return merged


def _better_as_one(one: Box, other: Box) -> bool:
    overlap = all(a.start < b.stop and b.start < a.stop for a, b in zip(one, other))
    return overlap or _voxels(hull([one, other])) <= _voxels(one) + _voxels(other)


def _grown(box: Box, size: Sequence[int]) -> Box:
    """The box enlarged to the smallest size that a network needs, as far as the grid allows."""
    spans = []
    for span, length in zip(box, size):
        lacking = max(0, min(SMALLEST_BOX, length) - (span.stop - span.start))
        start = min(max(0, span.start - lacking // 2), length - (span.stop - span.start) - lacking)
        spans.append(slice(start, start + span.stop - span.start + lacking))
    return tuple(spans)


def hull(boxes: Sequence[Box]) -> Box:
    """The smallest box that holds all of them."""
    return tuple(
        slice(min(span.start for span in spans), max(span.stop for span in spans))
        for spans in zip(*boxes)
    )


def _voxels(box: Box) -> int:
    return int(np.prod([span.stop - span.start for span in box]))


def log_odds(probabilities: Odds) -> Odds:
    """Log-odds of probabilities, clipped at +-:data:`CERTAIN`."""
    bound = np.float32(1 / (1 + np.exp(CERTAIN)))
    inside = np.clip(probabilities, bound, 1 - bound)
    odds: Odds = np.log(inside) - np.log1p(-inside)
    return odds


def probability(odds: NDArray[np.floating]) -> Odds:
    """Probabilities (float32) of log-odds."""
    return torch.from_numpy(odds.astype(np.float32)).sigmoid().numpy()
