"""Coded concepts, by which Slicer and DICOM name what a segment shows."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Code:
    """A coded concept: coding scheme, value, meaning (DICOM PS3.3, section 8.8)."""

    scheme: str
    value: str
    meaning: str


@dataclass(frozen=True)
class Terminology:
    """How Slicer and DICOM SEG name a segment: category, type, modifier, anatomic region."""

    category: Code
    type: Code
    modifier: Code | None = None
    anatomic_region: Code | None = None


MORPHOLOGICALLY_ALTERED = Code("SCT", "49755003", "Morphologically Altered Structure")
ANATOMICAL_STRUCTURE = Code("SCT", "123037004", "Anatomical Structure")
TISSUE = Code("SCT", "85756007", "Tissue")
BRAIN = Code("SCT", "12738006", "Brain")
NEOPLASM = Code("SCT", "86049000", "Neoplasm, Primary")
LIVER = Terminology(ANATOMICAL_STRUCTURE, Code("SCT", "10200004", "Liver"))


def in_brain(type_: Code, modifier: Code | None = None) -> Terminology:
    """How something in the brain is named that was altered by a disease."""
    return Terminology(MORPHOLOGICALLY_ALTERED, type_, modifier, BRAIN)
