"""Measurement of the lesions in region masks: volumes, diameters, measurability."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy.ndimage import find_objects
from scipy.optimize import linear_sum_assignment

from .. import __version__
from ..contract.labels import BRATS, LabelScheme
from ..contract.measurement.lesions import (
    PLANES,
    LesionMeasurement,
    Line,
    MeasurementSettings,
    Point,
    judge,
)
from ..contract.measurement.report import MeasurementReport
from ..core.errors import InputError
from ..core.messages import Text
from ..evaluation.volumes import volumes_ml
from ..io.geometry import voxel_ml
from .diameters import maximum_diameter, plane_diameters
from .lesions import find_lesions

Masks = NDArray[np.bool_]


# A grid has thick slices if its spacing in one direction exceeds the others by this factor.
_THICK = 1.5


_PLANE_NAMES = ("sagittal", "coronal", "axial")  # by their normal, the patient's x, y, z


@dataclass(frozen=True)
class Measured:
    """The measurements, and the lesion masks.

    Attributes:
        report: its lesions are numbered from 1.
        numbers: (depth, height, width): the lesion that a voxel belongs to, 0 for none.
    """

    report: MeasurementReport
    numbers: NDArray[np.int32]


def measure_masks(
    masks: Masks,
    image: sitk.Image,
    scheme: LabelScheme = BRATS,
    settings: MeasurementSettings | None = None,
) -> Measured:
    """Measure the lesions in the masks of a scheme's regions, which may be empty.

    Args:
        masks: (regions, depth, height, width).
        image: with the geometry of the masks.
        scheme: of the regions.
        settings: how lesions are measured and judged.

    Raises:
        InputError: if the settings do not fit the scheme, or a lesion's outline is absurd.
    """
    settings = settings or MeasurementSettings()
    check_settings(settings, scheme)
    spacing_mm = image.GetSpacing()[::-1]
    names = scheme.region_names
    region = settings.region or names[-1]
    axis, plane = slice_axis(image, settings.plane)
    outer: Masks = np.any(masks, axis=0)
    if settings.lesions_of:
        outer = masks[names.index(settings.lesions_of)]
    numbers = find_lesions(outer, spacing_mm, settings.join_mm)
    measured = masks[names.index(region)]
    volumes = _volumes_by_lesion(masks, numbers, spacing_mm, scheme, settings)
    found = []
    for number, box in enumerate(find_objects(numbers), start=1):
        lesion = LesionMeasurement(
            number, _center_mm(numbers[box] == number, box, image), volumes[number]
        )
        found.append(
            _with_diameters(lesion, measured[box] & (numbers[box] == number), box, axis, image)
        )
    found.sort(key=lambda lesion: (-lesion.product_mm2, -max(lesion.volumes_ml.values())))
    renumbered = np.zeros(len(found) + 1, dtype=np.int32)
    for number, lesion in enumerate(found, start=1):
        renumbered[lesion.number] = number
    slice_mm = float(spacing_mm[axis])
    lesions = [replace(lesion, number=number) for number, lesion in enumerate(found, start=1)]
    report = MeasurementReport(
        missu_version=__version__,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        scheme=scheme.name,
        region=region,
        settings=settings,
        plane=plane,
        slice_mm=slice_mm,
        volumes_ml=volumes_ml(masks, spacing_mm, names),
        lesions=judge(lesions, settings, region, slice_mm),
    )
    numbers = renumbered[numbers]
    warnings = _warnings(report, measured, numbers, spacing_mm, axis)
    return Measured(replace(report, warnings=warnings), numbers)


def check_settings(settings: MeasurementSettings, scheme: LabelScheme) -> None:
    """Check that settings make sense for a scheme.

    Raises:
        InputError: naming the setting.
    """
    for name in filter(None, (settings.region, settings.lesions_of)):
        if name not in scheme.region_names:
            raise InputError(
                f"{scheme.name} has no region {name!r}; give {', '.join(scheme.region_names)}"
            )
    region = settings.region or scheme.region_names[-1]
    if region not in _regions_inside(scheme, settings.lesions_of):
        raise InputError(
            f"{region} cannot be measured in lesions of {settings.lesions_of}: it lies outside"
        )
    if settings.plane not in PLANES:
        raise InputError(f"no plane {settings.plane!r}; give {', '.join(PLANES)}")
    if not (settings.join_mm >= 0 and settings.minimum_mm >= 0 and settings.targets >= 1):
        raise InputError("distances must be 0 mm or more, and targets 1 or more")


def slice_axis(image: sitk.Image, plane: str = "auto") -> tuple[int, str]:
    """Axis of an array (depth, height, width) that slices are counted along, and their plane.

    Args:
        image: gives the geometry.
        plane: one of :data:`.PLANES`, see :class:`.MeasurementSettings`.
    """
    # Columns are the grid's axes, rows the patient's; match them by the largest components.
    direction = np.abs(np.array(image.GetDirection()).reshape(3, 3))
    rows, columns = linear_sum_assignment(direction, maximize=True)
    names = {int(column): _PLANE_NAMES[row] for row, column in zip(rows, columns)}
    if plane == "auto":
        spacing = image.GetSpacing()
        thickest = int(np.argmax(spacing))
        if spacing[thickest] >= _THICK * sorted(spacing)[1]:
            return 2 - thickest, names[thickest]
        plane = "axial"
    (along,) = (column for column, name in names.items() if name == plane)
    return 2 - along, plane


def _regions_inside(scheme: LabelScheme, outer: str) -> list[str]:
    """The regions nested in one, including itself; all regions if the name is empty."""
    labels = {region.name: set(region.labels) for region in scheme.regions}
    return [name for name, own in labels.items() if not outer or own <= labels[outer]]


def _volumes_by_lesion(
    masks: Masks,
    numbers: NDArray[np.int32],
    spacing_mm: Sequence[float],
    scheme: LabelScheme,
    settings: MeasurementSettings,
) -> list[dict[str, float]]:
    """Volumes in ml by region, for every number from 0."""
    one_ml = voxel_ml(spacing_mm)
    whole = _regions_inside(scheme, settings.lesions_of)
    counts = {
        name: np.bincount(numbers[mask], minlength=int(numbers.max()) + 1)
        for name, mask in zip(scheme.region_names, masks)
        if name in whole
    }
    return [
        {name: int(count[number]) * one_ml for name, count in counts.items()}
        for number in range(int(numbers.max()) + 1)
    ]


def _center_mm(lesion: Masks, box: tuple[slice, ...], image: sitk.Image) -> Point:
    middle = np.argwhere(lesion).mean(axis=0)
    return _physical(middle + [side.start for side in box], image)


def _physical(index: NDArray[np.float64], image: sitk.Image) -> Point:
    """Place (x, y, z) of a voxel index (depth, height, width)."""
    x, y, z = image.TransformContinuousIndexToPhysicalPoint(index[::-1].tolist())
    return float(x), float(y), float(z)


def _with_diameters(
    lesion: LesionMeasurement,
    mask: Masks,
    box: tuple[slice, ...],
    axis: int,
    image: sitk.Image,
) -> LesionMeasurement:
    """The lesion with the diameters of its part of the measured region."""
    spacing_mm = image.GetSpacing()[::-1]
    corner = np.array([side.start for side in box], dtype=float)
    in_plane = [other for other in range(3) if other != axis]
    slices = np.moveaxis(mask, axis, 0)
    found = plane_diameters(slices, [spacing_mm[other] for other in in_plane])
    farthest = maximum_diameter(mask, spacing_mm)
    if found is None or farthest is None:
        return lesion

    def line(ends: NDArray[np.float64]) -> Line:
        start, end = (_physical(corner + place, image) for place in ends)
        return Line(start, end)

    def in_slice(ends: NDArray[np.float64]) -> Line:
        return line(np.insert(ends, axis, found.slice_index, axis=1))

    return replace(
        lesion,
        slices=int(np.count_nonzero(slices.any(axis=(1, 2)))),
        longest=in_slice(found.longest),
        perpendicular=in_slice(found.perpendicular),
        maximum=line(farthest),
    )


def _warnings(
    report: MeasurementReport,
    measured: Masks,
    numbers: NDArray[np.int32],
    spacing_mm: Sequence[float],
    axis: int,
) -> tuple[Text, ...]:
    """Warnings for a reader who sees only the numbers."""
    if not measured.any():
        return (Text(f"there is no {report.region}: only volumes were measured"),)
    settings = report.settings
    warnings = []
    for lesion, box in zip(report.lesions, find_objects(numbers)):
        mask = measured[box] & (numbers[box] == lesion.number)
        parts = find_objects(find_lesions(mask, spacing_mm, settings.join_mm))
        large = sum(
            all(
                (side.stop - side.start) * step >= settings.minimum_mm
                for number, (side, step) in enumerate(zip(part, spacing_mm))
                if number != axis
            )
            for part in parts
        )
        if large > 1:
            warnings.append(
                Text(
                    f"lesion {lesion.number}: its {report.region} has {large} parts of "
                    f"{settings.minimum_mm:g} mm or more that lie apart, and only one was "
                    f"measured; with lesions of {report.region} each is a lesion of its own"
                )
            )
    return tuple(warnings)
