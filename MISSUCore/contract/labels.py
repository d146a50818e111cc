"""Label values and regions: what the numbers in a label map mean.

A *label* is one of several exclusive tissues (NCR, ED, ET); a *region* is the union of labels
that is reported and evaluated (WT, TC, ET). Regions may be nested: ET in TC in WT.

Conventions: BraTS label values 0, 1, 2, 4 (Menze et al. 2015; 3 instead of 4 since 2023), CHAOS
liver (Kavur et al. 2021). Terminology codes are those of DICOM PS3.16 and SNOMED CT; where it has
none, the private coding scheme 99MISSU is used.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import InputError
from ..core.files import read_json
from ..core.serialization import JsonObject, settings_to_dict
from .terminology import BRAIN, LIVER, NEOPLASM, TISSUE, Code, Terminology, in_brain

# What a network's outputs stand for: exclusive labels with background, or regions one by one.
TARGETS = ("labels", "regions")


_FORBIDDEN = re.compile(r'[<>:"/\\|?*]')
MAXIMUM_NAME_LENGTH = 64


def is_plain_name(name: str) -> bool:
    """Whether a name can be part of a file name on every system, and be shown."""
    return (
        0 < len(name) <= MAXIMUM_NAME_LENGTH
        and name.isprintable()
        and name == name.strip(" .")
        and not _FORBIDDEN.search(name)
    )


@dataclass(frozen=True)
class Label:
    """One exclusive tissue of a label map; ``color`` is RGB, 0 to 255."""

    value: int
    name: str
    title: str
    color: tuple[int, int, int]
    terminology: Terminology


@dataclass(frozen=True)
class Region:
    """A union of labels that is reported as one; ``color`` is RGB, 0 to 255."""

    name: str
    title: str
    labels: tuple[int, ...]
    color: tuple[int, int, int]
    terminology: Terminology


@dataclass(frozen=True)
class LabelScheme:
    """The labels and regions of one task.

    Regions are listed outermost first. Two regions are either nested or disjoint, and every label
    belongs to exactly one innermost region, so that labels and regions convert both ways.

    Raises:
        InputError: if the labels and regions do not fit together.

    Examples:
        >>> from MISSUCore import BRATS
        >>> [(region.name, region.labels) for region in BRATS.regions]
        [('WT', (1, 2, 4)), ('TC', (1, 4)), ('ET', (4,))]
    """

    name: str
    labels: tuple[Label, ...]
    regions: tuple[Region, ...]

    def __post_init__(self) -> None:
        values = [label.value for label in self.labels]
        names = [region.name for region in self.regions]
        if not values or len(set(values)) != len(values):
            raise InputError(f"label scheme {self.name}: label values must differ, got {values}")
        if not all(0 < value < 256 for value in values):
            raise InputError(f"label scheme {self.name}: label values must lie in 1..255: {values}")
        if len({name.casefold() for name in names}) != len(names):
            raise InputError(f"label scheme {self.name}: region names must differ, got {names}")
        for name in (*names, *(label.name for label in self.labels)):
            if not is_plain_name(name):
                raise InputError(
                    f"label scheme {self.name!r}: {name[:80]!r} cannot be a name of a region or "
                    "label, which becomes part of file names; use up to 64 letters, "
                    'and no < > : " / \\ | ? *'
                )
        for index, region in enumerate(self.regions):
            if not set(region.labels) <= set(values):
                raise InputError(
                    f"label scheme {self.name}: region {region.name} has unknown labels"
                )
            for inner in self.regions[index + 1 :]:
                shared = set(inner.labels) & set(region.labels)
                if shared and not set(inner.labels) < set(region.labels):
                    raise InputError(
                        f"label scheme {self.name}: {inner.name} must lie inside {region.name} or "
                        "apart from it, outer regions first"
                    )
        own = [self._own_labels(index) for index in range(len(self.regions))]
        if any(len(labels) != 1 for labels in own) or len(own) != len(values):
            raise InputError(
                f"label scheme {self.name}: every region needs exactly one label that no inner "
                "region has, and every label such a region"
            )

    def _own_labels(self, index: int) -> set[int]:
        inner = {value for region in self.regions[index + 1 :] for value in region.labels}
        return set(self.regions[index].labels) - inner

    @property
    def region_names(self) -> tuple[str, ...]:
        """Names of the regions, outermost first."""
        return tuple(region.name for region in self.regions)

    @property
    def is_in_brain(self) -> bool:
        """Whether the regions are parts of the brain, so that scans show a head."""
        return self.regions[0].terminology.anatomic_region == BRAIN

    @property
    def membership(self) -> NDArray[np.bool_]:
        """(regions, 1 + labels): which class, background first, belongs to which region."""
        return np.array(
            [
                [False, *(label.value in region.labels for label in self.labels)]
                for region in self.regions
            ]
        )

    def outputs(self, targets: str) -> int:
        """Output channels of a network for these targets, one of ``TARGETS``."""
        return self.membership.shape[0 if targets == "regions" else 1]

    def accepts(self, values: Iterable[int]) -> bool:
        """Whether a label map with these values (0 is background) can be of this scheme."""
        return set(values) <= {0, *(label.value for label in self.labels)}

    def check(self, values: Collection[int]) -> None:
        """Make sure that a label map with these values can be of this scheme.

        Raises:
            InputError: if not; the message names the values of the scheme.
        """
        if not self.accepts(values):
            allowed = ", ".join(f"{label.value} = {label.name}" for label in self.labels)
            raise InputError(
                f"label values {values} are not those of {self.name} (0 = background, {allowed})"
            )

    def to_classes(self, label_map: NDArray[Any]) -> NDArray[np.uint8]:
        """Class numbers (0 = background, then labels in order) of a label map of any shape.

        Raises:
            InputError: if a value is not of this scheme.
        """
        self.check(np.unique(label_map).tolist())
        classes = np.zeros(label_map.shape, dtype=np.uint8)
        for number, label in enumerate(self.labels, start=1):
            classes[label_map == label.value] = number
        return classes

    def to_regions(self, label_map: NDArray[Any]) -> NDArray[np.bool_]:
        """Masks (regions, ...) of a label map of any shape; unknown values are background."""
        masks = np.zeros((len(self.regions), *label_map.shape), dtype=np.bool_)
        for index, region in enumerate(self.regions):
            for value in region.labels:  # in bytes: np.isin would take eight for a voxel
                masks[index] |= label_map == value
        return masks

    def to_labels(self, masks: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """Label map of region masks (regions, ...).

        Inner regions win: a voxel of ET becomes label ET, also where WT or TC is missing there.

        Raises:
            ValueError: if there are not as many masks as regions.
        """
        if len(masks) != len(self.regions):
            raise ValueError(f"{self.name} has {len(self.regions)} regions, got {len(masks)} masks")
        label_map = np.zeros(masks.shape[1:], dtype=np.uint8)
        for index, mask in enumerate(masks):
            (own,) = self._own_labels(index)
            label_map[mask] = own
        return label_map

    def as_dict(self) -> JsonObject:
        """The scheme in plain JSON types, as :meth:`from_dict` reads it."""
        return settings_to_dict(self)

    @classmethod
    def from_dict(cls, values: JsonObject) -> LabelScheme:
        """The scheme written in JSON; colors and terminology may be left out.

        Raises:
            InputError: if it is not a label scheme.
        """
        try:
            return cls(
                name=str(values["name"]),
                labels=tuple(
                    Label(value=_integer(item["value"]), **_common(item, index))
                    for index, item in enumerate(values["labels"])
                ),
                regions=tuple(
                    Region(labels=tuple(map(_integer, item["labels"])), **_common(item, index))
                    for index, item in enumerate(values["regions"])
                ),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"not a label scheme: {error!r}") from error

    @classmethod
    def from_file(cls, path: Path) -> LabelScheme:
        """The scheme in a JSON file.

        Raises:
            InputError: if the file cannot be read or is not a label scheme.
        """
        try:
            values = read_json(path)
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: cannot be read as a label scheme: {error}") from error
        try:
            return cls.from_dict(values)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error


DEFAULT_COLORS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (213, 94, 0))


def _integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"label values are whole numbers, not {value!r}")
    return value


def _common(item: JsonObject, index: int) -> JsonObject:
    """Name, title, color and terminology of a label or region in JSON, with defaults."""
    red, green, blue = item.get("color", DEFAULT_COLORS[index % len(DEFAULT_COLORS)])
    if not all(0 <= _integer(part) <= 255 for part in (red, green, blue)):
        raise ValueError(f"color {item['color']} is not RGB of 0 to 255")
    codes = {
        part: Code(**code) for part, code in item.get("terminology", {}).items() if code is not None
    }
    return {
        "name": str(item["name"]),
        "title": str(item.get("title", item["name"])),
        "color": (red, green, blue),
        "terminology": Terminology(**codes) if codes else Terminology(TISSUE, TISSUE),
    }


def _brats(name: str, enhancing: int) -> LabelScheme:
    necrosis = in_brain(Code("SCT", "6574001", "Necrosis"))
    edema = in_brain(Code("SCT", "79654002", "Edema"))
    enhancing_tumor = in_brain(NEOPLASM, Code("99MISSU", "ET", "Enhancing tumor"))
    return LabelScheme(
        name=name,
        labels=(
            Label(1, "NCR", "Necrotic and non-enhancing tumor core", (216, 191, 216), necrosis),
            Label(2, "ED", "Peritumoral edema", (140, 224, 228), edema),
            Label(enhancing, "ET", "Enhancing tumor", (240, 110, 60), enhancing_tumor),
        ),
        regions=(
            Region(
                "WT",
                "Whole tumor",
                (1, 2, enhancing),
                (140, 224, 228),
                in_brain(NEOPLASM, Code("99MISSU", "WT", "Whole tumor")),
            ),
            Region(
                "TC",
                "Tumor core",
                (1, enhancing),
                (216, 101, 79),
                in_brain(NEOPLASM, Code("99MISSU", "TC", "Tumor core")),
            ),
            Region("ET", "Enhancing tumor", (enhancing,), (240, 200, 60), enhancing_tumor),
        ),
    )


BRATS = _brats("BraTS", enhancing=4)
BRATS_2023 = _brats("BraTS 2023", enhancing=3)
CHAOS_LIVER = LabelScheme(
    name="CHAOS liver",
    labels=(Label(1, "liver", "Liver", (221, 130, 101), LIVER),),
    regions=(Region("liver", "Liver", (1,), (221, 130, 101), LIVER),),
)

SCHEMES = {"brats": BRATS, "brats2023": BRATS_2023, "chaos-liver": CHAOS_LIVER}


def label_scheme(name_or_file: str) -> LabelScheme:
    """The scheme of this name, in this JSON file, or in JSON itself.

    Raises:
        InputError: if there is no such scheme, or the file or JSON is none.
    """
    if name_or_file in SCHEMES:
        return SCHEMES[name_or_file]
    if name_or_file.startswith("{"):
        try:
            return LabelScheme.from_dict(json.loads(name_or_file))
        except (ValueError, RecursionError) as error:
            raise InputError(f"not a label scheme: {error}") from error
    path = Path(name_or_file)
    if path.suffix != ".json":
        raise InputError(
            f"no label scheme {name_or_file!r}: give {', '.join(SCHEMES)} or a JSON file"
        )
    return LabelScheme.from_file(path)


def same_task(first: LabelScheme, second: LabelScheme) -> bool:
    """Whether labels of the one scheme can be read as those of the other."""
    twins = (BRATS, BRATS_2023)
    return first.regions == second.regions or (first in twins and second in twins)


def numbering_of(values: Iterable[int], scheme: LabelScheme) -> LabelScheme:
    """The scheme itself, or BraTS in its other numbering if only that one fits the values."""
    found = set(values)
    if scheme.accepts(found):
        return scheme
    for twin in (BRATS, BRATS_2023):
        if scheme in (BRATS, BRATS_2023) and twin.accepts(found):
            return twin
    return scheme
