"""Verification of whether a segmentation file is unchanged, edited, or signed off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..contract.labels import BRATS, LabelScheme
from ..contract.provenance.masks import Contents, Mask, MaskFact, start_on_grid, voxel_ml
from ..contract.provenance.record import Computation, Provenance, check_record
from ..contract.provenance.sentences import history, summary
from ..contract.provenance.tag import TAG, newest
from ..contract.segmentation_report import read_report
from ..core.errors import InputError
from ..core.files import sha256
from ..core.messages import a_file, an_option
from ..core.serialization import JsonObject, settings_to_dict
from ..io.slicer_segments import ENDING, read_slicer_segments
from .comparison import read_regions


@dataclass(frozen=True)
class Verification:
    """What is known of a segmentation in a file.

    Attributes:
        record: with the contents that the file has.
        is_same_file: whether the file is byte for byte as MISSU wrote it.
        is_on_grid: whether it lies on the same grid as the record.
    """

    record: Provenance
    is_same_file: bool = False
    is_on_grid: bool = True

    @property
    def status(self) -> str:
        """The status in one word: "computed", "signed", or "changed"."""
        if self.record.valid_sign_offs:
            return "signed"
        return "computed" if self.record.is_as_computed else "changed"

    def sentences(self) -> list[str]:
        """Sentences for a reader: the status first, then the history, then the volumes."""
        moved = "It lies on another grid, or elsewhere in space; voxels cannot be compared."
        return [
            summary(self.record),
            *([] if self.is_on_grid else [moved]),
            *history(self.record),
            *(self._volume(name) for name in self.record.contents.masks),
        ]

    def _volume(self, name: str) -> str:
        fact = self.record.contents.masks[name]
        computed = self.record.computed.contents.masks.get(name)
        text = f"{name}: {fact.volume_ml:.2f} ml"
        if computed is None or not self.is_on_grid:
            return text
        if fact.sha256 == computed.sha256:
            return f"{text}, as computed"
        return f"{text}, {computed.volume_ml:.2f} ml as computed"

    def to_dict(self) -> JsonObject:
        """The result in plain JSON types."""
        return {
            "status": self.status,
            "same_file": self.is_same_file,
            "same_grid": self.is_on_grid,
            "record": settings_to_dict(self.record),
        }


def verify(
    segmentation: Path, report: Path | None = None, scheme: LabelScheme = BRATS
) -> Verification:
    """Compare a segmentation with the record of its computation, edits and sign-off.

    Args:
        segmentation: label map; or a file of 3D Slicer (``.seg.nrrd``), which holds its record.
        report: of the segmentation, for a label map.
        scheme: what the values of a label map mean.

    Raises:
        InputError: if a file cannot be used, or nothing was recorded.
    """
    if segmentation.name.endswith(ENDING):
        if report:
            raise InputError(
                a_file(segmentation),
                ": a segmentation of 3D Slicer holds its record itself; leave out ",
                an_option("--report"),
            )
        return _verify_segments(segmentation)
    if report is None:
        raise InputError(
            a_file(segmentation),
            ": give the JSON file that missu segment wrote of it: ",
            an_option("--report FILE"),
        )
    facts = read_report(report)
    if not facts.masks:
        raise InputError(a_file(report), ": holds no checksums, an older MISSU wrote it")
    image, masks = read_regions(segmentation, scheme)
    if set(facts.masks) != set(scheme.region_names):
        raise InputError(
            a_file(report),
            f": is about {', '.join(facts.masks)}, not {', '.join(scheme.region_names)}; say what "
            "the labels mean: ",
            an_option("--scheme"),
        )
    named = {name: Mask.of(mask) for name, mask in zip(scheme.region_names, masks)}
    record = Provenance(computed=Computation.of(facts))
    try:
        check_record(record)
    except ValueError as error:
        raise InputError(a_file(report), f": is damaged: {error}; segment again") from error
    contents = contents_on_grid(named, image, facts.grid)
    record = replace(record, contents=contents)
    same_file = sha256(segmentation) in facts.written.values()
    return Verification(record, same_file, contents.grid == tuple(facts.grid))


def _verify_segments(path: Path) -> Verification:
    given = read_slicer_segments(path)
    tags = [segment.tags[TAG] for segment in given.segments.values() if TAG in segment.tags]
    if not tags:
        raise InputError(a_file(path), ": MISSU has recorded nothing in it")
    record = newest(tags)
    if record is None:
        raise InputError(a_file(path), ": the record in it is damaged")
    masks = {name: segment.mask for name, segment in given.segments.items()}
    contents = contents_on_grid(masks, given.image, record.contents.grid)
    is_on_grid = contents.grid == record.contents.grid
    return Verification(replace(record, contents=contents), is_on_grid=is_on_grid)


def contents_on_grid(
    masks: Mapping[str, Mask], image: sitk.Image, grid: Sequence[float]
) -> Contents:
    """Contents of regions on the grid of a record, or on their own grid if that differs.

    Args:
        masks: by name of the region.
        image: on whose voxels they lie.
        grid: see :class:`.Contents`.
    """
    place = grid_of(image)
    start = start_on_grid(grid, place) if grid else None
    facts = {
        name: mask.shifted(start or (0, 0, 0)).fact(voxel_ml(place)) for name, mask in masks.items()
    }
    return Contents(place if start is None else tuple(grid), facts)


def mask_facts(labels: sitk.Image, scheme: LabelScheme) -> dict[str, MaskFact]:
    """Facts that identify the regions of a label map on its own grid, by region name."""
    masks = scheme.to_regions(sitk.GetArrayViewFromImage(labels))
    volume = voxel_ml(grid_of(labels))
    return {name: Mask.of(mask).fact(volume) for name, mask in zip(scheme.region_names, masks)}


def grid_of(image: sitk.Image) -> tuple[float, ...]:
    """Grid of an image in the form of :class:`.Contents`."""
    axes = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    return tuple(np.column_stack((axes, image.GetOrigin())).ravel().tolist())
