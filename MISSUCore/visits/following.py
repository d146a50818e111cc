"""Lesion tracking: lesions of different visits are the same one if they touch.

The lesions of all visits are superimposed, and each connected component of their union is one
followed lesion. So a fragment of a former lesion does not count as new, and lesions that have
merged are still known as two.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, find_objects

from ..contract.visits.report import FollowedLesion
from ..measurement.lesions import find_lesions
from ..preprocessing.working_grid import working_grid

Numbers = NDArray[np.int32]
COARSEST_MM = 1.0
MARGIN_MM = 5.0


def follow(lesions: Sequence[sitk.Image], join_mm: float) -> list[FollowedLesion]:
    """Follow lesions over visits.

    Args:
        lesions: by visit, the number of the lesion that a voxel belongs to, 0 for none; in one
            space, on any grids.
        join_mm: lesions this close to each other are one; also allows for registration errors.

    Returns:
        In the order of their first visit, the largest first; targets are not chosen yet.
    """
    numbers, spacing_mm = on_one_grid(lesions)
    if not any(each.any() for each in numbers):
        return []
    union = np.logical_or.reduce([each > 0 for each in numbers])
    places = find_lesions(union, spacing_mm, join_mm)
    found = []
    for place, box in enumerate(find_objects(places), start=1):
        margin = [math.ceil((join_mm + MARGIN_MM) / step) for step in spacing_mm]
        around = tuple(
            slice(max(0, side.start - more), side.stop + more) for side, more in zip(box, margin)
        )
        inside = places[around] == place
        parts = [np.where(inside, each[around], 0) for each in numbers]
        members = [tuple(np.unique(each[each > 0]).tolist()) for each in parts]
        found.append((members, _events(parts, members, spacing_mm, join_mm), parts))
    found.sort(key=lambda item: _rank(item[0], item[2]))
    return [
        FollowedLesion(number, tuple(members), tuple(events))
        for number, (members, events, _) in enumerate(found, start=1)
    ]


def on_one_grid(
    lesions: Sequence[sitk.Image],
) -> tuple[list[Numbers], tuple[float, float, float]]:
    """Numbers (depth, height, width) of all visits on one fine grid, and its spacing in mm."""
    filled = [image for image in lesions if sitk.GetArrayViewFromImage(image).any()]
    if not filled:
        return [np.zeros((1, 1, 1), np.int32) for _ in lesions], (COARSEST_MM,) * 3
    finest = min(COARSEST_MM, *(min(image.GetSpacing()) for image in filled))
    grid = working_grid(filled, (finest,) * 3)
    return [_on_grid(image, grid) for image in lesions], (finest,) * 3


def _on_grid(image: sitk.Image, grid: sitk.Image) -> Numbers:
    there = sitk.Resample(image, grid, sitk.Transform(), sitk.sitkNearestNeighbor)
    numbers: Numbers = sitk.GetArrayFromImage(there).astype(np.int32)
    voxels = sitk.GetArrayViewFromImage(image)
    # Lesions smaller than the grid's spacing must not be lost.
    for lost in sorted(set(np.unique(voxels).tolist()) - set(np.unique(numbers).tolist()) - {0}):
        index = np.argwhere(voxels == lost)[0][::-1].tolist()
        place = grid.TransformPhysicalPointToIndex(image.TransformIndexToPhysicalPoint(index))
        inside = np.clip(place, 0, np.array(grid.GetSize()) - 1)
        numbers[tuple(inside[::-1])] = lost
    return numbers


def _rank(members: Sequence[Sequence[int]], parts: Sequence[Numbers]) -> tuple[int, int]:
    first = next(visit for visit, own in enumerate(members) if own)
    return first, -int(np.count_nonzero(parts[first]))


def _events(
    parts: Sequence[Numbers],
    members: Sequence[Sequence[int]],
    spacing_mm: Sequence[float],
    join_mm: float,
) -> list[str]:
    """Changes of a followed lesion since the previous visit, by visit."""
    events = [""]
    for visit in range(1, len(parts)):
        before, now = members[visit - 1], members[visit]
        if not before and not now:
            events.append("")
        elif not before:
            seen = any(members[:visit])
            events.append("back" if seen else "new")
        elif not now:
            events.append("vanished")
        else:
            touching = _touching(parts[visit - 1], parts[visit], before, spacing_mm, join_mm)
            events.append(_changes(before, now, touching))
    return events


def _changes(before: Sequence[int], now: Sequence[int], touching: set[tuple[int, int]]) -> str:
    """The change of a lesion that is present at both visits, from its parts."""
    said = []
    for part in before:
        pieces = sum(old == part for old, _ in touching)
        if pieces > 1:
            said.append(f"split into {pieces}")
        elif not pieces:
            said.append("a part vanished")
    for part in now:
        sources = sum(new == part for _, new in touching)
        if sources > 1:
            said.append(f"{sources} merged")
        elif not sources:
            said.append("a new part")
    return ", ".join(said)


def _touching(
    before: Numbers,
    now: Numbers,
    numbers: Sequence[int],
    spacing_mm: Sequence[float],
    join_mm: float,
) -> set[tuple[int, int]]:
    """Pairs of a former and a present lesion that overlap, or are within ``join_mm``."""
    pairs: set[tuple[int, int]] = set()
    for number in numbers:
        own = before == number
        on_it = np.unique(now[own & (now > 0)]).tolist()
        if not on_it:
            distance_mm = distance_transform_edt(~own, sampling=spacing_mm)
            on_it = np.unique(now[(distance_mm <= join_mm) & (now > 0)]).tolist()
        pairs.update((number, other) for other in on_it)
    # A part that overlaps none but is close to one has separated from it.
    for other in set(np.unique(now[now > 0]).tolist()) - {new for _, new in pairs}:
        distance_mm = distance_transform_edt(now != other, sampling=spacing_mm)
        near = np.unique(before[(distance_mm <= join_mm) & (before > 0)]).tolist()
        pairs.update((number, other) for number in near)
    return pairs
